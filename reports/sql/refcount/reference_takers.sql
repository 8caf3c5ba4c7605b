-- reference_takers: one row is one function that took references on pages of one kind, allocated by
-- one function, of one cache, in one run.
--
-- Only recordings with page_ref events have rows; who took the references is known where these
-- events carry a stack (a stacktrace trigger on page_ref_mod and page_ref_mod_unless).
--
-- Columns:
--   run         Replay of one trace.
--   trace       Name of the trace set.
--   page_kind   Whose pages.
--   caller      Function that allocated them; NULL: no stack was recorded.
--   cache       Slab pages: the cache; NULL: not slab, or not known.
--   taker       Function that took the references; NULL: no stack was recorded.
--   references  Operations that took a reference beyond the first, in lives whole or not.
--   lives       Page lives in which it did.
--   low_count   Lowest count right after it did (P1).
--   high_count  Highest count right after it did (P1).
select
    lives.run,
    traces.trace,
    lives.page_kind,
    lives.caller,
    lives.cache,
    stacks.caller as taker,
    count(*) as "references",
    count(distinct lives.page) as lives,
    min(events.count) as low_count,
    max(events.count) as high_count
from page_events as events
inner join reference_lives as lives using (run, page)
left join stacks on events.run = stacks.run and events.stack = stacks.stack
inner join runs on lives.run = runs.run
inner join traces using (trace_id)
where
    (events.event in ('page_ref_mod', 'page_ref_mod_and_return') and events.val > 0)
    or (events.event = 'page_ref_mod_unless' and events.val > 0 and events.ret != 0)
    or (events.event = 'page_ref_set' and events.val > 1)
group by
    lives.run, traces.trace, lives.page_kind, lives.caller, lives.cache, stacks.caller
order by
    lives.run, "references" desc, lives.page_kind, lives.caller, lives.cache, taker
