-- policy_how_summary: one row is one policy of one run and one way in which a part of its
-- operations is known; the rows of a policy add up to policy_summary.
--
-- Operations at allocation and free follow from the policy's rule for the page's kind, so they are
-- known as well as that kind is. Those of the use stage are observed where page_ref events tell
-- them, and assumed where they are the policy's own figure.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   policy            Name of the refcount policy.
--   how               observed, inferred, assumed or unknown.
--   plain_ops         Plain stores to reference counts known in this way.
--   locked_ops        Locked instructions on reference counts known in this way.
--   locked_ops_saved  locked_ops of the policy 'refcounted' known in this way, less locked_ops.
with lives as (
    select
        run,
        page_kind,
        kind_how,
        count(alloc_seq) as allocs,
        coalesce(sum(frees), 0)::bigint as frees,
        count(alloc_seq) filter (ref_use_locked is null) as assumed_uses,
        coalesce(sum(ref_use_plain), 0)::bigint as recorded_plain,
        coalesce(sum(ref_use_locked), 0)::bigint as recorded_locked
    from pages
    group by run, page_kind, kind_how
),

parts as (
    select
        run,
        policy,
        unnest([kind_how, 0, 2]) as how,
        unnest([allocs * alloc_plain + frees * free_plain, recorded_plain, assumed_uses * use_plain])
            as plain_ops,
        unnest([allocs * alloc_locked + frees * free_locked, recorded_locked, assumed_uses * use_locked])
            as locked_ops
    from lives
    inner join policy_costs using (run, page_kind)
),

sums as (
    select
        run,
        policy,
        how,
        sum(plain_ops)::bigint as plain_ops,
        sum(locked_ops)::bigint as locked_ops
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
    hows.name as how,
    sums.plain_ops,
    sums.locked_ops,
    baseline.locked_ops - sums.locked_ops as locked_ops_saved
from sums
left join baseline using (run, how)
inner join hows using (how)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
order by sums.run, policies.policy, sums.how
