"""Rows of a table or a view as Parquet or CSV, a batch at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet as pq

from allocsim import __version__
from pipeline.errors import UsageError
from pipeline.outputs import PARQUET_KEY
from pipeline.store.schema import TABLE_OF
from pipeline.store.schema.table import stored_doc
from reports.views import VIEWS, view

if TYPE_CHECKING:
    from typing import BinaryIO

    import duckdb

_BATCH = 1 << 16  #: rows at a time


@dataclass(frozen=True, slots=True)
class RowSource:
    """A table or a view.

    Args:
        name: its name.
        sql_name: what SQL calls it.
        row: what a row is.
        columns: unit ("": none) and sentence of each column, by name.
    """

    name: str
    sql_name: str
    row: str
    columns: dict[str, tuple[str, str]]


def source(name: str) -> RowSource:
    """The table or view of a name.

    Raises:
        UsageError: there is none.
    """
    if name in VIEWS:
        about = view(name)
        columns = {column: (unit, doc) for column, unit, doc in about.columns}
        return RowSource(name, name, about.row.removeprefix("one row is "), columns)
    if name in TABLE_OF:
        table = TABLE_OF[name]
        columns = {column.name: (column.unit, stored_doc(column)) for column in table.columns}
        return RowSource(name, table.sql_name, table.row, columns)
    near = get_close_matches(name, [*VIEWS, *TABLE_OF], 1)
    hint = f"; is {near[0]} meant?" if near else ""
    raise UsageError(f"{name}: no view or table{hint} (docs/views, docs/schema.md)")


def write_parquet(
    connection: duckdb.DuckDBPyConnection, what: RowSource, run: int | None, file: BinaryIO
) -> int:
    """Write rows as Parquet; what the columns are stands in the file's metadata.

    Args:
        connection: a results database, for reading.
        what: of what the rows are.
        run: only those of this run; None: all.
        file: where to.

    Returns:
        How many rows there are.

    Raises:
        UsageError: they are not of runs.
    """
    reader = _reader(connection, what, run, as_text=False)
    about = {
        PARQUET_KEY.decode(): what.name,
        "allocsim.version": __version__,
        "allocsim.row": what.row,
        "allocsim.columns": json.dumps(
            {name: {"unit": unit, "doc": doc} for name, (unit, doc) in what.columns.items()}
        ),
    }
    schema = reader.schema.with_metadata(about)
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch.replace_schema_metadata(about))
            count += batch.num_rows
    return count


def write_csv(
    connection: duckdb.DuckDBPyConnection, what: RowSource, run: int | None, file: BinaryIO
) -> int:
    """Write rows as CSV: text quoted, NULL as nothing, addresses as 0x...; as write_parquet()."""
    reader = _reader(connection, what, run, as_text=True)
    count = 0
    with csv.CSVWriter(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _reader(
    connection: duckdb.DuckDBPyConnection, what: RowSource, run: int | None, *, as_text: bool
) -> pa.RecordBatchReader:
    """The rows, names as text; ``as_text``: addresses and lists, too."""
    described = connection.execute(f"DESCRIBE {what.sql_name}").fetchall()
    types = {name: kind for name, kind, *_ in described}
    if run is not None and "run" not in types:
        raise UsageError(f"{what.name}: its rows are of no run; leave out --run")
    values = ", ".join(
        f'{_value(name, kind, as_text=as_text)} AS "{name}"' for name, kind in types.items()
    )
    where = "" if run is None else f"WHERE run = {run}"
    return connection.sql(f"SELECT {values} FROM {what.sql_name} {where}").to_arrow_reader(_BATCH)


def _value(name: str, kind: str, *, as_text: bool) -> str:
    """The SQL of a column as it is written, of which type that is."""
    if kind.startswith("ENUM") or (as_text and kind.endswith(("]", ")"))):
        return f'"{name}"::VARCHAR'
    return f"format('0x{{:x}}', \"{name}\")" if as_text and kind == "UBIGINT" else f'"{name}"'
