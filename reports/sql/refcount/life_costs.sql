-- life_costs: one row is the page lives of one run that are alike (life_counts), under one policy:
-- what they cost, stage by stage.
--
-- Where page_ref events tell the use stage it is what they say, under every policy that counts the
-- kind: a frozen page has no count to take references on. A policy of another kernel has, on top of
-- that, what this one does more or less in the steps that were found in these events
-- (policy_steps), which is inferred.
--
-- Where they do not it is assumed, as a range. What follows the run's page tables (policy_costs)
-- is a row of its own, without allocations: of the kind whose pages are referenced, assumed, with
-- neither cache nor stack.
--
-- Columns:
--   run                          Replay of one trace.
--   policy                       Number of the policy (policies.policy).
--   page_kind                    Whose pages.
--   kind_how                     How the kind is known.
--   cache                        Slab pages: the cache (caches.cache); NULL: none, or not known.
--   stack                        Stack of the allocation (stacks.stack); NULL: none recorded.
--   page_allocs                  mm_page_alloc events that began such a life, of any order.
--   page_frees                   mm_page_free events of such lives.
--   recorded_uses                Lives whose use stage page_ref events tell.
--   assumed_uses                 Allocations whose use stage nothing shows.
--   alloc_plain_ops              Plain stores at allocation.
--   alloc_locked_ops             Locked instructions at allocation.
--   recorded_use_plain_ops       Plain stores recorded in use.
--   recorded_use_locked_ops      Locked instructions recorded in use.
--   inferred_use_plain_ops       Plain stores in use more than recorded; below zero: fewer.
--   inferred_use_locked_ops      Locked instructions in use more than recorded, likewise.
--   replaced_use_plain_ops       Of those recorded in use, what is in steps it does otherwise.
--   replaced_use_locked_ops      Locked instructions, likewise.
--   assumed_use_plain_ops        Plain stores in use by the policy's figure.
--   assumed_use_locked_ops       Locked instructions in use by the policy: middle of the range.
--   assumed_use_locked_ops_low   The same, at least.
--   assumed_use_locked_ops_high  The same, at most.
--   free_plain_ops               Plain stores at free.
--   free_locked_ops              Locked instructions at free.
--   plain_ops                    Plain stores, all stages.
--   locked_ops                   Locked instructions, all stages; assumed ones at the middle.
--   locked_ops_low               The same, assumed ones at least.
--   locked_ops_high              The same, assumed ones at most.
with more as (
    select
        steps.run,
        prices.policy,
        steps.page_kind,
        steps.kind_how,
        steps.cache,
        steps.stack,
        sum(steps.steps * prices.plain_more)::bigint as plain,
        sum(steps.steps * prices.locked_more)::bigint as locked,
        sum(steps.steps * (prices.plain_ops - prices.plain_more))::bigint as replaced_plain,
        sum(steps.steps * (prices.locked_ops - prices.locked_more))::bigint as replaced_locked
    from life_steps as steps
    inner join policy_steps as prices using (run, step)
    where prices.plain_more <> 0 or prices.locked_more <> 0
    group by steps.run, prices.policy, steps.page_kind, steps.kind_how, steps.cache, steps.stack
),

tables as (
    select run, sum(assumed_uses)::bigint as tables
    from life_counts
    where page_kind = 'page_table'
    group by run
    having tables > 0
),

mapped as (
    select distinct run, page_kind
    from policy_costs
    where use_table_locked_high > 0
)

select
    lives.run,
    costs.policy,
    lives.page_kind,
    lives.kind_how,
    lives.cache,
    lives.stack,
    lives.page_allocs,
    lives.page_frees,
    lives.recorded_uses,
    lives.assumed_uses,
    lives.counted_allocs * costs.alloc_plain + lives.pages_allocated * costs.alloc_page_plain
        as alloc_plain_ops,
    lives.counted_allocs * costs.alloc_locked + lives.pages_allocated * costs.alloc_page_locked
        as alloc_locked_ops,
    lives.use_plain_ops * costs.use_counted as recorded_use_plain_ops,
    lives.use_locked_ops * costs.use_counted as recorded_use_locked_ops,
    coalesce(more.plain, 0) * costs.use_counted as inferred_use_plain_ops,
    coalesce(more.locked, 0) * costs.use_counted as inferred_use_locked_ops,
    coalesce(more.replaced_plain, 0) * costs.use_counted as replaced_use_plain_ops,
    coalesce(more.replaced_locked, 0) * costs.use_counted as replaced_use_locked_ops,
    lives.assumed_uses * costs.use_plain + lives.assumed_use_pages * costs.use_page_plain
        as assumed_use_plain_ops,
    lives.assumed_uses * costs.use_locked + lives.assumed_use_pages * costs.use_page_locked
        as assumed_use_locked_ops,
    lives.assumed_uses * costs.use_locked_low + lives.assumed_use_pages * costs.use_page_locked
        as assumed_use_locked_ops_low,
    lives.assumed_uses * costs.use_locked_high + lives.assumed_use_pages * costs.use_page_locked
        as assumed_use_locked_ops_high,
    lives.page_frees * costs.free_plain + lives.pages_freed * costs.free_page_plain
        as free_plain_ops,
    lives.page_frees * costs.free_locked + lives.pages_freed * costs.free_page_locked
        as free_locked_ops,
    alloc_plain_ops + recorded_use_plain_ops + inferred_use_plain_ops + assumed_use_plain_ops
    + free_plain_ops as plain_ops,
    alloc_locked_ops + recorded_use_locked_ops + inferred_use_locked_ops + assumed_use_locked_ops
    + free_locked_ops as locked_ops,
    locked_ops - assumed_use_locked_ops + assumed_use_locked_ops_low as locked_ops_low,
    locked_ops - assumed_use_locked_ops + assumed_use_locked_ops_high as locked_ops_high
from life_counts as lives
inner join policy_costs as costs using (run, page_kind)
left join more
    on
        lives.run = more.run
        and costs.policy = more.policy
        and lives.page_kind = more.page_kind
        and lives.kind_how = more.kind_how
        and lives.cache is not distinct from more.cache
        and lives.stack is not distinct from more.stack
union all by name
select
    tables.run,
    costs.policy,
    costs.page_kind,
    'assumed'::how as kind_how,
    0::bigint as page_allocs,
    0::bigint as page_frees,
    0::bigint as recorded_uses,
    0::bigint as assumed_uses,
    0::bigint as alloc_plain_ops,
    0::bigint as alloc_locked_ops,
    0::bigint as recorded_use_plain_ops,
    0::bigint as recorded_use_locked_ops,
    0::bigint as inferred_use_plain_ops,
    0::bigint as inferred_use_locked_ops,
    0::bigint as replaced_use_plain_ops,
    0::bigint as replaced_use_locked_ops,
    0::bigint as assumed_use_plain_ops,
    tables.tables * costs.use_table_locked as assumed_use_locked_ops,
    tables.tables * costs.use_table_locked_low as assumed_use_locked_ops_low,
    tables.tables * costs.use_table_locked_high as assumed_use_locked_ops_high,
    0::bigint as free_plain_ops,
    0::bigint as free_locked_ops,
    0::bigint as plain_ops,
    assumed_use_locked_ops as locked_ops,
    assumed_use_locked_ops_low as locked_ops_low,
    assumed_use_locked_ops_high as locked_ops_high
from tables
inner join mapped using (run)
inner join policy_costs as costs using (run, page_kind)
