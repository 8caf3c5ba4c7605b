-- sheaf_tradeoff: one row is one cache of one simulated run with sheaves: what they serve, what they hold.
--
-- More capacity serves more operations without the slabs' locks, and holds more free objects that
-- nobody else can have. What is held is what the sheaves of all CPUs and the barn hold when the
-- trace ends; the sheaves' own memory is not in it. Runs of the same recorded run (of_run) differ
-- by their settings: allocsim sweep makes them.
--
-- Columns:
--   run           Simulated run.
--   trace         Name of the trace set.
--   of_run        Recorded run its requests were taken from.
--   settings      What the user set (JSON).
--   what_if       Why it is not the recorded kernel as it was; NULL: it is.
--   cache         Name of the cache; size-N@function: unnamed in the recording.
--   capacity      Objects in a sheaf; 0: the cache has none.
--   operations    Allocations and frees that SLUB counts.
--   fastpath_pct  [%] Of them, those that the CPU's sheaves served, at least (placement_summary).
--   refills       Sheaves refilled from slabs.
--   flushes       Sheaves flushed to slabs.
--   barn_traffic  Full sheaves taken from the barn or put into it.
--   list_locks    Acquisitions of the node's list_lock.
--   held_objects  Free objects in sheaves and barn at the end.
--   held_bytes    [bytes] Their bytes, each from one object to the next.
with counted as (
    select
        run,
        cache,
        -- Above cpu slabs, what the sheaves served: these count refills and flushes (R3.45).
        max(value) filter (name = 'alloc_cpu_sheaf') is not null as above_cpu_slabs,
        case
            when above_cpu_slabs
                then coalesce(sum(value) filter (name like '%\_cpu\_sheaf' escape '\'), 0)
            else coalesce(sum(value) filter (name like '%\_fastpath' escape '\'), 0)
        end as fast,
        case
            when above_cpu_slabs then 0
            else coalesce(sum(value) filter (name like '%\_slowpath' escape '\'), 0)
        end as slow,
        case
            when above_cpu_slabs then 0
            else coalesce(max(value) filter (name = 'alloc_slowpath'), 0)
        end as slow_allocs,
        coalesce(max(value) filter (name = 'barn_get_fail'), 0) as refills,
        coalesce(max(value) filter (name = 'barn_put_fail'), 0) as flushes,
        coalesce(sum(value) filter (name in ('barn_get', 'barn_put')), 0) as barn,
        coalesce(max(value) filter (name = 'list_lock'), 0) as list_locks
    from cache_counters
    group by run, cache
)

select
    runs.run,
    traces.trace,
    runs.of_run,
    runs.settings,
    runs.what_if,
    caches.name as cache,
    placed.capacity,
    (counted.fast + counted.slow)::bigint as operations,
    -- A refill that came back short is counted once: its allocation went the slow way.
    100 * (
        counted.fast - counted.refills + least(counted.refills, counted.slow_allocs)
        - counted.flushes - counted.barn
    ) / nullif(counted.fast + counted.slow, 0) as fastpath_pct,
    counted.refills::bigint as refills,
    counted.flushes::bigint as flushes,
    counted.barn::bigint as barn_traffic,
    counted.list_locks::bigint as list_locks,
    placed.in_sheaves as held_objects,
    placed.in_sheaves * caches.object_size as held_bytes
from placed_caches as placed
inner join runs using (run)
inner join traces using (trace_id)
inner join caches using (run, cache)
inner join counted using (run, cache)
where placed.capacity is not null
order by runs.run, operations desc, cache
