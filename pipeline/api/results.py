"""A results database as an object: its runs, tables, views and SQL as frames."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias
from weakref import finalize

from allocsim.toml_data.table import did_you_mean
from pipeline.api.database import database
from pipeline.errors import StoreError, UsageError
from pipeline.store.asking.trace_sets import find_trace_sets, mentions_recorded, shown
from pipeline.store.query import reading_statement, show_recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    import polars as pl
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from pipeline.errors import AllocsimError
    from pipeline.replay.done import Done

#: How a path is given.
PathLike: TypeAlias = str | os.PathLike[str]

_RUNS = "FROM runs INNER JOIN traces USING (trace_id) ORDER BY run"
_NAMES = {
    "view": "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'"
    " ORDER BY ALL",
    "table": "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'"
    " ORDER BY ALL",
}


class Results:
    """The runs of a results database, to be asked. Close it, or use it in a ``with`` block.

    Every frame is lazy: DuckDB reads the columns and rows that a query of polars asks for, when it
    is collected, and hands them over as Arrow. A frame keeps the database open.

    Nothing here changes the file. While it is open no other process can add runs to it; this one
    can, and then the next question sees them.

    Args:
        path: the file.
        done: runs that were asked for, and those of them that were added; None: it was only opened.
        kept: what is undone when it is closed, such as the folder of a temporary database.
        traces: trace sets of its runs that have moved, for the view recorded.
    """

    def __init__(
        self,
        path: Path,
        done: Done | None = None,
        kept: ExitStack | None = None,
        traces: Sequence[Path] = (),
    ) -> None:
        self.path = path
        self._traces = traces
        #: Numbers of the runs that replay or sweep was asked for, in order; none of ``open``.
        self.asked: tuple[int, ...] = tuple(done.runs) if done else ()
        #: Those of them that the database did not have before.
        self.added: tuple[int, ...] = tuple(done.added) if done else ()
        #: Why others that were asked for could not be made.
        self.failed: tuple[AllocsimError, ...] = tuple(done.failed) if done else ()
        self._database = database(path)
        self._database.hold()
        stack = ExitStack()
        if kept is not None:
            stack.push(kept)
        stack.callback(self._database.give_back)
        self._finalizer = finalize(self, stack.close)

    def close(self) -> None:
        """Close it; frames made of it cannot be collected any more. Once is enough."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = "" if self._finalizer.alive else ", closed"
        return f"<allocsim.Results {self.path}{closed}>"

    @contextmanager
    def asking(self) -> Iterator[DuckDBPyConnection]:
        """A connection to the database for the block, of this thread alone; it only reads.

        Raises:
            StoreError: closed already, or the database cannot be used.
            UsageError: DuckDB says that what was asked is wrong.
        """
        if not self._finalizer.alive:
            raise StoreError(f"{self.path}: these results are closed; open them again")
        with self._database.asking() as connection:
            yield connection

    @contextmanager
    def _asking(self, statement: str) -> Iterator[DuckDBPyConnection]:
        """As asking; a statement can read the view recorded on it."""
        with self.asking() as connection:
            checked = reading_statement(connection, statement)
            if not mentions_recorded(statement):
                yield connection
                return
            with shown(connection, find_trace_sets(connection, self._traces)) as trace_sets:
                show_recorded(connection, trace_sets, checked)
                yield connection

    @property
    def runs(self) -> pl.LazyFrame:
        """A row a run, recorded and simulated, with its trace: tables runs and traces."""
        return self.sql(_RUNS)

    @property
    def views(self) -> list[str]:
        """Names of the views, which docs/views describes."""
        return self._names("view")

    @property
    def tables(self) -> list[str]:
        """Names of the tables, which docs/schema.md describes."""
        return self._names("table")

    def view(self, name: str) -> pl.LazyFrame:
        """A view.

        Raises:
            UsageError: there is none of that name.
        """
        return self._relation("view", name)

    def table(self, name: str) -> pl.LazyFrame:
        """A table.

        Raises:
            UsageError: there is none of that name.
        """
        return self._relation("table", name)

    def arrow(self, name: str) -> pa.Table:
        """A table or a view, whole, as an Arrow table.

        Raises:
            UsageError: there is none of that name.
        """
        query = self._from("table" if name in self.tables else "view", name)
        with self._asking(query) as connection:
            return connection.sql(query).to_arrow_table()

    def sql(self, statement: str) -> pl.LazyFrame:
        """The rows of one SQL statement, in DuckDB's dialect, which only reads.

        It can read the tables and views of the database, and no other file; by the view recorded
        the trace sets of its runs. It runs when the frame is collected, and anew each time.

        Raises:
            UsageError: it is wrong, or can do more than read.
            InputError: a trace set that it needs is not where it was.
        """
        return self._frame(lambda _: statement)

    def _relation(self, kind: str, name: str) -> pl.LazyFrame:
        rows = self._from(kind, name)
        return self._frame(lambda columns: f"SELECT {columns} {rows}")

    def _frame(self, query: Callable[[str], str]) -> pl.LazyFrame:
        from pipeline.api.frames import lazy_frame  # the commands have no need of polars

        return lazy_frame(self._asking, query)

    def _names(self, kind: str) -> list[str]:
        with self.asking() as connection:
            return [name for (name,) in connection.execute(_NAMES[kind]).fetchall()]

    def _from(self, kind: str, name: str) -> str:
        names = self._names(kind)
        if name not in names:
            hint = did_you_mean(name, names).strip() or f"{kind}s has their names"
            raise UsageError(f"{name!r}: no {kind} of {self.path}; {hint}")
        return f'FROM "{name}"'


def open(db: PathLike, *, traces: Sequence[PathLike] = ()) -> Results:  # noqa: A001 - as whoever calls it has it: allocsim.open
    """Open a results database, to be asked.

    Args:
        db: the file that allocsim replay or sweep wrote.
        traces: trace sets of its runs that are not any more where they were when they were
            replayed: the view recorded reads them.

    Raises:
        StoreError: no such file, not a results database, of another schema version, or in use.
    """
    return opened(Results(Path(db), traces=[Path(trace) for trace in traces]))


def opened(results: Results) -> Results:
    """The same, once it is seen that they can be asked; closed where not."""
    try:
        with results.asking():
            return results
    except BaseException:
        results.close()
        raise
