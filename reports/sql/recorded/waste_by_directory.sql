-- waste_by_directory: one row is one directory of the kernel's sources from which objects are
-- allocated, in one recorded run: what it asks for against what it is given, and what of it stays.
--
-- The directory is that of the call site (call_sites.directory); a helper that many subsystems call
-- allocates for all of them. Objects allocated before the recording are none, and of those that seem
-- live at the end some were freed without an event (T6). What is lost inside a slab, behind its last
-- object and between objects, is not in it; slabinfo has that.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   directory         From the top of the sources; NULL: not known.
--   place_how         How it is known, at worst; runs.places says by what.
--   sites             Places that allocate, of which it is made.
--   allocs            Objects allocated.
--   bytes_req         [bytes] Asked for, over all allocations.
--   bytes_alloc       [bytes] Given.
--   waste_bytes       [bytes] bytes_alloc less bytes_req.
--   waste_pct         [%] waste_bytes of bytes_alloc.
--   live_objects      Of these objects, live at the end.
--   live_bytes_alloc  [bytes] Given to these.
--   live_waste_bytes  [bytes] Of that, not asked for: waste that stays.
--   live_waste_pct    [%] live_waste_bytes of live_bytes_alloc.
with sites as (
    select
        run,
        call_site,
        count(*) as allocs,
        sum(bytes_req)::bigint as bytes_req,
        sum(bytes_alloc)::bigint as bytes_alloc,
        count(*) filter (end_ts is null) as live_objects,
        coalesce(sum(bytes_req) filter (end_ts is null), 0)::bigint as live_bytes_req,
        coalesce(sum(bytes_alloc) filter (end_ts is null), 0)::bigint as live_bytes_alloc
    from object_lives
    group by run, call_site
),

directories as (
    select
        sites.run,
        call_sites.directory,
        max(coalesce(call_sites.place_how, 'unknown')) as place_how,
        count(*) as sites,
        sum(sites.allocs)::bigint as allocs,
        sum(sites.bytes_req)::bigint as bytes_req,
        sum(sites.bytes_alloc)::bigint as bytes_alloc,
        sum(sites.live_objects)::bigint as live_objects,
        sum(sites.live_bytes_req)::bigint as live_bytes_req,
        sum(sites.live_bytes_alloc)::bigint as live_bytes_alloc
    from sites
    left join call_sites using (run, call_site)
    group by sites.run, call_sites.directory
)

select
    directories.run,
    traces.trace,
    directories.directory,
    directories.place_how,
    directories.sites,
    directories.allocs,
    directories.bytes_req,
    directories.bytes_alloc,
    directories.bytes_alloc - directories.bytes_req as waste_bytes,
    100 * (directories.bytes_alloc - directories.bytes_req)
    / nullif(directories.bytes_alloc, 0) as waste_pct,
    directories.live_objects,
    directories.live_bytes_alloc,
    directories.live_bytes_alloc - directories.live_bytes_req as live_waste_bytes,
    100 * (directories.live_bytes_alloc - directories.live_bytes_req)
    / nullif(directories.live_bytes_alloc, 0) as live_waste_pct
from directories
inner join runs using (run)
inner join traces using (trace_id)
order by directories.run, waste_bytes desc, directories.directory
