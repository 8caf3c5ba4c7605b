"""Where the cache line of each operation on a page was, by the CPU of the event before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.refcount.costs import cost_ops
from allocsim.tables import row_of
from pipeline.store.schema.costs import COST_OPS, COST_TABLES
from pipeline.trace_set.machine import cpu_topology

if TYPE_CHECKING:
    import duckdb

    from allocsim.refcount.costs import CostTable
    from pipeline.store.load import RunWriter
    from pipeline.trace_set.reader import TraceSet

# The operation that allocates or frees a page has a page_ref event of its own right at the
# allocator's: what counts there is the event before that. In use are all others: not the first
# stores of a life, nor its last locked instructions, as many as ref_use_* leave out (which are few;
# a million is more than DuckDB's min and max of several take).
_OP_PLACES = """
INSERT INTO internal.op_places
WITH touched AS (
    SELECT
        seq, cpu, event, page, ret, "order", plain_ops, locked_ops,
        lag(cpu) OVER frame AS last,
        lag(event) OVER frame >= 'page_ref_set'::event AS by_count,
        lag(cpu, 2) OVER frame AS second
    FROM page_events WHERE run = $run AND pfn IS NOT NULL
    WINDOW frame AS (PARTITION BY pfn ORDER BY seq)
),
begun AS (
    SELECT
        pages.page_kind, pages.cache, pages.alloc_cpu AS cpu, 'alloc' AS stage, NULL AS operation,
        CASE WHEN by_count THEN second ELSE last END AS before, 1 << pages."order" AS pages,
        NULL AS step
    FROM pages JOIN touched ON touched.seq = coalesce(pages.alloc_seq, pages.page)
    WHERE run = $run AND alloc_ts IS NOT NULL
),
ended AS (
    SELECT
        pages.page_kind, pages.cache, touched.cpu, 'free', NULL,
        CASE WHEN by_count THEN second ELSE last END, 1 << touched."order", NULL
    FROM touched JOIN pages USING (page)
    WHERE run = $run AND event = 'mm_page_free'
),
counted AS (
    SELECT
        seq, page, touched.cpu, event, last, plain_ops, locked_ops, page_kind, pages.cache,
        ref_plain - ref_use_plain AS first_stores, ref_locked - ref_use_locked AS last_locked
    FROM touched JOIN pages USING (page)
    WHERE run = $run AND event >= 'page_ref_set'::event AND plain_ops + locked_ops > 0
),
not_in_use AS (
    SELECT unnest(min(seq, least(first_stores, 999_999))) AS seq FROM counted
    WHERE plain_ops > 0 AND first_stores > 0 GROUP BY page, first_stores
    UNION
    SELECT unnest(max(seq, least(last_locked, 999_999))) FROM counted
    WHERE locked_ops > 0 AND last_locked > 0 GROUP BY page, last_locked
),
used AS (
    SELECT
        page_kind, cache, cpu, 'use',
        CASE event
            WHEN 'page_ref_set' THEN 'store'
            WHEN 'page_ref_unfreeze' THEN 'store'
            WHEN 'page_ref_mod' THEN 'lock_add'
            WHEN 'page_ref_mod_and_test' THEN 'dec_and_test'
            WHEN 'page_ref_mod_and_return' THEN 'xadd'
            ELSE 'cmpxchg'
        END,
        last, 1, NULL
    FROM counted ANTI JOIN not_in_use USING (seq)
),
stepped AS (
    SELECT pages.page_kind, pages.cache, touched.cpu, 'use', NULL, last, 1, steps.step
    FROM internal.kernel_steps AS steps
    JOIN touched USING (seq)
    JOIN pages ON pages.run = $run AND pages.page = steps.page
    WHERE steps.run = $run
),
every AS (
    FROM begun UNION ALL FROM ended UNION ALL FROM used UNION ALL FROM stepped
    UNION ALL
    SELECT page_kind, cache, alloc_cpu, 'use', NULL, NULL, 1 << "order", NULL
    FROM pages WHERE run = $run AND alloc_seq IS NOT NULL AND ref_use_locked IS NULL
)
SELECT
    $run,
    page_kind,
    cache,
    cpu,
    stage,
    operation,
    CASE
        WHEN before IS NULL THEN 'unknown'
        WHEN before = cpu THEN 'own'
        WHEN $packages[before + 1] <> $packages[cpu + 1] THEN 'remote'
        ELSE 'other'
    END AS place,
    step,
    count(*),
    sum(pages)::BIGINT
FROM every
GROUP BY ALL
ORDER BY ALL
"""


def add_cache_line_places(
    connection: duckdb.DuckDBPyConnection,
    writer: RunWriter,
    run: int,
    trace: TraceSet,
    costs: CostTable,
) -> None:
    """Add what operations take to a recorded run, and where their lines were.

    Args:
        connection: the database; the run, its page lives and events are in it.
        writer: writes into the run.
        run: its number.
        trace: what it is a replay of.
        costs: the table of costs.
    """
    connection.execute(_OP_PLACES, {"run": run, "packages": cpu_packages(trace)})
    writer.rows(COST_TABLES, [{"name": costs.name, "doc": costs.doc, "source": costs.source}])
    writer.rows(COST_OPS, [row_of(each) for each in cost_ops(costs)])


def cpu_packages(trace: TraceSet) -> list[int]:
    """Package (socket) of each CPU, by the trace set's cpuinfo; all in one where it has none."""
    packages = [0] * trace.meta["cpus"]
    for place in cpu_topology(trace):
        packages[place.cpu] = place.package or 0
    return packages
