-- slabinfo: one row is one slab cache of one simulated run when the trace ends, in the columns of the
-- kernel's tools/mm/slabinfo.c, beside the recorded kernel's own.
--
-- Columns without kernel_ are the model's (inferred): slabs made in the recording, and those older
-- than it that it touches; slabs it never touches are the kernel's alone, so that of a recording from
-- boot on the two are of the same slabs, of others the model's are fewer. Columns kernel_ are the
-- snapshot of /sys/kernel/slab after the recording (observed); NULL: there is none, or it has no such
-- cache. As the kernel counts, an object is in use unless its slab is on the node's partial list and
-- it is on that slab's free list (mm/slub.c:show_slab_objects, 6.12, 7.2): free objects in sheaves, in
-- the barn, and on CPUs' slabs are among them. in_sheaves says how many of them the model has there.
--
-- Names, objects, sizes and letters are slabinfo's (tools/mm/slabinfo.c:slabcache, 7.2). space is
-- slabs times their pages; loss is space less objects times object_size (slab_waste), so that what
-- pads an object, what is behind the last one and what is free count as lost; free_pct is the share of
-- slabs on the node's partial list (%Fr), which slabinfo prints as 100 where there is no slab;
-- efficiency_pct is bytes of objects of space (%Ef). slabinfo rounds both down, and prints slabs
-- without the CPUs' own.
--
-- Columns:
--   run                    Simulated run.
--   trace                  Name of the trace set.
--   settings               What the user set (JSON).
--   what_if                Why it is not the recorded kernel as it was; NULL: it is.
--   name                   Name of the cache (Name).
--   objects                Objects in use, as the kernel counts (Objects).
--   in_sheaves             Of these, free ones in sheaves and barn; NULL: it has cpu slabs.
--   objsize                [bytes] Size of an object without what pads it (Objsize); NULL: not known.
--   space                  [bytes] Of its slabs (Space).
--   loss                   [bytes] space less objects times objsize (Loss).
--   slabs                  Slabs, with those of CPUs.
--   partial                Of these, on the node's partial list (Part).
--   cpu_slabs              Of these, CPUs' own and on their lists (Cpu); with sheaves 0.
--   objs_per_slab          Objects in a slab (O/S).
--   order                  A slab has 2^order pages (O).
--   free_pct               [%] partial of slabs (%Fr).
--   efficiency_pct         [%] objects times objsize, of space (%Ef).
--   flags                  * aliases, d DMA, A cache lines, P poison, a reclaim accounting, Z red zones, F checks, U user, T trace.
--   older_slabs            Of slabs, those older than the trace.
--   kernel_objects         Objects in use.
--   kernel_space           [bytes] Of its slabs.
--   kernel_loss            [bytes] Likewise.
--   kernel_slabs           Slabs.
--   kernel_partial         Of these, on nodes' partial lists.
--   kernel_cpu_slabs       Of these, CPUs' own and on their lists.
--   kernel_free_pct        [%] Likewise.
--   kernel_efficiency_pct  [%] Likewise.
with modelled as (
    select
        placed.run,
        runs.of_run,
        caches.name,
        placed.node_partial as partial,
        coalesce(placed.cpu_slabs, 0)::bigint as cpu_slabs,
        placed.in_sheaves,
        placed.objects as objs_per_slab,
        placed."order",
        placed.older_slabs,
        placed.slabs + placed.older_slabs as slabs,
        traces.page_size * (placed.slab_pages + (placed.older_slabs << placed."order")) as space,
        -- Slabs of the smallest order, by the pages that are fewer for them.
        ((placed.slabs << placed."order") - placed.slab_pages)
        // nullif((1 << placed."order") - (1 << placed.min_order), 0) as small_slabs,
        placed.objects * (placed.slabs + placed.older_slabs)
        - coalesce(small_slabs, 0) * (
            placed.objects - (traces.page_size << placed.min_order) // caches.object_size
        ) - placed.node_partial_free as objects
    from placed_caches as placed
    inner join runs using (run)
    inner join traces using (trace_id)
    inner join caches using (run, cache)
),

observed as (
    select
        kernel_caches.run,
        kernel_caches.name,
        slabs.* exclude (run, moment, name),
        slabs.slabs * (traces.page_size << slabs."order") as space,
        space - slabs.objects * slabs.object_size as loss
    from kernel_caches
    inner join runs using (run)
    inner join traces using (trace_id)
    inner join kernel_slabs as slabs
        on
            kernel_caches.run = slabs.run
            and kernel_caches.merged = slabs.name
            and slabs.moment = 'after'
)

select
    modelled.run,
    traces.trace,
    runs.settings,
    runs.what_if,
    modelled.name,
    modelled.objects::bigint as objects,
    modelled.in_sheaves,
    kernel_caches.object_size as objsize,
    modelled.space::bigint as space,
    (modelled.space - modelled.objects * kernel_caches.object_size)::bigint as loss,
    modelled.slabs,
    modelled.partial,
    modelled.cpu_slabs,
    modelled.objs_per_slab,
    modelled."order",
    100 * modelled.partial / nullif(modelled.slabs, 0) as free_pct,
    100 * modelled.objects * kernel_caches.object_size / nullif(modelled.space, 0)
        as efficiency_pct,
    observed.flags,
    modelled.older_slabs,
    observed.objects as kernel_objects,
    observed.space::bigint as kernel_space,
    observed.loss::bigint as kernel_loss,
    observed.slabs as kernel_slabs,
    observed.partial as kernel_partial,
    observed.cpu_slabs as kernel_cpu_slabs,
    100 * observed.partial / nullif(observed.slabs, 0) as kernel_free_pct,
    100 * observed.objects * observed.object_size / nullif(observed.space, 0)
        as kernel_efficiency_pct
from modelled
inner join runs using (run)
inner join traces using (trace_id)
left join kernel_caches
    on modelled.of_run = kernel_caches.run and modelled.name = kernel_caches.name
left join observed on modelled.of_run = observed.run and modelled.name = observed.name
order by modelled.run, space desc, modelled.name
