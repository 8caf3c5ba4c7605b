-- freezability: one row is the pages of one kind in one run, all of them (scope 'kind') or those of
-- one allocating function and cache (scope 'caller'): could they do without a reference count?
--
-- Two things speak for the verdict (table verdicts): what was done to the count of whole lives, begun
-- and ended in the recording, and who reads the count in the kernel's sources, which fires no event
-- (view count_readers). The stricter of the two stands: pages on which nobody took a reference here
-- may still have readers, and pages whose sources name none may still have been referenced. Pages of
-- kinds 'unknown' and 'other' are never freezable: nobody can say who reads theirs. A refused
-- get-unless-zero is a scanner passing by and counts nowhere. Only recordings with page_ref events
-- have rows.
--
-- What freezing saves is what gave these pages their count and what took it away, of all lives;
-- operations in use are left out, since a page that needs them cannot be frozen as it is. What the
-- changed readers cost instead is not in it: source_verdicts.price says where there is something.
-- frozen_savings says what policies save against 'refcounted', here it is what the recorded kernel
-- spends: of kinds that it counts and a policy freezes the two are equal, of kinds it has frozen
-- already nothing is left to save.
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
--   verdict           Verdict on the group (table verdicts): the stricter of the next two.
--   observed          Verdict by its whole lives alone.
--   by_source         Verdict by the kernel's sources alone.
--   sources_of        Kernel whose sources were read: the recorded one's or the nearest older.
--   readers           Functions that read the count, take references or map the pages; NULL: none.
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
        case when grouping(caller, cache) = 0 then 'caller' else 'kind' end as scope,
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

seen as (
    select
        lives.*,
        case
            when whole_lives = 0 then 'not known'::verdict
            when counted_lives = 0 and extra_lives = 0 then 'frozen already'::verdict
            else (
                select arg_min(verdict, max_extra_pct)
                from verdicts
                where 100 * lives.extra_lives <= max_extra_pct * lives.whole_lives
            )
        end as observed
    from lives
),

-- A caller whose code was read has a verdict of its own, all others that of their kind.
allowed as (
    select
        run,
        page_kind,
        caller,
        kernel,
        verdict as by_source
    from source_verdicts
),

named as (
    select
        run,
        page_kind,
        string_agg(distinct kernel_function, ', ' order by kernel_function) as readers
    from kind_readers
    where does != 'scans'
    group by run, page_kind
),

told as (
    select
        seen.*,
        coalesce(of_caller.by_source, of_kind.by_source, 'not known'::verdict) as by_source,
        of_kind.kernel as sources_of,
        case when of_caller.by_source is null then named.readers end as readers
    from seen
    left join allowed as of_kind
        on
            seen.run = of_kind.run
            and seen.page_kind = of_kind.page_kind
            and of_kind.caller is null
    left join allowed as of_caller
        on
            seen.run = of_caller.run
            and seen.page_kind = of_caller.page_kind
            and regexp_replace(seen.caller, '(_noprof)?([.].*)?$', '') = of_caller.caller
    left join named on seen.run = named.run and seen.page_kind = named.page_kind
),

judged as (
    select
        told.*,
        case
            when observed = 'frozen already' then observed
            when 'needs its count' in (observed, by_source) then 'needs its count'::verdict
            else greatest(observed, by_source)
        end as verdict
    from told
)

select
    judged.run,
    traces.trace,
    judged.scope,
    judged.page_kind,
    judged.caller,
    judged.cache,
    judged.lives,
    judged.whole_lives,
    judged.bare_lives,
    judged.extra_lives,
    judged.extra_references,
    judged.peak_count,
    judged.verdict,
    judged.observed,
    judged.by_source,
    judged.sources_of,
    judged.readers,
    judged.plain_ops_saved,
    judged.locked_ops_saved,
    100 * (judged.plain_ops_saved + judged.locked_ops_saved) / nullif(totals.operations, 0)
        as saved_pct,
    1e9 * (judged.plain_ops_saved + judged.locked_ops_saved)
    / nullif(runs.last_ts - runs.first_ts, 0) as saved_per_second
from judged
inner join totals using (run)
inner join runs using (run)
inner join traces using (trace_id)
order by
    judged.run,
    judged.scope,
    judged.plain_ops_saved + judged.locked_ops_saved desc,
    judged.lives desc,
    judged.page_kind,
    judged.caller,
    judged.cache
