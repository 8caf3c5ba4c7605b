"""The time slices of a run, summed up from its pages and page events."""

from __future__ import annotations

from allocsim.events import Ev

# Allocations, frees and pages come from the events, so that a block that is split and freed in
# parts counts when it happens. What page_ref recorded of the use stage is known by life only.
INSERT_SAMPLES = f"""
INSERT INTO samples
WITH this AS (
    SELECT run, first_ts, slice_ns FROM runs WHERE run = ?
),
parts AS (
    SELECT
        (ts - first_ts) // slice_ns AS slice,
        page_kind,
        count(*) FILTER (event = {Ev.MM_PAGE_ALLOC:d}) AS page_allocs,
        count(*) FILTER (event = {Ev.MM_PAGE_FREE:d}) AS page_frees,
        sum(1 << "order") FILTER (event = {Ev.MM_PAGE_ALLOC:d}) AS pages_allocated,
        sum(1 << "order") FILTER (event = {Ev.MM_PAGE_FREE:d}) AS pages_freed,
        0 AS assumed_uses,
        0 AS assumed_use_pages,
        0 AS use_plain,
        0 AS use_locked
    FROM page_events JOIN this USING (run)
    WHERE event IN ({Ev.MM_PAGE_ALLOC:d}, {Ev.MM_PAGE_FREE:d}) AND page IS NOT NULL
    GROUP BY ALL
    UNION ALL
    SELECT
        (coalesce(alloc_ts, first_ts) - first_ts) // slice_ns,
        page_kind,
        0,
        0,
        0,
        0,
        count(alloc_seq) FILTER (ref_use_locked IS NULL),
        sum(1 << "order") FILTER (alloc_seq IS NOT NULL AND ref_use_locked IS NULL),
        sum(ref_use_plain),
        sum(ref_use_locked)
    FROM pages JOIN this USING (run)
    GROUP BY ALL
)
SELECT
    run,
    slice,
    page_kind,
    sum(page_allocs),
    sum(page_frees),
    coalesce(sum(pages_allocated), 0),
    coalesce(sum(pages_freed), 0),
    sum(assumed_uses),
    coalesce(sum(assumed_use_pages), 0),
    coalesce(sum(use_plain), 0),
    coalesce(sum(use_locked), 0)
FROM parts CROSS JOIN this
GROUP BY run, slice, page_kind
ORDER BY slice, page_kind
"""
