-- placements: one row is one recorded event in one simulated run: where the model put it, and where
-- the kernel had put it.
--
-- Columns:
--   run            Simulated run.
--   of_run         Recorded run its requests were taken from.
--   seq            Row of the event in the trace set, from 0.
--   ts             [ns] Time on the recording's clock.
--   cpu            CPU that did the operation.
--   event          Name of the tracepoint.
--   cache          Name of the object's cache.
--   object         Object life (object_events.object).
--   path           How the model served it (paths.path).
--   slab           Slab the model put the object on (placed_slabs.slab); below -1: an older one.
--   idx            Place of the object in it.
--   pfn            First page frame the model gave: of the block, or of the object's slab.
--   recorded_slab  First page frame of the slab the kernel had put the object on.
--   recorded_pfn   First page frame the kernel gave.
select
    placed.run,
    runs.of_run,
    placed.seq,
    events.ts,
    events.cpu,
    events.event,
    caches.name as cache,
    events.object,
    placed.path,
    placed.slab,
    placed.idx,
    coalesce(placed.pfn, slabs.pfn) as pfn,
    events.slab as recorded_slab,
    events.pfn as recorded_pfn
from placed_events as placed
inner join runs using (run)
inner join events on events.run = runs.of_run and events.seq = placed.seq
left join placed_slabs as slabs on placed.run = slabs.run and placed.slab = slabs.slab
left join caches on events.run = caches.run and events.cache = caches.cache
