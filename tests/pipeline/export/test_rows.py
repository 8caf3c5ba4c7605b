"""Views and tables as Parquet and CSV, read back by others than who wrote them."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from pyarrow import parquet as pq

from pipeline.errors import UsageError
from pipeline.export.rows import source, write_csv, write_parquet
from pipeline.outputs import CSV, PARQUET
from pipeline.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A view with names and shares, one with addresses, a table with names of types, one without runs.
NAMES = ("cache_summary", "call_site_summary", "pages", "paths")


@pytest.fixture(scope="module")
def connection(db: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with reading(db) as opened:
        yield opened


def asked(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[Any, ...]]:
    return sorted(connection.execute(f"FROM {name}").fetchall(), key=repr)


@pytest.mark.parametrize("name", NAMES)
def test_parquet_is_read_by_duckdb_and_polars(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "rows.parquet"
    with path.open("wb") as file:
        count = write_parquet(connection, source(name), None, file)
    rows = asked(connection, name)
    assert count == len(rows) > 0
    with duckdb.connect() as other:
        assert asked(other, f"'{path}'") == rows
        kinds = {kind for _, kind, *_ in other.execute(f"DESCRIBE FROM '{path}'").fetchall()}
    assert kinds <= {"VARCHAR", "BIGINT", "INTEGER", "SMALLINT", "UBIGINT", "DOUBLE", "BOOLEAN"}
    frame = pl.read_parquet(path)
    assert sorted(frame.rows(), key=repr) == rows
    assert PARQUET.is_one(path.read_bytes())


def test_parquet_says_what_its_columns_are(connection: duckdb.DuckDBPyConnection) -> None:
    file = BytesIO()
    write_parquet(connection, source("cache_summary"), 1, file)
    about = {key.decode(): value.decode() for key, value in pq.read_metadata(file).metadata.items()}
    assert about["allocsim.rows_of"] == "cache_summary"
    assert about["allocsim.row"] == "one slab cache of one run, of those the run has seen."
    columns = json.loads(about["allocsim.columns"])
    assert columns["waste_bytes"] == {"unit": "bytes", "doc": "bytes_alloc less bytes_req."}
    assert list(columns) == pq.read_schema(file).names


@pytest.mark.parametrize("name", NAMES)
def test_csv_has_the_same_rows(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    file = BytesIO()
    count = write_csv(connection, source(name), None, file)
    head, *lines = csv.reader(StringIO(file.getvalue().decode()))
    assert CSV.is_one(file.getvalue())
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    assert head == [column for column, *_ in described]

    def text(value: object, kind: str) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        return hex(value) if kind == "UBIGINT" and isinstance(value, int) else str(value)

    def plain(row: tuple[object, ...]) -> list[str]:
        return [text(value, kind) for value, (_, kind, *_) in zip(row, described, strict=True)]

    def same(a: str, b: str) -> bool:
        return a == b or float(a) == float(b)

    rows = sorted(map(plain, asked(connection, name)))
    assert count == len(rows)
    for line, row in zip(sorted(lines), rows, strict=True):
        assert all(map(same, line, row))


def test_rows_of_one_run(connection: duckdb.DuckDBPyConnection) -> None:
    file = BytesIO()
    count = write_csv(connection, source("runs"), 2, file)
    assert count == 1
    with pytest.raises(UsageError, match="paths: its rows are of no run; leave out --run"):
        write_csv(connection, source("paths"), 2, file)


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cache_sumary: no view or table; is cache_summary meant"):
        source("cache_sumary")
    with pytest.raises(UsageError, match=r"'/etc/passwd': no view or table \(docs"):
        source("'/etc/passwd'")
