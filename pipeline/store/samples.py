"""The time slices of a run, summed up from its pages and page events."""

from __future__ import annotations

# Allocations, frees and pages come from the events, so that a block that is split and freed in
# parts counts when it happens. So do recorded operations, less those of allocation and free: the
# first store of a life, and its last locked instruction.
INSERT_SAMPLES = """
INSERT INTO internal.samples
WITH this AS (
    SELECT run, first_ts, slice_ns FROM runs WHERE run = ?
),
lives AS (
    SELECT pages.* FROM pages JOIN this USING (run)
),
ops AS (
    SELECT page, ts, plain_ops, locked_ops
    FROM page_events JOIN this USING (run)
    WHERE plain_ops + locked_ops > 0 AND page IS NOT NULL
),
ends AS (
    SELECT
        page,
        min(ts) FILTER (plain_ops > 0) AS first_plain,
        max(ts) FILTER (locked_ops > 0) AS last_locked
    FROM ops
    GROUP BY page
),
parts AS (
    SELECT
        ts,
        page_kind,
        (event = 'mm_page_alloc')::BIGINT AS page_allocs,
        (event = 'mm_page_free')::BIGINT AS page_frees,
        page_allocs << "order" AS pages_allocated,
        page_frees << "order" AS pages_freed,
        0 AS assumed_uses,
        0 AS assumed_use_pages,
        0 AS use_plain,
        0 AS use_locked
    FROM page_events JOIN this USING (run)
    WHERE event IN ('mm_page_alloc', 'mm_page_free') AND page IS NOT NULL
    UNION ALL
    SELECT alloc_ts, page_kind, 0, 0, 0, 0, 1, 1 << "order", 0, 0
    FROM lives WHERE alloc_seq IS NOT NULL AND ref_use_locked IS NULL
    UNION ALL
    SELECT ts, page_kind, 0, 0, 0, 0, 0, 0, plain_ops, locked_ops
    FROM ops JOIN lives USING (page)
    UNION ALL
    SELECT first_plain, page_kind, 0, 0, 0, 0, 0, 0, ref_use_plain - ref_plain, 0
    FROM ends JOIN lives USING (page) WHERE ref_use_plain < ref_plain
    UNION ALL
    SELECT last_locked, page_kind, 0, 0, 0, 0, 0, 0, 0, ref_use_locked - ref_locked
    FROM ends JOIN lives USING (page) WHERE ref_use_locked < ref_locked
)
SELECT
    run,
    (ts - first_ts) // slice_ns AS slice,
    page_kind,
    sum(page_allocs),
    sum(page_frees),
    sum(pages_allocated),
    sum(pages_freed),
    sum(assumed_uses),
    sum(assumed_use_pages),
    sum(use_plain),
    sum(use_locked)
FROM parts CROSS JOIN this
GROUP BY run, slice, page_kind
ORDER BY slice, page_kind
"""
