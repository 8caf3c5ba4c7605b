"""Loading one run into a results database, window by window, from Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from allocsim.events import EVENTS, Ev
from allocsim.results import EVENT_RESULTS
from pipeline.store.arrow import arrow_schema, from_columns, from_rows, stored
from pipeline.store.schema import OBJECT_EVENTS, PAGE_EVENTS, PAGES, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

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


class RunWriter:
    """Writes what a replay gives into the tables of one run.

    Args:
        connection: a database in a transaction (pipeline.store.database.writing).
        run: number of the run.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run: int) -> None:
        self._connection = connection
        self._run = run

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
                self._insert(table, self._events(table, rows, first_seq, {**window, **results}))

    def _events(
        self, table: Table, rows: npt.NDArray[np.int64], first_seq: int, columns: Columns
    ) -> pa.Table:
        event = columns["event"][rows]
        made = {"run": self._runs(len(rows)), "seq": rows + first_seq}
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
            self._insert(PAGES, from_columns(PAGES, {"run": self._runs(rows), **pages}))

    def rows(self, table: Table, rows: list[Mapping[str, Any]]) -> None:
        """Add rows of a dimension, given without the column ``run``."""
        self._insert(table, from_rows(table, [{"run": self._run, **row} for row in rows]))

    def _runs(self, rows: int) -> npt.NDArray[np.int32]:
        return np.full(rows, self._run, np.int32)

    def _insert(self, table: Table, batch: pa.Table) -> None:
        self._connection.register("batch", batch)
        self._connection.execute(f"INSERT INTO {table.name} SELECT * FROM batch")
        self._connection.unregister("batch")
