-- events: one row is one recorded event of one run, with what the model says of it.
--
-- The view object_events and the tables object_stacks and page_events together; event_log has names
-- for the numbers.
--
-- Columns:
--   run          Replay of one trace.
--   seq          Row of the event in the trace set, from 0.
--   ts           [ns] Time on the recording's clock.
--   cpu          CPU that did the operation.
--   pid          Task that was current.
--   event        Which tracepoint.
--   call_site    Address that called the allocator.
--   bytes_req    [bytes] Asked for.
--   bytes_alloc  [bytes] Given.
--   pfn          First page frame.
--   order        Block of 2^order pages.
--   val          page_ref: operand of the operation.
--   ret          page_ref: result of the operation.
--   count        page_ref: count re-read after the operation (P1).
--   stack        Kernel stack that followed the event (stacks.stack).
--   object       Object life the event belongs to; NULL: none.
--   cache        Cache of the object (caches.cache); NULL: none, or not known.
--   cache_how    Rule that gave the cache; NULL: no object of a cache.
--   page         Page life (pages.page) the event belongs to or lies on; NULL: none.
--   page_kind    Kind of that page; NULL: no page event.
--   kind_how     How the kind is known; NULL: no page event.
--   slab         First page frame of the slab the object lies on; NULL: none, or not known.
--   lifetime     [ns] Length of the life begun or ended here; NULL: open, or no life.
--   plain_ops    Plain stores to a reference count by this event.
--   locked_ops   Locked instructions on a reference count by this event.
select
    events.run,
    events.seq,
    events.ts,
    events.cpu,
    events.pid,
    events.event,
    events.call_site,
    events.bytes_req,
    events.bytes_alloc,
    null::bigint as pfn,
    null::integer as "order",
    null::bigint as val,
    null::bigint as ret,
    null::bigint as "count",
    stacks.stack,
    events.object,
    events.cache,
    events.cache_how,
    events.page,
    null as page_kind,
    null as kind_how,
    case when pages.page_kind = 'slab' then pages.pfn end as slab,
    events.lifetime,
    0::bigint as plain_ops,
    0::bigint as locked_ops
from object_events as events
left join internal.object_stacks as stacks using (run, seq)
left join pages using (run, page)
union all
select
    run,
    seq,
    ts,
    cpu,
    pid,
    event,
    null as call_site,
    null as bytes_req,
    null as bytes_alloc,
    pfn,
    "order",
    val,
    ret,
    "count",
    stack,
    null as object,
    null as cache,
    null as cache_how,
    page,
    page_kind,
    kind_how,
    null as slab,
    lifetime,
    plain_ops,
    locked_ops
from page_events
