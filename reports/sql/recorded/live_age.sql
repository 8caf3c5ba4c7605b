-- live_age: one row is the objects of one cache and site, live when one recorded run ends, that are of
-- one age class: a decade of the time since their allocation.
--
-- Of objects allocated in the recording, those of which nothing in it shows an end (object_lives):
-- observed, as far as frees have events (T6 names those that have none). A leak is a site whose objects
-- stand in every class; a working set, one whose objects are young.
--
-- Columns:
--   run          Replay of one trace.
--   trace        Name of the trace set.
--   cache        Name of the cache; NULL: not known, or whole pages.
--   site         Place that allocated, as function+0x1c.
--   age_from     [ns] Youngest age of the class.
--   age_to       [ns] Age it is below of.
--   objects      Objects.
--   bytes_req    [bytes] Asked for by them.
--   bytes_alloc  [bytes] Given to them.
--   share_pct    [%] Of bytes_alloc of all objects of the run that are live at its end.
with aged as (
    select
        lives.run,
        lives.cache,
        lives.call_site,
        greatest(floor(log10(greatest(runs.last_ts - lives.alloc_ts, 1))), 3)::integer as decade,
        count(*) as objects,
        sum(lives.bytes_req)::bigint as bytes_req,
        sum(lives.bytes_alloc)::bigint as bytes_alloc
    from object_lives as lives
    inner join runs using (run)
    where lives.end_ts is null
    group by all
)

select
    aged.run,
    traces.trace,
    caches.name as cache,
    coalesce(
        call_sites.symbol || '+0x' || lower(to_hex(call_sites.offset)),
        '0x' || lower(to_hex(aged.call_site))
    ) as site,
    case when aged.decade = 3 then 0 else 10 ** aged.decade end::bigint as age_from,
    (10 ** (aged.decade + 1))::bigint as age_to,
    aged.objects,
    aged.bytes_req,
    aged.bytes_alloc,
    100 * aged.bytes_alloc
    / nullif(sum(aged.bytes_alloc) over (partition by aged.run), 0) as share_pct
from aged
inner join runs using (run)
inner join traces using (trace_id)
left join caches using (run, cache)
left join call_sites using (run, call_site)
order by aged.run, aged.bytes_alloc desc, cache, site, age_from
