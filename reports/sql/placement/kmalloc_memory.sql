-- kmalloc_memory: one row is the memory of kmalloc's normal caches of one simulated run: of one cache,
-- of all caches of one size class together, or of all together.
--
-- A size class is kmalloc-N with its copies (R3.51, R3.52): kmalloc-rnd-01-N or kmalloc-part-01-N and
-- on, kmalloc-N@site where each call site has a cache of its own, and merged-N, the objects of caches
-- that are merged with kmalloc-N where it has no copies. kmalloc-cg, -rcl and dma are not among them.
-- It is memory of slabs made in the recording, without those older than it, of which the model knows
-- what events touch. All is inferred; with copies it is assumed which call sites share one.
--
-- Columns:
--   run           Simulated run.
--   trace         Name of the trace set.
--   settings      What the user set (JSON).
--   what_if       Why it is not the recorded kernel as it was; NULL: it is.
--   class         [bytes] Size of an object; NULL: all classes together.
--   cache         Name of the cache; NULL: all of the class, or all together.
--   caches        Caches that the row is of.
--   slabs_made    Slabs made.
--   peak_bytes    [bytes] Most memory of their slabs at a time; NULL: sweeps do not keep slabs.
--   slab_bytes    [bytes] Of slabs there at the end.
--   live_bytes    [bytes] Of objects live on them at the end, sheaves among them.
--   unused_bytes  [bytes] slab_bytes less live_bytes: free places, in sheaves too, and slabs' ends.
--   unused_pct    [%] Share of slab_bytes.
--   older_slabs   Slabs older than the recording that they still have; they are in no other column.
--   kernel_bytes  [bytes] Of the kernel's slabs of these classes behind the recording (observed), those older than it too; NULL: of one cache, or there is no snapshot.
with kmalloc as (
    select
        caches.run,
        caches.cache as number,
        caches.name,
        caches.object_size
    from caches
    inner join runs using (run)
    where
        runs.placement = 'simulated'
        and regexp_full_match(
            caches.name, 'kmalloc-((rnd|part)-[0-9]+-)?[0-9]+k?(@.*)?|merged-[0-9]+k?'
        )
),

changes as (
    select
        kmalloc.run,
        kmalloc.object_size,
        kmalloc.name,
        unnest([slabs.alloc_seq, slabs.free_seq]) as seq,
        unnest([1, -1]) * (traces.page_size::bigint << slabs."order") as bytes
    from placed_slabs as slabs
    inner join kmalloc on slabs.run = kmalloc.run and slabs.cache = kmalloc.number
    inner join runs on slabs.run = runs.run
    inner join traces using (trace_id)
    where slabs.alloc_seq is not null
),

-- Of an event its changes together: what it has freed another may have.
by_event as (
    select
        run,
        object_size,
        name,
        grouping(object_size, name) as level,
        seq,
        sum(bytes) as bytes
    from changes
    where seq is not null
    group by grouping sets (
        (run, seq, object_size, name), (run, seq, object_size), (run, seq)
    )
),

held as (
    select
        run,
        object_size,
        name,
        level,
        sum(bytes) over (
            partition by run, level, object_size, name order by seq rows unbounded preceding
        ) as bytes
    from by_event
),

peaks as (
    select
        run,
        object_size,
        name,
        level,
        max(bytes)::bigint as peak_bytes
    from held
    group by all
),

ends as (
    select
        kmalloc.run,
        kmalloc.object_size,
        kmalloc.name,
        grouping(kmalloc.object_size, kmalloc.name) as level,
        count(*) as caches,
        sum(placed.slab_allocs)::bigint as slabs_made,
        sum(traces.page_size * placed.slab_pages)::bigint as slab_bytes,
        sum(kmalloc.object_size * (placed.live_objects + placed.sheaf_objects))::bigint as live_bytes,
        sum(placed.older_slabs)::bigint as older_slabs
    from placed_caches as placed
    inner join kmalloc on placed.run = kmalloc.run and placed.cache = kmalloc.number
    inner join runs on placed.run = runs.run
    inner join traces using (trace_id)
    group by grouping sets (
        (kmalloc.run, kmalloc.object_size, kmalloc.name),
        (kmalloc.run, kmalloc.object_size),
        (kmalloc.run)
    )
),

kernel as (
    select
        of_caches.run,
        of_caches.object_size,
        sum(slabs.slabs * (traces.page_size << slabs."order"))::bigint as bytes
    from kernel_caches as of_caches
    inner join kernel_slabs as slabs
        on
            of_caches.run = slabs.run
            and of_caches.merged = slabs.name
            and slabs.moment = 'after'
    inner join runs on of_caches.run = runs.run
    inner join traces using (trace_id)
    where regexp_full_match(of_caches.name, 'kmalloc-((rnd|part)-[0-9]+-)?[0-9]+k?')
    group by grouping sets ((of_caches.run, of_caches.object_size), (of_caches.run))
)

select
    ends.run,
    traces.trace,
    runs.settings,
    runs.what_if,
    ends.object_size as class,
    ends.name as cache,
    ends.caches,
    ends.slabs_made,
    -- Without slabs of its own, none were kept, or none were made.
    (case when ends.slabs_made = 0 then 0 else peaks.peak_bytes end)::bigint as peak_bytes,
    ends.slab_bytes,
    ends.live_bytes,
    ends.slab_bytes - ends.live_bytes as unused_bytes,
    100 * (ends.slab_bytes - ends.live_bytes) / nullif(ends.slab_bytes, 0) as unused_pct,
    ends.older_slabs,
    kernel.bytes as kernel_bytes
from ends
inner join runs using (run)
inner join traces using (trace_id)
left join kernel
    on
        runs.of_run = kernel.run
        and ends.object_size is not distinct from kernel.object_size
        and ends.name is null
left join peaks
    on
        ends.run = peaks.run
        and ends.level = peaks.level
        and ends.object_size is not distinct from peaks.object_size
        and ends.name is not distinct from peaks.name
order by ends.run, ends.object_size nulls first, ends.name nulls first
