-- remote_frees_by_site: one row is one place that allocates objects, one that frees them, one cache and
-- one distance between the CPUs that do so, in one recorded run.
--
-- Of objects whose allocation and free were both seen (observed); remote_frees has the CPUs instead.
--
-- Columns:
--   run         Recorded run.
--   trace       Name of the trace set.
--   cache       Name of the cache; NULL: not known, or whole pages.
--   alloc_site  Place that allocated, as function+0x1c.
--   free_site   Place that freed.
--   distance    How far apart the CPUs are (view cpu_distances).
--   objects     Objects.
--   bytes       [bytes] Given for them (bytes_alloc).
--   share_pct   [%] Of these objects, of all that alloc_site allocated and whose free was seen.
with pairs as (
    select
        born.run,
        born.cache,
        born.call_site as alloc_site,
        gone.call_site as free_site,
        born.cpu as alloc_cpu,
        gone.cpu as free_cpu,
        count(*) as objects,
        sum(born.bytes_alloc)::bigint as bytes
    from object_events as born
    inner join object_events as gone on born.run = gone.run and born.seq = gone.object
    where
        born.event in ('kmalloc', 'kmem_cache_alloc')
        and gone.event in ('kfree', 'kmem_cache_free')
    group by all
),

placed as (
    select
        pairs.run,
        traces.trace,
        pairs.cache,
        pairs.alloc_site,
        pairs.free_site,
        cpu_distances.distance,
        sum(pairs.objects)::bigint as objects,
        sum(pairs.bytes)::bigint as bytes
    from pairs
    inner join runs using (run)
    inner join traces using (trace_id)
    left join cpu_distances using (trace_id, alloc_cpu, free_cpu)
    group by all
),

sites as (
    select
        run,
        call_site,
        coalesce(
            symbol || '+0x' || lower(to_hex("offset")), '0x' || lower(to_hex(call_site))
        ) as symbol
    from call_sites
)

select
    placed.run,
    placed.trace,
    caches.name as cache,
    allocs.symbol as alloc_site,
    frees.symbol as free_site,
    placed.distance,
    placed.objects,
    placed.bytes,
    100 * placed.objects
    / sum(placed.objects) over (partition by placed.run, placed.alloc_site) as share_pct
from placed
left join caches using (run, cache)
left join sites as allocs on placed.run = allocs.run and placed.alloc_site = allocs.call_site
left join sites as frees on placed.run = frees.run and placed.free_site = frees.call_site
order by placed.run, placed.objects desc, cache, alloc_site, free_site, placed.distance
