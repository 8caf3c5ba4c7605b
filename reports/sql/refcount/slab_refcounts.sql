-- slab_refcounts: one row is one simulated run under one policy: what its slab pages' counts cost.
--
-- Freezing changes counts, never placement: the slabs are the same under every policy.
--
-- Columns:
--   run          Simulated run.
--   trace        Name of the trace set.
--   what_if      Why it is not the recorded kernel as it was; NULL: it is.
--   policy       Name of the refcount policy.
--   slab_allocs  Slabs made.
--   slab_frees   Slabs freed.
--   plain_ops    Plain stores to reference counts.
--   locked_ops   Locked instructions on reference counts.
with slabs as (
    select
        run,
        sum(slab_allocs)::bigint as slab_allocs,
        sum(slab_frees)::bigint as slab_frees,
        sum(pages_allocated)::bigint as pages_allocated,
        sum(pages_freed)::bigint as pages_freed
    from placed_caches
    group by run
)

select
    runs.run,
    traces.trace,
    runs.what_if,
    policies.name as policy,
    slabs.slab_allocs,
    slabs.slab_frees,
    slabs.slab_allocs * (costs.alloc_plain + costs.use_plain)
    + slabs.pages_allocated * (costs.alloc_page_plain + costs.use_page_plain)
    + slabs.slab_frees * costs.free_plain
    + slabs.pages_freed * costs.free_page_plain as plain_ops,
    slabs.slab_allocs * (costs.alloc_locked + costs.use_locked)
    + slabs.pages_allocated * (costs.alloc_page_locked + costs.use_page_locked)
    + slabs.slab_frees * costs.free_locked
    + slabs.pages_freed * costs.free_page_locked as locked_ops
from slabs
inner join runs using (run)
inner join traces using (trace_id)
inner join policies on runs.of_run = policies.run
inner join policy_costs as costs
    on
        policies.run = costs.run
        and policies.policy = costs.policy
        and costs.page_kind = 'slab'
order by runs.run, policies.policy
