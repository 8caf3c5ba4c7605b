-- kmalloc_sites: one row is one call site and one of kmalloc's normal caches, in one recorded run: the
-- least memory that a cache for this call site alone would take.
--
-- peak_objects are of what the recording saw allocated (observed; ends as in object_lives): what was
-- there before is in no row. The slabs of a cache hold at least these, so least_bytes is what no
-- placement goes below: what sheaves, CPUs' slabs and partial lists keep comes on top, as a simulation
-- with kmalloc.partitions=sites says (kmalloc_memory, R3.52). Peaks of call sites are at moments of
-- their own. Objects of a slab are the recorded kernel's, else the model's of the run as it was.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   cache             Name of the cache.
--   site              Place that allocated, as function+0x1c; the bare address where not resolved.
--   module            Module of the function; NULL: the kernel itself.
--   allocs            Objects allocated.
--   peak_objects      Most of these that were live at a time.
--   peak_bytes        [bytes] Given to these.
--   objs_per_slab     Objects in a slab; NULL: nothing says.
--   least_slabs       Slabs that hold peak_objects.
--   least_bytes       [bytes] Memory of these.
--   least_unused_pct  [%] Share of it that is no object's then.
with shapes as (
    select
        kernel.run,
        kernel.name,
        slabs.objs_per_slab,
        slabs."order",
        1 as choice
    from kernel_caches as kernel
    inner join kernel_slabs as slabs
        on kernel.run = slabs.run and kernel.merged = slabs.name and slabs.moment = 'after'
    union all
    select
        runs.of_run as run,
        caches.name,
        placed.objects as objs_per_slab,
        placed."order",
        2 as choice
    from placed_caches as placed
    inner join runs using (run)
    inner join caches using (run, cache)
    where runs.what_if is null
),

shape as (
    select
        run,
        name,
        arg_min(objs_per_slab, choice) as objs_per_slab,
        arg_min("order", choice) as "order"
    from shapes
    group by run, name
),

kmalloc as (
    select
        run,
        cache,
        name
    from caches
    where regexp_full_match(name, 'kmalloc-[0-9]+k?')
),

changes as (
    select
        lives.run,
        lives.cache,
        lives.call_site,
        lives.bytes_alloc,
        unnest([lives.alloc_ts, lives.end_ts]) as ts,
        unnest([1, -1]) as change
    from object_lives as lives
    inner join kmalloc using (run, cache)
    -- What is merged with a kmalloc cache is allocated elsewhere.
    semi join
        (from internal.object_origins where event = 'kmalloc') as kmallocs
        on lives.run = kmallocs.run and lives.call_site = kmallocs.call_site
),

-- Of what happens at one moment, frees come first.
held as (
    select
        run,
        cache,
        call_site,
        bytes_alloc,
        change,
        sum(change) over (
            partition by run, cache, call_site order by ts, change rows unbounded preceding
        ) as objects
    from changes
    where ts is not null
),

sites as (
    select
        run,
        cache,
        call_site,
        max(bytes_alloc) as size,
        count(*) filter (change > 0) as allocs,
        max(objects)::bigint as peak_objects
    from held
    group by run, cache, call_site
)

select
    sites.run,
    traces.trace,
    kmalloc.name as cache,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(sites.call_site))
    ) as site,
    call_sites.module,
    sites.allocs,
    sites.peak_objects,
    sites.peak_objects * sites.size as peak_bytes,
    shape.objs_per_slab,
    (sites.peak_objects + shape.objs_per_slab - 1) // shape.objs_per_slab as least_slabs,
    least_slabs * (traces.page_size << shape."order") as least_bytes,
    100 * (least_bytes - sites.peak_objects * sites.size) / nullif(least_bytes, 0)
        as least_unused_pct
from sites
inner join kmalloc using (run, cache)
inner join runs using (run)
inner join traces using (trace_id)
left join call_sites using (run, call_site)
left join shape on sites.run = shape.run and kmalloc.name = shape.name
order by sites.run, least_bytes desc, peak_bytes desc, kmalloc.name, site
