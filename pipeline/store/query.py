"""Asking a results database one question in SQL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import UsageError
from pipeline.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROWS_AT_ONCE = 10_000


@contextmanager
def answer(path: Path, sql: str) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of one SQL statement, which may read the database and nothing else.

    Raises:
        StoreError: the database cannot be used.
        UsageError: the statement is not one, is wrong, or may not be run.
    """
    with reading(path) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise UsageError(f"one SQL statement at a time; here are {len(statements)}")
            result = connection.execute(statements[0])
            names = [name for name, *_ in result.description or ()]
            yield names, _rows(result)
        except duckdb.Error as error:
            raise UsageError(_one_line(error)) from error


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while some := result.fetchmany(_ROWS_AT_ONCE):
        yield from some


def _one_line(error: duckdb.Error) -> str:
    """DuckDB's message without the picture of the statement it draws below."""
    text = str(error).partition("\n\nLINE ")[0]
    return " ".join(text.split())
