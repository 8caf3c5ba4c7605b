"""What SQL could do to files, made of DuckDB's own lists: statements, functions, their parameters.

``python -m tests.pipeline.store.sql_attacks LAYER FOLDER`` tries all of it on FOLDER/x.db with one
layer of protection, which lets the view recorded read FOLDER/set/events.parquet. It prints each
statement that had something of another file for its answer, and in the last line how many functions
there are, statements were tried and failed. Each function has a process of its own, forked off one
with the database just opened: some leave it so that no later statement is run.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from pipeline.store.asking.rights import give_up_files
from pipeline.store.asking.trace_sets import RunEvents, shown
from pipeline.store.recorded import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 1000  #: rows of set/events.parquet
MARKER = "nobody-asked-for-this"  #: stands in every other file
NO_RIGHTS_TO_LOSE = 77  #: exit code where the system takes none away

# Statements that write, each with a place for a path. Where a kind is not here DuckDB's parser has
# no statement of it.
KINDS = {
    "ALTER": ["ALTER TABLE tasks ADD COLUMN x INTEGER", "COMMENT ON TABLE tasks IS 'x'"],
    "ATTACH": ["ATTACH '{path}' AS other", "ATTACH '{path}' AS other (READ_ONLY)"],
    "CALL": ["CALL force_checkpoint()", "CALL enable_logging(storage_path = '{path}')"],
    "COPY": [
        "COPY (SELECT 1) TO '{path}' (use_tmp_file false)",
        "COPY (SELECT 1) TO '{path}'",
        "COPY (SELECT 1 AS a, 2 AS b) TO '{path}' (FORMAT csv, PARTITION_BY (a), OVERWRITE)",
        "COPY (SELECT 1 AS a, 2 AS b) TO '{path}' (PARTITION_BY (a), OVERWRITE_OR_IGNORE)",
        "COPY (SELECT 1) TO '{path}' (FORMAT json, APPEND)",
        "COPY tasks FROM '{path}'",
    ],
    "COPY_DATABASE": ["COPY FROM DATABASE x TO memory"],
    "CREATE": ["CREATE TABLE new AS SELECT 1", "CREATE OR REPLACE VIEW quality AS SELECT 1"],
    "DELETE": ["DELETE FROM tasks", "TRUNCATE tasks"],
    "DETACH": ["DETACH x"],
    "DROP": ["DROP TABLE tasks", "DEALLOCATE p"],
    "EXECUTE": ["EXECUTE p"],
    "EXPLAIN": [
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{path}' (use_tmp_file false)",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{path}' (use_tmp_file false)",
        "/* explain */ EXPLAIN ANALYZE COPY (SELECT 1) TO '{path}' (use_tmp_file false)",
        "EXPLAIN COPY (SELECT 1) TO '{path}'",
        "EXPLAIN INSERT INTO tasks VALUES (9, 9, 'x')",
        "EXPLAIN WITH w AS (COPY (SELECT 1) TO '{path}') SELECT 1",
    ],
    "EXPORT": ["EXPORT DATABASE '{path}'"],
    "INSERT": ["INSERT INTO tasks VALUES (9, 9, 'x')"],
    "LOAD": ["INSTALL httpfs", "LOAD httpfs", "LOAD '{path}'"],
    "MERGE_INTO": ["MERGE INTO tasks USING tasks AS t USING (pid) WHEN MATCHED THEN DELETE"],
    "MULTI": ["PIVOT tasks ON comm"],
    "PRAGMA": ["PRAGMA version", "IMPORT DATABASE '{path}'"],
    "PREPARE": ["PREPARE p AS COPY (SELECT 1) TO '{path}' (use_tmp_file false)"],
    "SELECT": [
        "WITH w AS (COPY (SELECT 1) TO '{path}' (use_tmp_file false)) SELECT 1",
        "WITH w AS (INSERT INTO tasks VALUES (9, 9, 'x') RETURNING pid) FROM w",
        "WITH w AS MATERIALIZED (UPDATE tasks SET pid = 1 RETURNING pid) FROM w",
        "WITH w AS (DELETE FROM tasks RETURNING pid) SELECT 1 UNION ALL FROM w",
    ],
    "SET": ["SET enable_external_access = true", "RESET disabled_filesystems", "USE memory"],
    "TRANSACTION": ["BEGIN"],
    "UPDATE": ["UPDATE tasks SET comm = 'x'"],
    "VACUUM": ["VACUUM", "ANALYZE"],
}


def targets(folder: Path) -> list[str]:
    names = ("x.db", "x.db.wal", "x.db.tmp/new", "x.db.tmp", "new.csv", "set/events.parquet")
    return [str(folder / name) for name in names]


class Function(NamedTuple):
    """A row of duckdb_functions(): one way to call a function."""

    name: str
    kind: str
    parameters: list[str] | None
    types: list[str | None] | None


VALUES = {"BOOLEAN": "true", "POINTER": "NULL", "DOUBLE": "1.0", "BIGINT": "1", "INTEGER": "1"}
TEXTS = ("VARCHAR", "ANY", "VARIANT", "T")


def value(type_: str, path: str) -> str:
    """A literal of a type; where it may be a text, a path."""
    if type_ in TEXTS:
        return f"'{path}'"
    if type_.removesuffix("[]") in TEXTS:
        return f"['{path}']"
    return VALUES.get(type_, f"NULL::{type_}" if type_.isidentifier() else "NULL")


def calls(function: Function, types: list[str], path: str) -> Iterator[str]:
    """Statements that call a function with a path where one may be."""
    name, kind, parameters, _ = function
    given = [value(each, path) for each in types]
    everything = ", ".join(given)
    if kind in ("table", "table_macro"):
        for count in range(4):
            yield f"FROM {name}({', '.join(given[:count])})"
        if given and not given[0].startswith("["):
            for parameter, each in zip(parameters or [], types, strict=False):
                if each in ("VARCHAR", "ANY"):
                    yield f"FROM {name}({given[0]}, {parameter} := '{path}')"
                    yield f"FROM {name}({parameter} := '{path}')"
    elif kind == "pragma":
        yield f"PRAGMA {name}"
        yield f"PRAGMA {name}({everything})"
        yield f"CALL {name}({everything})"
    else:
        yield f"SELECT {name}({everything})"


def attacks(paths: list[str], functions: list[Function]) -> list[list[str]]:
    """Groups of statements, which disturb each other within a group only."""
    groups: dict[object, list[str]] = {}
    for function in functions:
        name, kind, _, given = function
        if not name.isidentifier() or name == "sleep_ms":
            continue
        types = [each or "" for each in given or []]
        with_paths = any(each.removesuffix("[]") in TEXTS for each in types) and kind != "aggregate"
        group = groups.setdefault(name if "table" in kind or kind == "pragma" else kind, [])
        for path in paths if with_paths else paths[:1]:
            group += calls(function, types, path)
    for path in paths:
        groups[path] = [f"FROM '{path}'"]
        for kind, several in KINDS.items():
            lasting = kind in ("CALL", "PRAGMA", "SET", "TRANSACTION")
            group = groups.setdefault((path, kind), []) if lasting else groups[path]
            group += [statement.format(path=path) for statement in several]
        for storage in ("file", "memory", "stdout"):
            log = f"level := 'debug', storage := '{storage}', storage_path := '{path}'"
            groups[path, storage] = [f"FROM enable_logging({log})", "FROM tasks"]
    return list(groups.values())


ONE_THREAD = {"threads": 1, "async_threads": 0}  #: others would not be forked along


def opened(layer: str, db: Path, stack: ExitStack) -> duckdb.DuckDBPyConnection:
    """The database, with nothing or everything that DuckDB itself can take away."""
    if layer == "system":
        return duckdb.connect(db, read_only=True, config=ONE_THREAD)
    config = ONE_THREAD | {"enable_external_access": False, "temp_directory": ""}
    connection = duckdb.connect(db, read_only=True, config=config)
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET lock_configuration = true")
    events = db.parent / "set" / "events.parquet"
    sets = stack.enter_context(shown(connection, [RunEvents(1, EVENTS, events)]))
    sets.show(NAMES)
    [(rows,)] = connection.execute("SELECT count(*) FROM recorded").fetchall()
    if rows != EVENTS:
        sys.exit(f"the view recorded has {rows} rows")
    return connection


class Attacker:
    """Runs groups of statements, each in a process; counts are shared with these."""

    def __init__(self, layer: str, db: Path) -> None:
        try:
            self._stack = ExitStack()
            self._connection = opened(layer, db, self._stack)
        except duckdb.Error as error:
            sys.exit(f"the database cannot be opened: {error}")
        if "\nThreads:\t1\n" not in Path("/proc/self/status").read_text():
            sys.exit("DuckDB has threads, which are not forked along")
        shared = memoryview(mmap.mmap(-1, 32)).cast("q")
        self._begun, self._works = shared[0:1], shared[1:2]
        self.tried, self.failed = shared[2:3], shared[3:4]

    def attempt(self, statements: list[str]) -> None:
        """Run some; if they leave a connection on which nothing is run, one by one again."""
        self._begun[0] = self._works[0] = 0
        while self._begun[0] < len(statements):  # behind one that ends the process goes the next
            before = self._begun[0]
            pid = os.fork()
            if not pid:
                try:
                    self._run(statements[before:])
                finally:
                    os._exit(0)  # without what it was told to write at the end
            os.waitpid(pid, 0)
            if self._begun[0] == before:
                sys.exit(f"not run: {statements[before]}")
        if not self._works[0] and len(statements) > 1:
            for sql in statements:
                self.attempt([sql])

    def _run(self, statements: list[str]) -> None:
        for sql in statements:
            self._begun[0] += 1
            self.tried[0] += 1
            try:
                rows = self._connection.execute(sql).fetchmany(20)
            except Exception:  # noqa: BLE001 - whatever it is
                self.failed[0] += 1
            else:
                if MARKER in repr(rows):
                    os.write(1, f"{sql}\n".encode())
        self._connection.execute("SELECT count(*) FROM tasks").fetchall()
        self._works[0] = 1


def functions() -> list[Function]:
    """Every function of DuckDB's; asked in a process, for its threads would not be forked along."""
    reader, writer = os.pipe()
    if not os.fork():
        with os.fdopen(writer, "w") as out, duckdb.connect() as connection:
            rows = connection.execute(
                "SELECT DISTINCT function_name, function_type, parameters, parameter_types"
                " FROM duckdb_functions() ORDER BY ALL"
            ).fetchall()
            json.dump(rows, out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        return [Function(*row) for row in json.load(told)]


def main(layer: str, folder: Path) -> None:
    """Try everything."""
    found = functions()
    paths = [*targets(folder), *map(str, folder.rglob("secret.*")), str(folder / "*")]
    db = folder / "x.db"
    events = folder / "set" / "events.parquet"
    if layer == "system" and not give_up_files([db, events, Path("/proc"), Path("/sys")]):
        sys.exit(NO_RIGHTS_TO_LOSE)
    attacker = Attacker(layer, db)
    for statements in attacks(paths, found):
        attacker.attempt(statements)
    sys.stdout.write(f"{len(found)} {attacker.tried[0]} {attacker.failed[0]}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
