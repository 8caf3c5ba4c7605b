-- call_site_summary: one row is one place in the kernel that allocates or frees objects, in one
-- run.
--
-- kfree(NULL) frees no object (T4).
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   call_site        Address that called the allocator.
--   symbol           Function and offset, as function+0x1c; the bare address where not resolved.
--   module           Module of the function; NULL: the kernel itself.
--   allocs           Objects allocated by it.
--   frees            Objects freed by it.
--   bytes_req        [bytes] Asked for by it, over all allocations.
--   bytes_alloc      [bytes] Given to it, over all allocations.
--   waste_bytes      [bytes] bytes_alloc less bytes_req.
--   live_objects     Objects allocated by it whose free was not seen.
--   lifetime_median  [ns] Of its objects whose free was seen.
with sites as (
    select
        run,
        call_site,
        count(object) filter (event in ('kmalloc', 'kmem_cache_alloc')) as allocs,
        count(object) filter (event in ('kfree', 'kmem_cache_free')) as frees,
        coalesce(sum(bytes_req), 0)::bigint as bytes_req,
        coalesce(sum(bytes_alloc), 0)::bigint as bytes_alloc,
        count(object) filter (event in ('kmalloc', 'kmem_cache_alloc') and lifetime is null) as live_objects
    from object_events
    where call_site is not null
    group by run, call_site
)

select
    sites.run,
    traces.trace,
    sites.call_site,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(sites.call_site))
    ) as symbol,
    call_sites.module,
    sites.allocs,
    sites.frees,
    sites.bytes_req,
    sites.bytes_alloc,
    sites.bytes_alloc - sites.bytes_req as waste_bytes,
    sites.live_objects,
    medians.lifetime_median
from sites
left join call_sites using (run, call_site)
left join lifetime_medians as medians
    on sites.run = medians.run and sites.call_site = medians.key and medians.what = 'call site'
inner join runs using (run)
inner join traces using (trace_id)
order by sites.run, bytes_alloc desc, sites.call_site
