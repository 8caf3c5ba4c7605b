"""Loading one run into a results database, window by window, from Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from allocsim.events import EVENTS, Ev
from allocsim.results import EVENT_RESULTS
from pipeline.store.arrow import arrow_schema, from_columns, from_rows, stored
from pipeline.store.schema import OBJECT_EVENTS, OBJECT_STACKS, PAGE_EVENTS, PAGES, Table

if TYPE_CHECKING:
    import duckdb

    from allocsim.amendments import Amendments
    from allocsim.columns import Columns

# Fields an event type lacks are 0 in a window and null in the store: for each raw column, the
# codes of the events that have it.
_HAVE_FIELD = {
    name: np.array([name in event.columns for event in EVENTS])
    for name in ("call_site", "bytes_req", "bytes_alloc", "pfn", "order")
}
_MINUS_ONE_IS_NULL = {"stack", *(column.name for column in EVENT_RESULTS)} - {
    "plain_ops",
    "locked_ops",
}


def _null(
    name: str, values: npt.NDArray[Any] | None, event: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_] | None:
    """Where a column of events is null; None where nowhere, or where it is absent."""
    if values is None:
        return None
    if name in _HAVE_FIELD:
        return ~_HAVE_FIELD[name][event]
    return np.equal(values, -1) if name in _MINUS_ONE_IS_NULL else None


# Allocations, frees and pages come from the events, so that a block that is split and freed in
# parts counts when it happens. What page_ref recorded of the use stage is known by life only.
_SAMPLES = f"""
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


class RunWriter:
    """Writes what a replay gives into the tables of one run.

    Args:
        connection: a database in a transaction (pipeline.store.database.writing).
        run: number of the run.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run: int) -> None:
        self._connection = connection
        self._run = run
        self._amended: dict[str, int] = {}

    def window(self, first_seq: int, window: Columns, results: Columns) -> None:
        """Add the events of a window.

        Args:
            first_seq: row of its first event in the trace set.
            window: its events (allocsim.events.EVENT_COLUMNS, as far as the trace has them).
            results: what the model says of them, row for row (EVENT_RESULTS).
        """
        # The four object events have the lowest codes.
        of_object = window["event"] <= Ev.KMEM_CACHE_FREE
        for table, mask in ((OBJECT_EVENTS, of_object), (PAGE_EVENTS, ~of_object)):
            rows = np.flatnonzero(mask)
            if len(rows):
                self._insert(table.name, self._events(table, rows, first_seq, window | results))
        if "stack" in window:
            rows = np.flatnonzero(of_object & (window["stack"] >= 0))
            self._insert("object_stacks", self._events(OBJECT_STACKS, rows, first_seq, window))

    def _events(
        self, table: Table, rows: npt.NDArray[np.int64], first_seq: int, columns: Columns
    ) -> pa.Table:
        event = columns["event"][rows]
        made: Columns = {"run": self._runs(len(rows)), "seq": rows + first_seq}
        arrays = []
        for column in table.columns:
            values = made.get(column.name)
            if values is None and column.name in columns:
                values = columns[column.name][rows]
            arrays.append(stored(column, values, len(rows), _null(column.name, values, event)))
        return pa.Table.from_arrays(arrays, schema=arrow_schema(table))

    def pages(self, pages: Columns) -> None:
        """Add page lives that have ended, or that the end of the trace found alive."""
        rows = len(pages["page"])
        if rows:
            self._insert("pages", from_columns(PAGES, {"run": self._runs(rows), **pages}))

    def amend(self, amendments: Amendments) -> None:
        """Note values of rows of earlier windows that only now became known.

        They wait in a table of their own (DuckDB can move it to disk) for one UPDATE at the end.
        """
        for name, (seq, values) in amendments.items():
            known = self._amended.get(name, 0)
            if not known:
                self._connection.execute(
                    f"CREATE TEMP TABLE amended_{name} (turn BIGINT, seq BIGINT, value BIGINT)"
                )
            turn = np.arange(known, known + len(seq))
            self._insert(
                f"amended_{name}",
                pa.table({"turn": turn, "seq": seq, "value": values.astype(np.int64)}),
            )
            self._amended[name] = known + len(seq)

    def finish(self) -> None:
        """Apply the amendments, and sum up the pages by time slice. The row in runs is there."""
        for name in self._amended:
            for table in (OBJECT_EVENTS, PAGE_EVENTS):  # of slab neither has a column
                if any(column.name == name for column in table.columns):
                    self._connection.execute(
                        f"""
                        UPDATE {table.name}
                        SET {name} = nullif(amended.value, -1)
                        FROM (
                            SELECT seq, arg_max(value, turn) AS value
                            FROM amended_{name} GROUP BY seq
                        ) AS amended
                        WHERE {table.name}.run = ? AND {table.name}.seq = amended.seq
                        """,
                        [self._run],
                    )
            self._connection.execute(f"DROP TABLE amended_{name}")
        self._connection.execute(_SAMPLES, [self._run])

    def rows(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Add rows of a small table, given without the column ``run``."""
        if rows:
            self._insert(table.name, from_rows(table, [{"run": self._run, **row} for row in rows]))

    def _runs(self, rows: int) -> npt.NDArray[np.int32]:
        return np.full(rows, self._run, np.int32)

    def _insert(self, table: str, batch: pa.Table) -> None:
        self._connection.register("batch", batch)
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM batch")
        self._connection.unregister("batch")
