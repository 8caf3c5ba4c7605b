-- extfrag_events: one row is one mm_page_alloc_extfrag event of one recorded run: a request for which
-- the page allocator took a block from the free lists of another migratetype.
--
-- All of it is observed. Where changed_ownership is true the page block is of the type asked for when
-- the event is written: it was claimed, or was so before; where it is false, pages were taken and the
-- block stays another type's (mm/page_alloc.c:__rmqueue_claim, __rmqueue_steal, 7.2). What compaction
-- captures of another type is among them (compaction_capture, 6.17 to 7.2, not 6.12).
--
-- Columns:
--   run                   Replay of one trace.
--   trace                 Name of the trace set.
--   seq                   Row of the event in the trace set, from 0.
--   seconds               [s] Since the first event.
--   cpu                   CPU that did it.
--   pid                   Task that was current.
--   comm                  Its name, as far as the recording says.
--   pfn                   First page frame of the block that was taken.
--   order                 Asked for: a block of 2^order pages.
--   migratetype           Migratetype asked for.
--   fallback_order        Order of the free block that was fallen back to.
--   fallback_migratetype  Migratetype whose list it lay on.
--   changed_ownership     The page block is of the type asked for afterwards.
--   fragmenting           The free block was smaller than a page block of 2 MiB, so others share it.
select
    taken.run,
    traces.trace,
    taken.seq,
    (events.ts - runs.first_ts) / 1e9 as seconds,
    events.cpu,
    events.pid,
    tasks.comm,
    events.pfn,
    events."order",
    taken.migratetype,
    taken.fallback_order::bigint as fallback_order,
    taken.fallback_migratetype,
    taken.change_ownership as changed_ownership,
    traces.page_size << taken.fallback_order < 2097152 as fragmenting
from fallbacks as taken
inner join page_events as events using (run, seq)
inner join runs using (run)
inner join traces using (trace_id)
left join tasks using (run, pid)
order by taken.run, taken.seq
