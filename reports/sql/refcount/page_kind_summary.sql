-- page_kind_summary: one row is one kind of page of one run under one policy.
--
-- An allocation or a free counts once, of whatever order. Operations are those of the stages
-- allocation, use and free. The use stage is what was recorded where the recording has page_ref
-- events. Under the policy of another kernel it is what that kernel would have done on the same
-- workload: what was recorded, changed by the rules that differ (policy_steps). Where nothing was
-- recorded it is assumed, as a range between what the policy's table says at least and at most per
-- allocation and per page table (policy_costs). use_how says which.
--
-- Columns:
--   run                  Replay of one trace.
--   trace                Name of the trace set.
--   policy               Name of the refcount policy.
--   page_kind            Whose pages.
--   page_allocs          mm_page_alloc events that began a life of this kind.
--   page_frees           mm_page_free events of such lives; a split block is freed in parts (T10).
--   plain_ops            Plain stores to reference counts.
--   locked_ops           Locked instructions on reference counts; assumed: middle of the range.
--   locked_ops_low       The same, at least; equal where nothing is assumed.
--   locked_ops_high      The same, at most.
--   use_plain_ops        Of plain_ops, those of the use stage.
--   use_locked_ops       Of locked_ops, those of the use stage.
--   use_locked_ops_low   The same, at least.
--   use_locked_ops_high  The same, at most.
--   use_how              observed (page_ref events), inferred, assumed (the policy's table), mixed.
--   observed_pct         [%] Share of page_allocs whose kind was observed.
--   inferred_pct         [%] Share of page_allocs whose kind was inferred.
--   assumed_pct          [%] Share of page_allocs whose kind was assumed.
select
    costs.run,
    traces.trace,
    policies.name as policy,
    costs.page_kind,
    sum(page_allocs)::bigint as page_allocs,
    sum(page_frees)::bigint as page_frees,
    sum(plain_ops)::bigint as plain_ops,
    sum(locked_ops)::bigint as locked_ops,
    sum(locked_ops_low)::bigint as locked_ops_low,
    sum(locked_ops_high)::bigint as locked_ops_high,
    sum(recorded_use_plain_ops + inferred_use_plain_ops + assumed_use_plain_ops)::bigint
        as use_plain_ops,
    sum(recorded_use_locked_ops + inferred_use_locked_ops + assumed_use_locked_ops)::bigint
        as use_locked_ops,
    sum(recorded_use_locked_ops + inferred_use_locked_ops + assumed_use_locked_ops_low)::bigint
        as use_locked_ops_low,
    sum(recorded_use_locked_ops + inferred_use_locked_ops + assumed_use_locked_ops_high)::bigint
        as use_locked_ops_high,
    case
        when sum(recorded_uses) = 0 then 'assumed'
        when sum(assumed_uses) > 0 then 'mixed'
        when sum(replaced_use_plain_ops + replaced_use_locked_ops) > 0 then 'inferred'
        else 'observed'
    end as use_how,
    100 * sum(page_allocs) filter (kind_how = 'observed') / nullif(sum(page_allocs), 0) as observed_pct,
    100 * sum(page_allocs) filter (kind_how = 'inferred') / nullif(sum(page_allocs), 0) as inferred_pct,
    100 * sum(page_allocs) filter (kind_how = 'assumed') / nullif(sum(page_allocs), 0) as assumed_pct
from life_costs as costs
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
group by costs.run, traces.trace, policies.policy, policies.name, costs.page_kind
order by costs.run, policies.policy, locked_ops desc, page_allocs desc, costs.page_kind
