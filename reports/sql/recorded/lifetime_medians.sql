-- lifetime_medians: one row is the objects of one cache, or of one call site, of one run: the median
-- of those of their lives that both began and ended in the recording.
--
-- It is exact, and found in two looks, so that memory does not grow with the recording: the first
-- counts lives in bins of a hundredth of their length, the second ranks those of the bin that the
-- median is in.
--
-- Columns:
--   run              Replay of one trace.
--   what             What the objects have in common: cache, or call site.
--   key              Which it is: a number of caches.cache, or an address of call_sites.call_site.
--   lives            Lives that both began and ended in the recording.
--   lifetime_median  [ns] Of these.
with lives as (
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
),

binned as (
    select
        run,
        what,
        key,
        bin,
        count(*) as here
    from lives
    group by run, what, key, bin
),

-- Ranks begin with 0. Of an even number of lives, two are in the middle.
ranked as (
    select
        *,
        sum(here) over (partition by run, what, key order by bin) - here as below,
        (sum(here) over (partition by run, what, key) - 1) // 2 as low_rank,
        sum(here) over (partition by run, what, key) // 2 as high_rank
    from binned
),

middle as (
    select
        ranked.run,
        ranked.what,
        ranked.key,
        ranked.below,
        ranked.low_rank,
        ranked.high_rank,
        lives.lifetime,
        count(*) as here
    from lives
    inner join ranked using (run, what, key, bin)
    where
        ranked.low_rank between ranked.below and ranked.below + ranked.here - 1
        or ranked.high_rank between ranked.below and ranked.below + ranked.here - 1
    group by all
),

placed as (
    select
        *,
        below + sum(here) over (partition by run, what, key, below order by lifetime) - here as rank
    from middle
)

select
    run,
    what,
    key,
    (low_rank + high_rank + 1)::bigint as lives,
    (
        (
            any_value(lifetime) filter (low_rank between rank and rank + here - 1)
            + any_value(lifetime) filter (high_rank between rank and rank + here - 1)
        ) / 2
    )::bigint as lifetime_median
from placed
group by run, what, key, low_rank, high_rank
order by run, what, key
