-- page_kind_summary: one row is one kind of page of one run under one policy.
--
-- An allocation or a free counts once, of whatever order. Operations are those of the stages
-- allocation, use and free. The use stage is what was recorded where the recording has page_ref
-- events, and the policy's figure per allocation where it has not; use_how says which.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   policy           Name of the refcount policy.
--   page_kind        Whose pages.
--   page_allocs      mm_page_alloc events that began a life of this kind.
--   page_frees       mm_page_free events of such lives; a split block is freed in parts (T10).
--   plain_ops        Plain stores to reference counts.
--   locked_ops       Locked instructions on reference counts.
--   use_plain_ops    Of plain_ops, those of the use stage.
--   use_locked_ops   Of locked_ops, those of the use stage.
--   use_how          observed (page_ref events), assumed (the policy's table), or mixed.
--   observed_pct     [%] Share of page_allocs whose kind was observed.
--   inferred_pct     [%] Share of page_allocs whose kind was inferred.
--   assumed_pct      [%] Share of page_allocs whose kind was assumed.
with lives as (
    select
        run,
        page_kind,
        count(alloc_seq) as page_allocs,
        sum(frees)::bigint as page_frees,
        count(alloc_seq) filter (ref_use_locked is null) as assumed_uses,
        count(ref_use_locked) as observed_uses,
        coalesce(sum(ref_use_plain), 0)::bigint as use_plain,
        coalesce(sum(ref_use_locked), 0)::bigint as use_locked,
        count(alloc_seq) filter (kind_how = 0) as observed,
        count(alloc_seq) filter (kind_how = 1) as inferred,
        count(alloc_seq) filter (kind_how = 2) as assumed
    from pages
    group by run, page_kind
),

costs as (
    select
        lives.*,
        policy,
        lives.use_plain + assumed_uses * policy_costs.use_plain as use_plain_ops,
        lives.use_locked + assumed_uses * policy_costs.use_locked as use_locked_ops,
        page_allocs * alloc_plain + use_plain_ops + page_frees * free_plain as plain_ops,
        page_allocs * alloc_locked + use_locked_ops + page_frees * free_locked as locked_ops
    from lives
    inner join policy_costs using (run, page_kind)
)

select
    costs.run,
    traces.trace,
    policies.name as policy,
    page_kinds.name as page_kind,
    page_allocs,
    page_frees,
    plain_ops,
    locked_ops,
    use_plain_ops,
    use_locked_ops,
    case
        when observed_uses = 0 then 'assumed'
        when assumed_uses = 0 then 'observed'
        else 'mixed'
    end as use_how,
    100 * observed / nullif(page_allocs, 0) as observed_pct,
    100 * inferred / nullif(page_allocs, 0) as inferred_pct,
    100 * assumed / nullif(page_allocs, 0) as assumed_pct
from costs
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
inner join page_kinds using (page_kind)
order by costs.run, policies.policy, locked_ops desc, page_allocs desc, page_kinds.name
