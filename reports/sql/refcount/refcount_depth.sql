-- refcount_depth: one row is one level of the allocation call stack at which the count could be set
-- (table call_levels), and one path: a function that allocates pages of one kind, in one run.
--
-- A path that enters the page allocator inside the level never meets the set. Pages that need no
-- count then have none, and both ends of their life are saved; pages that need one are given it by
-- the function that asked. At the outermost level every path avoids the set. What is saved is
-- counted against a set in prep_new_page, by the policy 'refcounted'. Where a path enters is known
-- by its stack; without stacks all that is known is that it avoids the outermost level. Pages of
-- which neither the recording nor the kernel's sources say that they can do without are taken to
-- need their count; those that can once named readers change (view count_readers) are not.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   level             Number of the level at which the count is set, from the inside out.
--   level_name        Function that stands for it.
--   page_kind         Whose pages.
--   caller            Function that allocated them; NULL: no stack was recorded.
--   entry             Level at which it enters the page allocator; NULL: not known.
--   page_allocs       mm_page_alloc events.
--   avoids            The path enters inside the level.
--   needs_count       Its pages need a count.
--   needs_how         How that is known: observed (view freezability) or assumed (policy, sources).
--   plain_ops_saved   Plain stores saved with the count set at this level.
--   locked_ops_saved  Locked instructions, likewise.
--   steps_out         Both, of a path that the next level inwards does not let avoid the count.
with verdicts_of as (
    select
        run,
        page_kind,
        caller,
        bool_or(verdict in ('nearly', 'needs its count'))
        or not bool_or(
            verdict in ('frozen already', 'freezable', 'freezable once readers change')
        ) as observed_need
    from freezability
    where scope = 'caller'
    group by run, page_kind, caller
),

paths as (
    select
        costs.run,
        costs.page_kind,
        stacks.caller,
        stacks.entry_level,
        any_value(policy_costs.use_plain + policy_costs.use_locked)
        + any_value(policy_costs.use_page_plain + policy_costs.use_page_locked) > 0
            as used_by_policy,
        sum(costs.page_allocs)::bigint as page_allocs,
        sum(costs.alloc_plain_ops + costs.free_plain_ops)::bigint as plain_ops,
        sum(costs.alloc_locked_ops + costs.free_locked_ops)::bigint as locked_ops
    from life_costs as costs
    inner join policies using (run, policy)
    inner join policy_costs using (run, policy, page_kind)
    left join stacks using (run, stack)
    where policies.name = 'refcounted'
    group by costs.run, costs.page_kind, stacks.caller, stacks.entry_level
),

-- A caller whose code was read has a verdict of its own, all others that of their kind.
allowed as (
    select
        run,
        page_kind,
        caller,
        verdict in ('needs its count', 'not known') as needs
    from source_verdicts
)

select
    paths.run,
    traces.trace,
    levels.level,
    levels.name as level_name,
    paths.page_kind,
    paths.caller,
    entries.name as entry,
    paths.page_allocs,
    levels.level > coalesce(paths.entry_level, outermost.level - 1) as avoids,
    coalesce(
        verdicts_of.observed_need,
        paths.used_by_policy or coalesce(of_caller.needs, of_kind.needs, true)
    ) as needs_count,
    case when verdicts_of.observed_need is null then 'assumed' else 'observed' end as needs_how,
    case when avoids and not needs_count then paths.plain_ops else 0 end as plain_ops_saved,
    case when avoids and not needs_count then paths.locked_ops else 0 end as locked_ops_saved,
    case
        when levels.level = 1 + coalesce(paths.entry_level, outermost.level - 1)
            then plain_ops_saved + locked_ops_saved
        else 0
    end as steps_out
from paths
cross join call_levels as levels
cross join (select max(level) as level from call_levels) as outermost
left join call_levels as entries on paths.entry_level = entries.level
left join verdicts_of
    on
        paths.run = verdicts_of.run
        and paths.page_kind = verdicts_of.page_kind
        and paths.caller is not distinct from verdicts_of.caller
left join allowed as of_kind
    on
        paths.run = of_kind.run
        and paths.page_kind = of_kind.page_kind
        and of_kind.caller is null
left join allowed as of_caller
    on
        paths.run = of_caller.run
        and paths.page_kind = of_caller.page_kind
        and regexp_replace(paths.caller, '(_noprof)?([.].*)?$', '') = of_caller.caller
inner join runs on paths.run = runs.run
inner join traces using (trace_id)
order by
    paths.run,
    levels.level,
    plain_ops_saved + locked_ops_saved desc,
    paths.page_allocs desc,
    paths.page_kind,
    paths.caller
