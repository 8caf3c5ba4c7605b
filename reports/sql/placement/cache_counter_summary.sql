-- cache_counter_summary: one row is one cache of one simulated run, with the kernel's counters.
--
-- The counters are those of the table counters: but for list_lock and freelist_cmpxchg they have
-- the names of the files in /sys/kernel/slab/*/ (CONFIG_SLUB_STATS) and count what these count.
-- NULL are those that the modelled generation of SLUB (runs.slub) does not keep.
--
-- Columns:
--   run                      Simulated run.
--   trace                    Name of the trace set.
--   cache                    Name of the cache; size-N@function: unnamed in the recording.
--   what_if                  Why it is not the recorded kernel as it was; NULL: it is.
--   object_size              [bytes] From one object to the next.
--   order                    Order of a slab.
--   objects                  Objects in a slab.
--   capacity                 Objects in a sheaf.
--   cpu_partial_slabs        Slabs at which a CPU's partial list is drained.
--   shape_how                How the shape is known: observed (sysfs) or inferred (R3.4, R3.10).
--   alloc_fastpath           Allocations from a sheaf, refilled or not; or from the CPU's own free list.
--   alloc_slowpath           Allocations from a slab; or with another slab, or one's remote frees, first.
--   free_fastpath            Frees to a sheaf; or of the CPU's own slab.
--   free_slowpath            Frees to a slab.
--   sheaf_refill             Objects put into sheaves by refills.
--   sheaf_flush              Objects flushed from sheaves to slabs.
--   sheaf_alloc              Sheaves allocated, without the main sheaves a cache is made with.
--   sheaf_free               Sheaves freed.
--   barn_get                 Full sheaves taken from the barn.
--   barn_get_fail            Times the barn had none.
--   barn_put                 Full sheaves put into the barn.
--   barn_put_fail            Times the barn took none.
--   free_rcu_sheaf           Objects that kfree_rcu put into a CPU's rcu_free sheaf.
--   free_rcu_sheaf_fail      Times kfree_rcu could not put one there.
--   sheaf_prefill_fast       Prefilled sheaves handed out that were the CPU's spare.
--   sheaf_prefill_slow       Times the CPU had no spare for one.
--   sheaf_return_fast        Prefilled sheaves given back that became the CPU's spare.
--   sheaf_return_slow        Times the CPU had a spare already.
--   alloc_slab               Slabs made.
--   free_slab                Slabs freed.
--   order_fallback           Slabs made of the smallest order, since the wanted one was refused.
--   free_add_partial         Slabs put on the partial list by a free.
--   free_remove_partial      Slabs taken off it by a free.
--   list_lock                Acquisitions of the node's list_lock.
--   freelist_cmpxchg         Locked cmpxchgs of slabs' free lists.
--   alloc_from_partial       Slabs a CPU took from the node's partial list to allocate from.
--   alloc_refill             Times it took what other CPUs had freed to its slab.
--   free_frozen              Frees of another CPU's slab.
--   deactivate_bypass        Slabs a CPU let go of since all their objects were in use.
--   deactivate_empty         Empty slabs freed when a CPU's partial list was drained.
--   cpu_partial_alloc        Slabs a CPU took from its partial list to allocate from.
--   cpu_partial_free         Slabs put on a CPU's partial list by the first free of a full one.
--   cpu_partial_node         Slabs put on it from the node's.
--   cpu_partial_drain        Times it was drained.
--   alloc_node_mismatch      Times a node was asked for that the sheaf, or the CPU's slab, is not of.
--   deactivate_full          Slabs a CPU let go of that had nothing free.
--   deactivate_to_head       Slabs that went to the head of the partial list.
--   deactivate_to_tail       Slabs that went to the tail of the partial list.
--   deactivate_remote_frees  Slabs a CPU let go of that others had freed to.
--   alloc_cpu_sheaf          Allocations from a sheaf.
--   free_cpu_sheaf           Frees to a sheaf.
--   live_objects             Objects live at the end, as far as allocated in the run.
--   slabs                    Slabs at the end, without those older than the trace.
--   slab_bytes               [bytes] Their pages.
--   partial_slabs            Slabs on partial lists at the end.
--   in_sheaves               Free objects in sheaves at the end.
--   utilisation_pct          [%] Bytes of live objects of the bytes of these slabs.
with kept as (
    select
        placed_caches.run,
        placed_caches.cache,
        counters.name,
        coalesce(cache_counters.value, 0) as value
    from placed_caches
    inner join runs using (run)
    inner join counters using (slub)
    left join cache_counters using (run, cache, name)
),

counted as (
    select
        run,
        cache,
        sum(value) filter (name = 'alloc_fastpath')::bigint as alloc_fastpath,
        sum(value) filter (name = 'alloc_slowpath')::bigint as alloc_slowpath,
        sum(value) filter (name = 'free_fastpath')::bigint as free_fastpath,
        sum(value) filter (name = 'free_slowpath')::bigint as free_slowpath,
        sum(value) filter (name = 'sheaf_refill')::bigint as sheaf_refill,
        sum(value) filter (name = 'sheaf_flush')::bigint as sheaf_flush,
        sum(value) filter (name = 'sheaf_alloc')::bigint as sheaf_alloc,
        sum(value) filter (name = 'sheaf_free')::bigint as sheaf_free,
        sum(value) filter (name = 'barn_get')::bigint as barn_get,
        sum(value) filter (name = 'barn_get_fail')::bigint as barn_get_fail,
        sum(value) filter (name = 'barn_put')::bigint as barn_put,
        sum(value) filter (name = 'barn_put_fail')::bigint as barn_put_fail,
        sum(value) filter (name = 'free_rcu_sheaf')::bigint as free_rcu_sheaf,
        sum(value) filter (name = 'free_rcu_sheaf_fail')::bigint as free_rcu_sheaf_fail,
        sum(value) filter (name = 'sheaf_prefill_fast')::bigint as sheaf_prefill_fast,
        sum(value) filter (name = 'sheaf_prefill_slow')::bigint as sheaf_prefill_slow,
        sum(value) filter (name = 'sheaf_return_fast')::bigint as sheaf_return_fast,
        sum(value) filter (name = 'sheaf_return_slow')::bigint as sheaf_return_slow,
        sum(value) filter (name = 'alloc_slab')::bigint as alloc_slab,
        sum(value) filter (name = 'free_slab')::bigint as free_slab,
        sum(value) filter (name = 'order_fallback')::bigint as order_fallback,
        sum(value) filter (name = 'free_add_partial')::bigint as free_add_partial,
        sum(value) filter (name = 'free_remove_partial')::bigint as free_remove_partial,
        sum(value) filter (name = 'list_lock')::bigint as list_lock,
        sum(value) filter (name = 'freelist_cmpxchg')::bigint as freelist_cmpxchg,
        sum(value) filter (name = 'alloc_from_partial')::bigint as alloc_from_partial,
        sum(value) filter (name = 'alloc_refill')::bigint as alloc_refill,
        sum(value) filter (name = 'free_frozen')::bigint as free_frozen,
        sum(value) filter (name = 'deactivate_bypass')::bigint as deactivate_bypass,
        sum(value) filter (name = 'deactivate_empty')::bigint as deactivate_empty,
        sum(value) filter (name = 'cpu_partial_alloc')::bigint as cpu_partial_alloc,
        sum(value) filter (name = 'cpu_partial_free')::bigint as cpu_partial_free,
        sum(value) filter (name = 'cpu_partial_node')::bigint as cpu_partial_node,
        sum(value) filter (name = 'cpu_partial_drain')::bigint as cpu_partial_drain,
        sum(value) filter (name = 'alloc_node_mismatch')::bigint as alloc_node_mismatch,
        sum(value) filter (name = 'deactivate_full')::bigint as deactivate_full,
        sum(value) filter (name = 'deactivate_to_head')::bigint as deactivate_to_head,
        sum(value) filter (name = 'deactivate_to_tail')::bigint as deactivate_to_tail,
        sum(value) filter (name = 'deactivate_remote_frees')::bigint
            as deactivate_remote_frees,
        sum(value) filter (name = 'alloc_cpu_sheaf')::bigint as alloc_cpu_sheaf,
        sum(value) filter (name = 'free_cpu_sheaf')::bigint as free_cpu_sheaf
    from kept
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
    placed.shape_how,
    counted.alloc_fastpath,
    counted.alloc_slowpath,
    counted.free_fastpath,
    counted.free_slowpath,
    counted.sheaf_refill,
    counted.sheaf_flush,
    counted.sheaf_alloc,
    counted.sheaf_free,
    counted.barn_get,
    counted.barn_get_fail,
    counted.barn_put,
    counted.barn_put_fail,
    counted.free_rcu_sheaf,
    counted.free_rcu_sheaf_fail,
    counted.sheaf_prefill_fast,
    counted.sheaf_prefill_slow,
    counted.sheaf_return_fast,
    counted.sheaf_return_slow,
    counted.alloc_slab,
    counted.free_slab,
    counted.order_fallback,
    counted.free_add_partial,
    counted.free_remove_partial,
    counted.list_lock,
    counted.freelist_cmpxchg,
    counted.alloc_from_partial,
    counted.alloc_refill,
    counted.free_frozen,
    counted.deactivate_bypass,
    counted.deactivate_empty,
    counted.cpu_partial_alloc,
    counted.cpu_partial_free,
    counted.cpu_partial_node,
    counted.cpu_partial_drain,
    counted.alloc_node_mismatch,
    counted.deactivate_full,
    counted.deactivate_to_head,
    counted.deactivate_to_tail,
    counted.deactivate_remote_frees,
    counted.alloc_cpu_sheaf,
    counted.free_cpu_sheaf,
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
inner join counted using (run, cache)
order by runs.run, counted.alloc_fastpath + counted.alloc_slowpath desc, cache
