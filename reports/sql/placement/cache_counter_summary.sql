-- cache_counter_summary: one row is one cache of one simulated run, with the kernel's counters.
--
-- The counters have the names of the files in /sys/kernel/slab/*/ (CONFIG_SLUB_STATS) and count
-- what these count: sheaf_refill and sheaf_flush objects, barn_* and sheaf_alloc sheaves. NULL are
-- those of the other generation of SLUB: of sheaves in 6.12, of cpu slabs in 7.2.
--
-- Columns:
--   run                  Simulated run.
--   trace                Name of the trace set.
--   cache                Name of the cache; size-N@function: unnamed in the recording.
--   what_if              Why it is not the recorded kernel as it was; NULL: it is.
--   object_size          [bytes] From one object to the next.
--   order                Order of a slab.
--   objects              Objects in a slab.
--   capacity             Objects in a sheaf.
--   cpu_partial_slabs    Slabs at which a CPU's partial list is drained.
--   shape_how            How the shape is known: observed (sysfs) or inferred (R3.4, R3.10).
--   alloc_fastpath       Allocations from a sheaf, refilled or not; or from the CPU's own free list.
--   alloc_slowpath       Allocations from a slab; or with another slab, or one's remote frees, first.
--   free_fastpath        Frees to a sheaf; or of the CPU's own slab.
--   free_slowpath        Frees to a slab.
--   sheaf_refill         Objects put into sheaves by refills.
--   sheaf_flush          Objects flushed from sheaves to slabs.
--   sheaf_alloc          Sheaves allocated.
--   sheaf_free           Sheaves freed.
--   barn_get             Full sheaves taken from the barn.
--   barn_get_fail        Times the barn had none.
--   barn_put             Full sheaves put into the barn.
--   barn_put_fail        Times the barn took none.
--   alloc_slab           Slabs made.
--   free_slab            Slabs freed.
--   order_fallback       Slabs made of the smallest order, since the wanted one was refused.
--   free_add_partial     Slabs put on the partial list by a free.
--   free_remove_partial  Slabs taken off it by a free.
--   list_lock            Acquisitions of the node's list_lock.
--   freelist_cmpxchg     Locked cmpxchgs of slabs' free lists.
--   alloc_from_partial   Slabs a CPU took from the node's partial list to allocate from.
--   alloc_refill         Times it took what other CPUs had freed to its slab.
--   free_frozen          Frees of another CPU's slab.
--   deactivate_bypass    Slabs a CPU let go of since all their objects were in use.
--   deactivate_empty     Empty slabs freed when a CPU's partial list was drained.
--   cpu_partial_alloc    Slabs a CPU took from its partial list to allocate from.
--   cpu_partial_free     Slabs put on a CPU's partial list by the first free of a full one.
--   cpu_partial_node     Slabs put on it from the node's.
--   cpu_partial_drain    Times it was drained.
--   live_objects         Objects live at the end, as far as allocated in the run.
--   slabs                Slabs at the end, without those older than the trace.
--   slab_bytes           [bytes] Their pages.
--   partial_slabs        Slabs on partial lists at the end.
--   in_sheaves           Free objects in sheaves at the end.
--   utilisation_pct      [%] Bytes of live objects of the bytes of these slabs.
with counters as (
    select
        run,
        cache,
        coalesce(sum(value) filter (name = 'alloc_fastpath'), 0)::bigint as alloc_fastpath,
        coalesce(sum(value) filter (name = 'alloc_slowpath'), 0)::bigint as alloc_slowpath,
        coalesce(sum(value) filter (name = 'free_fastpath'), 0)::bigint as free_fastpath,
        coalesce(sum(value) filter (name = 'free_slowpath'), 0)::bigint as free_slowpath,
        coalesce(sum(value) filter (name = 'sheaf_refill'), 0)::bigint as sheaf_refill,
        coalesce(sum(value) filter (name = 'sheaf_flush'), 0)::bigint as sheaf_flush,
        coalesce(sum(value) filter (name = 'sheaf_alloc'), 0)::bigint as sheaf_alloc,
        coalesce(sum(value) filter (name = 'sheaf_free'), 0)::bigint as sheaf_free,
        coalesce(sum(value) filter (name = 'barn_get'), 0)::bigint as barn_get,
        coalesce(sum(value) filter (name = 'barn_get_fail'), 0)::bigint as barn_get_fail,
        coalesce(sum(value) filter (name = 'barn_put'), 0)::bigint as barn_put,
        coalesce(sum(value) filter (name = 'barn_put_fail'), 0)::bigint as barn_put_fail,
        coalesce(sum(value) filter (name = 'alloc_slab'), 0)::bigint as alloc_slab,
        coalesce(sum(value) filter (name = 'free_slab'), 0)::bigint as free_slab,
        coalesce(sum(value) filter (name = 'order_fallback'), 0)::bigint as order_fallback,
        coalesce(sum(value) filter (name = 'free_add_partial'), 0)::bigint as free_add_partial,
        coalesce(sum(value) filter (name = 'free_remove_partial'), 0)::bigint
            as free_remove_partial,
        coalesce(sum(value) filter (name = 'list_lock'), 0)::bigint as list_lock,
        coalesce(sum(value) filter (name = 'freelist_cmpxchg'), 0)::bigint as freelist_cmpxchg,
        coalesce(sum(value) filter (name = 'alloc_from_partial'), 0)::bigint as alloc_from_partial,
        coalesce(sum(value) filter (name = 'alloc_refill'), 0)::bigint as alloc_refill,
        coalesce(sum(value) filter (name = 'free_frozen'), 0)::bigint as free_frozen,
        coalesce(sum(value) filter (name = 'deactivate_bypass'), 0)::bigint as deactivate_bypass,
        coalesce(sum(value) filter (name = 'deactivate_empty'), 0)::bigint as deactivate_empty,
        coalesce(sum(value) filter (name = 'cpu_partial_alloc'), 0)::bigint as cpu_partial_alloc,
        coalesce(sum(value) filter (name = 'cpu_partial_free'), 0)::bigint as cpu_partial_free,
        coalesce(sum(value) filter (name = 'cpu_partial_node'), 0)::bigint as cpu_partial_node,
        coalesce(sum(value) filter (name = 'cpu_partial_drain'), 0)::bigint as cpu_partial_drain
    from cache_counters
    group by run, cache
)

select
    runs.run,
    traces.trace,
    caches.name as cache,
    runs.what_if,
    caches.object_size,
    placed."order",
    placed.objects,
    placed.capacity,
    placed.cpu_partial_slabs,
    hows.name as shape_how,
    counters.alloc_fastpath,
    counters.alloc_slowpath,
    counters.free_fastpath,
    counters.free_slowpath,
    if(placed.capacity is null, null, counters.sheaf_refill) as sheaf_refill,
    if(placed.capacity is null, null, counters.sheaf_flush) as sheaf_flush,
    if(placed.capacity is null, null, counters.sheaf_alloc) as sheaf_alloc,
    if(placed.capacity is null, null, counters.sheaf_free) as sheaf_free,
    if(placed.capacity is null, null, counters.barn_get) as barn_get,
    if(placed.capacity is null, null, counters.barn_get_fail) as barn_get_fail,
    if(placed.capacity is null, null, counters.barn_put) as barn_put,
    if(placed.capacity is null, null, counters.barn_put_fail) as barn_put_fail,
    counters.alloc_slab,
    counters.free_slab,
    counters.order_fallback,
    counters.free_add_partial,
    counters.free_remove_partial,
    counters.list_lock,
    counters.freelist_cmpxchg,
    if(placed.capacity is null, counters.alloc_from_partial, null) as alloc_from_partial,
    if(placed.capacity is null, counters.alloc_refill, null) as alloc_refill,
    if(placed.capacity is null, counters.free_frozen, null) as free_frozen,
    if(placed.capacity is null, counters.deactivate_bypass, null) as deactivate_bypass,
    if(placed.capacity is null, counters.deactivate_empty, null) as deactivate_empty,
    if(placed.capacity is null, counters.cpu_partial_alloc, null) as cpu_partial_alloc,
    if(placed.capacity is null, counters.cpu_partial_free, null) as cpu_partial_free,
    if(placed.capacity is null, counters.cpu_partial_node, null) as cpu_partial_node,
    if(placed.capacity is null, counters.cpu_partial_drain, null) as cpu_partial_drain,
    placed.live_objects,
    placed.slabs,
    traces.page_size * placed.slab_pages as slab_bytes,
    placed.partial_slabs,
    placed.in_sheaves,
    100 * placed.live_objects * caches.object_size
    / nullif(traces.page_size * placed.slab_pages, 0) as utilisation_pct
from placed_caches as placed
inner join runs using (run)
inner join traces using (trace_id)
inner join caches using (run, cache)
inner join counters using (run, cache)
left join hows on placed.shape_how = hows.how
order by runs.run, counters.alloc_fastpath + counters.alloc_slowpath desc, cache
