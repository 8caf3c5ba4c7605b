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
select
    costs.run,
    traces.trace,
    policies.name as policy,
    coalesce(caches.name, '(not known)') as cache,
    sum(costs.page_allocs)::bigint as slab_allocs,
    sum(costs.page_frees)::bigint as slab_frees,
    sum(costs.plain_ops)::bigint as plain_ops,
    sum(costs.locked_ops)::bigint as locked_ops
from life_costs as costs
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
left join caches using (run, cache)
where costs.page_kind = 'slab'
group by costs.run, traces.trace, policies.policy, policies.name, costs.cache, caches.name
order by costs.run, policies.policy, locked_ops desc, slab_allocs desc, caches.name
