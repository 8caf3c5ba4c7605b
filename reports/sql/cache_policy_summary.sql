-- cache_policy_summary: one row is the slab pages of one cache of one run under one policy.
--
-- Columns:
--   run          Replay of one trace.
--   trace        Name of the trace set.
--   policy       Name of the refcount policy.
--   cache        Name of the cache; '(not known)' gathers slab pages whose cache is not known.
--   slab_allocs  Slab pages allocated: allocations, of any order.
--   slab_frees   Slab pages freed, likewise.
--   plain_ops    Plain stores to their reference counts.
--   locked_ops   Locked instructions on their reference counts.
with slabs as (
    select
        run,
        page_kind,
        cache,
        count(alloc_seq) as slab_allocs,
        sum(frees)::bigint as slab_frees,
        count(alloc_seq) filter (ref_use_locked is null) as assumed_uses,
        coalesce(sum(ref_use_plain), 0)::bigint as use_plain,
        coalesce(sum(ref_use_locked), 0)::bigint as use_locked
    from pages
    inner join page_kinds using (page_kind)
    where page_kinds.name = 'slab'
    group by run, page_kind, cache
)

select
    slabs.run,
    traces.trace,
    policies.name as policy,
    coalesce(caches.name, '(not known)') as cache,
    slabs.slab_allocs,
    slabs.slab_frees,
    slab_allocs * costs.alloc_plain
    + slabs.use_plain + assumed_uses * costs.use_plain
    + slab_frees * costs.free_plain as plain_ops,
    slab_allocs * costs.alloc_locked
    + slabs.use_locked + assumed_uses * costs.use_locked
    + slab_frees * costs.free_locked as locked_ops
from slabs
inner join policy_costs as costs using (run, page_kind)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
left join caches using (run, cache)
order by slabs.run, policies.policy, locked_ops desc, slab_allocs desc, caches.name
