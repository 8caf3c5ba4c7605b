-- op_costs: one row is the operations of one stage on pages of one kind and cache, by one CPU, with
-- their cache line at one place, under one policy of one run: how many, and what they take.
--
-- The line is the page's struct page. Which CPU had it last is that of the event before on the
-- page, of whatever kind. At allocation and free the allocator itself writes the same line, before
-- or behind the count, so a frozen page saves the instruction there and not the way of the line:
-- saved_ns counts the former. What a policy adds counts with its line, at most. What another kernel
-- does less than was recorded stands as operations below zero. Where operations in use are assumed,
-- low is as few of them as there may be, and high as many.
--
-- Columns:
--   run             Replay of one trace.
--   trace           Name of the trace set.
--   policy          Name of the refcount policy.
--   page_kind       Whose pages.
--   cache           Slab pages: name of the cache; NULL: none, or not known.
--   cpu             CPU that does it.
--   stage           'alloc', 'use' or 'free'.
--   operation       store, lock_add, dec_and_test, xadd, cmpxchg; locked: any but a store.
--   place           Where the line was: 'own', 'other' CPU, 'remote' package, or 'unknown'.
--   ops             Operations; assumed: middle of the range.
--   ops_low         The same, at least; equal where nothing is assumed.
--   ops_high        The same, at most.
--   est_ns_low      [ns] What ops_low take at least, by the run's table of costs.
--   est_ns_high     [ns] What ops_high take at most.
--   saved_ops       Operations of the policy 'refcounted' in the same place, less ops.
--   saved_ops_low   The same, at least.
--   saved_ops_high  The same, at most.
--   saved_ns_low    [ns] What that saves at least.
--   saved_ns_high   [ns] What that saves at most.
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
                end,
                'low': null,
                'high': null
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
                end,
                'low': case
                    when places.stage = 'use' and places.operation is null
                        then places.events * costs.use_locked_low
                            + places.pages * costs.use_page_locked
                end,
                'high': case
                    when places.stage = 'use' and places.operation is null
                        then places.events * costs.use_locked_high
                            + places.pages * costs.use_page_locked
                end
            }
        ]) as part
    from internal.op_places as places
    inner join policy_costs as costs using (run, page_kind)
    left join policy_steps as steps
        on
            places.run = steps.run
            and costs.policy = steps.policy
            and places.step = steps.step
    union all by name
    select
        places.run,
        costs.policy,
        costs.page_kind,
        places.cpu,
        places.stage,
        places.place,
        {
            'operation': 'locked',
            'ops': places.events * costs.use_table_locked,
            'low': places.events * costs.use_table_locked_low,
            'high': places.events * costs.use_table_locked_high
        } as part
    from internal.op_places as places
    inner join policy_costs as costs using (run)
    semi join (from policy_costs where use_table_locked_high > 0) as mapped
        on costs.run = mapped.run and costs.page_kind = mapped.page_kind
    where
        places.page_kind = 'page_table'
        and places.stage = 'use'
        and places.operation is null
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
        sum(part.ops)::bigint as ops,
        sum(coalesce(part.low, part.ops))::bigint as ops_low,
        sum(coalesce(part.high, part.ops))::bigint as ops_high
    from priced
    group by all
),

against as (
    select
        counted.*,
        coalesce(sum(counted.ops) filter (policies.name = 'refcounted') over alike, 0)::bigint
        - counted.ops as saved_ops,
        coalesce(sum(counted.ops_low) filter (policies.name = 'refcounted') over alike, 0)::bigint
        - counted.ops_low as saved_of_few,
        coalesce(sum(counted.ops_high) filter (policies.name = 'refcounted') over alike, 0)::bigint
        - counted.ops_high as saved_of_many,
        least(saved_of_few, saved_of_many) as saved_ops_low,
        greatest(saved_of_few, saved_of_many) as saved_ops_high,
        policies.name
    from counted
    inner join policies using (run, policy)
    window alike as (
        partition by
            counted.run,
            counted.page_kind,
            counted.cache,
            counted.cpu,
            counted.stage,
            counted.place,
            counted.operation
    )
)

select
    against.run,
    traces.trace,
    against.name as policy,
    against.page_kind,
    caches.name as cache,
    against.cpu,
    against.stage,
    against.operation,
    against.place,
    against.ops,
    against.ops_low,
    against.ops_high,
    against.ops_low * here.ns_low as est_ns_low,
    against.ops_high * here.ns_high as est_ns_high,
    against.saved_ops,
    against.saved_ops_low,
    against.saved_ops_high,
    case
        when against.saved_ops_low >= 0 then against.saved_ops_low * own.ns_low
        else against.saved_ops_low * here.ns_high
    end as saved_ns_low,
    case
        when against.saved_ops_high < 0 then against.saved_ops_high * own.ns_low
        when against.stage = 'use' then against.saved_ops_high * here.ns_high
        else against.saved_ops_high * own.ns_high
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
left join caches on against.run = caches.run and against.cache = caches.cache
where
    against.ops_low <> 0
    or against.ops_high <> 0
    or against.saved_ops_low <> 0
    or against.saved_ops_high <> 0
order by
    against.run,
    against.policy,
    est_ns_high desc,
    against.page_kind,
    caches.name,
    against.cpu,
    against.stage,
    against.operation,
    against.place
