-- ended_lives: one row is one object life of one run that both began and ended in the recording, as
-- its cache's or as its call site's: those of which both are known have two rows.
--
-- A view, and not a part of the query of lifetime_medians, which reads it twice: what a query names
-- and reads twice, DuckDB keeps whole, a gigabyte where 25 M events are.
--
-- Columns:
--   run       Replay of one trace.
--   what      What the lives have in common: cache, or call site.
--   key       Which it is: a number of caches.cache, or an address of call_sites.call_site.
--   lifetime  [ns] From its allocation to its free.
--   bin       Lives of about one length, a hundredth of it: 100 times its natural logarithm.
select
    run,
    'cache' as what,
    cache::ubigint as key,
    lifetime,
    floor(100 * sign(lifetime) * ln(1 + abs(lifetime))) as bin
from object_events
where cache is not null and lifetime is not null and event in ('kmalloc', 'kmem_cache_alloc')
union all
select
    run,
    'call site' as what,
    call_site as key,
    lifetime,
    floor(100 * sign(lifetime) * ln(1 + abs(lifetime))) as bin
from object_events
where call_site is not null and lifetime is not null and event in ('kmalloc', 'kmem_cache_alloc')
