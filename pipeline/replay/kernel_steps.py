"""Steps in the use of a page that kernels do with different operations, found in page_ref events.

What a step looks like depends on the kernel that was recorded (allocsim.kernels.release), so each
is found in the form that this one gives it. Several operations of a task count as one action if
it did nothing between them but take and drop references: no page allocated, no count set, frozen
or added to by the zero of a mapping (R1.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from allocsim.kernels.release import Kernel

# Where the task's latest action began: ``acts``, and ``acts_ungathered``, which takes the pages
# that unmapping allocates on its way (mmu_gather) for part of it. (A count of them so far would
# say the same, and takes DuckDB three times as long.)
_FOUND = """
CREATE OR REPLACE TEMP TABLE page_uses AS
SELECT * EXCLUDE (act) FROM (
    SELECT
        seq, pid, event, events.page, val, ret, page_locked, pages.page_kind, pages."order",
        pages.page_kind IN ('page_cache', 'shmem') AS cached,
        pages.alloc_ts IS NOT NULL AS born,
        CASE
            WHEN event IN ('mm_page_alloc', 'page_ref_set', 'page_ref_freeze') THEN seq
            WHEN event = 'page_ref_mod' AND val = 0 THEN seq
        END AS act,
        coalesce(last_value(act IGNORE NULLS) OVER task, -1) AS acts,
        coalesce(last_value(
            CASE
                WHEN pages.page_kind <> 'tlb_batch'
                    OR event NOT IN ('mm_page_alloc', 'page_ref_set') THEN act
            END IGNORE NULLS
        ) OVER task, -1) AS acts_ungathered
    FROM page_events AS events
    INNER JOIN pages USING (run, page)
    WHERE run = $run
    WINDOW task AS (PARTITION BY pid ORDER BY seq)
)
WHERE event >= 'page_ref_set'::event AND page_kind IN ('anon', 'thp', 'page_cache', 'shmem')
"""

# R1.40, from 7.2 on: the freeze of each folio of a batch that fails, for the folio lives.
_FROZEN_INSERTIONS = """
SELECT seq, page, 'lru_insertion' AS step FROM page_uses
WHERE event = 'page_ref_freeze' AND val = 1 AND ret = 0
"""
# Before: the reference of the batch, the first that a folio gets besides those of its mapping
# (A+N in a file, A+(N-1) of a large folio in anonymous memory, R1.20). Not counted is anonymous
# memory whose batch is emptied by the very action that frees it: 7.2 finds it dead, and the freeze
# takes the place of the last drop (R1.23b).
_INSERTIONS = """
SELECT seq, page, 'lru_insertion' AS step FROM (
    SELECT
        seq, page, page_kind, "order", cached,
        row_number() OVER (PARTITION BY page ORDER BY seq) AS nth
    FROM page_uses WHERE born AND event = 'page_ref_mod' AND val > 0
)
WHERE nth = CASE
    WHEN cached OR page_kind = 'anon' AND "order" > 0 THEN 2 ELSE 1
END
AND page NOT IN (
    SELECT page FROM (
        SELECT
            page, cached, event, ret, pid,
            acts_ungathered AS acts,
            lag(event) OVER life AS last_event,
            lag(acts_ungathered) OVER life AS last_acts,
            lag(pid) OVER life AS last_pid
        FROM page_uses WINDOW life AS (PARTITION BY page ORDER BY seq)
    )
    WHERE NOT cached AND event = 'page_ref_mod_and_test' AND ret <> 0
        AND last_event = event AND last_pid = pid AND last_acts = acts
)
"""
# Fault-around (R1.24e) looks a folio up, locks it and maps it. Up to 6.17 the mapping takes a
# reference under the lock, and that of the look-up is dropped behind it. Where the page's flags
# were not read (text), what was looked up, added to and dropped for another reason counts too.
_DROPPED_LOOKUPS = """
SELECT seq, page, CASE WHEN val > 1 THEN 'fault_around_large' ELSE 'fault_around' END AS step
FROM (
    SELECT
        seq, page, pid, event, val, page_locked, cached,
        lag(event) OVER life AS last_event,
        lag(ret) OVER life AS last_ret,
        lag(pid) OVER life AS last_pid,
        lead(event) OVER life AS next_event,
        lead(pid) OVER life AS next_pid
    FROM page_uses WINDOW life AS (PARTITION BY page ORDER BY seq)
)
WHERE event = 'page_ref_mod' AND val > 0 AND coalesce(page_locked, true)
    AND cached
    AND last_event = 'page_ref_mod_unless' AND last_ret <> 0 AND last_pid = pid
    AND next_event = 'page_ref_mod_and_test' AND next_pid = pid
"""
# From 6.18 on the mapping keeps the reference of the look-up: the task does not drop it in the
# same action. Other look-ups do, or go on with an addition: the zero of a fault on that very page.
_KEPT_LOOKUPS = """
SELECT
    seq,
    page,
    CASE WHEN together AND next_event = 'page_ref_mod' THEN 'fault_around_large'
        ELSE 'fault_around' END AS step
FROM (
    SELECT
        seq, page, event, val, ret, cached,
        lead(event) OVER task AS next_event,
        lead(val) OVER task AS next_val,
        lead(page_locked) OVER task AS next_locked,
        coalesce(lead(acts) OVER task = acts, false) AS together
    FROM page_uses WINDOW task AS (PARTITION BY page, pid ORDER BY seq)
)
WHERE event = 'page_ref_mod_unless' AND ret <> 0 AND cached
    AND (
        CASE
            WHEN together
                THEN next_event = 'page_ref_mod' AND next_val > 0
                    AND coalesce(next_locked, true)
            ELSE coalesce(next_event <> 'page_ref_mod' OR next_val <> 0, true)
        END
    )
"""
_INSERT = """
INSERT INTO internal.kernel_steps
SELECT $run, seq, page, step FROM ({insertions} UNION ALL {lookups}) ORDER BY seq
"""
_SUM = """
INSERT INTO internal.step_samples
SELECT run, (ts - first_ts) // slice_ns AS slice, pages.page_kind, step, count(*)
FROM internal.kernel_steps
INNER JOIN page_events AS events USING (run, seq)
INNER JOIN pages USING (run)
INNER JOIN runs USING (run)
WHERE run = $run AND pages.page = kernel_steps.page
GROUP BY ALL ORDER BY ALL
"""


def add_kernel_steps(connection: duckdb.DuckDBPyConnection, run: int, kernel: Kernel) -> None:
    """Find the steps of a recorded run with page_ref events, and count them by time slice.

    Args:
        connection: the database; the run, its page lives and events are in it.
        run: its number.
        kernel: the recorded kernel.
    """
    connection.execute(_FOUND, {"run": run})
    insertions = _FROZEN_INSERTIONS if kernel.lru_freezes else _INSERTIONS
    lookups = _KEPT_LOOKUPS if kernel.mapping_keeps_reference else _DROPPED_LOOKUPS
    connection.execute(_INSERT.format(insertions=insertions, lookups=lookups), {"run": run})
    connection.execute("DROP TABLE page_uses")
    connection.execute(_SUM, {"run": run})
