"""Asking a results database in SQL, which can only read it.

DuckDB opens the file read-only, and yet lets a statement write to it: the paths of the database, of
its log and of its temporary folder are allowed to every statement, so that ``COPY ... TO`` puts its
rows in place of the database. Hence each of these holds alone:

* the statement is one that reads, by DuckDB's own parse tree: of a SELECT too, whose WITH may hold
  an INSERT, UPDATE, DELETE or COPY;
* once the file is open, DuckDB's file system is switched off: it opens no file any more, not even
  its own, so it does not spill to disk either; rows of trace sets come from another connection
  (pipeline.store.asking.trace_sets);
* the command line asks in a process of its own without the right to write any file
  (pipeline.store.asking).
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import AllocsimError, InputError, StoreError, UsageError
from pipeline.store.asking import too_much_memory
from pipeline.store.asking.trace_sets import UNREAD, columns_named, shown
from pipeline.store.damage import is_damage
from pipeline.store.database import reading
from pipeline.store.recorded import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from duckdb.sqltypes import DuckDBPyType

    from pipeline.store.asking.trace_sets import RunEvents, TraceSets
    from pipeline.store.database import Setting

_ROWS_AT_ONCE = 10_000

_NO_FILES = "SET disabled_filesystems = 'LocalFileSystem'"

# Queries that only read, among the nodes of DuckDB's parse trees. Those that write are called
# INSERT_QUERY_NODE, COPY_QUERY_NODE, ...: what is not known is taken for one of them.
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
# If it is found in a comment ahead, then what is left is an EXPLAIN still, and refused.
_EXPLAIN = re.compile(r"\bexplain\b", re.IGNORECASE)
_ALLOWED = "SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE, or EXPLAIN before one of these"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a statement gives.

    Args:
        names: its columns.
        types: their DuckDB types.
        rows: its rows, which can be read once.
    """

    names: list[str]
    types: list[DuckDBPyType]
    rows: Iterator[tuple[Any, ...]]


class Asked:
    """A results database that is asked.

    Args:
        connection: it.
        trace_sets: what the view recorded reads; None: no statement needs it.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, trace_sets: TraceSets | None) -> None:
        self._connection = connection
        self._trace_sets = trace_sets
        self._several: list[str] = []
        self._at = 0

    @property
    def place(self) -> str:
        """Which of several statements is looked at, as an error begins; empty of a single one."""
        return f"statement {self._at + 1}: " if len(self._several) > 1 else ""

    def statements(self, sql: str) -> int:
        """How many statements a text has, which all only read.

        Raises:
            UsageError: there are none, or one is wrong or may not be run.
        """
        self._several = [each.query for each in self._connection.extract_statements(sql)]
        if not self._several:
            raise UsageError("no SQL statement is there, such as: from policy_summary")
        for number in range(len(self._several)):
            self._checked(number)
        return len(self._several)

    def answer(self, number: int) -> Answered:
        """What one of these statements gives; its rows can be read up to the next one."""
        return _answer(self._connection.execute(self._ready(number)))

    def batches(self, number: int, rows: int) -> pa.RecordBatchReader:
        """The same as Arrow's batches of so many rows."""
        batches: Any = self._connection.sql(self._ready(number)).to_arrow_reader(rows)
        return batches

    def _ready(self, number: int) -> duckdb.Statement:
        """One of these statements, with what it asks for at hand."""
        statement = self._checked(number)
        if self._trace_sets is not None:
            show_recorded(self._connection, self._trace_sets, statement)
        return statement

    def _checked(self, number: int) -> duckdb.Statement:
        self._at = number
        try:
            return reading_statement(self._connection, self._several[number])
        except UsageError as error:
            raise UsageError(f"{self.place}{error}") from None


@contextmanager
def asking(
    path: Path, memory: int | None = None, runs: Sequence[RunEvents] = ()
) -> Iterator[Asked]:
    """A results database, of which statements may read what is in it and nothing else.

    Args:
        path: the database.
        memory: bytes that DuckDB may take; None: four fifths of the machine's.
        runs: those whose trace sets the view recorded may read besides.

    Raises:
        StoreError: the database cannot be used, or the memory does not suffice.
        UsageError: a statement is not one, is wrong, or may not be run.
        InputError: it asks for rows of a trace set that cannot be read.
    """
    config: dict[str, Setting] = {"temp_directory": ""}
    if memory is not None:
        config["memory_limit"] = f"{memory}B"
    with (
        reading(path, config, [_NO_FILES]) as connection,
        shown(connection, runs) if runs else nullcontext() as trace_sets,
    ):
        asked = Asked(connection, trace_sets)
        try:
            yield asked
        except duckdb.OutOfMemoryException as error:
            raise StoreError(too_much_memory(path)) from error
        except duckdb.Error as error:
            if is_damage(error):
                raise
            raise said_of(error, asked.place) from error


def said_of(error: duckdb.Error, place: str = "") -> AllocsimError:
    """What DuckDB says of a statement, as an error of ours.

    Args:
        error: DuckDB's.
        place: which of several statements it is of, as the message begins.
    """
    said = one_line(error)
    _, unread, why = said.partition(UNREAD)
    if unread and isinstance(error, duckdb.InvalidInputException):
        return InputError(place + unread + why)
    return UsageError(place + said)


def show_recorded(
    connection: duckdb.DuckDBPyConnection, trace_sets: TraceSets, statement: duckdb.Statement
) -> None:
    """Have the view recorded on a connection, with the columns that a statement may mean, if any.

    Args:
        connection: where the statement is run.
        trace_sets: what the view reads.
        statement: of reading_statement().
    """
    sql = statement.query
    if statement.type == duckdb.StatementType.EXPLAIN:
        sql = _explained(sql)
    columns = columns_named(_tree(connection, sql))
    if columns is not None:
        trace_sets.show(columns)
        try:
            connection.sql(sql)
        except duckdb.BinderException:  # it means more than was seen, or nothing that there is
            trace_sets.show(NAMES)


def _answer(result: duckdb.DuckDBPyConnection) -> Answered:
    described = result.description or ()
    names, types = [name for name, *_ in described], [kind for _, kind, *_ in described]
    return Answered(names, types, _rows(result))


def reading_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement in a text, which reads.

    Raises:
        UsageError: there are none or several, or it does not only read.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(f"one SQL statement at a time; here are {len(statements)}")
    [statement] = statements
    what, text = statement.type.name, sql
    if statement.type == duckdb.StatementType.EXPLAIN:
        # What is explained must be a statement by itself; behind ANALYZE, which runs it, or
        # behind options there is none.
        text = _explained(sql)
        try:
            what = connection.extract_statements(text)[0].type.name
        except duckdb.Error:
            raise UsageError(f"EXPLAIN is run here without options only: {_ALLOWED}") from None
    if what == "MULTI":
        raise UsageError("a PIVOT makes a type first; name its values, as in ON kind IN ('slab')")
    if what == "SELECT":
        what = _writer(connection, text) or what
    if what != "SELECT":
        raise UsageError(f"{what}: can do more than read, and is not run here; {_ALLOWED} is")
    return statement


def _explained(sql: str) -> str:
    """What an EXPLAIN is of."""
    return _EXPLAIN.sub("", sql, count=1)


def _writer(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """What in a SELECT does not only read, by DuckDB's parse tree; None: nothing."""
    waiting = [_tree(connection, sql)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            kind = node.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _READING:
                return kind.removesuffix("_NODE").removesuffix("_QUERY")
            waiting += node.values()
    return None


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:  # noqa: ANN401 - as JSON is
    """DuckDB's parse tree of a SELECT.

    Raises:
        UsageError: there is none.
    """
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError:
        raise UsageError("the statement is nested too deeply; make it simpler") from None
    if tree["error"]:
        raise UsageError(f"cannot be checked: {tree['error_message']}")
    return tree


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while some := result.fetchmany(_ROWS_AT_ONCE):
        yield from some


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without the picture of the statement it draws below."""
    text = str(error).partition("\n\nLINE ")[0]
    if "pytz" in text:  # which DuckDB asks Python for
        return (
            "times with a time zone cannot be shown; write them as ...::TIMESTAMP or ...::VARCHAR"
        )
    if "disabled by configuration" in text:
        return "files cannot be read or written here: a statement reads the results database only"
    return " ".join(text.split())
