-- descriptor_overhead: one row is one part of what one scheme of page descriptors takes, at one time
-- of one run.
--
-- word: what every page frame has, whoever uses it; with HVO, less what hugetlb pages give back.
-- descriptors: those of the blocks that are live then. slab waste: what the slabs they lie on have
-- beyond them, free places and the descriptors of these slabs among it. unknown: what there may be
-- on top at most, for blocks that one snapshot of two shows, pages of unknown kind, and pages that
-- may be charged to a memory cgroup; it is no part of the sum.
--
-- Columns:
--   run          Replay of one trace.
--   trace        Name of the trace set.
--   scheme       Name of the scheme.
--   moment       0: when the recording begins; n: the end of time slice n - 1.
--   ts           [ns] That time, on the recording's clock.
--   seconds      [s] The same, since the first event.
--   part         'word', 'descriptors', 'slab waste' or 'unknown'.
--   bytes        [bytes] How much memory it takes.
--   percent      [%] Of the machine's memory.
--   struct_page  [bytes] What struct page, 64 bytes a page, takes in all: to compare the sum with.
with moments as (
    select
        run,
        page_size,
        unnest(range((last_ts - first_ts) // slice_ns + 2))::integer as moment,
        first_ts,
        least(first_ts + moment * slice_ns, last_ts) as ts
    from runs
    inner join traces using (trace_id)
),

-- Words of a hugetlb page that HVO gives back: all but a page of them.
needed as (
    select
        live_blocks.run,
        live_blocks.moment,
        sizes.scheme,
        sum(blocks * sizes.bytes) filter (sure and not sizes.bound)::bigint as known,
        sum(blocks * sizes.bytes) filter (not sure or sizes.bound)::bigint as unknown,
        sum(blocks * greatest((schemes.word_bytes << "order") - page_size, 0)) filter (
            sure and schemes.hvo and live_blocks.page_kind = 'hugetlb'
        )::bigint as given_back
    from internal.live_blocks
    inner join scheme_sizes as sizes using (run, page_kind, charged)
    inner join schemes using (run, scheme)
    inner join runs using (run)
    inner join traces using (trace_id)
    group by live_blocks.run, live_blocks.moment, sizes.scheme
),

slabs as (
    select
        run,
        scheme,
        moment,
        sum(pages)::bigint as pages
    from internal.descriptor_slabs
    group by run, scheme, moment
),

parts as (
    select
        moments.run,
        schemes.scheme,
        schemes.name,
        moments.moment,
        moments.ts,
        (moments.ts - moments.first_ts) / 1e9 as seconds,
        machines.pages * moments.page_size as memory,
        machines.pages * schemes.word_bytes - coalesce(needed.given_back, 0) as word,
        coalesce(needed.known, 0) as descriptors,
        coalesce(slabs.pages, 0) * moments.page_size - coalesce(needed.known, 0) as waste,
        coalesce(needed.unknown, 0) as unknown,
        machines.pages * 64 as struct_page
    from moments
    inner join machines using (run)
    inner join schemes using (run)
    left join needed using (run, scheme, moment)
    left join slabs using (run, scheme, moment)
)

select
    parts.run,
    traces.trace,
    parts.name as scheme,
    parts.moment,
    parts.ts,
    parts.seconds,
    pairs.pair.part,
    pairs.pair.bytes,
    100 * pairs.pair.bytes / nullif(parts.memory, 0) as percent,
    parts.struct_page
from parts
inner join runs using (run)
inner join traces using (trace_id)
cross join unnest([
    {'part': 'word', 'bytes': word},
    {'part': 'descriptors', 'bytes': descriptors},
    {'part': 'slab waste', 'bytes': waste},
    {'part': 'unknown', 'bytes': unknown}
]) as pairs (pair)
order by parts.run, parts.scheme, parts.moment, pairs.pair.part
