-- object_lives: one row is one object life of one run that began in the recording.
--
-- Objects allocated before it are none, so sums of lives are of what the recording saw begin. Some
-- frees have no event (T6): such a life ends, at the latest, when its address is allocated again or
-- its slab page is freed; where neither happens it seems to live on.
--
-- Columns:
--   run          Replay of one trace.
--   object       Handle of the life: the event that allocated it (events.seq).
--   cache        Its cache (caches.cache); NULL: large kmalloc, or not known.
--   cache_how    Rule that gave the cache; NULL: an object of whole pages, which has none.
--   call_site    Address that allocated it.
--   cpu          CPU that allocated it.
--   pid          Task that allocated it.
--   bytes_req    [bytes] Asked for.
--   bytes_alloc  [bytes] Given.
--   page         Page life it lies on (pages.page); NULL: none known.
--   alloc_ts     [ns] Time of its allocation.
--   end_ts       [ns] Time of its end; NULL: live at the end of the recording.
--   end_how      'observed': its free has an event; 'inferred': at the latest then; NULL: live.
with revealed as (
    select
        unfreed.run,
        unfreed.object,
        least(unfreed.again_ts, pages.free_ts) as gone_ts
    from internal.unfreed_objects as unfreed
    inner join internal.object_facts as facts on unfreed.run = facts.run and unfreed.object = facts.seq
    left join pages
        on
            facts.run = pages.run
            and facts.page = pages.page
            and pages.free_seq is not null
            and pages.free_ts >= facts.ts
    where coalesce(unfreed.again_ts, pages.free_ts) is not null
)

select
    facts.run,
    facts.object,
    origins.cache,
    origins.cache_how,
    origins.call_site,
    facts.cpu,
    facts.pid,
    origins.bytes_req,
    origins.bytes_alloc,
    facts.page,
    facts.ts as alloc_ts,
    coalesce(facts.ts + facts.lifetime, revealed.gone_ts) as end_ts,
    case
        when facts.lifetime is not null then 'observed'
        when revealed.gone_ts is not null then 'inferred'
    end as end_how
from internal.object_facts as facts
inner join internal.object_origins as origins using (origin)
left join revealed on facts.run = revealed.run and facts.object = revealed.object
where origins.event in ('kmalloc', 'kmem_cache_alloc') and facts.object is not null
