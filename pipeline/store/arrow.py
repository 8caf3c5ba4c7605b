"""Columns of numpy as Arrow tables in the shape of a table of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.store.schema.table import StoreTable, from_loaded, loaded_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.tables import Array, Bools
    from allocsim.trace.events import Column

_ARROW = {
    "BOOLEAN": pa.bool_(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.uint64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
}


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type a column is loaded from: that of its DuckDB type, so that nothing is cast.

    Of an ENUM it is that of the codes, of which the INSERT makes names (insert_statement).
    """
    return _ARROW[loaded_type(column)]


def arrow_schema(table: StoreTable) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([(column.name, arrow_type(column)) for column in table.columns])


def insert_statement(table: StoreTable, source: str) -> str:
    """The INSERT of what has the table's Arrow schema, under the name it is registered by."""
    values = ", ".join(from_loaded(column, f'"{column.name}"') for column in table.columns)
    return f"INSERT INTO {table.sql_name} SELECT {values} FROM {source}"


def stored(column: Column, values: Array | None, rows: int, null: Bools | None = None) -> pa.Array:
    """A column as it is stored.

    Args:
        column: which one.
        values: its values; None where the trace set has no such column: all null.
        rows: how many values there are.
        null: True where the value is null; None where none is.
    """
    kind = arrow_type(column)
    if values is None:
        return pa.nulls(rows, kind)
    wide = values.astype(kind.to_pandas_dtype(), copy=False)
    return pa.array(wide, kind, mask=null if null is not None and null.any() else None)


def from_rows(table: StoreTable, rows: list[dict[str, Any]]) -> pa.Table:
    """Dictionaries, one a row, as an Arrow table; for dimensions, which are small."""
    return pa.Table.from_pylist(rows, schema=arrow_schema(table))


def from_columns(table: StoreTable, columns: Mapping[str, Array]) -> pa.Table:
    """Result columns, in which -1 stands for null, as an Arrow table."""
    rows = len(next(iter(columns.values())))
    arrays = [
        stored(column, values, rows, values == -1 if values.dtype.kind == "i" else None)
        for column in table.columns
        for values in [columns[column.name]]
    ]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(table))
