-- cache_summary: one row is one slab cache of one run, of those the run has seen.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   cache             Name of the cache.
--   allocs            Objects allocated.
--   frees             Objects freed.
--   bytes_req         [bytes] Asked for, over all allocations.
--   bytes_alloc       [bytes] Given, over all allocations.
--   waste_bytes       [bytes] bytes_alloc less bytes_req.
--   waste_pct         [%] waste_bytes of bytes_alloc.
--   lifetime_median   [ns] Of the lives that both began and ended in the recording.
--   slab_allocs       Slab pages allocated for the cache: allocations, of any order.
--   slab_frees        Slab pages freed, likewise.
--   slab_bytes        [bytes] Bytes of the slab pages allocated.
--   simulated_allocs  Slabs the model made, in the latest simulation of the run as it was; NULL: none.
--   simulated_frees   Slabs it freed, likewise.
--   named_pct         [%] Share of its events that carried the cache's name; the rest: by rule.
with objects as (
    select
        run,
        cache,
        count(*) filter (event in ('kmalloc', 'kmem_cache_alloc')) as allocs,
        count(*) filter (event in ('kfree', 'kmem_cache_free')) as frees,
        coalesce(sum(bytes_req), 0)::bigint as bytes_req,
        coalesce(sum(bytes_alloc), 0)::bigint as bytes_alloc,
        count(*) filter (cache_how = 'named') as named
    from object_events
    where cache is not null
    group by run, cache
),

slabs as (
    select
        pages.run,
        pages.cache,
        count(pages.alloc_seq) as slab_allocs,
        sum(pages.frees)::bigint as slab_frees,
        coalesce(
            sum(traces.page_size << pages.order) filter (pages.alloc_seq is not null), 0
        )::bigint as slab_bytes
    from pages
    inner join runs using (run)
    inner join traces using (trace_id)
    where pages.cache is not null
    group by pages.run, pages.cache
),

simulated as (
    -- A cache with its copies (R3.51).
    select
        runs.of_run as run,
        regexp_replace(caches.name, '^kmalloc-(rnd|part)-[0-9]{2}-', 'kmalloc-') as name,
        sum(placed_caches.slab_allocs)::bigint as slab_allocs,
        sum(placed_caches.slab_frees)::bigint as slab_frees
    from placed_caches
    inner join runs using (run)
    inner join caches using (run, cache)
    where
        runs.run in (
            select max(run) from runs
            where of_run is not null and what_if is null
            group by of_run
        )
    group by all
)

select
    caches.run,
    traces.trace,
    caches.name as cache,
    coalesce(objects.allocs, 0) as allocs,
    coalesce(objects.frees, 0) as frees,
    coalesce(objects.bytes_req, 0) as bytes_req,
    coalesce(objects.bytes_alloc, 0) as bytes_alloc,
    coalesce(objects.bytes_alloc - objects.bytes_req, 0) as waste_bytes,
    100 * (objects.bytes_alloc - objects.bytes_req) / nullif(objects.bytes_alloc, 0) as waste_pct,
    medians.lifetime_median,
    coalesce(slabs.slab_allocs, 0) as slab_allocs,
    coalesce(slabs.slab_frees, 0) as slab_frees,
    coalesce(slabs.slab_bytes, 0) as slab_bytes,
    simulated.slab_allocs as simulated_allocs,
    simulated.slab_frees as simulated_frees,
    100 * objects.named / nullif(objects.allocs + objects.frees, 0) as named_pct
from caches
left join objects using (run, cache)
left join slabs using (run, cache)
left join simulated using (run, name)
left join lifetime_medians as medians
    on caches.run = medians.run and caches.cache = medians.key and medians.what = 'cache'
inner join runs using (run)
inner join traces using (trace_id)
where objects.run is not null or slabs.run is not null
order by caches.run, bytes_alloc desc, cache
