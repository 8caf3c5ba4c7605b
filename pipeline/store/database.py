"""Opening a results database: for questions, and what adding to it (adding.py) shares."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import duckdb

from pipeline.errors import AllocsimError, BusyError, OutputError, StoreError
from pipeline.processes import signals
from pipeline.processes.limits import cpus, memory
from pipeline.processes.scratch import scratch
from pipeline.store.damage import NOT_OURS, is_damage, said_of_damage
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
_THREAD_BYTES = 64 << 20

# Somebody else's database may have views only.
NAMES = """
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
            config = limits_of(path, _READER_BYTES, stack) | dict(config)
        stack.enter_context(file_errors(path))
        connection = connected(path, {**_SANDBOX, **config, _LOCK: not seal}, read_only=True)
        try:
            for statement in seal:
                connection.execute(statement)
            if seal:
                connection.execute(f"SET {_LOCK} = true")
            if not checked(connection, path):
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


def limits_of(path: Path, most: int, stack: ExitStack) -> dict[str, Setting]:
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
        # It keeps all rows of what a query reads twice, a gigabyte where 25 M events are.
        "disabled_optimizers": "common_subplan",
    }


def connected(
    path: Path, config: Mapping[str, Setting], *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """A connection to the file, which is waited for where another process has it."""

    def connect() -> duckdb.DuckDBPyConnection:
        with file_errors(path):
            return duckdb.connect(path, read_only=read_only, config=dict(config))

    return patiently(connect)


def checked(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether something was added to the database by this schema; False if it is empty."""
    names = {name for (name,) in connection.execute(NAMES).fetchall()}
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


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
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
