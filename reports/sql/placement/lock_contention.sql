-- lock_contention: one row is one lock of one simulated run, over the whole run or in one slice of
-- its time: how busy it is, who meets it held, and how long the queue gets.
--
-- The model says which requests go to a lock (inferred): list_lock and the barn's lock of a cache,
-- zone->lock of a zone. Where a machine has several nodes, a cache's locks of all of them are taken
-- for one, which overstates waiting. How long a take holds it is a range by the run's table of
-- costs (R7.3; assumed): at least with every line in the CPU's own cache, at most with every line
-- written last by another package. Each visit of a lock is given the same number of takes. The lock
-- is given in order of arrival (R7.4), visits come when the recording has their events: times of a
-- recording are those of its machine, uneven where that was emulated, and nobody comes later for
-- having waited. Where the high end is busy all the time its queue grows without bound: read that
-- as more than the lock can bear, not as a length. Requests without an event of their own
-- (prefilled sheaves, kfree_rcu's, the vmstat worker's) take locks too: their takes are in takes,
-- not in visits.
--
-- Columns:
--   run             Simulated replay of one trace.
--   trace           Name of the trace set.
--   settings        Settings of the simulation, as JSON.
--   lock            'list_lock', 'barn' or 'zone'.
--   of              Name of the cache or the zone.
--   slice           Number of the slice of time, from 0; NULL: the whole run.
--   seconds         [s] When the slice begins, since the first event; NULL: the whole run.
--   visits          Requests whose path may take the lock; 0: no take has a moment.
--   takes           Takes of the lock, as the model counts them; of a slice by its visits.
--   hold_ns_low     [ns] How long one take holds it, at least.
--   hold_ns_high    [ns] The same, at most.
--   busy_pct_low    [%] Share of the time in which it is held, at least.
--   busy_pct_high   [%] The same, at most; above 100 it cannot bear these visits.
--   met_low         Visits that meet it held by another CPU, at least.
--   met_high        The same, at most.
--   met_pct_low     [%] Of the visits, at least.
--   met_pct_high    [%] The same, at most.
--   waited_ns_low   [ns] How long these wait in all, at least.
--   waited_ns_high  [ns] The same, at most.
--   queue_low       Longest queue that a visit meets, at least.
--   queue_high      The same, at most.
select
    waits.run,
    traces.trace,
    runs.settings,
    waits.lock,
    coalesce(caches.name, zones.name) as "of",
    waits.slice,
    waits.slice * runs.slice_ns / 1e9 as seconds,
    waits.visits,
    waits.takes,
    waits.hold_ns_low,
    waits.hold_ns_high,
    100 * waits.busy_ns_low
    / nullif(case when waits.slice is null then runs.last_ts - runs.first_ts else runs.slice_ns end, 0)
        as busy_pct_low,
    100 * waits.busy_ns_high
    / nullif(case when waits.slice is null then runs.last_ts - runs.first_ts else runs.slice_ns end, 0)
        as busy_pct_high,
    waits.met_low,
    waits.met_high,
    100 * waits.met_low / nullif(waits.visits, 0) as met_pct_low,
    100 * waits.met_high / nullif(waits.visits, 0) as met_pct_high,
    waits.waited_ns_low,
    waits.waited_ns_high,
    waits.queue_low,
    waits.queue_high
from internal.lock_waits as waits
inner join runs using (run)
inner join traces using (trace_id)
left join caches on waits.run = caches.run and waits.cache = caches.cache
left join zones on waits.run = zones.run and waits.zone = zones.zone
order by
    waits.run,
    waits.slice is not null,
    waits.met_high desc nulls last,
    waits.takes desc,
    waits.lock,
    "of",
    waits.slice
