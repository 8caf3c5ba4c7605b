-- timeline: one row is one kind of page in one time slice of one run under one policy.
--
-- A run is cut into slices of equal length; one in which nothing happened to a kind has no row.
-- Operations of the use stage count when they were recorded; where they are assumed, in the slice
-- in which the page was allocated, or the page table that they are assumed for (policy_costs); what
-- another kernel would do more or less, with its step.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   policy           Name of the refcount policy.
--   slice            Number of the slice, from 0.
--   ts               [ns] Time at which the slice begins, on the recording's clock.
--   seconds          [s] The same, since the first event.
--   page_kind        Whose pages.
--   page_allocs      mm_page_alloc events in the slice, of any order.
--   page_frees       mm_page_free events in the slice, of any order.
--   plain_ops        Plain stores to reference counts.
--   locked_ops       Locked instructions on reference counts; assumed: middle of the range.
--   locked_ops_low   The same, at least.
--   locked_ops_high  The same, at most.
--   live_pages       [pages] Base pages held at the slice's end, less those held before recording.
with tables as (
    select
        run,
        slice,
        assumed_uses as tables
    from internal.samples
    where page_kind = 'page_table' and assumed_uses > 0
),

entered as (
    from internal.samples
    union all by name
    select
        tables.run,
        tables.slice,
        kinds.page_kind,
        tables.tables
    from tables
    inner join (
        select distinct
            run,
            page_kind
        from policy_costs
        where use_table_locked_high > 0
    ) as kinds using (run)
),

sums as (
    select
        run,
        slice,
        page_kind,
        sum(coalesce(columns(* exclude (run, slice, page_kind)), 0))::bigint
    from entered
    group by run, slice, page_kind
),

state as (
    select
        *,
        sum(pages_allocated - pages_freed) over (
            partition by run, page_kind
            order by slice
        )::bigint as live_pages
    from sums
),

more as (
    select
        steps.run,
        prices.policy,
        steps.slice,
        steps.page_kind,
        sum(steps.steps * prices.plain_more)::bigint as plain,
        sum(steps.steps * prices.locked_more)::bigint as locked
    from internal.step_samples as steps
    inner join policy_steps as prices using (run, step)
    group by steps.run, prices.policy, steps.slice, steps.page_kind
)

select
    runs.run,
    traces.trace,
    policies.name as policy,
    state.slice,
    runs.first_ts + state.slice * runs.slice_ns as ts,
    state.slice * runs.slice_ns / 1e9 as seconds,
    state.page_kind,
    state.page_allocs,
    state.page_frees,
    state.page_allocs * costs.alloc_plain + state.pages_allocated * costs.alloc_page_plain
    + (state.use_plain + coalesce(more.plain, 0)) * costs.use_counted
    + state.assumed_uses * costs.use_plain + state.assumed_use_pages * costs.use_page_plain
    + state.page_frees * costs.free_plain + state.pages_freed * costs.free_page_plain as plain_ops,
    state.page_allocs * costs.alloc_locked + state.pages_allocated * costs.alloc_page_locked
    + (state.use_locked + coalesce(more.locked, 0)) * costs.use_counted
    + state.assumed_uses * costs.use_locked + state.assumed_use_pages * costs.use_page_locked
    + state.tables * costs.use_table_locked
    + state.page_frees * costs.free_locked + state.pages_freed * costs.free_page_locked as locked_ops,
    locked_ops - state.assumed_uses * (costs.use_locked - costs.use_locked_low)
    - state.tables * (costs.use_table_locked - costs.use_table_locked_low) as locked_ops_low,
    locked_ops + state.assumed_uses * (costs.use_locked_high - costs.use_locked)
    + state.tables * (costs.use_table_locked_high - costs.use_table_locked) as locked_ops_high,
    state.live_pages
from state
inner join policy_costs as costs using (run, page_kind)
inner join runs using (run)
inner join traces using (trace_id)
inner join policies using (run, policy)
left join more
    on
        state.run = more.run
        and costs.policy = more.policy
        and state.slice = more.slice
        and state.page_kind = more.page_kind
order by runs.run, policies.policy, state.slice, state.page_kind
