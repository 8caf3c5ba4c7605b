-- temporaries: one row is one place in the kernel that allocates objects of one cache, in one recorded
-- run: how many of them are freed soon.
--
-- Soon is told in recorded events of all CPUs between allocation and free, which do not hang on how
-- slow the machine was, and in time. A recording with page_ref events has more events in between.
--
-- Columns:
--   run                  Replay of one trace.
--   trace                Name of the trace set.
--   site                 Place that allocated, as function+0x1c.
--   cache                Name of the cache; NULL: not known, or whole pages.
--   allocs               Objects allocated.
--   freed                Of these, whose free was seen.
--   within_10_events     Of these, freed by one of the 10 recorded events that followed.
--   within_100_events    Likewise.
--   within_1000_events   Likewise.
--   within_100us         Freed within 100 us.
--   within_1ms           Likewise.
--   same_cpu             Of within_1000_events, freed by the CPU that allocated.
--   temporary_pct        [%] within_1000_events of allocs.
--   temporary_bytes      [bytes] Given to within_1000_events, over all of them (bytes_alloc).
with sites as (
    select
        born.run,
        born.call_site,
        born.cache,
        count(*) as allocs,
        count(gone.seq) as freed,
        count(*) filter (gone.seq - born.seq <= 10) as within_10_events,
        count(*) filter (gone.seq - born.seq <= 100) as within_100_events,
        count(*) filter (gone.seq - born.seq <= 1000) as within_1000_events,
        count(*) filter (gone.ts - born.ts <= 100000) as within_100us,
        count(*) filter (gone.ts - born.ts <= 1000000) as within_1ms,
        count(*) filter (gone.seq - born.seq <= 1000 and gone.cpu = born.cpu) as same_cpu,
        coalesce(
            sum(born.bytes_alloc) filter (gone.seq - born.seq <= 1000), 0
        )::bigint as temporary_bytes
    from object_events as born
    left join object_events as gone
        on
            born.run = gone.run
            and born.seq = gone.object
            and gone.event in ('kfree', 'kmem_cache_free')
    where born.event in ('kmalloc', 'kmem_cache_alloc') and born.object is not null
    group by born.run, born.call_site, born.cache
)

select
    sites.run,
    traces.trace,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(sites.call_site))
    ) as site,
    caches.name as cache,
    sites.allocs,
    sites.freed,
    sites.within_10_events,
    sites.within_100_events,
    sites.within_1000_events,
    sites.within_100us,
    sites.within_1ms,
    sites.same_cpu,
    100 * sites.within_1000_events / sites.allocs as temporary_pct,
    sites.temporary_bytes
from sites
inner join runs using (run)
inner join traces using (trace_id)
left join caches using (run, cache)
left join call_sites using (run, call_site)
order by sites.run, sites.within_1000_events desc, site, cache
