"""Loading one run into a results database, window by window, from Arrow."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from allocsim.kernels.release import GFP_BITS
from allocsim.trace.events import EVENT_COLUMN, EVENTS, Ev
from allocsim.trace.results import EVENT_RESULTS
from pipeline.processes.background import behind
from pipeline.store.arrow import (
    arrow_schema,
    from_columns,
    from_rows,
    insert_statement,
    stored,
)
from pipeline.store.dimensions import next_number
from pipeline.store.held import Held, may_change
from pipeline.store.inserts import put
from pipeline.store.origins import PARTS, Origins
from pipeline.store.samples import INSERT_SAMPLES
from pipeline.store.schema.recorded import (
    FALLBACKS,
    OBJECT_FACTS,
    OBJECT_ORIGINS,
    OBJECT_STACKS,
    PAGE_EVENTS,
    PAGES,
    PREFILLED_OBJECTS,
    REFUSED_REQUESTS,
    UNFREED_OBJECTS,
)
from pipeline.store.schema.table import StoreTable, from_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from allocsim.recording.interpret import UntracedResult, WindowResult
    from allocsim.tables import Array, Bools, Columns, Int32, Int64
    from allocsim.trace.late_results import LateResults

_EVENT_TABLES = (OBJECT_FACTS, PAGE_EVENTS)
_HELD_ROWS = 1 << 19  # of each of them
_WAITING = 12  # inserts that wait behind one: more than a window has, that the next can be made

#: Event columns that are stored.
COLUMNS = frozenset(
    column.name
    for table in (*_EVENT_TABLES, OBJECT_ORIGINS, OBJECT_STACKS, FALLBACKS, REFUSED_REQUESTS)
    for column in table.columns
    if column.name in EVENT_COLUMN
)

# Fields an event type lacks are 0 in a window and null in the store: for each raw column, the
# codes of the events that have it.
_HAVE_FIELD = {
    name: np.array([name in event.columns for event in EVENTS])
    for name in (
        *("call_site", "bytes_req", "bytes_alloc", "accounted"),
        *("pfn", "order", "val", "ret", "count"),
    )
}
_HAVE_FLAGS = np.array(["page_flags" in event.columns for event in EVENTS])
_ALLOCATES = np.array(["gfp_flags" in event.columns for event in EVENTS])
_HAVE_FIELD["asks_charge"] = _ALLOCATES
_ACCOUNT = np.uint64(GFP_BITS["__GFP_ACCOUNT"])
_PG_LOCKED = 1  # include/linux/page-flags.h: the lowest bit of page->flags
_MINUS_ONE_IS_NULL = {"stack", *(column.name for column in EVENT_RESULTS)} - {
    "plain_ops",
    "locked_ops",
}


# Of several values for a row the last stands.
_LAST = "(SELECT seq, arg_max(value, turn) AS value FROM amended_{} GROUP BY seq)"
_UPDATE = """
UPDATE {0}
SET {1} = {3}
FROM {2} AS amended
WHERE {0}.run = ? AND {0}.seq = amended.seq
"""
# Events whose cache was told late, and the origin each had.
_LATE = f"""
CREATE TEMP TABLE late AS
SELECT facts.seq, facts.origin, caches.value AS cache, hows.value AS cache_how
FROM internal.object_facts AS facts
INNER JOIN {_LAST.format("cache")} AS caches USING (seq)
INNER JOIN {_LAST.format("cache_how")} AS hows USING (seq)
WHERE facts.run = ?
"""
_CHANGE = """
UPDATE internal.object_facts
SET origin = changed.number
FROM late INNER JOIN changed USING (origin, cache, cache_how)
WHERE object_facts.run = ? AND object_facts.seq = late.seq
"""


def _rows(table: StoreTable, columns: Columns, mask: Bools) -> Columns:
    """Of the rows in a mask, the columns that a table of events and its null values need."""
    rows = np.flatnonzero(mask)
    names = {column.name for column in table.columns} | {"event", "open"}
    if table is OBJECT_FACTS:
        names |= set(PARTS)
    return {name: values[rows] for name, values in columns.items() if name in names}


def _null(name: str, columns: Columns) -> Bools | None:
    """Where a column of events is null; None where nowhere, or where it is absent."""
    if name not in columns:
        return None
    if name == "page_locked":
        return ~_HAVE_FLAGS[columns["event"]]
    if name in _HAVE_FIELD:
        return ~_HAVE_FIELD[name][columns["event"]]
    return np.equal(columns[name], -1) if name in _MINUS_ONE_IS_NULL else None


class RunWriter:
    """Writes what a replay gives into the tables of one run.

    Args:
        connection: a database in a transaction (pipeline.store.database.writing).
        run: number of the run.

    Attributes:
        gfp_flags: what the allocations of the windows so far asked with.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run: int) -> None:
        self._connection = connection
        self._run = run
        self._held = {table.name: Held(_HELD_ROWS) for table in _EVENT_TABLES}
        self._do: Callable[[Callable[[], object]], object] = _now
        self._amended: dict[str, int] = {}
        self.gfp_flags: set[int] = set()
        self._origins = Origins(next_number(connection, "internal.object_origins", "origin"))

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """In the block a thread inserts what is made into rows, in the order given.

        The connection is that thread's until then.
        """
        with behind(_WAITING) as later:
            self._do = later
            try:
                yield
            finally:
                self._do = _now

    def window(self, first_seq: int, window: Columns, result: WindowResult) -> None:
        """Add the events of a window, and what it says of events of earlier ones.

        Args:
            first_seq: row of its first event in the trace set.
            window: its events (allocsim.trace.events.EVENT_COLUMNS, as far as the trace has them).
            result: what the model says of them.
        """
        self.amend(result.late_results)
        seq = np.arange(first_seq, first_seq + len(window["ts"]))
        columns = window | result.columns | {"seq": seq, "open": result.open}
        if "gfp_flags" in window:
            columns["asks_charge"] = (window["gfp_flags"] & _ACCOUNT) > 0
        if "page_flags" in window:
            columns["page_locked"] = (window["page_flags"] & np.uint64(_PG_LOCKED)) > 0
        # The four object events have the lowest codes.
        of_object = window["event"] <= Ev.KMEM_CACHE_FREE
        waits = may_change(columns)
        for table, mask in zip(_EVENT_TABLES, (of_object, ~of_object), strict=True):
            held = self._held[table.name]
            batches = [held.release(), _rows(table, columns, mask & ~waits)]
            held.add(_rows(table, columns, mask & waits))
            self._add_events(table, batches)
        if "stack" in window:
            rows = _rows(OBJECT_STACKS, columns, of_object & (window["stack"] >= 0))
            self._add_events(OBJECT_STACKS, [rows])
        self._requests(seq, window)
        self.pages(result.pages)
        self.untraced(result.untraced)

    def _requests(self, seq: Int64, window: Columns) -> None:
        """Note what allocations asked with, and which got nothing or another's pages."""
        event = window["event"]
        if "fallback_order" in window:
            rows = np.flatnonzero(event == Ev.MM_PAGE_ALLOC_EXTFRAG)
            unknown = np.full(len(rows), -1)
            taken = {
                column.name: window[column.name][rows] if column.name in window else unknown
                for column in FALLBACKS.columns[2:]
            }
            self.columns(FALLBACKS, {"seq": seq[rows], **taken})
        if "gfp_flags" not in window:
            return
        allocates = _ALLOCATES[event]
        asked = pa.array(window["gfp_flags"]).filter(pa.array(allocates))
        self.gfp_flags.update(asked.unique().to_pylist())
        nothing = np.zeros(len(event), bool)
        if "ptr" in window:
            nothing |= (event <= Ev.KMEM_CACHE_ALLOC) & (window["ptr"] == 0)
        if "pfn" in window:
            nothing |= (event == Ev.MM_PAGE_ALLOC) & (window["pfn"] < 0)
        rows = np.flatnonzero(allocates & nothing)
        refused = {"seq": seq[rows], "gfp_flags": window["gfp_flags"][rows].astype(np.int64)}
        self.columns(REFUSED_REQUESTS, refused)

    def _add_events(self, table: StoreTable, batches: list[Columns]) -> None:
        made = [self._events(table, batch) for batch in batches if batch and len(batch["event"])]
        if made:
            self._add(table, pa.concat_tables(made))

    def _events(self, table: StoreTable, columns: Columns) -> pa.Table:
        """Columns as :func:`_rows` takes them, as an Arrow table."""
        rows = len(columns["event"])
        columns = columns | {"run": self._runs(rows)}
        if table is OBJECT_FACTS:
            columns["origin"] = self._origins.of(columns)
        arrays = [
            stored(column, columns.get(column.name), rows, _null(column.name, columns))
            for column in table.columns
        ]
        return pa.Table.from_arrays(arrays, schema=arrow_schema(table))

    def pages(self, pages: Columns) -> None:
        """Add page lives that have ended, or that the end of the trace found alive."""
        self.columns(PAGES, pages)

    def untraced(self, untraced: UntracedResult) -> None:
        """Add what the events do not say themselves."""
        self.columns(UNFREED_OBJECTS, {"object": untraced.unfreed, "again_ts": untraced.again_ts})
        runs = untraced.runs
        self.columns(PREFILLED_OBJECTS, {"seq": runs.seq, "first": runs.run, "left": runs.left})

    def columns(self, table: StoreTable, columns: Columns) -> None:
        """Add rows of a table, column by column, -1 for null, without the column ``run``."""
        rows = len(next(iter(columns.values())))
        if rows:
            self._add(table, from_columns(table, {"run": self._runs(rows), **columns}))

    def amend(self, late_results: LateResults) -> None:
        """Change rows of earlier windows, of which only now is known what they say.

        Rows that are not held back any more are changed at the end, by one UPDATE a column; until
        then their values wait in a table that DuckDB can move to disk.
        """
        for name, (seq, values) in late_results.items():
            held = np.zeros(len(seq), bool)
            for rows in self._held.values():
                held |= rows.amend(name, seq, values)
            late = ~held
            if name == "lifetime":  # the row already says that no lifetime is known
                late &= values >= 0
            self._note(name, seq[late], values[late])

    def _note(self, name: str, seq: Int64, values: Array) -> None:
        if not len(seq):
            return
        known = self._amended.get(name, 0)
        if not known:
            table = f"CREATE TEMP TABLE amended_{name} (turn BIGINT, seq BIGINT, value BIGINT)"
            self._do(partial(self._connection.execute, table))
        turn = np.arange(known, known + len(seq))
        batch = {"turn": turn, "seq": seq, "value": values.astype(np.int64)}
        self._note_down(f"amended_{name}", pa.table(batch))
        self._amended[name] = known + len(seq)

    def finish(self) -> None:
        """End the run, whose row in ``runs`` is there: apply late results, sum up time slices."""
        for table in _EVENT_TABLES:
            self._add_events(table, [self._held[table.name].release(everything=True)])
        if "cache" in self._amended:
            self._change_origins()
        self._add_events(OBJECT_ORIGINS, [self._origins.columns()])
        for name in self._amended:
            for table in _EVENT_TABLES:
                for column in table.columns:
                    if column.name == name:
                        value = from_loaded(column, "nullif(amended.value, -1)")
                        update = _UPDATE.format(table.sql_name, name, _LAST.format(name), value)
                        self._connection.execute(update, [self._run])
            self._connection.execute(f"DROP TABLE amended_{name}")
        self._connection.execute(INSERT_SAMPLES, [self._run])

    def _change_origins(self) -> None:
        self._connection.execute(_LATE, [self._run])
        told = self._connection.execute(
            "SELECT DISTINCT origin, cache, cache_how FROM late ORDER BY ALL"
        ).fetchnumpy()
        batch = {**told, "number": self._origins.changed(**told)}
        self._connection.execute(
            "CREATE TEMP TABLE changed"
            " (origin INTEGER, cache BIGINT, cache_how BIGINT, number INTEGER)"
        )
        self._note_down("changed", pa.table(batch))
        self._connection.execute(_CHANGE, [self._run])
        self._connection.execute("DROP TABLE changed")
        self._connection.execute("DROP TABLE late")

    def rows(self, table: StoreTable, rows: list[dict[str, Any]]) -> None:
        """Add rows of a small table, given without the column ``run``."""
        if rows:
            self._add(table, from_rows(table, [{"run": self._run, **row} for row in rows]))

    def _runs(self, rows: int) -> Int32:
        return np.full(rows, self._run, np.int32)

    def _add(self, table: StoreTable, batch: pa.Table) -> None:
        """Add rows of a table of the schema."""
        source = f"batch_of_{table.name}"
        self._do(partial(put, self._connection, source, insert_statement(table, source), batch))

    def _note_down(self, table: str, batch: pa.Table) -> None:
        """Add rows of a temporary table, column by column as they are."""
        source = f"batch_of_{table}"
        insert = f"INSERT INTO {table} FROM {source}"
        self._do(partial(put, self._connection, source, insert, batch))


def _now(call: Callable[[], object]) -> None:
    call()
