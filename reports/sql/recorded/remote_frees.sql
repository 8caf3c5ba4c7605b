-- remote_frees: one row is one pair of CPUs in one cache of one recorded run: who frees what whom.
--
-- Of objects whose allocation and free were both seen. Where the two CPUs differ the free is remote.
--
-- Columns:
--   run         Recorded run.
--   trace       Name of the trace set.
--   cache       Name of the cache; NULL: not known, or whole pages.
--   alloc_cpu   CPU that allocated.
--   free_cpu    CPU that freed.
--   objects     Objects.
select
    runs.run,
    traces.trace,
    caches.name as cache,
    born.cpu as alloc_cpu,
    gone.cpu as free_cpu,
    count(*) as objects
from object_events as born
inner join object_events as gone on born.run = gone.run and born.seq = gone.object
inner join runs on born.run = runs.run
inner join traces using (trace_id)
left join caches on born.run = caches.run and born.cache = caches.cache
where
    born.event in ('kmalloc', 'kmem_cache_alloc')
    and gone.event in ('kfree', 'kmem_cache_free')
group by runs.run, traces.trace, caches.name, born.cpu, gone.cpu
order by runs.run, cache, alloc_cpu, free_cpu
