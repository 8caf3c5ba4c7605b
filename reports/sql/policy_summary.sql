-- policy_summary: one row is one run under one policy.
--
-- A policy of another kernel than the recorded one says what that kernel would have done on the same
-- workload. What freezing saves is frozen_ops_saved (frozen_savings). The rest of locked_ops_saved is
-- what the paths of another kernel do otherwise, and below zero where they need more: 7.2 tries to
-- freeze every folio that it puts on the LRU (mm/swap.c:folio_batch_move_lru), one locked instruction
-- more than 6.12; from 6.18 on a fault maps each cached page around it with two fewer. Where the
-- recording has page_ref events these are counted in them, and use_how is inferred.
--
-- What frozen-page-tables and everything-freezable save counts on changes to the functions that read
-- the count of these pages (view count_readers), and leaves out what those cost (source_verdicts).
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   policy            Name of the refcount policy.
--   page_allocs       mm_page_alloc events; an allocation counts once, of whatever order.
--   page_frees        mm_page_free events, likewise.
--   plain_ops         Plain stores to reference counts.
--   locked_ops        Locked instructions on reference counts.
--   locked_ops_saved  locked_ops of the policy 'refcounted' in the same run, less locked_ops.
--   saved_pct         [%] locked_ops_saved of the locked_ops of 'refcounted'.
--   frozen_ops_saved  Of locked_ops_saved, those on kinds that the policy freezes, 'refcounted' not.
--   frozen_saved_pct  [%] frozen_ops_saved of the locked_ops of 'refcounted': what freezing saves.
--   use_how           How the use stage is known: observed (page_ref events), inferred, assumed, mixed.
--   est_ns_low        [ns] What these operations take at least, by the run's table of costs (op_costs).
--   est_ns_high       [ns] What they take at most.
--   saved_ns_low      [ns] What the policy saves against 'refcounted' at least.
--   saved_ns_high     [ns] What it saves at most.
with sums as (
    select
        run,
        trace,
        policy,
        sum(page_allocs)::bigint as page_allocs,
        sum(page_frees)::bigint as page_frees,
        sum(plain_ops)::bigint as plain_ops,
        sum(locked_ops)::bigint as locked_ops,
        case
            when count(distinct use_how) = 1 then any_value(use_how)
            when bool_or(use_how in ('mixed', 'assumed')) then 'mixed'
            else 'inferred'
        end as use_how
    from page_kind_summary
    group by run, trace, policy
),

baseline as (
    select run, locked_ops
    from sums
    where policy = 'refcounted'
),

freezing as (
    select
        run,
        policy,
        coalesce(sum(locked_ops_saved) filter (frozen), 0)::bigint as locked_ops
    from frozen_savings
    group by run, policy
),

costs as (
    select
        run,
        policy,
        round(sum(est_ns_low))::bigint as est_ns_low,
        round(sum(est_ns_high))::bigint as est_ns_high,
        round(sum(saved_ns_low))::bigint as saved_ns_low,
        round(sum(saved_ns_high))::bigint as saved_ns_high
    from op_costs
    group by run, policy
)

select
    sums.run,
    sums.trace,
    sums.policy,
    sums.page_allocs,
    sums.page_frees,
    sums.plain_ops,
    sums.locked_ops,
    baseline.locked_ops - sums.locked_ops as locked_ops_saved,
    100 * (baseline.locked_ops - sums.locked_ops) / nullif(baseline.locked_ops, 0) as saved_pct,
    if(baseline.locked_ops is null, null, coalesce(freezing.locked_ops, 0)) as frozen_ops_saved,
    100 * frozen_ops_saved / nullif(baseline.locked_ops, 0) as frozen_saved_pct,
    sums.use_how,
    costs.est_ns_low,
    costs.est_ns_high,
    costs.saved_ns_low,
    costs.saved_ns_high
from sums
left join baseline using (run)
left join freezing on sums.run = freezing.run and sums.policy = freezing.policy
left join costs on sums.run = costs.run and sums.policy = costs.policy
inner join policies on policies.run = sums.run and policies.name = sums.policy
order by sums.run, policies.policy
