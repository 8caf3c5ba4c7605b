-- freezability: one row is the pages of one kind in one run, all of them (scope 'kind') or those of
-- one allocating function and cache (scope 'caller'): could they do without a reference count?
--
-- Only recordings with page_ref events have rows, and only whole lives, begun and ended in the
-- recording, speak for the verdict (table verdicts). A refused get-unless-zero is a scanner passing
-- by and counts nowhere. What freezing saves is what gave these pages their count and what took it
-- away, of all lives; operations in use are left out, since a page that needs them cannot be frozen
-- as it is.
--
-- Columns:
--   run               Replay of one trace.
--   trace             Name of the trace set.
--   scope             'kind' or 'caller'.
--   page_kind         Whose pages.
--   caller            Function that allocated them; NULL: no stack was recorded, or scope 'kind'.
--   cache             Slab pages: the cache; NULL: not slab, not known, or scope 'kind'.
--   lives             Page lives.
--   whole_lives       Of these, begun and ended in the recording.
--   bare_lives        Whole lives without any operation but the first set and the last drop.
--   extra_lives       Whole lives in which somebody took a reference beyond the first.
--   extra_references  Operations that took these references.
--   peak_count        Highest count of a whole life (P1).
--   verdict           Verdict on the group (verdicts.name).
--   plain_ops_saved   Plain stores that freezing these pages would have saved in this trace.
--   locked_ops_saved  Locked instructions, likewise.
--   saved_pct         [%] Both, as a share of all reference operations recorded in the run.
--   saved_per_second  [1/s] Both, per second of the recording.
with lives as (
    select
        run,
        page_kind,
        caller,
        cache,
        if(grouping(caller, cache) = 0, 'caller', 'kind') as scope,
        count(*) as lives,
        count(*) filter (whole) as whole_lives,
        count(*) filter (whole and use_plain + use_locked = 0) as bare_lives,
        count(*) filter (whole and takes > 0) as extra_lives,
        count(*) filter (whole and births > 0) as counted_lives,
        coalesce(sum(takes) filter (whole), 0)::bigint as extra_references,
        max(peak_count) filter (whole) as peak_count,
        sum(births)::bigint as plain_ops_saved,
        sum(ends)::bigint as locked_ops_saved
    from reference_lives
    group by grouping sets ((run, page_kind, caller, cache), (run, page_kind))
),

totals as (
    select
        run,
        sum(births + ends + use_plain + use_locked)::bigint as operations
    from reference_lives
    group by run
),

verdict_of as (
    select
        lives.*,
        case
            when whole_lives = 0 then 4
            when counted_lives = 0 and extra_lives = 0 then 0
            else (
                select arg_min(verdict, max_extra_pct)
                from verdicts
                where 100 * lives.extra_lives <= max_extra_pct * lives.whole_lives
            )
        end as verdict
    from lives
)

select
    lives.run,
    traces.trace,
    lives.scope,
    page_kinds.name as page_kind,
    lives.caller,
    lives.cache,
    lives.lives,
    lives.whole_lives,
    lives.bare_lives,
    lives.extra_lives,
    lives.extra_references,
    lives.peak_count,
    verdicts.name as verdict,
    lives.plain_ops_saved,
    lives.locked_ops_saved,
    100 * (lives.plain_ops_saved + lives.locked_ops_saved) / nullif(totals.operations, 0)
        as saved_pct,
    1e9 * (lives.plain_ops_saved + lives.locked_ops_saved)
    / nullif(runs.last_ts - runs.first_ts, 0) as saved_per_second
from verdict_of as lives
inner join totals using (run)
inner join verdicts using (verdict)
inner join page_kinds using (page_kind)
inner join runs using (run)
inner join traces using (trace_id)
order by
    lives.run,
    lives.scope,
    lives.plain_ops_saved + lives.locked_ops_saved desc,
    lives.lives desc,
    page_kinds.name,
    lives.caller,
    lives.cache
