-- placement_summary: one row is one simulated run: what its settings did to slabs and lists.
--
-- Refills and flushes are of whole sheaves (R3.13, R3.17); an operation is an allocation or a free
-- of an object. Of a cache with sheaves above cpu slabs (R3.45) the operations are those of its
-- sheaves: its cpu slabs count what refills and flushes ask of them. What the modelled generation of SLUB (runs.slub) does not have is NULL: sheaves and
-- barn, or CPUs' partial lists. Slabs that are older than the trace are the recording's and the
-- model's alike.
--
-- Columns:
--   run                   Simulated run.
--   trace                 Name of the trace set.
--   of_run                Recorded run its requests were taken from.
--   profile               Kernel version that was modelled.
--   settings              What the user set (JSON).
--   what_if               Why it is not the recorded kernel as it was; NULL: it is.
--   operations            Allocations and frees SLUB counts: none by prefilled or RCU sheaves.
--   left_out              Requests of the recording that are not among them (placement_quality).
--   left_out_pct          [%] Share of the recording's requests; 0: they are all simulated.
--   fastpath_pct          [%] Share of operations that the CPU's sheaves, or its own slab, served, at least: what prefilled sheaves and kfree_rcu's callbacks ask of the barn counts against it.
--   refills               Sheaves refilled from slabs.
--   refills_per_1000      Of 1,000 operations.
--   flushes               Sheaves flushed to slabs.
--   barn_traffic          Full sheaves taken from the barn or put into it.
--   cpu_partial_moves     Slabs put on CPUs' partial lists or taken off them (R3.32, R3.36).
--   frees_to_slabs        Objects that went back to their slabs' own free lists.
--   freelist_cmpxchg      Locked cmpxchgs of such lists.
--   slab_allocs           Slabs made.
--   slab_frees            Slabs freed.
--   recorded_slab_allocs  Slabs the recorded kernel made.
--   recorded_slab_frees   Slabs the recorded kernel freed.
--   slab_pages            [pages] Pages of the slabs made.
--   slab_pages_held       [pages] Pages of the slabs there at the end, without the older ones.
--   utilisation_pct       [%] Of the bytes of these, those of objects live at the end.
--   partial_slabs         Slabs on partial lists at the end, older ones too.
--   list_locks            Acquisitions of list_lock.
--   zone_locks            Acquisitions of zone->lock.
--   pcp_refills           Refills of the CPUs' page lists.
--   pcp_drains            Holds of zone->lock to drain them.
--   blocks_locked         Blocks taken out of the buddy (mm_page_alloc_zone_locked).
--   recorded_blocks_locked Such events of the recorded kernel, where it recorded them.
--   refused               Requests for pages that could not be served as they were wanted.
with kept as (
    select
        runs.run,
        case
            when placed_caches.capacity > 0 and placed_caches.cpu_partial_slabs is not null
                then regexp_replace(counters.name, '_(fast|slow)path$', '_below')
            else counters.name
        end as name,
        sum(coalesce(cache_counters.value, 0))::bigint as value
    from placed_caches
    inner join runs using (run)
    inner join counters using (slub)
    left join cache_counters
        on
            placed_caches.run = cache_counters.run
            and placed_caches.cache = cache_counters.cache
            and counters.name = cache_counters.name
    group by all
),

-- NULL: of counters that the generation does not keep.
counted as (
    select
        run,
        sum(value) filter (
            name like '%\_fastpath' escape '\' or name like '%\_cpu\_sheaf' escape '\'
        )::bigint as fast,
        sum(value) filter (name like '%\_slowpath' escape '\')::bigint as slow,
        sum(value) filter (name = 'barn_get_fail')::bigint as refills,
        sum(value) filter (name = 'barn_put_fail')::bigint as flushes,
        sum(value) filter (name in ('barn_get', 'barn_put'))::bigint as barn,
        sum(value) filter (
            name in ('cpu_partial_alloc', 'cpu_partial_free', 'cpu_partial_node')
        )::bigint as listed,
        sum(value) filter (name in ('free_add_partial', 'deactivate_empty'))::bigint as drained,
        sum(value) filter (name in ('free_slowpath', 'sheaf_flush'))::bigint as frees_to_slabs,
        sum(value) filter (name = 'freelist_cmpxchg')::bigint as freelist_cmpxchg,
        sum(value) filter (name = 'list_lock')::bigint as list_locks
    from kept
    group by run
),

-- Refills that came back short, whose allocations went the slow way.
unfilled as (
    select
        run,
        sum(least(refills, slow))::bigint as refills
    from (
        select
            run,
            cache,
            coalesce(max(value) filter (name = 'barn_get_fail'), 0) as refills,
            coalesce(max(value) filter (name = 'alloc_slowpath'), 0) as slow
        from cache_counters
        group by run, cache
    )
    group by run
),

slabs as (
    select
        run,
        sum(slab_allocs)::bigint as slab_allocs,
        sum(slab_frees)::bigint as slab_frees,
        sum(pages_allocated)::bigint as slab_pages,
        sum(slab_pages)::bigint as slab_pages_held,
        sum(partial_slabs)::bigint as partial_slabs,
        sum(live_objects * caches.object_size) as live_bytes
    from placed_caches
    inner join caches using (run, cache)
    group by run
),

recorded as (
    select
        run,
        count(alloc_seq) as slab_allocs,
        coalesce(sum(frees), 0)::bigint as slab_frees
    from pages
    where page_kind = 'slab'
    group by run
),

zoned as (
    select
        run,
        sum(value) filter (name = 'zone_lock')::bigint as zone_locks,
        sum(value) filter (name = 'pcp_refill')::bigint as pcp_refills,
        coalesce(sum(value) filter (name = 'pcp_drain'), 0)::bigint as pcp_drains,
        coalesce(sum(value) filter (name = 'zone_locked'), 0)::bigint as blocks_locked
    from zone_counters
    group by run
),

locked as (
    select run, count(*) as blocks_locked
    from page_events
    where event = 'mm_page_alloc_zone_locked'
    group by run
),

short as (
    select run, sum(value)::bigint as refused
    from quality_counts
    where name in ('refused_slab_events', 'refused_pages')
    group by run
)

select
    runs.run,
    traces.trace,
    runs.of_run,
    runs.profile,
    runs.settings,
    runs.what_if,
    counted.fast + counted.slow as operations,
    placement_quality.requests_left_out as left_out,
    placement_quality.requests_left_out_pct as left_out_pct,
    100 * (
        counted.fast
        - coalesce(counted.refills, 0) + coalesce(unfilled.refills, 0)
        - coalesce(counted.flushes, 0) - coalesce(counted.barn, 0)
    ) / nullif(counted.fast + counted.slow, 0) as fastpath_pct,
    counted.refills,
    1000 * counted.refills / nullif(counted.fast + counted.slow, 0) as refills_per_1000,
    counted.flushes,
    counted.barn as barn_traffic,
    counted.listed + counted.drained as cpu_partial_moves,
    counted.frees_to_slabs,
    counted.freelist_cmpxchg,
    slabs.slab_allocs,
    slabs.slab_frees,
    coalesce(recorded.slab_allocs, 0) as recorded_slab_allocs,
    coalesce(recorded.slab_frees, 0) as recorded_slab_frees,
    slabs.slab_pages,
    slabs.slab_pages_held,
    100 * slabs.live_bytes / nullif(slabs.slab_pages_held * traces.page_size, 0)
        as utilisation_pct,
    slabs.partial_slabs,
    counted.list_locks,
    zoned.zone_locks,
    zoned.pcp_refills,
    zoned.pcp_drains,
    zoned.blocks_locked,
    locked.blocks_locked as recorded_blocks_locked,
    short.refused
from runs
inner join traces using (trace_id)
left join placement_quality using (run)
left join counted using (run)
left join unfilled using (run)
left join slabs using (run)
left join recorded on runs.of_run = recorded.run
left join zoned using (run)
left join locked on runs.of_run = locked.run
left join short using (run)
where runs.placement = 'simulated'
order by runs.run
