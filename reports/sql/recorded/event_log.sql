-- event_log: one row is one recorded event of one run, with names for numbers.
--
-- Columns:
--   run          Replay of one trace.
--   trace        Name of the trace set.
--   seq          Row of the event in the trace set, from 0.
--   ts           [ns] Time on the recording's clock.
--   cpu          CPU that did the operation.
--   pid          Task that was current.
--   comm         Its name, as far as the recording says.
--   event        Name of the tracepoint.
--   symbol       Place that called the allocator, as function+0x1c.
--   object       Object life the event belongs to.
--   cache        Cache of the object.
--   cache_how    Rule that gave the cache.
--   bytes_req    [bytes] Asked for.
--   bytes_alloc  [bytes] Given.
--   pfn          First page frame.
--   order        Block of 2^order pages.
--   page         Page life (pages.page) the event belongs to or lies on.
--   page_kind    Whose page.
--   kind_how     How that is known.
--   slab         First page frame of the slab the object lies on.
--   lifetime     [ns] Length of the life begun or ended here.
--   plain_ops    Plain stores to a reference count by this event.
--   locked_ops   Locked instructions on a reference count by this event.
--   stack        Functions from outermost to innermost, joined by ';'.
select
    events.run,
    traces.trace,
    events.seq,
    events.ts,
    events.cpu,
    events.pid,
    tasks.comm,
    events.event,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(events.call_site))
    ) as symbol,
    events.object,
    caches.name as cache,
    events.cache_how,
    events.bytes_req,
    events.bytes_alloc,
    events.pfn,
    events.order,
    events.page,
    events.page_kind,
    events.kind_how,
    events.slab,
    events.lifetime,
    events.plain_ops,
    events.locked_ops,
    stacks.frames as stack
from events
inner join runs using (run)
inner join traces using (trace_id)
left join tasks using (run, pid)
left join call_sites using (run, call_site)
left join caches using (run, cache)
left join stacks using (run, stack)
