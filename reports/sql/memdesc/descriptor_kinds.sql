-- descriptor_kinds: one row is the blocks of one kind and order that are live when one run ends,
-- under one scheme of page descriptors: what their words save against struct page, and what their
-- descriptors cost.
--
-- The rows of a run and scheme add up to descriptor_summary.saved_bytes. Only blocks known to be
-- live are counted; pages of no known block are one row: free, or of users that need no descriptor,
-- or not known. The rows of descriptors' slabs are what these need for themselves: their own
-- descriptors, and slabs that hold none any more.
--
-- Columns:
--   run              Replay of one trace.
--   trace            Name of the trace set.
--   scheme           Name of the scheme.
--   page_kind        Whose pages; also 'descriptors' slabs', 'no known block'.
--   order            Blocks of 2^order pages; NULL: not blocks.
--   blocks           Blocks.
--   pages            [pages] Their pages.
--   descriptor       Name of the descriptor; NULL: none is needed.
--   bytes_each       [bytes] Its size.
--   words_saved      [bytes] What their words save against struct page.
--   descriptor_cost  [bytes] What their descriptors take, with their part of free places in slabs.
--   saved_bytes      [bytes] words_saved less descriptor_cost.
with last_moment as (
    select
        run,
        max(moment) as moment
    from internal.live_blocks
    group by run
),

blocks as (
    select
        live_blocks.run,
        sizes.scheme,
        live_blocks.page_kind,
        live_blocks."order",
        sizes.descriptor,
        sum(live_blocks.blocks)::bigint as blocks,
        any_value(case when sizes.bound then 0 else sizes.bytes end) as bytes_each
    from internal.live_blocks
    inner join last_moment using (run, moment)
    inner join scheme_sizes as sizes using (run, page_kind, charged)
    where sure and live_blocks.page_kind <> 'unknown'
    group by all
    having sum(live_blocks.blocks) > 0
),

-- What one descriptor takes in the slabs as they stand: all their bytes, by all that lie on them.
held as (
    select
        run,
        scheme,
        descriptor,
        objects,
        pages * page_size as bytes,
        pages * page_size / nullif(objects, 0) as each
    from internal.descriptor_slabs
    inner join last_moment using (run, moment)
    inner join runs using (run)
    inner join traces using (trace_id)
),

known as (
    select
        blocks.run,
        blocks.scheme,
        blocks.page_kind,
        blocks."order",
        blocks.blocks,
        blocks.blocks << blocks."order" as pages,
        case when blocks.bytes_each > 0 then blocks.descriptor end as descriptor,
        blocks.bytes_each,
        case when blocks.bytes_each > 0 then blocks.blocks * coalesce(held.each, 0) else 0 end as cost,
        case
            when schemes.hvo and blocks.page_kind = 'hugetlb'
                then
                    blocks.blocks * (
                        least(64 << blocks."order", page_size)
                        - least(schemes.word_bytes << blocks."order", page_size)
                    )
            else (blocks.blocks << blocks."order") * (64 - schemes.word_bytes)
        end as words_saved
    from blocks
    inner join schemes using (run, scheme)
    inner join runs using (run)
    inner join traces using (trace_id)
    left join held
        on
            blocks.run = held.run
            and blocks.scheme = held.scheme
            and blocks.descriptor = held.descriptor
),

own as (
    select
        held.run,
        held.scheme,
        'descriptors'' slabs' as page_kind,
        null as "order",
        held.objects - coalesce(sum(known.blocks), 0)::bigint as blocks,
        0 as pages,
        held.descriptor,
        any_value(descriptors.bytes) as bytes_each,
        held.bytes - coalesce(sum(known.cost::decimal(24, 6)), 0)::double as cost,
        0 as words_saved
    from held
    inner join scheme_descriptors as descriptors using (run, scheme, descriptor)
    left join known using (run, scheme, descriptor)
    group by held.run, held.scheme, held.descriptor, held.objects, held.bytes
    having held.bytes - coalesce(sum(known.cost::decimal(24, 6)), 0)::double > 0.5
),

rest as (
    select
        machines.run,
        schemes.scheme,
        'no known block' as page_kind,
        null as "order",
        0 as blocks,
        machines.pages - coalesce(sum(known.pages), 0)::bigint as pages,
        null as descriptor,
        0 as bytes_each,
        0.0 as cost,
        (machines.pages - coalesce(sum(known.pages), 0)::bigint) * (64 - schemes.word_bytes)
            as words_saved
    from machines
    inner join schemes using (run)
    left join known using (run, scheme)
    group by machines.run, machines.pages, schemes.scheme, schemes.word_bytes
),

every as (
    select * from known
    union all by name
    select * from own
    union all by name
    select * from rest
)

select
    every.run,
    traces.trace,
    schemes.name as scheme,
    every.page_kind,
    every."order",
    every.blocks,
    every.pages,
    descriptors.name as descriptor,
    every.bytes_each,
    every.words_saved::bigint as words_saved,
    every.cost as descriptor_cost,
    every.words_saved - every.cost as saved_bytes
from every
inner join schemes using (run, scheme)
inner join runs using (run)
inner join traces using (trace_id)
left join scheme_descriptors as descriptors using (run, scheme, descriptor)
order by every.run, every.scheme, saved_bytes desc, every.page_kind, every."order"
