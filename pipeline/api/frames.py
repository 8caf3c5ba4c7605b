"""What DuckDB answers as lazy frames of polars, which read no more than is asked of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import finalize

from polars.io.plugins import register_io_source

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager, ExitStack

    import polars as pl
    from duckdb import DuckDBPyConnection

_ROWS_AT_ONCE = 1 << 17
_ALL = "*"


def lazy_frame(
    asking: Callable[[str], AbstractContextManager[DuckDBPyConnection]], query: Callable[[str], str]
) -> pl.LazyFrame:
    """A SELECT as a frame; its columns, filters and first rows are asked of DuckDB.

    DuckDB's own lazy frames are of one connection, which answers one question at a time: a join of
    a frame with itself, or two threads, are refused. So each collection has a connection of its own
    here, and DuckDB's frame on it.

    ENUMs are Categorical, which polars compares and sorts as text.

    Args:
        asking: gives a connection for a block to a statement; held by the frame.
        query: the statement, of columns as SQL names them, or of them all in any case.

    Raises:
        UsageError: a column is of a type that polars does not know.
    """

    def rows(
        columns: list[str] | None, predicate: pl.Expr | None, count: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        statement = query(_ALL if columns is None else ", ".join(map(_quoted, columns)) or _ALL)
        with asking(statement) as connection:
            found = connection.sql(statement).pl(lazy=True)
            yield from _pushed_down(found, columns, predicate, count, size)

    statement = query(_ALL)
    with asking(statement) as connection:
        answer = connection.sql(statement)
        for name, kind in zip(answer.columns, answer.types, strict=True):
            if "INTERVAL" in str(kind):  # polars panics
                raise UsageError(f"column {name}: polars has no {kind}; make it a number or a text")
        schema = answer.limit(0).pl().schema
    return register_io_source(rows, schema=schema, is_pure=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def kept(frame: pl.LazyFrame, stack: ExitStack) -> pl.LazyFrame:
    """A frame with what must not be undone as long as it is there, such as a folder of its files.

    Args:
        frame: the frame.
        stack: what is undone after it.
    """

    def rows(
        columns: list[str] | None, predicate: pl.Expr | None, count: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        yield from _pushed_down(frame, columns, predicate, count, size)

    finalize(rows, stack.close)
    return register_io_source(rows, schema=frame.collect_schema(), is_pure=True)


def _pushed_down(
    frame: pl.LazyFrame,
    columns: list[str] | None,
    predicate: pl.Expr | None,
    count: int | None,
    size: int | None,
) -> Iterator[pl.DataFrame]:
    """What is asked of a source, of a frame: of its first rows those that fit, some columns."""
    if count is not None:
        frame = frame.head(count)
    if predicate is not None:
        frame = frame.filter(predicate)
    if columns is not None:
        frame = frame.select(columns)
    yield from frame.collect_batches(chunk_size=size or _ROWS_AT_ONCE)
