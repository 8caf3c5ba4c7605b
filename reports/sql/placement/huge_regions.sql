-- huge_regions: one row is the slabs of one cache, or of all caches, of one run: how many distinct
-- regions of 2 MiB they touch, when it ends and at most.
--
-- A kernel whose direct map has pages of 2 MiB needs a TLB entry a region. Where slabs lie is observed
-- in a recorded run and inferred, by the model, in a simulated one. Only slabs made in the recording
-- are counted, in both: where the model would put older ones is not known. In which order free blocks
-- lay on their lists when the recording began no snapshot says, so the model takes others than the
-- kernel did: compare simulated runs with one another. Of a sweep no slabs are stored, so its runs
-- have no rows.
--
-- Columns:
--   run           Recorded or simulated run.
--   trace         Name of the trace set.
--   placement     Where slabs lie: as recorded, or simulated.
--   settings      Simulated: what the user set (JSON).
--   cache         Name of the cache; NULL: all caches together, unknown ones too.
--   slabs         Slabs there at the end.
--   pages         [pages] Their pages.
--   regions       Distinct regions of 2 MiB that they touch.
--   regions_peak  Most regions that slabs touched at any moment of the recording.
--   fill_pct      [%] pages, of the pages of these regions.
with slabs as (
    select
        pages.run,
        page_caches.cache,
        pages.pfn,
        pages."order",
        pages.alloc_seq as begun,
        pages.free_seq as ended,
        pages.free_ts is null as held
    from pages
    left join page_caches using (run, page)
    where pages.page_kind = 'slab' and pages.alloc_seq is not null
    union all
    select
        run,
        cache,
        pfn,
        "order",
        alloc_seq as begun,
        free_seq as ended,
        free_seq is null as held
    from placed_slabs
    where alloc_seq is not null
),

placed as (
    select
        slabs.* exclude (cache),
        slabs.pfn // (2097152 // traces.page_size) as region,
        unnest([slabs.cache, -1]) as cache
    from slabs
    inner join runs using (run)
    inner join traces using (trace_id)
),

-- Where the end of a slab has no event of its own it is the last that can be said.
changes as (
    select
        run,
        cache,
        region,
        begun as seq,
        1 as change
    from placed
    union all
    select
        run,
        cache,
        region,
        ended as seq,
        -1 as change
    from placed
    where ended is not null
),

counted as (
    select
        run,
        cache,
        region,
        seq,
        change,
        sum(change) over (
            partition by run, cache, region
            order by seq, change desc
            rows between unbounded preceding and current row
        ) as here
    from changes
),

touched as (
    select
        run,
        cache,
        seq,
        sum(change) over (
            partition by run, cache
            order by seq, change
            rows between unbounded preceding and current row
        ) as regions
    from counted
    -- A region is new with its first slab, and gone with its last.
    where (change > 0 and here = 1) or (change < 0 and here = 0)
),

peaks as (
    select
        run,
        cache,
        max(regions)::bigint as regions_peak
    from touched
    group by run, cache
),

ends as (
    select
        run,
        cache,
        count(*) filter (held) as slabs,
        coalesce(sum(1::bigint << "order") filter (held), 0)::bigint as pages,
        count(distinct region) filter (held) as regions
    from placed
    group by run, cache
)

select
    ends.run,
    traces.trace,
    runs.placement,
    runs.settings,
    caches.name as cache,
    ends.slabs,
    ends.pages,
    ends.regions,
    peaks.regions_peak,
    100 * ends.pages / nullif(ends.regions * (2097152 // traces.page_size), 0) as fill_pct
from ends
inner join peaks on ends.run = peaks.run and ends.cache is not distinct from peaks.cache
inner join runs on ends.run = runs.run
inner join traces using (trace_id)
left join caches on ends.run = caches.run and ends.cache = caches.cache
where ends.cache is not null
order by ends.run, caches.name is null desc, ends.pages desc, caches.name
