-- object_events: one row is one recorded event of one run that allocates or frees an object, with
-- what the model says of it.
--
-- The tables object_facts and object_origins together.
--
-- Columns:
--   run          Replay of one trace.
--   seq          Row of the event in the trace set, from 0.
--   ts           [ns] Time on the recording's clock.
--   cpu          CPU that did the operation.
--   pid          Task that was current.
--   event        Which tracepoint.
--   call_site    Address that called the allocator.
--   bytes_req    [bytes] Asked for; NULL: a free.
--   bytes_alloc  [bytes] Given; NULL: a free.
--   object       Object life the event belongs to; NULL: none.
--   cache        Cache of the object (caches.cache); NULL: none, or not known.
--   cache_how    Rule that gave the cache; NULL: no object of a cache.
--   page         Page life (pages.page) the object lies on; NULL: none known.
--   lifetime     [ns] Length of the life begun or ended here; NULL: open, or no life.
select
    facts.run,
    facts.seq,
    facts.ts,
    facts.cpu,
    facts.pid,
    origins.event,
    origins.call_site,
    origins.bytes_req,
    origins.bytes_alloc,
    facts.object,
    origins.cache,
    origins.cache_how,
    facts.page,
    facts.lifetime
from internal.object_facts as facts
inner join internal.object_origins as origins using (origin)
