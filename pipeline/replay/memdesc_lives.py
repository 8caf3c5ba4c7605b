"""The page lives of a run whose descriptors are counted, and the snapshots beside them.

A recorded run has the lives of its recording; a simulated one has the slabs that the model made,
and all other pages of the recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from allocsim.kernels.release import GFP_BITS
from allocsim.memdesc.pre_trace_blocks import FirstTouched
from pipeline.trace_set.snapshots import page_flags

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from allocsim.tables import Columns, UInt64
    from pipeline.trace_set.reader import TraceSet

_ROWS = 1 << 17  # of lives or requests held at once
# ``page`` and ``free_seq`` say what comes first at one time; a slab that the model makes has those
# of the event that does, and its place among the slabs of that event.
_RECORDED = """
CREATE OR REPLACE TEMP VIEW memdesc_lives AS
SELECT
    page << 12 AS page, pfn, "order", enum_code(page_kind) AS kind, gfp_flags, alloc_ts,
    alloc_cpu, free_ts, free_cpu, free_seq << 12 AS free_seq
FROM pages WHERE run = getvariable('described_run')
"""
# A table, since every look at its lives would else go through all events for their times.
_MODEL_SLABS = """
CREATE OR REPLACE TEMP TABLE described_slabs AS
WITH slabs AS (
    SELECT *, row_number() OVER (PARTITION BY alloc_seq ORDER BY slab) AS place
    FROM placed_slabs WHERE run = $run
),
asked AS (SELECT alloc_seq AS seq FROM slabs UNION SELECT free_seq FROM slabs),
-- Of these events only: all events would not fit DuckDB's memory.
times AS MATERIALIZED (
    SELECT seq, ts FROM internal.object_facts INNER JOIN asked USING (seq) WHERE run = $of_run
    UNION ALL
    SELECT seq, ts FROM page_events INNER JOIN asked USING (seq) WHERE run = $of_run
)
SELECT
    coalesce(alloc_seq << 12, slab) + place AS page, pfn, "order", born.ts AS alloc_ts, alloc_cpu,
    gone.ts AS free_ts, free_cpu, free_seq << 12 AS free_seq
FROM slabs
LEFT JOIN times AS born ON born.seq = alloc_seq
LEFT JOIN times AS gone ON gone.seq = free_seq
WHERE alloc_seq IS NOT NULL OR free_seq IS NOT NULL
"""
_SIMULATED = """
CREATE OR REPLACE TEMP VIEW memdesc_lives AS
SELECT
    page << 12 AS page, pfn, "order", enum_code(page_kind) AS kind, gfp_flags, alloc_ts,
    alloc_cpu, free_ts, free_cpu, free_seq << 12 AS free_seq
FROM pages WHERE run = getvariable('described_run') AND page_kind <> 'slab'
UNION ALL
SELECT
    page, pfn, "order", enum_code('slab'::page_kind), NULL, alloc_ts, alloc_cpu, free_ts,
    free_cpu, free_seq
FROM described_slabs
"""
_LIVES = """
SELECT
    page,
    pfn,
    "order",
    kind,
    coalesce(alloc_ts, -1) AS start,
    coalesce(free_ts, -1) AS end,
    coalesce(gfp_flags & $account <> 0, false) AS charged
FROM memdesc_lives
"""


class Shown(NamedTuple):
    """What a recording shows of its page frames.

    Args:
        highest: the highest frame of its lives.
        touched: which life was first on each frame.
        before: words of the kpageflags read before it; None: there are none.
        after: those read behind it; None: there are none.
    """

    highest: int
    touched: FirstTouched
    before: UInt64 | None
    after: UInt64 | None


def of_recording(connection: duckdb.DuckDBPyConnection, run: int) -> None:
    """Have the lives of a recorded run counted from now on, on this connection."""
    _set_run(connection, run)
    connection.execute(_RECORDED)


def with_model_slabs(connection: duckdb.DuckDBPyConnection, run: int, of_run: int) -> None:
    """Have the lives of a run that simulates another counted from now on, on this connection."""
    _set_run(connection, of_run)
    connection.execute(_MODEL_SLABS, {"run": run, "of_run": of_run})
    connection.execute(_SIMULATED)


def _set_run(connection: duckdb.DuckDBPyConnection, run: int) -> None:
    connection.execute(f"SET VARIABLE described_run = {run}")


def shown(connection: duckdb.DuckDBPyConnection, trace: TraceSet) -> Shown:
    """What the lives and the snapshots of a trace set show of its page frames.

    Raises:
        InputError: a snapshot is damaged.
    """
    [(highest,)] = connection.execute(
        'SELECT coalesce(max(pfn + (1 << "order")), 1) - 1 FROM memdesc_lives'
    ).fetchall()
    before, after = (
        page_flags(trace.snapshot("kpageflags.zst", when)) for when in ("before", "after")
    )
    touched = FirstTouched()
    for each in lives(connection):
        touched.add(each)
    return Shown(highest, touched, before, after)


def lives(connection: duckdb.DuckDBPyConnection, where: str = "") -> Iterator[Columns]:
    """Lives, batch by batch: what FirstTouched.add takes, and ``charged`` (__GFP_ACCOUNT)."""
    yield from batches(connection, _LIVES + where, {"account": GFP_BITS["__GFP_ACCOUNT"]})


def batches(
    connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any]
) -> Iterator[Columns]:
    """The rows of a query, batch by batch, in its order."""
    reader = connection.sql(sql, params=values).to_arrow_reader(_ROWS)
    for batch in reader:
        yield {
            name: values.to_numpy(zero_copy_only=False).copy()
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
