-- free_memory: one row is the free blocks of one order in one zone of one simulated run, at one time.
--
-- The unusable free space index of an order is the share of free pages that lie in blocks too small
-- for it (mm/vmstat.c:unusable_free_index; Gorman and Whitcroft 2006). Pages on the CPUs' lists do
-- not count as free here, as they do not there.
--
-- Columns:
--   run             Simulated run.
--   trace           Name of the trace set.
--   slice           Time slice at whose beginning it was so; NULL: at the end.
--   time_s          [s] Since the first event; NULL: at the end.
--   zone            Name of the zone.
--   order           Blocks of 2^order pages.
--   unmovable       Blocks on the list of this type.
--   movable         Likewise.
--   reclaimable     Likewise.
--   highatomic      Likewise.
--   free_pages      [pages] Free in the zone, in blocks of every order.
--   unusable_index  0: all of it can serve the order; 1: none of it can.
with counted as (
    select
        run,
        slice,
        zone,
        "order",
        coalesce(sum(blocks) filter (migratetype = 'unmovable'), 0)::bigint as unmovable,
        coalesce(sum(blocks) filter (migratetype = 'movable'), 0)::bigint as movable,
        coalesce(sum(blocks) filter (migratetype = 'reclaimable'), 0)::bigint as reclaimable,
        coalesce(sum(blocks) filter (migratetype = 'highatomic'), 0)::bigint as highatomic
    from internal.free_blocks
    group by run, slice, zone, "order"
),

orders as (
    select unnest(range(11))::integer as "order"
),

places as (
    select distinct run, slice, zone
    from internal.free_blocks
),

filled as (
    select
        places.run,
        places.slice,
        places.zone,
        orders."order",
        coalesce(counted.unmovable, 0) as unmovable,
        coalesce(counted.movable, 0) as movable,
        coalesce(counted.reclaimable, 0) as reclaimable,
        coalesce(counted.highatomic, 0) as highatomic
    from places
    cross join orders
    left join counted
        on
            places.run = counted.run
            and places.slice is not distinct from counted.slice
            and places.zone = counted.zone
            and orders."order" = counted."order"
),

summed as (
    select
        *,
        sum((unmovable + movable + reclaimable + highatomic) << "order") over (
            partition by run, slice, zone
        )::bigint as free_pages,
        sum((unmovable + movable + reclaimable + highatomic) << "order") over (
            partition by run, slice, zone order by "order" desc
        )::bigint as usable_pages
    from filled
)

select
    summed.run,
    traces.trace,
    summed.slice,
    summed.slice * runs.slice_ns / 1e9 as time_s,
    zones.name as zone,
    summed."order",
    summed.unmovable,
    summed.movable,
    summed.reclaimable,
    summed.highatomic,
    summed.free_pages,
    (summed.free_pages - summed.usable_pages) / nullif(summed.free_pages, 0) as unusable_index
from summed
inner join runs using (run)
inner join traces using (trace_id)
inner join zones on summed.run = zones.run and summed.zone = zones.zone
order by summed.run, summed.slice nulls last, summed.zone, summed."order"
