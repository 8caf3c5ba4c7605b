"""Trace sets that a statement asks of by the view recorded: which they are, and how they are read.

What a user asks is run on a connection that can open no file. The rows come to it from a second
connection, which runs only the SELECTs made here and can read the events.parquet of the trace sets
and nothing else.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import InputError
from pipeline.store.recorded import NAMES, RECORDED, select_rows, tables, temporary_view
from pipeline.trace_set.meta import check_meta, read_meta

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pipeline.store.database import Setting

UNREAD = "recorded: "  #: begins what is said where rows that are asked for cannot be read

_EVENTS = "events.parquet"
_KEY = ("run", "seq")
READER_BYTES = 256 << 20  #: that reading trace sets may take besides what the statement may
_MENTIONED = re.compile(r"\brecorded\b", re.IGNORECASE)

_RUNS = """
    SELECT run, trace_path, recording, events, meta
    FROM runs INNER JOIN traces USING (trace_id) WHERE placement = 'recorded' ORDER BY run
"""

# Nodes of a parse tree by which any column may be meant, named or not.
_EVERY_COLUMN = frozenset(
    {"STAR", "PIVOT", "SHOW_REF", "POSITIONAL_REFERENCE", "TABLE_FUNCTION", "SUBQUERY_REF"}
)


@dataclass(frozen=True, slots=True)
class RunEvents:
    """A recorded run, and where the events of its trace set are.

    Args:
        run: its number.
        events: how many there are.
        path: their file; None where it is not known.
        why: what to say then.
    """

    run: int
    events: int
    path: Path | None
    why: str = ""


def mentions_recorded(sql: str) -> bool:
    """Whether a statement may ask for the view."""
    return _MENTIONED.search(sql) is not None


def find_trace_sets(
    connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]
) -> list[RunEvents]:
    """Every recorded run of a database, with the file of its events where that is found.

    Args:
        connection: the database.
        folders: trace sets, which are looked at before the place that the database knows.

    Raises:
        InputError: a folder is none of them, or of a trace set that has no run here.
    """
    given = [(folder, _identity(_meta(folder))) for folder in folders]
    used = set()
    found = []
    for run, trace_path, recording, events, meta in connection.execute(_RUNS).fetchall():
        identity = _identity(json.loads(meta))
        named = [folder for folder, of in given if of == identity]
        used.update(named)
        if named:
            found.append(RunEvents(run, events, _events_file(named[0])))
        else:
            found.append(_where_it_was(run, events, trace_path, recording, identity))
    for folder in folders:
        if folder not in used:
            raise InputError(
                f"--trace {folder}: no run of the database is of this trace set; allocsim sql"
                ' "select run, trace, trace_path from runs join traces using (trace_id)" lists them'
            )
    return found


def _where_it_was(
    run: int, events: int, trace_path: str | None, recording: str | None, identity: object
) -> RunEvents:
    """A run of whose trace set nobody says where it is now."""
    if trace_path is None:
        why = (
            f"the trace set of run {run} was not kept: {recording} was imported on the way;"
            f" import it, with allocsim import {recording}, and say where, with --trace DIR"
        )
        return RunEvents(run, events, None, why)
    try:
        if _identity(_meta(Path(trace_path))) == identity:
            return RunEvents(run, events, _events_file(Path(trace_path)))
        what = f"in {trace_path} is another trace set than that of run {run}"
    except InputError:
        what = f"the trace set of run {run} is not in {trace_path} any more"
    return RunEvents(run, events, None, f"{what}; say where it is, with --trace DIR")


def _meta(folder: Path) -> dict[str, Any]:
    meta = read_meta(folder)
    check_meta(folder, meta)
    return meta


def _identity(meta: dict[str, Any]) -> object:
    """What tells the events of a trace set from those of another."""
    told = ("source", "events", "first_ts", "last_ts", "dropped", "synth")
    return [meta.get(name) for name in told]


def _events_file(folder: Path) -> Path:
    """The events of a trace set.

    Raises:
        InputError: they are not there, or are a link to another place.
    """
    path = folder / _EVENTS
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise InputError(f"{path}: a link out of the trace set, which is not followed")
    if not real.is_file():
        raise InputError(f"{path}: not there")
    return real


@contextmanager
def shown(connection: duckdb.DuckDBPyConnection, runs: Sequence[RunEvents]) -> Iterator[TraceSets]:
    """In the block the view can be shown on a connection, which itself opens no file."""
    config: dict[str, Setting] = {
        "python_enable_replacements": False,
        "temp_directory": "",
        "memory_limit": f"{READER_BYTES}B",
        "threads": 1,  # so that rows come in their order
        "async_threads": 0,
    }
    with duckdb.connect(config=config) as reader:
        for statement in (
            f"SET allowed_paths = {_texts([str(run.path) for run in runs if run.path])}",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            reader.execute(statement)
        yield TraceSets(connection, reader, runs)


class TraceSets:
    """The rows of trace sets, for a connection that shows them."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        reader: duckdb.DuckDBPyConnection,
        runs: Sequence[RunEvents],
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._runs = runs
        self._columns = {run.run: self._columns_of(run) for run in runs}

    def show(self, wanted: Collection[str]) -> None:
        """Have the view with these of its columns, and the key."""
        wanted = {*_KEY, *wanted}
        for table in tables(wanted):
            self._copy(table)
        sources: dict[int, tuple[str, Sequence[str]]] = {}
        for run in self._runs:
            there = self._columns[run.run]
            if isinstance(there, str):
                sources[run.run] = (f"(SELECT 1 WHERE error({_text(UNREAD + there)}) IS NULL)", ())
                continue
            name = f"recorded_{run.run}"
            select = select_rows(str(run.path), run.run, wanted, there)
            self._connection.register(name, _Rows(self._reader, select))
            sources[run.run] = (name, there)
        self._connection.execute(temporary_view(wanted, sources))

    def _copy(self, table: str) -> None:
        """Have a table of the database where trace sets are read, which knows how large they are.

        In a join with what comes from there, DuckDB would hold all events instead of the table.
        """
        self._reader.register("there", _Rows(self._connection, f"FROM main.{table}"))
        self._reader.execute(f"CREATE OR REPLACE TABLE {table} AS FROM there")
        self._reader.unregister("there")

    def _columns_of(self, run: RunEvents) -> list[str] | str:
        """The columns of a run's events, and ``seq``; where they cannot be read, why not."""
        if run.path is None:
            return run.why
        path = _text(str(run.path))
        try:
            [(rows,)] = self._reader.execute(
                f"SELECT num_rows FROM parquet_file_metadata({path})"
            ).fetchall()
            names = self._reader.execute(f"SELECT name FROM parquet_schema({path})").fetchall()
        except duckdb.Error as error:
            return f"{run.path}: cannot be read ({str(error).splitlines()[0]})"
        if rows != run.events:
            return f"{run.path}: has {rows} events, and run {run.run} {run.events}"
        return ["seq", *(name for (name,) in names)]


class _Rows:
    """What a query of one connection gives, for another one to read anew each time."""

    def __init__(self, reader: duckdb.DuckDBPyConnection, sql: str) -> None:
        self._reader = reader
        self._sql = sql

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        rows = self._reader.cursor().sql(self._sql)
        return rows.__arrow_c_stream__(requested_schema)


def columns_named(tree: object) -> list[str] | None:
    """Columns of the view recorded that a statement may mean, by DuckDB's parse tree of it.

    Returns:
        Their names; None where it does not ask for the view.
    """
    words: set[str] = set()  # whatever is said in the tree, names among it
    rows: set[str] = set()  # names that tables have in the statement, and by which a row is meant
    alone: set[str] = set()  # columns that are named without their table
    asked = every = False
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            kind = node.get("type")
            every |= kind in _EVERY_COLUMN or node.get("ref_type") == "NATURAL"
            if kind == "BASE_TABLE":
                asked |= node["table_name"].lower() == RECORDED.name
                rows |= {node["table_name"].lower(), node["alias"].lower()}
            elif kind == "TABLE_FUNCTION":  # query() takes a statement
                asked = True
            elif kind == "COLUMN_REF" and len(node["column_names"]) == 1:
                alone.add(node["column_names"][0].lower())
            waiting += node.values()
        elif isinstance(node, str):
            words.update(re.findall(r"\w+", node.lower()))
    if not asked:
        return None
    every |= bool(rows & alone)
    return [name for name in NAMES if every or name in words]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Sequence[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]::VARCHAR[]"
