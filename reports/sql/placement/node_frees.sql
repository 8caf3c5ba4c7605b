-- node_frees: one row is one cache of one simulated run: frees of other nodes' objects.
--
-- On a machine of several memory nodes a free goes past the sheaves if the object's slab lies on
-- another node than the CPU, unless the CPU's node has no memory (R3.26). Runs with sheaves, caches
-- that have such a free. Frees that no event shows (T6) are not in it.
--
-- Columns:
--   run           Simulated run.
--   trace         Name of the trace set.
--   cache         Name of the cache.
--   what_if       Why it is not the recorded kernel as it was; NULL: it is.
--   frees         Frees of its objects.
--   remote_frees  Of these, past the sheaves, since the object is another node's.
--   remote_pct    [%] Share of them.
select
    runs.run,
    traces.trace,
    caches.name as cache,
    runs.what_if,
    count(*) as frees,
    count(*) filter (placed.path = 'remote_free') as remote_frees,
    100 * count(*) filter (placed.path = 'remote_free') / count(*) as remote_pct
from placed_events as placed
inner join runs using (run)
inner join traces using (trace_id)
inner join object_events as events on runs.of_run = events.run and placed.seq = events.seq
inner join caches on events.run = caches.run and events.cache = caches.cache
where events.event in ('kfree', 'kmem_cache_free')
group by runs.run, traces.trace, caches.name, runs.what_if
having remote_frees > 0
order by runs.run, remote_frees desc, cache
