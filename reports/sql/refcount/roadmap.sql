-- roadmap: one row is one kind of page of one run, in its step of the plan towards memory
-- descriptors: what the step saves on these pages, what it costs, and who stands in its way.
--
-- The steps are data (table roadmap_steps; R6.2): first kinds lose their count, the last step
-- allocates descriptors apart from struct page. Operations saved are those of frozen_savings under
-- the policy everything-freezable, which freezes what the kernel's sources allow once the functions
-- of count_readers have changed; NULL for kinds that it leaves counted. Of kinds that the
-- recorded kernel has frozen (state 'done') it is what freezing saves already. A folio keeps its
-- count, in its descriptor: the last step saves no operations on folios. Descriptors are those of
-- the scheme memdesc-8, whose sizes are published or estimated (scheme_sizes), and are needed once the
-- last step comes, whatever step a kind stands in; NULL where that scheme was not replayed.
--
-- Columns:
--   run                     Replay of one trace.
--   trace                   Name of the trace set.
--   step                    Place of the step, from 0.
--   name                    Its name.
--   page_kind               Whose pages; only kinds that the run meets have rows.
--   state                   'done' (frozen already), 'next' (the sources allow it), or 'counted'.
--   by_source               Verdict on the kind by the sources of the kernel alone.
--   page_allocs             Allocations of such pages, of whatever order.
--   page_frees              Frees of them; a split block is freed in parts (T10).
--   pages_at_end            [pages] Of blocks known to be live at the end; NULL: no scheme.
--   locked_ops_saved        Locked instructions that freezing saves; NULL: the kind stays counted.
--   locked_ops_saved_low    The same, at least; equal where nothing is assumed.
--   locked_ops_saved_high   The same, at most.
--   saved_pct_low           [%] Of the locked instructions under 'refcounted', at least.
--   saved_pct_high          [%] The same, at most.
--   saved_how               How known: observed, inferred, assumed, or mixed; NULL: none is saved.
--   readers                 Functions of the sources that would have to change (count_readers).
--   price                   What doing without the count costs elsewhere; NULL: nothing known.
--   descriptor              Descriptor that an allocation needs; NULL: none.
--   descriptor_allocs       Descriptors allocated with these pages, at least.
--   descriptor_allocs_high  At most: charged allocations and those of unknown pages may need one.
--   words_saved             [bytes] What their words save against struct page at the end.
--   descriptor_bytes        [bytes] What their descriptors take then, with slabs' free places.
--   known                   What speaks for the step: 'read', 'published' or 'assumed'.
--   source                  Who says so.
with savings as (
    select
        run,
        page_kind,
        sum(locked_ops_saved)::bigint as locked_ops_saved,
        sum(locked_ops_saved_low)::bigint as locked_ops_saved_low,
        sum(locked_ops_saved_high)::bigint as locked_ops_saved_high,
        case
            when count(distinct how) filter (locked_ops_saved_high <> 0) > 1 then 'mixed'
            else any_value(how) filter (locked_ops_saved_high <> 0)::varchar
        end as saved_how
    from frozen_savings
    where policy = 'everything-freezable' and frozen
    group by run, page_kind
),

-- Both ends of a share are taken where it is least and most.
counted as (
    select
        run,
        locked_ops_low,
        locked_ops_high
    from policy_summary
    where policy = 'refcounted'
),

done as (
    select distinct
        policy_ops.run,
        policy_ops.page_kind
    from policy_ops
    inner join policies using (run, policy)
    inner join runs using (run)
    where policies.name = runs.own_policy and policy_ops.frozen
),

flows as (
    select
        run,
        page_kind,
        any_value(page_allocs) as page_allocs,
        any_value(page_frees) as page_frees
    from page_kind_summary
    group by run, page_kind
),

named as (
    select
        run,
        page_kind,
        count(distinct kernel_function) as readers
    from kind_readers
    where does <> 'scans' and page_kind is not null
    group by run, page_kind
),

planned as (
    select
        run,
        scheme
    from schemes
    where name = 'memdesc-8'
),

needed as (
    select
        pages.run,
        pages.page_kind,
        min(descriptors.name) filter (not sizes.bound and sizes.bytes > 0) as descriptor,
        count(*) filter (not sizes.bound and sizes.bytes > 0) as descriptor_allocs,
        count(*) filter (sizes.bytes > 0) as descriptor_allocs_high
    from pages
    inner join planned using (run)
    left join gfp_names using (run, gfp_flags)
    inner join scheme_sizes as sizes
        on
            pages.run = sizes.run
            and planned.scheme = sizes.scheme
            and pages.page_kind = sizes.page_kind
            and coalesce(contains(gfp_names.names, 'ACCOUNT'), false) = sizes.charged
    left join scheme_descriptors as descriptors
        on
            sizes.run = descriptors.run
            and sizes.scheme = descriptors.scheme
            and sizes.descriptor = descriptors.descriptor
    where pages.alloc_seq is not null
    group by pages.run, pages.page_kind
),

held as (
    select
        run,
        page_kind,
        sum(pages)::bigint as pages_at_end,
        sum(words_saved)::bigint as words_saved,
        sum(descriptor_cost::decimal(24, 6))::double as descriptor_bytes
    from descriptor_kinds
    where scheme = 'memdesc-8' and "order" is not null
    group by run, page_kind
),

-- Kinds that the recording moves, and those that are live at its end.
met as (
    select
        run,
        page_kind
    from flows
    union
    select
        run,
        page_kind::page_kind as page_kind
    from held
)

select
    met.run,
    traces.trace,
    steps.step,
    steps.name,
    met.page_kind,
    case
        when done.run is not null then 'done'
        when savings.run is not null then 'next'
        else 'counted'
    end as state,
    sources.verdict as by_source,
    coalesce(flows.page_allocs, 0) as page_allocs,
    coalesce(flows.page_frees, 0) as page_frees,
    case when planned.run is not null then coalesce(held.pages_at_end, 0) end as pages_at_end,
    savings.locked_ops_saved,
    savings.locked_ops_saved_low,
    savings.locked_ops_saved_high,
    100 * savings.locked_ops_saved_low / nullif(counted.locked_ops_high, 0) as saved_pct_low,
    100 * savings.locked_ops_saved_high / nullif(counted.locked_ops_low, 0) as saved_pct_high,
    savings.saved_how,
    coalesce(named.readers, 0) as readers,
    sources.price,
    needed.descriptor,
    case when planned.run is not null then coalesce(needed.descriptor_allocs, 0) end
        as descriptor_allocs,
    case when planned.run is not null then coalesce(needed.descriptor_allocs_high, 0) end
        as descriptor_allocs_high,
    case when planned.run is not null then coalesce(held.words_saved, 0) end as words_saved,
    case when planned.run is not null then coalesce(held.descriptor_bytes, 0) end
        as descriptor_bytes,
    steps.known,
    steps.source
from met
left join flows on met.run = flows.run and met.page_kind = flows.page_kind
inner join roadmap_steps as steps on met.page_kind = steps.page_kind
inner join runs on met.run = runs.run
inner join traces using (trace_id)
left join counted on met.run = counted.run
left join done on met.run = done.run and met.page_kind = done.page_kind
left join savings on met.run = savings.run and met.page_kind = savings.page_kind
left join named on met.run = named.run and met.page_kind = named.page_kind
left join planned on met.run = planned.run
left join needed on met.run = needed.run and met.page_kind = needed.page_kind
left join held on met.run = held.run and met.page_kind::varchar = held.page_kind::varchar
left join source_verdicts as sources
    on
        met.run = sources.run
        and met.page_kind = sources.page_kind
        and sources.caller is null
order by met.run, steps.step, coalesce(savings.locked_ops_saved, -1) desc, met.page_kind
