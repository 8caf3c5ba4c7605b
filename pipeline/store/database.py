"""Opening a results database: to add a run, or to ask it something."""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb

from allocsim import __version__
from allocsim.kernels.release import Generation
from allocsim.page_alloc.paths import FREE_PAGE_PATHS, PagePath
from allocsim.recording.page_kinds import KIND_DOCS, KIND_NAMES
from allocsim.refcount.alloc_levels import LEVELS
from allocsim.refcount.freezability import VERDICTS
from allocsim.slub.counters import COUNTERS, Use
from allocsim.slub.paths import FREE_PATHS, AllocPath
from pipeline.errors import AllocsimError, BusyError, OutputError, StoreError
from pipeline.processes import signals
from pipeline.processes.limits import cpus, memory
from pipeline.processes.scratch import scratch
from pipeline.store.damage import NOT_OURS, is_damage, said_of_damage
from pipeline.store.empty import STORAGE, make, place, renew_views
from pipeline.store.schema import SCHEMA_VERSION
from pipeline.store.waiting import patiently

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Setting = str | bool | int | float | list[str]  #: a value DuckDB takes as configuration

# What a query may not do: read or write any other file, load extensions, look at Python's
# variables, or switch these settings back on.
_SANDBOX: dict[str, Setting] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
}
_LOCK = "lock_configuration"


# By default DuckDB caches what it has read or written in most of the machine's memory, and each of
# its threads has what it works on besides. What does not fit is on disk, beside the database.
_READER_BYTES = 512 << 20
_WRITER_BYTES = 256 << 20
_THREAD_BYTES = 64 << 20

# With more than one thread each INSERT makes row groups of its own, whose remainders are compressed
# again when the transaction ends; the other CPUs have the reading and the model to do.
_WRITER_THREADS = 1

# Somebody else's database may have views only.
_NAMES = """
    SELECT table_name FROM duckdb_tables()
    UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal
"""

# What DuckDB raises when the file cannot be read or written. A full disk can show as any of them.
_FILE_ERRORS = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
)


@contextmanager
def reading(
    path: Path, config: Mapping[str, Setting] | None = None, seal: Sequence[str] = ()
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A results database, opened for questions only.

    Queries on the connection can read its tables and views and no other file. DuckDB would let
    them write to the database's own path all the same: what a user asks goes through
    pipeline.store.query.

    Args:
        path: the database.
        config: settings that it is opened with besides.
        seal: SET statements for once it is open, which hold like those up to the end. With them
            there is one such connection a process at a time.

    Raises:
        StoreError: no such file, not a results database, of another schema version, or in use.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no results database there; make one with: allocsim replay TRACE")
    config = config or {}
    with ExitStack() as stack:
        if "temp_directory" not in config:
            config = _limits(path, _READER_BYTES, stack) | dict(config)
        stack.enter_context(_errors(path))
        connection = _connected(path, {**_SANDBOX, **config, _LOCK: not seal}, read_only=True)
        try:
            for statement in seal:
                connection.execute(statement)
            if seal:
                connection.execute(f"SET {_LOCK} = true")
            if not _checked(connection, path):
                raise StoreError(f"{path}: holds no run yet; add one with: allocsim replay TRACE")
            with signals.telling(connection.interrupt):
                yield connection
        except NOT_OURS as error:
            if is_damage(error):
                raise
            first = str(error).splitlines()[0]
            raise StoreError(f"{path}: not as allocsim writes it: {first}") from error
        finally:
            connection.close()


@contextmanager
def writing(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A results database in one transaction: committed at the end, or as if it had never been.

    A database that is not there is made, and removed again if the block fails.

    Raises:
        StoreError: not a results database, of another schema version, or in use.
        OutputError: it cannot be written there.
    """
    _make_folder(path.parent)
    was_there = _is_there(path)
    if not was_there:
        place(path)
    size = None  # of the file as it was, now that it is locked; None: it is none of ours
    fresh = False
    with ExitStack() as stack:
        limits = _limits(path, _WRITER_BYTES, stack) | {"threads": _WRITER_THREADS}
        try:
            connection = _connected(path, limits | STORAGE)
        except AllocsimError:
            if not was_there:
                _remove_stub(path)
            raise
        try:
            with _errors(path):
                fresh = not _checked(connection, path)
                # What a killed process has committed is in the log still; from now on the log has
                # what is of this transaction only.
                connection.execute("CHECKPOINT")
                size = path.stat().st_size
                # All bulk is whole numbers. Trying out every other encoding first would take longer
                # than the encoding, and never finds a smaller one.
                connection.execute("PRAGMA force_compression = 'bitpacking'")
                connection.execute("BEGIN")
                if fresh:
                    _begin(connection)
                renew_views(connection)
                _say_of_names(connection)
                with signals.telling(connection.interrupt):
                    yield connection
                connection.execute("COMMIT")
        except BaseException:
            if size is not None:
                _undo(connection, path, None if fresh and not was_there else size)
            raise
        finally:
            connection.close()


def _limits(path: Path, most: int, stack: ExitStack) -> dict[str, Setting]:
    """What a connection may take: memory, threads, and a folder for what does not fit.

    Args:
        path: the database.
        most: bytes of memory; of a small machine a quarter.
        stack: at its end the folder is removed.
    """
    size = min(most, memory() // 4)
    return {
        "memory_limit": f"{size}B",
        "threads": max(1, min(cpus(), size // _THREAD_BYTES)),
        "temp_directory": str(stack.enter_context(scratch(path.parent))),
    }


def _connected(
    path: Path, config: Mapping[str, Setting], *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    def connect() -> duckdb.DuckDBPyConnection:
        with _errors(path):
            return duckdb.connect(path, read_only=read_only, config=dict(config))

    return patiently(connect)


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


def _undo(connection: duckdb.DuckDBPyConnection, path: Path, size: int | None) -> None:
    """Leave the file as it was found, while it is locked: nobody else's run can be in it.

    Where there was none, it is removed.

    DuckDB has written most of the run by now. What it wrote behind the file's old end is referred
    to by its log at most, which goes with it, but DuckDB would not give the space back, and the
    disk may be full.
    """
    with suppress(duckdb.Error):
        connection.execute("ROLLBACK")
    with suppress(OSError):
        if size is None:
            path.unlink(missing_ok=True)
        else:
            os.truncate(path, size)
        path.with_name(path.name + ".wal").unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder}: cannot be made: there is a file in its place") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


def _checked(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether something was added to the database by this schema; False if it is empty."""
    names = {name for (name,) in connection.execute(_NAMES).fetchall()}
    if not names:
        return False
    if "store_schema" not in names:
        raise StoreError(
            f"{path}: a DuckDB database, but not one of allocsim's results;"
            " choose another file with --db"
        )
    rows = connection.execute("SELECT version, allocsim_version FROM store_schema").fetchall()
    found, writer = rows[0]
    if found == SCHEMA_VERSION and writer is None:
        return False
    if found != SCHEMA_VERSION:
        what = "update allocsim" if found > SCHEMA_VERSION else "replay into a new file"
        raise StoreError(
            f"{path}: has schema version {found} (written by allocsim {writer}), this allocsim"
            f" knows version {SCHEMA_VERSION}; {what}"
        )
    return True


def _begin(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables, if they are not there, and say who did."""
    if not connection.execute(_NAMES).fetchall():
        make(connection)
    connection.execute("UPDATE store_schema SET allocsim_version = ?", [__version__])


def _say_of_names(connection: duckdb.DuckDBPyConnection) -> None:
    """Write anew what is said of names, so that it reads as this version says it."""
    about: dict[str, list[tuple[object, ...]]] = {
        "page_kinds": [(KIND_NAMES[kind], doc) for kind, doc in KIND_DOCS.items()],
        "call_levels": [(number, level.name, level.source) for number, level in enumerate(LEVELS)],
        "verdicts": [(rule.name, rule.max_extra_pct, rule.doc) for rule in VERDICTS],
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


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """DuckDB's errors about the file as one line of ours; others pass."""
    try:
        yield
    except duckdb.Error as error:
        if is_damage(error):
            raise StoreError(said_of_damage(path)) from error
        if isinstance(error, _FILE_ERRORS):
            raise _translated(path, str(error)) from error
        raise
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of a Ctrl-C
            raise KeyboardInterrupt from error
        raise


def _translated(path: Path, message: str) -> AllocsimError:
    """What an error of DuckDB about a file means to the user."""
    pid = re.search(r"\(PID (\d+)\)", message)
    if "Could not set lock" in message:
        who = f" by process {pid[1]}" if pid else ""
        return BusyError(f"{path}: in use{who}")
    if "not a valid DuckDB database file" in message:
        return StoreError(f"{path}: not a results database; choose another file with --db")
    for cause in ("No space left on device", "File too large", "Disk quota exceeded"):
        if cause in message:
            return OutputError(f"{path}: {cause.lower()}; what was being added is not in it")
    for cause in (
        "Permission denied",
        "Read-only file system",
        "No such file or directory",
        "Is a directory",
    ):
        if cause in message:
            return OutputError(f"{path}: cannot be written: {cause.lower()}")
    first = message.splitlines()[0]
    return StoreError(f"{path}: {first}")
