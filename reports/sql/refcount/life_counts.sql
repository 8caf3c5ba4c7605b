-- life_counts: one row is the page lives of one run that are alike: of one kind, known in one way,
-- of one cache, from one stack.
--
-- Columns:
--   run                Replay of one trace.
--   page_kind          Whose pages.
--   kind_how           How the kind is known.
--   cache              Slab pages: the cache (caches.cache); NULL: not slab, or not known.
--   stack              Stack of the allocation (stacks.stack); NULL: none recorded.
--   page_allocs        mm_page_alloc events that began such a life, of any order.
--   page_frees         mm_page_free events of such lives; a split block is freed in parts (T10).
--   counted_allocs     These, and allocations that only their first page_ref_set shows (bulk, T8).
--   pages_allocated    [pages] Base pages of the counted allocations.
--   pages_freed        [pages] Base pages of these frees.
--   recorded_uses      Lives whose use stage page_ref events tell.
--   assumed_uses       Allocations whose use stage nothing shows.
--   assumed_use_pages  [pages] Base pages of allocations whose use stage nothing shows.
--   use_plain_ops      Plain stores recorded in the use stage.
--   use_locked_ops     Locked instructions recorded in the use stage.
select
    run,
    page_kind,
    kind_how,
    cache,
    stack,
    count(alloc_seq) as page_allocs,
    sum(frees)::bigint as page_frees,
    count(alloc_ts) as counted_allocs,
    coalesce(sum(1 << "order") filter (alloc_ts is not null), 0)::bigint as pages_allocated,
    sum(pages_freed)::bigint as pages_freed,
    count(ref_use_locked) as recorded_uses,
    count(alloc_seq) filter (ref_use_locked is null) as assumed_uses,
    coalesce(
        sum(1 << "order") filter (alloc_seq is not null and ref_use_locked is null), 0
    )::bigint as assumed_use_pages,
    coalesce(sum(ref_use_plain), 0)::bigint as use_plain_ops,
    coalesce(sum(ref_use_locked), 0)::bigint as use_locked_ops
from pages
group by run, page_kind, kind_how, cache, stack
