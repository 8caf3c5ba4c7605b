-- slab_placement_summary: one row is one cache in one simulated run, beside the recorded run.
--
-- Caches that made or freed no slab in either have no row.
--
-- Columns:
--   run                  Simulated run.
--   of_run               Recorded run its requests were taken from.
--   trace                Name of the trace set.
--   cache                Name of the cache.
--   what_if              Why it is not the recorded kernel as it was; NULL: it is.
--   recorded_allocs      Slabs the recorded kernel made.
--   simulated_allocs     Slabs the model made.
--   recorded_frees       Slabs the recorded kernel freed.
--   simulated_frees      Slabs the model freed.
--   recorded_pages       [pages] Pages of the slabs the recorded kernel made.
--   simulated_pages      [pages] Pages of the slabs the model made.
with recorded as (
    select
        runs.run,
        caches.name,
        count(pages.alloc_seq) as allocs,
        coalesce(sum(pages.frees), 0)::bigint as frees,
        coalesce(sum(1::bigint << pages."order") filter (pages.alloc_seq is not null), 0)::bigint
            as pages
    from runs
    inner join pages on runs.of_run = pages.run
    inner join caches on pages.run = caches.run and pages.cache = caches.cache
    group by runs.run, caches.name
),

simulated as (
    select
        placed.run,
        caches.name,
        placed.slab_allocs as allocs,
        placed.slab_frees as frees,
        placed.pages_allocated as pages
    from placed_caches as placed
    inner join caches using (run, cache)
)

select
    runs.run,
    runs.of_run,
    traces.trace,
    coalesce(simulated.name, recorded.name) as cache,
    runs.what_if,
    coalesce(recorded.allocs, 0) as recorded_allocs,
    coalesce(simulated.allocs, 0) as simulated_allocs,
    coalesce(recorded.frees, 0) as recorded_frees,
    coalesce(simulated.frees, 0) as simulated_frees,
    coalesce(recorded.pages, 0) as recorded_pages,
    coalesce(simulated.pages, 0) as simulated_pages
from recorded
full join simulated on recorded.run = simulated.run and recorded.name = simulated.name
inner join runs on runs.run = coalesce(simulated.run, recorded.run)
inner join traces using (trace_id)
where
    coalesce(recorded.allocs, 0) + coalesce(recorded.frees, 0)
    + coalesce(simulated.allocs, 0) + coalesce(simulated.frees, 0) > 0
order by runs.run, greatest(recorded_pages, simulated_pages) desc, cache
