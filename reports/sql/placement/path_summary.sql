-- path_summary: one row is one way of serving requests in one simulated run.
--
-- A sweep stores no events, so its runs have no rows.
--
-- Columns:
--   run       Simulated run.
--   trace     Name of the trace set.
--   what_if   Why it is not the recorded kernel as it was; NULL: it is.
--   layer     'object' (SLUB) or 'page' (page allocator).
--   path      The way (paths.path).
--   requests  Recorded events served so.
--   share_pct [%] Of the layer's events in the run.
with counted as (
    select run, path, count(*) as requests
    from placed_events
    group by run, path
)

select
    runs.run,
    traces.trace,
    runs.what_if,
    paths.layer,
    counted.path,
    counted.requests,
    100 * counted.requests
    / sum(counted.requests) over (partition by counted.run, paths.layer) as share_pct
from counted
inner join paths using (path)
inner join runs using (run)
inner join traces using (trace_id)
order by runs.run, paths.layer, counted.requests desc, counted.path
