-- waste_by_site: one row is one place in the kernel that allocates objects of one cache, in one
-- recorded run: what it asks for against what it is given, and what of it stays.
--
-- Of objects allocated in the recording; live at its end are those of which nothing in it shows an end
-- (object_lives). Some of them were freed without an event (T6: kfree_rcu through sheaves, on 7.x).
-- What is lost inside a slab, behind its last object and between objects, is not in it; slabinfo has
-- that.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   site              Place that allocated, as function+0x1c; the bare address where not resolved.
--   module            Module of the function; NULL: the kernel itself.
--   cache             Name of the cache; NULL: not known, or whole pages.
--   allocs            Objects allocated.
--   bytes_req         [bytes] Asked for, over all allocations.
--   bytes_alloc       [bytes] Given.
--   waste_bytes       [bytes] bytes_alloc less bytes_req.
--   waste_pct         [%] waste_bytes of bytes_alloc.
--   live_objects      Of these objects, live at the end.
--   live_bytes_req    [bytes] Asked for by these.
--   live_bytes_alloc  [bytes] Given to these.
--   live_waste_bytes  [bytes] live_bytes_alloc less live_bytes_req: waste that stays.
--   live_waste_pct    [%] live_waste_bytes of live_bytes_alloc.
with sites as (
    select
        run,
        call_site,
        cache,
        count(*) as allocs,
        sum(bytes_req)::bigint as bytes_req,
        sum(bytes_alloc)::bigint as bytes_alloc,
        count(*) filter (end_ts is null) as live_objects,
        coalesce(sum(bytes_req) filter (end_ts is null), 0)::bigint as live_bytes_req,
        coalesce(sum(bytes_alloc) filter (end_ts is null), 0)::bigint as live_bytes_alloc
    from object_lives
    group by run, call_site, cache
)

select
    sites.run,
    traces.trace,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(sites.call_site))
    ) as site,
    call_sites.module,
    caches.name as cache,
    sites.allocs,
    sites.bytes_req,
    sites.bytes_alloc,
    sites.bytes_alloc - sites.bytes_req as waste_bytes,
    100 * (sites.bytes_alloc - sites.bytes_req) / nullif(sites.bytes_alloc, 0) as waste_pct,
    sites.live_objects,
    sites.live_bytes_req,
    sites.live_bytes_alloc,
    sites.live_bytes_alloc - sites.live_bytes_req as live_waste_bytes,
    100 * (sites.live_bytes_alloc - sites.live_bytes_req)
    / nullif(sites.live_bytes_alloc, 0) as live_waste_pct
from sites
inner join runs using (run)
inner join traces using (trace_id)
left join caches using (run, cache)
left join call_sites using (run, call_site)
order by sites.run, waste_bytes desc, site, cache
