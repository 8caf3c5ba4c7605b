-- page_caller_summary: one row is one function that allocates pages of one kind, in one run under
-- one policy.
--
-- Only recordings with a kernel stack behind mm_page_alloc have rows with a caller.
--
-- Columns:
--   run          Replay of one trace.
--   trace        Name of the trace set.
--   policy       Name of the refcount policy.
--   caller       Innermost function of the stack that is not the page allocator's own.
--   page_kind    Whose pages.
--   page_allocs  mm_page_alloc events, of any order.
--   page_frees   mm_page_free events of those lives, of any order.
--   plain_ops    Plain stores to reference counts.
--   locked_ops   Locked instructions on reference counts.
with lives as (
    select
        pages.run,
        stacks.caller,
        pages.page_kind,
        count(*) as page_allocs,
        sum(pages.frees)::bigint as page_frees,
        count(*) filter (pages.ref_use_locked is null) as assumed_uses,
        coalesce(sum(pages.ref_use_plain), 0)::bigint as use_plain,
        coalesce(sum(pages.ref_use_locked), 0)::bigint as use_locked
    from pages
    inner join stacks using (run, stack)
    where pages.alloc_seq is not null
    group by pages.run, stacks.caller, pages.page_kind
)

select
    lives.run,
    traces.trace,
    policies.name as policy,
    lives.caller,
    page_kinds.name as page_kind,
    lives.page_allocs,
    lives.page_frees,
    page_allocs * costs.alloc_plain
    + lives.use_plain + assumed_uses * costs.use_plain
    + page_frees * costs.free_plain as plain_ops,
    page_allocs * costs.alloc_locked
    + lives.use_locked + assumed_uses * costs.use_locked
    + page_frees * costs.free_locked as locked_ops
from lives
inner join policy_costs as costs using (run, page_kind)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
inner join page_kinds using (page_kind)
order by
    lives.run, policies.policy, locked_ops desc, page_allocs desc, lives.caller, page_kinds.name
