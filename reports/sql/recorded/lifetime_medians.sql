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
with binned as (
    select
        run,
        what,
        key,
        bin,
        count(*) as here
    from ended_lives
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

-- One row a cache or call site, so that these are what a join holds in memory, not the lives.
wanted as (
    select
        run,
        what,
        key,
        any_value(low_rank) as low_rank,
        any_value(high_rank) as high_rank,
        map_from_entries(list((bin, below))) as below
    from ranked
    where low_rank between below and below + here - 1 or high_rank between below and below + here - 1
    group by run, what, key
),

middle as (
    select
        wanted.run,
        wanted.what,
        wanted.key,
        wanted.below[lives.bin] as below,
        wanted.low_rank,
        wanted.high_rank,
        lives.lifetime,
        count(*) as here
    from ended_lives as lives
    inner join wanted using (run, what, key)
    where map_contains(wanted.below, lives.bin)
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
