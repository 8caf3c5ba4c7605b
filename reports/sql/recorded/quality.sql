-- quality: one row is one recorded run: how much of what it says is known, and how.
--
-- Reclaim and compaction are not replayed: their events are counted where they were recorded
-- (vmscan:*, compaction:*), and what vmstat counted between the snapshots before and behind the
-- recording is given beside them. What they free and move has events of its own, and stays what it
-- was.
--
-- Columns:
--   run                  Replay of one trace.
--   trace                Name of the trace set.
--   events               Events replayed.
--   object_events        Of these, kmalloc, kfree, kmem_cache_alloc and kmem_cache_free.
--   page_events          Of these, mm_page_alloc and mm_page_free.
--   lost_events          Events the recording says it lost, over all CPUs.
--   lost_gaps            Gaps in it that do not say how many events were lost in them.
--   cpus                 CPUs of the machine.
--   covered_cpus         Of these, those with events; NULL: the trace does not say (trace_cpus).
--   uncovered_cpus       Numbers of the others: idle, or not recorded.
--   begin_spread         [ns] From the first event of the first CPU to that of the last one.
--   end_spread           [ns] From the last event of the first CPU to end to that of the last one.
--   late_cpus            Numbers of those that are believed to begin late (trace_cpus.late).
--   early_cpus           Numbers of those that are believed to end early (trace_cpus.early).
--   unknown_frees        Frees of objects whose allocation was not seen (I2).
--   unknown_free_pct     [%] unknown_frees of all frees of objects.
--   reallocations        Allocations of an address believed live: a free was not traced (T6, I2).
--   reallocation_pct     [%] reallocations of all allocations of objects.
--   unknown_page_frees   mm_page_free of pages whose allocation was not seen.
--   duplicates_dropped   Repeated large-kmalloc events left out on import (T3).
--   kind_observed_pct    [%] Share of page lives whose kind was observed.
--   kind_inferred_pct    [%] Share of page lives whose kind was inferred.
--   kind_assumed_pct     [%] Share of page lives whose kind was assumed.
--   kind_unknown_pct     [%] Share of page lives whose kind is not known.
--   cache_named_pct      [%] Share of object events that carry the name of their cache.
--   cache_by_rule_pct    [%] Share of object events whose cache follows from a rule.
--   cache_unresolved_pct [%] Share of object events whose cache is not known.
--   requests_left_out    Object requests its simulated placements leave out; NULL: it has none.
--   requests_left_out_pct [%] Share of its requests (placement_quality says why).
--   direct_reclaims      mm_vmscan_direct_reclaim_begin; NULL: none, or not recorded.
--   direct_reclaim_pct   [%] Of page allocations: at most so many reclaimed first. By direct_reclaims where it was recorded and no event was lost, else by allocstalls; NULL: neither is known.
--   kswapd_wakes         mm_vmscan_kswapd_wake, likewise.
--   folios_written       mm_vmscan_write_folio: to swap or files, likewise.
--   compactions          mm_compaction_begin, likewise.
--   allocstalls          Direct reclaims that vmstat counted between the snapshots (allocstall_*): in the recording and around it; NULL: no vmstat of both. So are the next seven.
--   pages_scanned_direct [pages] pgscan_direct.
--   pages_reclaimed_direct [pages] pgsteal_direct.
--   pages_scanned_kswapd [pages] pgscan_kswapd.
--   pages_reclaimed_kswapd [pages] pgsteal_kswapd.
--   pages_swapped_in     [pages] pswpin.
--   pages_swapped_out    [pages] pswpout.
--   compact_stalls       Allocations that compacted memory themselves (compact_stall).
--   kmalloc_copies       Copies of kmalloc's normal caches the kernel has beside kmalloc-N (R3.51), of which no event says which one an object is in: here all are kmalloc-N; NULL: no sysfs_slab.txt.
--   use_how              How the use stage of page lives is known: observed or assumed.
--   own_policy           The policy that does what the recorded kernel does.
--   own_note             What to say with it; NULL: it is of this very version.
--   direct_map_base      Virtual address of page frame 0, in hex (I1).
--   direct_map_votes     Allocations that voted for it.
--   direct_map_share     Share of all votes, 0 to 1.
--   direct_map_how       How the base is known.
with kinds as (
    select
        run,
        count(*) as lives,
        count(*) filter (kind_how = 'observed') as observed,
        count(*) filter (kind_how = 'inferred') as inferred,
        count(*) filter (kind_how = 'assumed') as assumed,
        count(*) filter (kind_how = 'unknown') as unknown,
        coalesce(sum(frees) filter (alloc_seq is null), 0)::bigint as unknown_page_frees
    from pages
    group by run
),

objects as (
    select
        run,
        count(*) as object_events,
        count(object) filter (event in ('kmalloc', 'kmem_cache_alloc')) as allocs,
        count(object) filter (event in ('kfree', 'kmem_cache_free')) as frees,
        count(cache_how) as classed,
        count(*) filter (cache_how = 'named') as named,
        count(*) filter (cache_how not in ('named', 'unresolved')) as by_rule,
        count(*) filter (cache_how = 'unresolved') as unresolved
    from object_events
    group by run
),

page_counts as (
    select
        run,
        count(*) as page_events,
        count(*) filter (event = 'mm_page_alloc') as page_allocs
    from page_events
    where event in ('mm_page_alloc', 'mm_page_free')
    group by run
),

covered as (
    select
        trace_id,
        count(*) filter (events > 0) as covered_cpus,
        string_agg(cpu, ', ' order by cpu) filter (events = 0) as uncovered_cpus,
        max(first_ts) - min(first_ts) as begin_spread,
        max(last_ts) - min(last_ts) as end_spread,
        string_agg(cpu, ', ' order by cpu) filter (late is not null) as late_cpus,
        string_agg(cpu, ', ' order by cpu) filter (early is not null) as early_cpus
    from trace_cpus
    group by trace_id
),

copies as (
    select
        run,
        count(distinct nullif(regexp_extract(name, '^kmalloc-((rnd|part)-[0-9]{2})-[0-9]', 1), ''))
            as kmalloc_copies
    from kernel_caches
    group by run
),

left_out as (
    select
        runs.of_run as run,
        max(placed.requests_left_out) as requests_left_out,
        max(placed.requests_left_out_pct) as requests_left_out_pct
    from placement_quality as placed
    inner join runs using (run)
    group by runs.of_run
),

counts as (
    select
        run,
        max(value) filter (name = 'unknown_frees') as unknown_frees,
        max(value) filter (name = 'reallocations') as reallocations,
        max(value) filter (name = 'allocstalls') as allocstalls,
        max(value) filter (name = 'pages_scanned_direct') as pages_scanned_direct,
        max(value) filter (name = 'pages_reclaimed_direct') as pages_reclaimed_direct,
        max(value) filter (name = 'pages_scanned_kswapd') as pages_scanned_kswapd,
        max(value) filter (name = 'pages_reclaimed_kswapd') as pages_reclaimed_kswapd,
        max(value) filter (name = 'pages_swapped_in') as pages_swapped_in,
        max(value) filter (name = 'pages_swapped_out') as pages_swapped_out,
        max(value) filter (name = 'compact_stalls') as compact_stalls
    from quality_counts
    group by run
),

-- Events of which only the number is kept, as the import counted them.
pressure as (
    select
        trace_id,
        (dropped ->> 'mm_vmscan_direct_reclaim_begin')::bigint as direct_reclaims,
        (dropped ->> 'mm_vmscan_kswapd_wake')::bigint as kswapd_wakes,
        (dropped ->> 'mm_vmscan_write_folio')::bigint as folios_written,
        (dropped ->> 'mm_compaction_begin')::bigint as compactions
    from (
        select
            trace_id,
            meta::json -> 'dropped' as dropped
        from traces
    )
)

select
    runs.run,
    traces.trace,
    runs.events,
    coalesce(objects.object_events, 0) as object_events,
    coalesce(page_counts.page_events, 0) as page_events,
    traces.lost_events,
    traces.lost_gaps,
    traces.cpus::bigint as cpus,
    covered.covered_cpus,
    covered.uncovered_cpus,
    covered.begin_spread,
    covered.end_spread,
    covered.late_cpus,
    covered.early_cpus,
    counts.unknown_frees,
    100 * counts.unknown_frees / nullif(objects.frees, 0) as unknown_free_pct,
    counts.reallocations,
    100 * counts.reallocations / nullif(objects.allocs, 0) as reallocation_pct,
    kinds.unknown_page_frees,
    traces.duplicates_dropped,
    100 * kinds.observed / nullif(kinds.lives, 0) as kind_observed_pct,
    100 * kinds.inferred / nullif(kinds.lives, 0) as kind_inferred_pct,
    100 * kinds.assumed / nullif(kinds.lives, 0) as kind_assumed_pct,
    100 * kinds.unknown / nullif(kinds.lives, 0) as kind_unknown_pct,
    100 * objects.named / nullif(objects.classed, 0) as cache_named_pct,
    100 * objects.by_rule / nullif(objects.classed, 0) as cache_by_rule_pct,
    100 * objects.unresolved / nullif(objects.classed, 0) as cache_unresolved_pct,
    left_out.requests_left_out,
    left_out.requests_left_out_pct,
    pressure.direct_reclaims,
    100 * coalesce(
        case when traces.lost_events + traces.lost_gaps = 0 then pressure.direct_reclaims end,
        counts.allocstalls
    ) / nullif(page_counts.page_allocs, 0) as direct_reclaim_pct,
    pressure.kswapd_wakes,
    pressure.folios_written,
    pressure.compactions,
    counts.allocstalls,
    counts.pages_scanned_direct,
    counts.pages_reclaimed_direct,
    counts.pages_scanned_kswapd,
    counts.pages_reclaimed_kswapd,
    counts.pages_swapped_in,
    counts.pages_swapped_out,
    counts.compact_stalls,
    copies.kmalloc_copies,
    runs.use_how,
    runs.own_policy,
    runs.own_note,
    '0x' || lower(to_hex(traces.direct_map_base)) as direct_map_base,
    traces.direct_map_votes,
    traces.direct_map_share,
    traces.direct_map_how
from runs
inner join traces using (trace_id)
left join covered using (trace_id)
left join pressure using (trace_id)
left join objects using (run)
left join page_counts using (run)
left join kinds using (run)
left join counts using (run)
left join copies using (run)
left join left_out using (run)
where runs.placement = 'recorded'
order by runs.run
