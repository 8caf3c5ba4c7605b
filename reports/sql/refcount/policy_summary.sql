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
-- Where no page_ref events were recorded what pages go through in use is assumed, as a range: then
-- so are totals, and shares of them, whose low goes with the total's high. Each kind of page is at
-- its least or its most by itself, under both policies of a difference alike.
--
-- Columns:
--   run                    Replay of one trace.
--   trace                  Name of the trace set.
--   policy                 Name of the refcount policy.
--   page_allocs            mm_page_alloc events; an allocation counts once, of whatever order.
--   page_frees             mm_page_free events, likewise.
--   plain_ops              Plain stores to reference counts.
--   locked_ops             Locked instructions on reference counts; assumed: middle of the range.
--   locked_ops_low         The same, at least; equal where nothing is assumed.
--   locked_ops_high        The same, at most.
--   locked_ops_saved       locked_ops of the policy 'refcounted' in the same run, less locked_ops.
--   locked_ops_saved_low   The same, at least.
--   locked_ops_saved_high  The same, at most.
--   saved_pct              [%] locked_ops_saved of the locked_ops of 'refcounted'.
--   saved_pct_low          [%] The same, at least.
--   saved_pct_high         [%] The same, at most.
--   frozen_ops_saved       Of locked_ops_saved, those on kinds it freezes, 'refcounted' not.
--   frozen_ops_saved_low   The same, at least.
--   frozen_ops_saved_high  The same, at most.
--   frozen_saved_pct       [%] frozen_ops_saved of the locked_ops of 'refcounted'.
--   frozen_saved_pct_low   [%] The same, at least: what freezing saves.
--   frozen_saved_pct_high  [%] The same, at most.
--   use_how                How the use stage is known: observed, inferred, assumed, or mixed.
--   est_ns_low             [ns] What these operations take at least, by the run's table of costs.
--   est_ns_high            [ns] What they take at most.
--   saved_ns_low           [ns] What the policy saves against 'refcounted' at least.
--   saved_ns_high          [ns] What it saves at most.
with sums as (
    select
        run,
        trace,
        policy,
        sum(page_allocs)::bigint as page_allocs,
        sum(page_frees)::bigint as page_frees,
        sum(plain_ops)::bigint as plain_ops,
        sum(locked_ops)::bigint as locked_ops,
        sum(locked_ops_low)::bigint as locked_ops_low,
        sum(locked_ops_high)::bigint as locked_ops_high,
        case
            when count(distinct use_how) = 1 then any_value(use_how)
            when bool_or(use_how in ('mixed', 'assumed')) then 'mixed'
            else 'inferred'
        end as use_how
    from page_kind_summary
    group by run, trace, policy
),

baseline as (
    select
        run,
        locked_ops,
        locked_ops_low,
        locked_ops_high
    from sums
    where policy = 'refcounted'
),

savings as (
    select
        run,
        policy,
        sum(locked_ops_saved)::bigint as saved,
        sum(locked_ops_saved_low)::bigint as saved_low,
        sum(locked_ops_saved_high)::bigint as saved_high,
        coalesce(sum(locked_ops_saved) filter (frozen), 0)::bigint as frozen,
        coalesce(sum(locked_ops_saved_low) filter (frozen), 0)::bigint as frozen_low,
        coalesce(sum(locked_ops_saved_high) filter (frozen), 0)::bigint as frozen_high,
        frozen_high - frozen_low as frozen_width
    from frozen_savings
    group by run, policy
),

-- Decimals: a sum of doubles depends on the order in which threads come to it.
costs as (
    select
        run,
        policy,
        round(sum(est_ns_low::decimal(24, 6)))::bigint as est_ns_low,
        round(sum(est_ns_high::decimal(24, 6)))::bigint as est_ns_high,
        round(sum(saved_ns_low::decimal(24, 6)))::bigint as saved_ns_low,
        round(sum(saved_ns_high::decimal(24, 6)))::bigint as saved_ns_high
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
    sums.locked_ops_low,
    sums.locked_ops_high,
    savings.saved as locked_ops_saved,
    savings.saved_low as locked_ops_saved_low,
    savings.saved_high as locked_ops_saved_high,
    100 * savings.saved / nullif(baseline.locked_ops, 0) as saved_pct,
    100 * savings.saved_low / nullif(
        case
            when savings.saved_low < 0 then baseline.locked_ops_low
            else baseline.locked_ops_high
        end, 0
    ) as saved_pct_low,
    100 * savings.saved_high / nullif(
        case
            when savings.saved_high < 0 then baseline.locked_ops_high
            else baseline.locked_ops_low
        end, 0
    ) as saved_pct_high,
    savings.frozen as frozen_ops_saved,
    savings.frozen_low as frozen_ops_saved_low,
    savings.frozen_high as frozen_ops_saved_high,
    100 * savings.frozen / nullif(baseline.locked_ops, 0) as frozen_saved_pct,
    100 * savings.frozen_low / nullif(baseline.locked_ops_high - savings.frozen_width, 0)
        as frozen_saved_pct_low,
    100 * savings.frozen_high / nullif(baseline.locked_ops_low + savings.frozen_width, 0)
        as frozen_saved_pct_high,
    sums.use_how,
    costs.est_ns_low,
    costs.est_ns_high,
    costs.saved_ns_low,
    costs.saved_ns_high
from sums
left join baseline using (run)
left join savings on sums.run = savings.run and sums.policy = savings.policy
left join costs on sums.run = costs.run and sums.policy = costs.policy
inner join policies on policies.run = sums.run and policies.name = sums.policy
order by sums.run, policies.policy
