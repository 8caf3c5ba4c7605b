-- reference_lives: one row is one page life of one run whose recording has page_ref events, with
-- what was done to its count.
--
-- A life is whole if it began and ended in the recording. Its birth is the first set of each of its
-- pages that has a count, its end the operations that took the count to zero right before
-- mm_page_free; what is neither is use.
--
-- Columns:
--   run          Replay of one trace.
--   page         Handle of the life (pages.page).
--   page_kind    Whose page.
--   cache        Slab pages: name of the cache; NULL: not slab, or not known.
--   caller       Function that allocated the page; NULL: no stack was recorded.
--   entry_level  Where it enters the page allocator (call_levels.level); NULL: no stack.
--   begun        The life began in the recording.
--   whole        The life began and ended in the recording.
--   births       Plain stores that gave it its count; 0 in a whole life: it is a frozen page.
--   ends         Locked instructions that took its count to zero before its free.
--   use_plain    Plain stores in between.
--   use_locked   Locked instructions in between.
--   takes        Operations that took a reference beyond the one it was born with.
--   peak_count   Highest count an event of the life showed (P1).
select
    pages.run,
    pages.page,
    pages.page_kind,
    caches.name as cache,
    stacks.caller,
    stacks.entry_level,
    pages.alloc_ts is not null as begun,
    begun and pages.free_seq is not null as whole,
    pages.ref_plain - pages.ref_use_plain as births,
    pages.ref_locked - pages.ref_use_locked as ends,
    pages.ref_use_plain as use_plain,
    pages.ref_use_locked as use_locked,
    pages.ref_takes as takes,
    pages.peak_count
from pages
left join page_caches using (run, page)
left join caches on page_caches.run = caches.run and page_caches.cache = caches.cache
left join stacks on pages.run = stacks.run and pages.stack = stacks.stack
where pages.ref_locked is not null
