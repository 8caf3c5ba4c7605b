-- failed_requests: one row is one allocation of one recorded run that got nothing: a NULL pointer, or
-- no page.
--
-- All of it is observed. A request for pages that a retry of the same caller serves, as slab pages of
-- a smaller order are, has a row of its own all the same: what was asked for was refused. Why is not
-- recorded: free memory and watermarks are known at the snapshots only.
--
-- Columns:
--   run        Replay of one trace.
--   trace      Name of the trace set.
--   seq        Row of the event in the trace set, from 0.
--   seconds    [s] Since the first event.
--   cpu        CPU that asked.
--   pid        Task that was current.
--   comm       Its name, as far as the recording says.
--   event      Which tracepoint.
--   order      Pages asked for: 2^order of them; NULL: an object.
--   bytes_req  [bytes] Object asked for; NULL: pages.
--   cache      Cache of the object; NULL: pages, or not known.
--   site       Who asked: function+0x1c of an object, function of pages; NULL: not recorded.
--   gfp        gfp flags by name; NULL: before Linux 4.6.
--   may_wait   It was allowed to reclaim memory (__GFP_DIRECT_RECLAIM).
--   quiet      It was to fail without a warning (__GFP_NOWARN).
select
    refused.run,
    traces.trace,
    refused.seq,
    (coalesce(objects.ts, page_events.ts) - runs.first_ts) / 1e9 as seconds,
    coalesce(objects.cpu, page_events.cpu) as cpu,
    coalesce(objects.pid, page_events.pid) as pid,
    tasks.comm,
    coalesce(objects.event, page_events.event) as event,
    page_events."order",
    objects.bytes_req,
    caches.name as cache,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(objects.call_site)),
        stacks.caller
    ) as site,
    gfp_names.names as gfp,
    refused.gfp_flags & 1024 <> 0 as may_wait,
    refused.gfp_flags & 8192 <> 0 as quiet
from refused_requests as refused
left join object_events as objects using (run, seq)
left join page_events using (run, seq)
inner join runs using (run)
inner join traces using (trace_id)
inner join gfp_names on refused.run = gfp_names.run and refused.gfp_flags = gfp_names.gfp_flags
left join tasks
    on refused.run = tasks.run and tasks.pid = coalesce(objects.pid, page_events.pid)
left join caches on refused.run = caches.run and objects.cache = caches.cache
left join call_sites
    on refused.run = call_sites.run and objects.call_site = call_sites.call_site
left join stacks on refused.run = stacks.run and page_events.stack = stacks.stack
order by refused.run, refused.seq
