"""Adding to a results database: the transactions of one command, on one connection."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocsim import __version__
from allocsim.kernels.release import Generation
from allocsim.page_alloc.paths import FREE_PAGE_PATHS, PagePath
from allocsim.recording.page_kinds import KIND_DOCS, KIND_NAMES
from allocsim.refcount.alloc_levels import LEVELS
from allocsim.refcount.freezability import VERDICTS
from allocsim.refcount.roadmap import shipped_roadmap
from allocsim.slub.counters import COUNTERS, Use
from allocsim.slub.paths import FREE_PATHS, AllocPath
from pipeline.errors import AllocsimError, OutputError
from pipeline.processes import signals
from pipeline.processes.limits import cpus
from pipeline.store.database import NAMES, checked, connected, file_errors, limits_of, reading
from pipeline.store.empty import STORAGE, make, place, renew_views
from pipeline.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

import duckdb

# What is written is not asked for again: a cache of it would be in the model's way.
_WRITER_BYTES = 256 << 20

# With more than one thread each INSERT makes row groups of its own, whose remainders are compressed
# again when the transaction ends; the other CPUs have the reading and the model to do.
_WRITER_THREADS = 1
# Of the log: a checkpoint in between writes tables that the next one writes again.
_CHECKPOINT_BYTES = 256 << 20
# DuckDB holds some KiB of each column of each table that a transaction has added to, until the next
# checkpoint: 4 MiB for both runs of a small trace.
_CHECKPOINT_TRANSACTIONS = 32


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Of a database's files, in bytes."""

    data: int
    log: int


class Adding:
    """A results database that is added to, opened for the first transaction.

    One connection serves all transactions, and few checkpoints, the last at the end. What is
    committed is in the database's log by then: it is as durable as after the checkpoint. Until it
    is closed no other process can have the database.

    Args:
        path: the database; made by the first transaction if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._was_there = True
        self._ready = False  # it has been committed with this version's views
        self._committed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if self._connection is None:
                return
            self._connection.close()
            if failed is None and self._log().exists():  # DuckDB says nothing of it
                sys.stderr.write(
                    f"allocsim: {printable(str(self._log()))}: no room to take it into the"
                    " database, of which it is a part; keep them together\n"
                )

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The database in one transaction: committed at the end, or as if it had never been.

        A database that was not there is removed again if the block fails. After a failure there
        are no further ones.

        Raises:
            StoreError: not a results database, of another schema version, or in use.
            OutputError: it cannot be written there.
        """
        if self._connection is None:
            self._connection = self._opened()
        connection = self._connection
        before: _Sizes | None = None  # None: it is not known yet that the files are ours
        fresh = False
        try:
            with file_errors(self.path):
                if not self._ready:
                    fresh = not checked(connection, self.path)
                    # What a killed process has committed is in the log still; from now on the log
                    # has what is of this command only.
                    connection.execute("CHECKPOINT")
                elif self._committed % _CHECKPOINT_TRANSACTIONS == 0:
                    connection.execute("CHECKPOINT")
                before = self._sizes()
                connection.execute("BEGIN")
                if not self._ready:
                    _prepare(connection, fresh=fresh)
                with signals.telling(connection.interrupt):
                    yield connection
                connection.execute("COMMIT")
        except BaseException:
            if before is not None:
                self._undo(connection, None if fresh and not self._was_there else before)
            raise
        self._ready = True
        self._committed += 1

    @contextmanager
    def asked(self) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """The database for questions, between transactions; None where it is not there yet.

        What a killed process has left in its log is taken into it, as before a transaction.
        """
        if self._connection is None and self._log().exists():
            with self.transaction():
                pass
        if self._connection is not None:
            yield self._connection
        elif self.path.is_file():
            with reading(self.path) as connection:
                yield connection
        else:
            yield None

    def _opened(self) -> duckdb.DuckDBPyConnection:
        _make_folder(self.path.parent)
        self._was_there = _is_there(self.path)
        if not self._was_there:
            place(self.path)
        limits = limits_of(self.path, _WRITER_BYTES, self._stack) | {
            "threads": _WRITER_THREADS,
            "checkpoint_threshold": f"{_CHECKPOINT_BYTES}B",
        }
        try:
            connection = connected(self.path, limits | STORAGE)
        except AllocsimError:
            if not self._was_there:
                _remove_stub(self.path)
            raise
        # All bulk is whole numbers. Trying out every other encoding first would take longer than
        # the encoding, and never finds a smaller one.
        connection.execute("PRAGMA force_compression = 'bitpacking'")
        return connection

    def _sizes(self) -> _Sizes:
        log = self._log()
        return _Sizes(self.path.stat().st_size, log.stat().st_size if log.exists() else 0)

    def _log(self) -> Path:
        return self.path.with_name(self.path.name + ".wal")

    def _undo(self, connection: duckdb.DuckDBPyConnection, sizes: _Sizes | None) -> None:
        """Leave the files as they were found, while they are locked: nobody else's run is in them.

        Where there was none, it is removed.

        DuckDB has written most of the run by now. What it wrote behind the file's old end is
        referred to by the log at most, from behind the log's old end, but DuckDB would not give
        the space back, and the disk may be full.
        """
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        with suppress(OSError):
            if sizes is None:
                self.path.unlink(missing_ok=True)
            else:
                os.truncate(self.path, sizes.data)
            if sizes is None or not sizes.log:
                self._log().unlink(missing_ok=True)
            elif self._log().stat().st_size > sizes.log:
                os.truncate(self._log(), sizes.log)


@contextmanager
def writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A results database in one transaction of its own: :meth:`Adding.transaction`."""
    with Adding(path) as results, results.transaction() as connection:
        yield connection


def _prepare(connection: duckdb.DuckDBPyConnection, *, fresh: bool) -> None:
    """Make the tables where there are none, and what is said of names, and views, anew."""
    if fresh:
        if not connection.execute(NAMES).fetchall():
            make(connection)
        connection.execute("UPDATE store_schema SET allocsim_version = ?", [__version__])
    renew_views(connection)
    _say_of_names(connection)


@contextmanager
def every_cpu(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """In the block, queries of a database that is being written use every CPU there is."""
    connection.execute(f"SET threads = {cpus()}")
    try:
        yield
    finally:
        connection.execute(f"SET threads = {_WRITER_THREADS}")


def _is_there(path: Path) -> bool:
    """Whether there is a file already that DuckDB may open for writing.

    Raises:
        OutputError: there is something else, which DuckDB would wait for or destroy.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: not a regular file; choose another one with --db")
    return True


def _remove_stub(path: Path) -> None:
    """Remove a file that DuckDB could not finish making: one without its three headers."""
    with suppress(OSError):
        if path.stat().st_size < 3 * 4096:
            path.unlink()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder}: cannot be made: there is a file in its place") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


def _say_of_names(connection: duckdb.DuckDBPyConnection) -> None:
    """Write anew what is said of names, so that it reads as this version says it."""
    about: dict[str, list[tuple[object, ...]]] = {
        "page_kinds": [(KIND_NAMES[kind], doc) for kind, doc in KIND_DOCS.items()],
        "call_levels": [(number, level.name, level.source) for number, level in enumerate(LEVELS)],
        "verdicts": [(rule.name, rule.max_extra_pct, rule.doc) for rule in VERDICTS],
        "roadmap_steps": roadmap_rows(),
        "counters": counter_rows(),
        "paths": [
            (path.name.lower(), layer, "free" if path in frees else "alloc")
            for layer, every, frees in (
                ("object", AllocPath, FREE_PATHS),
                ("page", PagePath, FREE_PAGE_PATHS),
            )
            for path in every
        ],
    }
    for table, rows in about.items():
        marks = ", ".join(["(" + ", ".join("?" * len(rows[0])) + ")"] * len(rows))
        values = [value for row in rows for value in row]
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} VALUES {marks}", values)


def roadmap_rows() -> list[tuple[object, ...]]:
    """Rows of the table roadmap_steps."""
    return [
        (number, step.name, step.title, kind, step.known, step.source)
        for number, step in enumerate(shipped_roadmap())
        for kind in step.kinds
    ]


def counter_rows() -> list[tuple[object, ...]]:
    """Rows of the table counters: what the model of each generation of SLUB counts."""
    return [
        (
            generation.value,
            counter.name,
            place,
            counter.unit,
            counter.ours,
            Use.CHIEF in counter.of[generation],
            counter.doc,
        )
        for generation in Generation
        for place, counter in enumerate(COUNTERS)
        if counter.modelled and generation in counter.of
    ]
