-- policy_how_summary: one row is one policy of one run and one way in which a part of its
-- operations is known; the rows of a policy add up to policy_summary.
--
-- Operations at allocation and free follow from the policy's rule for the page's kind, so they are
-- known as well as that kind is. Those of the use stage are observed where page_ref events tell
-- them, and assumed where they are the policy's own figure: a range. In a step that the policy's
-- kernel does otherwise than the recorded one (policy_steps) all its operations are inferred.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   policy            Name of the refcount policy.
--   how               observed, inferred, assumed or unknown.
--   plain_ops         Plain stores to reference counts known in this way.
--   locked_ops        Locked instructions on counts known in this way; middle of a range.
--   locked_ops_low    The same, at least.
--   locked_ops_high   The same, at most.
--   locked_ops_saved  locked_ops of the policy 'refcounted' known in this way, less locked_ops.
with parts as (
    select
        run,
        policy,
        unnest([kind_how, 'observed'::how, 'inferred'::how, 'assumed'::how]) as how,
        unnest([
            alloc_plain_ops + free_plain_ops,
            recorded_use_plain_ops - replaced_use_plain_ops,
            inferred_use_plain_ops + replaced_use_plain_ops,
            assumed_use_plain_ops
        ]) as plain_ops,
        unnest([
            alloc_locked_ops + free_locked_ops,
            recorded_use_locked_ops - replaced_use_locked_ops,
            inferred_use_locked_ops + replaced_use_locked_ops,
            assumed_use_locked_ops
        ]) as locked_ops,
        unnest([0, 0, 0, assumed_use_locked_ops - assumed_use_locked_ops_low]) as below,
        unnest([0, 0, 0, assumed_use_locked_ops_high - assumed_use_locked_ops]) as above
    from life_costs
),

sums as (
    select
        run,
        policy,
        how,
        sum(plain_ops)::bigint as plain_ops,
        sum(locked_ops)::bigint as locked_ops,
        sum(locked_ops - below)::bigint as locked_ops_low,
        sum(locked_ops + above)::bigint as locked_ops_high
    from parts
    group by run, policy, how
),

baseline as (
    select
        run,
        how,
        locked_ops
    from sums
    inner join policies using (run, policy)
    where policies.name = 'refcounted'
)

select
    sums.run,
    traces.trace,
    policies.name as policy,
    sums.how,
    sums.plain_ops,
    sums.locked_ops,
    sums.locked_ops_low,
    sums.locked_ops_high,
    baseline.locked_ops - sums.locked_ops as locked_ops_saved
from sums
left join baseline using (run, how)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
order by sums.run, policies.policy, sums.how
