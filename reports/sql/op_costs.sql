-- op_costs: one row is the operations of one stage on pages of one kind and cache, by one CPU, with
-- their cache line at one place, under one policy of one run: how many, and what they take.
--
-- The line is the page's struct page. Which CPU had it last is that of the event before on the
-- page, of whatever kind. At allocation and free the allocator itself writes the same line, before
-- or behind the count, so a frozen page saves the instruction there and not the way of the line:
-- saved_ns counts the former. What a policy adds counts with its line, at most.
-- What another kernel does less than was recorded stands as operations below zero.
--
-- Columns:
--   run            Replay of one trace.
--   trace          Name of the trace set.
--   policy         Name of the refcount policy.
--   page_kind      Whose pages.
--   cache          Slab pages: name of the cache; NULL: none, or not known.
--   cpu            CPU that does it.
--   stage          'alloc', 'use' or 'free'.
--   operation      store, lock_add, dec_and_test, xadd, cmpxchg; locked: any but a store.
--   place          Where the line was: 'own', 'other' CPU, 'remote' package, or 'unknown'.
--   ops            Operations.
--   est_ns_low     [ns] What they take at least, by the run's table of costs.
--   est_ns_high    [ns] What they take at most.
--   saved_ops      Operations of the policy 'refcounted' in the same place, less ops.
--   saved_ns_low   [ns] What that saves at least.
--   saved_ns_high  [ns] What that saves at most.
with priced as (
    select
        places.run,
        costs.policy,
        places.page_kind,
        places.cache,
        places.cpu,
        places.stage,
        places.place,
        unnest([
            {
                'operation': coalesce(places.operation, 'store'),
                'ops': case
                    when places.stage = 'alloc'
                        then places.events * costs.alloc_plain + places.pages * costs.alloc_page_plain
                    when places.stage = 'free'
                        then places.events * costs.free_plain + places.pages * costs.free_page_plain
                    when places.step is not null
                        then places.events * steps.plain_more * costs.use_counted
                    when places.operation is null
                        then places.events * costs.use_plain + places.pages * costs.use_page_plain
                    else places.events * costs.use_counted
                end
            },
            {
                'operation': 'locked',
                'ops': case
                    when places.stage = 'alloc'
                        then places.events * costs.alloc_locked + places.pages * costs.alloc_page_locked
                    when places.stage = 'free'
                        then places.events * costs.free_locked + places.pages * costs.free_page_locked
                    when places.step is not null
                        then places.events * steps.locked_more * costs.use_counted
                    when places.operation is null
                        then places.events * costs.use_locked + places.pages * costs.use_page_locked
                    else 0
                end
            }
        ]) as part
    from op_places as places
    inner join policy_costs as costs using (run, page_kind)
    left join policy_steps as steps
        on
            places.run = steps.run
            and costs.policy = steps.policy
            and places.step = steps.step
),

counted as (
    select
        run,
        policy,
        page_kind,
        cache,
        cpu,
        stage,
        place,
        part.operation as operation,
        sum(part.ops)::bigint as ops
    from priced
    group by all
),

against as (
    select
        counted.*,
        coalesce(sum(counted.ops) filter (policies.name = 'refcounted') over (
            partition by
                counted.run,
                counted.page_kind,
                counted.cache,
                counted.cpu,
                counted.stage,
                counted.place,
                counted.operation
        ), 0)::bigint - counted.ops as saved_ops,
        policies.name
    from counted
    inner join policies using (run, policy)
)

select
    against.run,
    traces.trace,
    against.name as policy,
    page_kinds.name as page_kind,
    caches.name as cache,
    against.cpu,
    against.stage,
    against.operation,
    against.place,
    against.ops,
    against.ops * here.ns_low as est_ns_low,
    against.ops * here.ns_high as est_ns_high,
    against.saved_ops,
    case
        when against.saved_ops >= 0 then against.saved_ops * own.ns_low
        else against.saved_ops * here.ns_high
    end as saved_ns_low,
    case
        when against.saved_ops < 0 then against.saved_ops * own.ns_low
        when against.stage = 'use' then against.saved_ops * here.ns_high
        else against.saved_ops * own.ns_high
    end as saved_ns_high
from against
inner join cost_ops as here
    on
        against.run = here.run
        and against.operation = here.operation
        and against.place = here.place
inner join cost_ops as own
    on against.run = own.run and against.operation = own.operation and own.place = 'own'
inner join runs on against.run = runs.run
inner join traces using (trace_id)
inner join page_kinds using (page_kind)
left join caches on against.run = caches.run and against.cache = caches.cache
where against.ops <> 0 or against.saved_ops <> 0
order by
    against.run,
    against.policy,
    est_ns_high desc,
    page_kind,
    caches.name,
    against.cpu,
    against.stage,
    against.operation,
    against.place
