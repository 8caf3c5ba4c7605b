-- pageblocks: one row is one block of memory of one run at the end of one time slice: the pages in it
-- that were allocated, by the migratetype that they were asked for with.
--
-- Blocks are of 2 MiB, the page block of most machines, and of 1 GiB. A run is cut into 20 slices of
-- equal length; a block has a row for each slice from the first in which the recording shows a page of
-- it. Where pages lie is observed in a recorded run and inferred, by the model, in a simulated one.
-- Allocated by other means, or before the recording and not touched in it: not known, and not in it;
-- pages of which only a later event tells are under unknown, from the beginning on. So a block that is
-- not mixed here may be. An allocation that was split and freed in parts counts whole up to its last
-- part. Of a sweep no events are stored, so its runs have no rows.
--
-- Columns:
--   run          Recorded or simulated run.
--   trace        Name of the trace set.
--   placement    Where pages lie: as recorded, or simulated.
--   block_bytes  [bytes] Size of the block: 2 MiB or 1 GiB.
--   block        Number of the block: its address divided by its size.
--   slice        Number of the time slice, from 0 to 19.
--   seconds      [s] Its end, since the first event.
--   unmovable    [pages] Allocated, asked for as unmovable.
--   movable      [pages] Likewise.
--   reclaimable  [pages] Likewise.
--   unknown      [pages] Allocated, as it is not known what.
--   mixed        Pages of more than one of the three migratetypes are in it.
with spans as (
    select
        run,
        coalesce(of_run, run) as recorded,
        first_ts,
        (last_ts - first_ts) // 20 + 1 as length,
        traces.page_size,
        runs.placement
    from runs
    inner join traces using (trace_id)
),

-- Simulated slabs come and go with an event; in which slice it is, the last event of each tells.
ends as (
    select
        run,
        slice,
        max(seq) as last_seq
    from (
        select run, seq, (ts - first_ts) // length as slice
        from object_events
        inner join spans using (run)
        union all
        select run, seq, (ts - first_ts) // length as slice
        from page_events
        inner join spans using (run)
    )
    group by run, slice
),

slab_types as (
    select
        runs.run,
        caches.cache,
        case
            when
                caches.name like 'kmalloc-rcl-%'
                or coalesce(contains(any_value(slabs.flags), 'a'), false)
                then 'reclaimable'
            else 'unmovable'
        end::migratetype as migratetype
    from runs
    inner join caches using (run)
    left join kernel_caches
        on runs.of_run = kernel_caches.run and caches.name = kernel_caches.name
    left join kernel_slabs as slabs
        on runs.of_run = slabs.run and kernel_caches.merged = slabs.name
    where runs.placement = 'simulated'
    group by runs.run, caches.cache, caches.name
),

recorded as (
    select
        spans.run,
        pages.pfn,
        pages."order",
        coalesce((pages.alloc_ts - spans.first_ts) // spans.length, 0) as begun,
        (pages.free_ts - spans.first_ts) // spans.length as ended,
        gfp_names.migratetype
    from pages
    inner join spans using (run)
    left join gfp_names using (run, gfp_flags)
),

simulated as (
    select
        spans.run,
        placed.pfn,
        pages."order",
        (pages.alloc_ts - spans.first_ts) // spans.length as begun,
        (pages.free_ts - spans.first_ts) // spans.length as ended,
        gfp_names.migratetype
    from placed_events as placed
    inner join spans using (run)
    inner join pages on spans.recorded = pages.run and placed.seq = pages.alloc_seq
    left join gfp_names on spans.recorded = gfp_names.run and pages.gfp_flags = gfp_names.gfp_flags
    where placed.pfn is not null
    union all
    select
        slabs.run,
        slabs.pfn,
        slabs."order",
        coalesce((
            select min(ends.slice)
            from ends
            where ends.run = spans.recorded and ends.last_seq >= slabs.alloc_seq
        ), 0) as begun,
        (
            select min(ends.slice)
            from ends
            where ends.run = spans.recorded and ends.last_seq >= slabs.free_seq
        ) as ended,
        slab_types.migratetype
    from placed_slabs as slabs
    inner join spans using (run)
    inner join slab_types using (run, cache)
    where slabs.pfn is not null
),

lives as (
    select *
    from recorded
    union all
    select *
    from simulated
),

parts as (
    select
        run,
        pfn,
        least(1::bigint << "order", 2097152 // page_size) as pages,
        begun,
        ended,
        migratetype,
        page_size,
        unnest(range(pfn * page_size // 2097152, ((pfn + (1::bigint << "order") - 1) * page_size) // 2097152 + 1)) as block
    from lives
    inner join spans using (run)
),

sized as (
    select
        run,
        begun,
        ended,
        migratetype,
        pages,
        unnest([2097152, 1073741824]) as block_bytes,
        block * 2097152 // block_bytes as block
    from parts
),

changes as (
    select
        run,
        block_bytes,
        block,
        slice,
        coalesce(sum(change) filter (migratetype = 'unmovable'), 0) as unmovable,
        coalesce(sum(change) filter (migratetype = 'movable'), 0) as movable,
        coalesce(sum(change) filter (migratetype = 'reclaimable'), 0) as reclaimable,
        coalesce(sum(change) filter (migratetype is null), 0) as unknown
    from (
        select run, block_bytes, block, migratetype, begun as slice, pages as change
        from sized
        union all
        select run, block_bytes, block, migratetype, ended as slice, -pages as change
        from sized
        where ended is not null
    )
    group by all
),

grid as (
    select
        run,
        block_bytes,
        block,
        unnest(range(min(slice), 20)) as slice
    from changes
    group by run, block_bytes, block
),

held as (
    select
        grid.*,
        sum(coalesce(changes.unmovable, 0)) over till as unmovable,
        sum(coalesce(changes.movable, 0)) over till as movable,
        sum(coalesce(changes.reclaimable, 0)) over till as reclaimable,
        sum(coalesce(changes.unknown, 0)) over till as unknown
    from grid
    left join changes using (run, block_bytes, block, slice)
    window till as (partition by grid.run, grid.block_bytes, grid.block order by grid.slice)
)

select
    held.run,
    traces.trace,
    spans.placement,
    held.block_bytes::bigint as block_bytes,
    held.block::bigint as block,
    held.slice::integer as slice,
    (held.slice + 1) * spans.length / 1e9 as seconds,
    held.unmovable::bigint as unmovable,
    held.movable::bigint as movable,
    held.reclaimable::bigint as reclaimable,
    held.unknown::bigint as unknown,
    (held.unmovable > 0)::integer + (held.movable > 0)::integer + (held.reclaimable > 0)::integer > 1
        as mixed
from held
inner join spans using (run)
inner join runs using (run)
inner join traces using (trace_id)
order by held.run, held.block_bytes, held.block, held.slice
