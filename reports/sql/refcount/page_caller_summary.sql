-- page_caller_summary: one row is one function that allocates pages of one kind, in one run under
-- one policy.
--
-- Only recordings with a kernel stack after mm_page_alloc have rows with a caller. Operations that
-- are assumed per page table (policy_costs) have none, and are in no row.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   policy           Name of the refcount policy.
--   caller           Innermost function of the stack that is not the page allocator's own.
--   page_kind        Whose pages.
--   page_allocs      mm_page_alloc events, of any order.
--   page_frees       mm_page_free events of those lives, of any order.
--   plain_ops        Plain stores to reference counts.
--   locked_ops       Locked instructions on reference counts; assumed: middle of the range.
--   locked_ops_low   The same, at least.
--   locked_ops_high  The same, at most.
select
    costs.run,
    traces.trace,
    policies.name as policy,
    stacks.caller,
    costs.page_kind,
    sum(costs.page_allocs)::bigint as page_allocs,
    sum(costs.page_frees)::bigint as page_frees,
    sum(costs.plain_ops)::bigint as plain_ops,
    sum(costs.locked_ops)::bigint as locked_ops,
    sum(costs.locked_ops_low)::bigint as locked_ops_low,
    sum(costs.locked_ops_high)::bigint as locked_ops_high
from life_costs as costs
inner join stacks using (run, stack)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
group by
    costs.run, traces.trace, policies.policy, policies.name, stacks.caller, costs.page_kind
order by
    costs.run, policies.policy, locked_ops desc, page_allocs desc, stacks.caller, costs.page_kind
