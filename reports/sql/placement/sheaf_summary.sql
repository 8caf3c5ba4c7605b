-- sheaf_summary: one row is one run whose kernel or model has sheaves: how many were made and freed.
--
-- A sheaf is kmalloc memory (T7); its call site says that it is one. Of which cache it is, no event
-- says: one made for kfree_rcu follows no event of its cache at all. So recorded sheaves are known
-- for all caches together only; the simulated ones of each cache are in cache_counter_summary.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   sheaf_allocs      Sheaves allocated, by the recorded kmalloc events.
--   rcu_sheaf_allocs  Of them for kfree_rcu (R3.20).
--   sheaf_frees       Sheaves freed, by the recorded kfree events.
--   simulated_allocs  Sheaves the model made, in the latest simulation of the run as it was; NULL: none.
--   simulated_frees   Sheaves it freed, likewise.
with sites as (
    select
        run,
        call_site,
        split_part(symbol, '.', 1) as function
    from call_sites
    where
        split_part(symbol, '.', 1) in (
            '__pcs_replace_empty_main', '__pcs_replace_full_main', '__kfree_rcu_sheaf',
            'kmem_cache_prefill_sheaf', 'kmem_cache_refill_sheaf', 'kmem_cache_return_sheaf',
            'rcu_free_sheaf', '__alloc_empty_sheaf', 'free_empty_sheaf', 'barn_shrink'
        )
),

own as (
    select
        object_events.run,
        object_events.event,
        object_events.object,
        sites.function
    from object_events
    inner join sites using (run, call_site)
    where object_events.event in ('kmalloc', 'kfree', 'kmem_cache_free')
),

made as (
    select
        run,
        count(*) as sheaf_allocs,
        count(*) filter (function = '__kfree_rcu_sheaf') as rcu_sheaf_allocs
    from own
    where event = 'kmalloc'
    group by run
),

-- The last call of one of these functions of mm/slub.c may be a jump, and its kfree then seem its
-- caller's; so a free counts too if the object was a sheaf.
gone as (
    select
        run,
        count(*) as sheaf_frees
    from (
        select
            run,
            object
        from own
        where event <> 'kmalloc'
        union
        select
            events.run,
            events.object
        from object_events as events
        inner join own using (run, object)
        where events.event in ('kfree', 'kmem_cache_free') and own.event = 'kmalloc'
    )
    group by run
),

simulated as (
    select
        runs.of_run as run,
        coalesce(sum(value) filter (name = 'sheaf_alloc'), 0)::bigint as simulated_allocs,
        coalesce(sum(value) filter (name = 'sheaf_free'), 0)::bigint as simulated_frees
    from cache_counters
    inner join runs using (run)
    where
        runs.run in (
            select max(run) from runs
            where
                of_run is not null and what_if is null
                and slub in (select slub from counters where name = 'sheaf_alloc')
            group by of_run
        )
    group by runs.of_run
)

select
    runs.run,
    traces.trace,
    coalesce(made.sheaf_allocs, 0) as sheaf_allocs,
    coalesce(made.rcu_sheaf_allocs, 0) as rcu_sheaf_allocs,
    coalesce(gone.sheaf_frees, 0) as sheaf_frees,
    simulated.simulated_allocs,
    simulated.simulated_frees
from runs
inner join traces using (trace_id)
left join made using (run)
left join gone using (run)
left join simulated using (run)
where made.run is not null or gone.run is not null or simulated.run is not null
order by runs.run
