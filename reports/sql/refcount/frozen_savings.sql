-- frozen_savings: one row is one kind of page of one run under one policy and one way of knowing: the
-- locked instructions that the policy saves on it against 'refcounted', by freezing or otherwise.
--
-- Where frozen is true the policy freezes the kind and 'refcounted' does not: freezing saves them.
-- Where it is false the rules of another kernel do, or need more, below zero.
--
-- Columns:
--   run                    Replay of one trace.
--   trace                  Name of the trace set.
--   policy                 Name of the refcount policy.
--   page_kind              Whose pages.
--   frozen                 The policy freezes the kind, and 'refcounted' does not.
--   how                    How these instructions are known: observed, inferred, assumed or unknown.
--   locked_ops_saved       locked_ops of 'refcounted' known in this way, less the policy's.
--   locked_ops_saved_low   The same, at least; equal where nothing is assumed.
--   locked_ops_saved_high  The same, at most.
with frozen as (
    select
        run,
        policy,
        page_kind,
        bool_or(frozen) as frozen
    from policy_ops
    group by run, policy, page_kind
),

parts as (
    select
        run,
        policy,
        page_kind,
        unnest([kind_how, 'observed'::how, 'inferred'::how, 'assumed'::how]) as how,
        unnest([
            alloc_locked_ops + free_locked_ops,
            recorded_use_locked_ops,
            inferred_use_locked_ops,
            assumed_use_locked_ops
        ]) as locked_ops,
        unnest([0, 0, 0, assumed_use_locked_ops - assumed_use_locked_ops_low]) as below,
        unnest([0, 0, 0, assumed_use_locked_ops_high - assumed_use_locked_ops]) as above
    from life_costs
),

sums as (
    select
        parts.run,
        parts.policy,
        parts.page_kind,
        parts.how,
        frozen.frozen,
        sum(parts.locked_ops)::bigint as locked_ops,
        sum(parts.locked_ops - parts.below)::bigint as locked_ops_low,
        sum(parts.locked_ops + parts.above)::bigint as locked_ops_high
    from parts
    inner join frozen using (run, policy, page_kind)
    group by parts.run, parts.policy, parts.page_kind, parts.how, frozen.frozen
),

baseline as (
    select sums.*
    from sums
    inner join policies using (run, policy)
    where policies.name = 'refcounted'
)

select
    sums.run,
    traces.trace,
    policies.name as policy,
    sums.page_kind,
    sums.frozen and not baseline.frozen as frozen,
    sums.how,
    baseline.locked_ops - sums.locked_ops as locked_ops_saved,
    least(
        baseline.locked_ops_low - sums.locked_ops_low,
        baseline.locked_ops_high - sums.locked_ops_high
    ) as locked_ops_saved_low,
    greatest(
        baseline.locked_ops_low - sums.locked_ops_low,
        baseline.locked_ops_high - sums.locked_ops_high
    ) as locked_ops_saved_high
from sums
inner join baseline using (run, page_kind, how)
inner join policies on sums.run = policies.run and sums.policy = policies.policy
inner join runs on sums.run = runs.run
inner join traces using (trace_id)
order by sums.run, policies.policy, sums.page_kind, sums.how
