-- placement_quality: one row is one simulated run: how much of it rests on what is not known.
-- Slabs older than the trace are rebuilt from the addresses it touches (I2): a free of an object
-- never allocated shows a live one, an allocation on a page never allocated a free one. Recordings
-- from boot on need none of it.
-- Columns:
--   run                      Simulated run.
--   trace                    Name of the trace set.
--   what_if                  Why it is not the recorded kernel as it was; NULL: it is.
--   machine_how              How zones and what was free at the start are known.
--   object_requests          Allocations and frees of objects that were simulated.
--   inferred_frees           Of these, frees that no event shows (T6).
--   on_older_slabs           Of these, of objects on slabs older than the trace.
--   on_older_slabs_pct       [%] Share of them.
--   recorded_requests        Allocations and frees of objects on slabs that the recording has.
--   requests_left_out        Of these, those not simulated: the five counts that say why.
--   requests_left_out_pct    [%] Share of them.
--   older_slabs              Slabs older than the trace that it touches.
--   older_live_objects       Objects live on them when it began, as far as it frees them.
--   older_free_objects       Free places on them, as far as it allocates them.
--   older_objects_left_out   Addresses on such slabs at which no object of the cache can lie.
--   allocations_left_out     Allocations of no known cache or slot size.
--   frees_left_out           Frees of such objects.
--   frees_of_unknown_cache   Frees of objects older than the recording, of no known cache.
--   frees_of_unsized_cache   Such frees, of a cache whose slot size nothing says.
--   frees_of_unseen_allocations Frees of objects allocated without an event (T6), or no object's (KFENCE).
--   metadata_events          Events of the allocator's own sheaves: the model makes its own (T7).
--   unknown_page_frees       Frees of pages older than the trace: put in assumed places.
--   page_frees_joined        Frees of single pages that vfree makes one free of a block (R4.31).
--   kmalloc_sites_spread     Call sites of kmalloc spread over copies of its caches by a seed (R3.52, assumed).
--   list_pages_at_start      [pages] On the CPUs' page lists at the start, inferred (R4.4, T12).
--   refused_slab_events      Requests whose slab could not be had at the order wanted.
--   refused_pages            Requests for pages that could not be served.
--   below_low                Page requests with every zone below low: kswapd is not modelled.
--   below_min                Page requests with every zone below min: nor is reclaim.
with counts as (
    select
        run,
        coalesce(sum(value) filter (name = 'object_requests'), 0)::bigint as object_requests,
        coalesce(sum(value) filter (name = 'inferred_frees'), 0)::bigint as inferred_frees,
        coalesce(sum(value) filter (name = 'requests_on_older_slabs'), 0)::bigint
            as on_older_slabs,
        coalesce(sum(value) filter (name = 'older_slabs'), 0)::bigint as older_slabs,
        coalesce(sum(value) filter (name = 'older_live_objects'), 0)::bigint
            as older_live_objects,
        coalesce(sum(value) filter (name = 'older_free_objects'), 0)::bigint
            as older_free_objects,
        coalesce(sum(value) filter (name = 'older_objects_left_out'), 0)::bigint
            as older_objects_left_out,
        sum(value) filter (name = 'recorded_requests')::bigint as recorded_requests,
        sum(value) filter (name in (
            'allocations_left_out',
            'frees_left_out',
            'frees_of_unknown_cache',
            'frees_of_unsized_cache',
            'frees_of_unseen_allocations'
        ))::bigint as requests_left_out,
        coalesce(sum(value) filter (name = 'allocations_left_out'), 0)::bigint
            as allocations_left_out,
        coalesce(sum(value) filter (name = 'frees_left_out'), 0)::bigint as frees_left_out,
        coalesce(sum(value) filter (name = 'frees_of_unknown_cache'), 0)::bigint
            as frees_of_unknown_cache,
        coalesce(sum(value) filter (name = 'frees_of_unsized_cache'), 0)::bigint
            as frees_of_unsized_cache,
        coalesce(sum(value) filter (name = 'frees_of_unseen_allocations'), 0)::bigint
            as frees_of_unseen_allocations,
        coalesce(sum(value) filter (name = 'metadata_events'), 0)::bigint as metadata_events,
        coalesce(sum(value) filter (name = 'unknown_page_frees'), 0)::bigint
            as unknown_page_frees,
        coalesce(sum(value) filter (name = 'page_frees_joined'), 0)::bigint
            as page_frees_joined,
        coalesce(sum(value) filter (name = 'kmalloc_sites_spread'), 0)::bigint
            as kmalloc_sites_spread,
        coalesce(sum(value) filter (name = 'list_pages_at_start'), 0)::bigint
            as list_pages_at_start,
        coalesce(sum(value) filter (name = 'refused_slab_events'), 0)::bigint
            as refused_slab_events,
        coalesce(sum(value) filter (name = 'refused_pages'), 0)::bigint as refused_pages,
        coalesce(sum(value) filter (name = 'page_requests_below_low'), 0)::bigint as below_low,
        coalesce(sum(value) filter (name = 'page_requests_below_min'), 0)::bigint as below_min
    from quality_counts
    group by run
)

select
    runs.run,
    traces.trace,
    runs.what_if,
    runs.machine_how,
    counts.object_requests,
    counts.inferred_frees,
    counts.on_older_slabs,
    100 * counts.on_older_slabs / nullif(counts.object_requests, 0) as on_older_slabs_pct,
    counts.recorded_requests,
    counts.requests_left_out,
    100 * counts.requests_left_out / nullif(counts.recorded_requests, 0)
        as requests_left_out_pct,
    counts.* exclude (
        run,
        object_requests,
        inferred_frees,
        on_older_slabs,
        recorded_requests,
        requests_left_out
    )
from runs
inner join traces using (trace_id)
inner join counts using (run)
where runs.placement = 'simulated'
order by runs.run
