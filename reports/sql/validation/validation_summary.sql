-- validation_summary: one row is one validated run: how many of its comparisons are checks, and held.
--
-- A check is a comparison that could have failed: with another figure the row would be beyond its
-- bound. Rows that could not, and rows without a bound, are counted apart; one of them that is beyond
-- its bound all the same counts as a check that failed.
--
-- Columns:
--   run             Replay of one trace.
--   trace           Name of the trace set.
--   comparisons     Rows of the table validation.
--   checks          Of them, those that could have failed.
--   within_bound    Checks within their bounds.
--   beyond_bound    Checks beyond them.
--   by_rule         Counted apart: follow from a rule alone (slab_order, objects_per_slab).
--   wide_bounds     Counted apart: the bound is 100 % of the kernel's figure or more.
--   wide_intervals  Counted apart: the interval of what no event shows is so wide that nothing could lie outside.
--   without_bound   Counted apart: there is no bound; the note says why.
select
    run,
    trace,
    count(*) as comparisons,
    count(*) filter (standing in ('within', 'beyond')) as checks,
    count(*) filter (standing = 'within') as within_bound,
    count(*) filter (standing = 'beyond') as beyond_bound,
    count(*) filter (standing = 'by rule') as by_rule,
    count(*) filter (standing = 'wide bound') as wide_bounds,
    count(*) filter (standing = 'wide interval') as wide_intervals,
    count(*) filter (standing = 'no bound') as without_bound
from validation
group by run, trace
order by run
