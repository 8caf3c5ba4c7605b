"""Asking a results database one question in SQL, which can only read it.

DuckDB opens the file read-only, and yet lets a statement write to it: the paths of the database, of
its log and of its temporary folder are allowed to every statement, so that ``COPY ... TO`` puts its
rows in place of the database. Hence each of these holds alone:

* the statement is one that reads, by DuckDB's own parse tree: of a SELECT too, whose WITH may hold
  an INSERT, UPDATE, DELETE or COPY;
* once the file is open, DuckDB's file system is switched off: it opens no file any more, not even
  its own, so it does not spill to disk either;
* the command line asks in a process of its own without the right to write any file
  (pipeline.store.asking).
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import StoreError, UsageError
from pipeline.store.asking import too_much_memory
from pipeline.store.damage import is_damage
from pipeline.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.store.database import Setting

_ROWS_AT_ONCE = 10_000

_NO_FILES = "SET disabled_filesystems = 'LocalFileSystem'"

# Queries that only read, among the nodes of DuckDB's parse trees. Those that write are called
# INSERT_QUERY_NODE, COPY_QUERY_NODE, ...: what is not known is taken for one of them.
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
# If it is found in a comment ahead, then what is left is an EXPLAIN still, and refused.
_EXPLAIN = re.compile(r"\bexplain\b", re.IGNORECASE)
_ALLOWED = "SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE, or EXPLAIN before one of these"


@contextmanager
def answer(
    path: Path, sql: str, memory: int | None = None
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of one SQL statement, which may read the database and nothing else.

    Args:
        path: the database.
        sql: the statement.
        memory: bytes that DuckDB may take; None: four fifths of the machine's.

    Raises:
        StoreError: the database cannot be used, or the memory does not suffice.
        UsageError: the statement is not one, is wrong, or may not be run.
    """
    config: dict[str, Setting] = {"temp_directory": ""}
    if memory is not None:
        config["memory_limit"] = f"{memory}B"
    with reading(path, config, [_NO_FILES]) as connection:
        try:
            result = connection.execute(reading_statement(connection, sql))
            names = [name for name, *_ in result.description or ()]
            yield names, _rows(result)
        except duckdb.OutOfMemoryException as error:
            raise StoreError(too_much_memory(path)) from error
        except duckdb.Error as error:
            if is_damage(error):
                raise
            raise UsageError(one_line(error)) from error


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
        text = _EXPLAIN.sub("", sql, count=1)
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


def _writer(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """What in a SELECT does not only read, by DuckDB's parse tree; None: nothing."""
    [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError:
        raise UsageError("the statement is nested too deeply; make it simpler") from None
    if tree["error"]:
        raise UsageError(f"cannot be checked: {tree['error_message']}")
    waiting = [tree]
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
