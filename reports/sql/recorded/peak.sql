-- peak: one row is what was live of one site and cache, or of one kind of page and function, when one
-- measure of one recorded run was highest.
--
-- Three measures, each with a moment of its own: the bytes given to objects, the objects whose slab
-- cache is known, and the pages allocated. All of it is of what the recording saw allocated: what is older has
-- no row, so the peak is that of the growth. Objects end as object_lives says: one that was freed
-- without an event (T6), and of which nothing shows the end, counts as live. The moment is found in
-- two looks, so that not every change has to be sorted: the first adds up changes in 16,384 bins of
-- the recording, the second orders those of the bins that the peak can be in.
--
-- Columns:
--   run        Replay of one trace.
--   trace      Name of the trace set.
--   measure    object bytes, slab objects, or pages.
--   seconds    [s] Moment at which it was highest, since the first event.
--   site       Place that allocated objects, or function that allocated pages; NULL: not recorded.
--   cache      Name of the cache; NULL: not known, whole pages, or measure pages.
--   page_kind  Kind of page; NULL: of objects.
--   live       Objects, or blocks of pages, live then.
--   amount     What the measure counts of these: bytes, objects or pages.
--   share_pct  [%] Of the amount of all rows of the measure: of the peak.
with lives as (
    select
        'object bytes' as measure,
        run,
        alloc_ts as from_ts,
        end_ts as to_ts,
        call_site,
        cache,
        null::page_kind as page_kind,
        null::integer as stack,
        bytes_alloc as amount
    from object_lives
    union all
    select
        'slab objects' as measure,
        run,
        alloc_ts as from_ts,
        end_ts as to_ts,
        call_site,
        cache,
        null::page_kind as page_kind,
        null::integer as stack,
        1::bigint as amount
    from object_lives
    where cache is not null
    union all
    select
        'pages' as measure,
        run,
        alloc_ts as from_ts,
        free_ts as to_ts,
        null as call_site,
        null as cache,
        page_kind,
        stack,
        1::bigint << "order" as amount
    from pages
    where alloc_ts is not null
),

changes as (
    select measure, run, from_ts as ts, amount as change
    from lives
    union all
    select measure, run, to_ts as ts, -amount as change
    from lives
    where to_ts is not null
),

binned as (
    select
        changes.*,
        (changes.ts - runs.first_ts) // ((runs.last_ts - runs.first_ts) // 16384 + 1) as bin
    from changes
    inner join runs using (run)
),

levels as (
    select
        measure,
        run,
        bin,
        sum(sum(change)) over till - sum(change) as begins,
        sum(sum(change)) over till as ends,
        begins + coalesce(sum(change) filter (change > 0), 0) as at_most
    from binned
    group by measure, run, bin
    window till as (partition by measure, run order by bin)
),

-- A bin that never gets as high as another one ends has not the peak in it.
candidates as (
    select
        measure,
        run,
        bin,
        begins
    from levels
    qualify at_most >= max(ends) over (partition by measure, run)
),

-- Of what happens at one moment, frees come first.
held as (
    select
        binned.measure,
        binned.run,
        binned.ts,
        candidates.begins + sum(binned.change) over (
            partition by binned.measure, binned.run, binned.bin
            order by binned.ts, binned.change
            rows unbounded preceding
        ) as amount
    from binned
    inner join candidates using (measure, run, bin)
),

-- The first moment at which it was so high.
peaks as (
    select
        measure,
        run,
        min(ts) as ts
    from (
        from held
        qualify amount = max(amount) over (partition by measure, run)
    )
    group by measure, run
),

live as (
    select
        lives.measure,
        lives.run,
        peaks.ts,
        lives.call_site,
        lives.cache,
        lives.page_kind,
        lives.stack,
        count(*) as live,
        sum(lives.amount)::bigint as amount
    from lives
    inner join peaks using (measure, run)
    where lives.from_ts <= peaks.ts and coalesce(lives.to_ts > peaks.ts, true)
    group by all
),

named as (
    select
        live.measure,
        live.run,
        live.ts,
        coalesce(
            call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
            '0x' || lower(to_hex(live.call_site)),
            stacks.caller
        ) as site,
        caches.name as cache,
        live.page_kind,
        sum(live.live)::bigint as live,
        sum(live.amount)::bigint as amount
    from live
    left join call_sites using (run, call_site)
    left join caches using (run, cache)
    left join stacks using (run, stack)
    group by all
)

select
    named.run,
    traces.trace,
    named.measure,
    (named.ts - runs.first_ts) / 1e9 as seconds,
    named.site,
    named.cache,
    named.page_kind,
    named.live,
    named.amount,
    100 * named.amount
    / sum(named.amount) over (partition by named.run, named.measure) as share_pct
from named
inner join runs using (run)
inner join traces using (trace_id)
order by named.run, named.measure, named.amount desc, named.site, named.cache, named.page_kind
