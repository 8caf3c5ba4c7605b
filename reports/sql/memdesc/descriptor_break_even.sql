-- descriptor_break_even: one row is one scheme with descriptors of one run: where the run lies when
-- it ends, and where the scheme costs as much as struct page.
--
-- Every page saves 64 bytes less its word; a described block, one that has a descriptor, pays for
-- that. So a scheme saves where described blocks are large, or few pages belong to any.
--
-- Columns:
--   run                    Replay of one trace.
--   trace                  Name of the trace set.
--   scheme                 Name of the scheme.
--   described_pages        [pages] Pages of blocks with a descriptor.
--   described_pct          [%] Of the machine's pages.
--   described_of_used_pct  [%] Of the pages of known blocks.
--   pages_per_block        [pages] Pages of a described block on average.
--   order0_pct             [%] Share of described blocks that are one page.
--   bytes_per_block        [bytes] What a described block's descriptor takes, slabs and all.
--   break_even_pages       [pages] Pages a described block must have at this described_pct.
--   break_even_pct         [%] Largest described_pct at these pages_per_block; 100: it always saves.
--   saved_bytes            [bytes] What the scheme saves when the run ends (descriptor_summary).
--   filled_saved_bytes     [bytes] The same if the pages of no known block were single page-cache pages.
--   used_saved_bytes       [bytes] What the pages of known blocks save alone.
with sums as (
    select
        run,
        trace,
        scheme,
        coalesce(sum(pages) filter (bytes_each > 0), 0)::bigint as described_pages,
        coalesce(sum(blocks) filter (bytes_each > 0 and "order" is not null), 0)::bigint as described,
        coalesce(sum(blocks) filter (bytes_each > 0 and "order" = 0), 0)::bigint as single,
        coalesce(sum(pages) filter (page_kind <> 'no known block'), 0)::bigint as used_pages,
        coalesce(sum(pages) filter (page_kind = 'no known block'), 0)::bigint as rest_pages,
        sum(pages)::bigint as pages,
        -- Decimals: a sum of doubles depends on the order in which threads come to it.
        sum(descriptor_cost::decimal(24, 6))::double as cost,
        sum(saved_bytes::decimal(24, 6))::double as saved_bytes,
        coalesce(sum(saved_bytes::decimal(24, 6)) filter (page_kind <> 'no known block'), 0)::double
            as used_saved_bytes
    from descriptor_kinds
    group by run, trace, scheme
),

folios as (
    select
        sizes.run,
        sizes.scheme,
        descriptors.full_bytes
    from scheme_sizes as sizes
    inner join scheme_descriptors as descriptors using (run, scheme, descriptor)
    where sizes.page_kind = 'page_cache' and not sizes.charged
)

select
    sums.run,
    sums.trace,
    sums.scheme,
    sums.described_pages,
    100 * sums.described_pages / nullif(sums.pages, 0) as described_pct,
    100 * sums.described_pages / nullif(sums.used_pages, 0) as described_of_used_pct,
    sums.described_pages / nullif(sums.described, 0) as pages_per_block,
    100 * sums.single / nullif(sums.described, 0) as order0_pct,
    sums.cost / nullif(sums.described, 0) as bytes_per_block,
    sums.described_pages / nullif(sums.pages, 0) * sums.cost / nullif(sums.described, 0)
    / nullif(64 - schemes.word_bytes, 0) as break_even_pages,
    100 * least(
        (64 - schemes.word_bytes) * sums.described_pages / nullif(sums.cost, 0), 1
    ) as break_even_pct,
    sums.saved_bytes,
    sums.saved_bytes - sums.rest_pages * coalesce(folios.full_bytes, 0) as filled_saved_bytes,
    sums.used_saved_bytes
from sums
inner join schemes on sums.run = schemes.run and sums.scheme = schemes.name
left join folios on schemes.run = folios.run and schemes.scheme = folios.scheme
where
    exists (
        select 1
        from scheme_descriptors as descriptors
        where descriptors.run = schemes.run and descriptors.scheme = schemes.scheme
    )
order by sums.run, schemes.scheme
