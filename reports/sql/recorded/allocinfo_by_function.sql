-- allocinfo_by_function: one row is one function of the source, with what the kernel counted for it
-- and what was recorded of it, in one run.
--
-- /proc/allocinfo counts what is alive by the place that allocated it (observed by the kernel);
-- the recording has the objects that functions of the same name and module allocated, and which of
-- them it saw freed (observed). A compiler's .part, .isra and .constprop are taken off the recorded
-- name. Where a function is inlined into another, the kernel counts for the one and the recording
-- for the other. Of the recording only objects are here (kmalloc, caches): pages have no call site.
-- What was allocated before the recording and freed in it, and what no event shows (pages, per-CPU
-- memory, bulk allocations), is in unseen_bytes. None without a snapshot of /proc/allocinfo.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   function         The function.
--   module           Its module; NULL: the kernel itself.
--   places           Its places in the source, as file:line, the largest first.
--   bytes_before     [bytes] Allocated by it and not freed, before; NULL: no snapshot.
--   bytes_after      [bytes] The same, behind the recording; NULL: no snapshot.
--   bytes_change     [bytes] bytes_after less bytes_before.
--   calls_change     Allocations not freed, after less before.
--   accurate         False: the kernel says that it has missed some.
--   recorded_allocs  Objects that the recording has of it; 0: none.
--   recorded_bytes   [bytes] Given to these.
--   live_objects     Of these, those whose free was not seen.
--   live_bytes       [bytes] Given to those.
--   unseen_bytes     [bytes] bytes_change less live_bytes: what no event of it shows.
with tagged as (
    select
        run,
        function,
        coalesce(module, '') as module,
        string_agg(file || ':' || line, ', ' order by coalesce(bytes_after, bytes_before) desc, file, line)
            as places,
        sum(bytes_before)::bigint as bytes_before,
        sum(bytes_after)::bigint as bytes_after,
        sum(calls_after)::bigint - sum(calls_before)::bigint as calls_change,
        bool_and(accurate) as accurate
    from allocinfo
    group by run, function, coalesce(module, '')
),

objects as (
    select
        run,
        call_site,
        count(*) as allocs,
        sum(bytes_alloc)::bigint as bytes,
        count(*) filter (lifetime is null) as live,
        coalesce(sum(bytes_alloc) filter (lifetime is null), 0)::bigint as live_bytes
    from object_events
    where event in ('kmalloc', 'kmem_cache_alloc') and object is not null
    group by run, call_site
),

recorded as (
    select
        objects.run,
        split_part(call_sites.symbol, '.', 1) as function,
        coalesce(call_sites.module, '') as module,
        sum(objects.allocs)::bigint as allocs,
        sum(objects.bytes)::bigint as bytes,
        sum(objects.live)::bigint as live,
        sum(objects.live_bytes)::bigint as live_bytes
    from objects
    inner join call_sites using (run, call_site)
    where call_sites.symbol is not null
    group by objects.run, split_part(call_sites.symbol, '.', 1), coalesce(call_sites.module, '')
)

select
    tagged.run,
    traces.trace,
    tagged.function,
    nullif(tagged.module, '') as module,
    tagged.places,
    tagged.bytes_before,
    tagged.bytes_after,
    tagged.bytes_after - tagged.bytes_before as bytes_change,
    tagged.calls_change,
    tagged.accurate,
    coalesce(recorded.allocs, 0)::bigint as recorded_allocs,
    coalesce(recorded.bytes, 0)::bigint as recorded_bytes,
    coalesce(recorded.live, 0)::bigint as live_objects,
    coalesce(recorded.live_bytes, 0)::bigint as live_bytes,
    tagged.bytes_after - tagged.bytes_before - coalesce(recorded.live_bytes, 0)::bigint as unseen_bytes
from tagged
left join recorded using (run, function, module)
inner join runs using (run)
inner join traces using (trace_id)
order by tagged.run, coalesce(tagged.bytes_after, tagged.bytes_before) desc, tagged.function, tagged.module
