"""Names in place of codes: the ENUM types against the model's own enumerations, in DuckDB."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.zones import Mt
from allocsim.recording.page_kinds import PageKind
from allocsim.refcount.freezability import Verdict
from allocsim.slub.paths import AllocPath
from allocsim.trace.events import Ev
from allocsim.trace.results import CacheHow, How
from pipeline.store.arrow import from_columns, insert_statement
from pipeline.store.schema import SCHEMA_VERSION, TABLES, create_tables
from pipeline.store.schema.enums import ENUM_OF, ENUMS, Enum

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A database keeps the names it was made with: with other names it is of another version.
NAMES_OF_VERSION = (19, "49901ce2cb1c1106")
CODES = {
    "event": Ev,
    "page_kind": PageKind,
    "how": How,
    "cache_how": CacheHow,
    "path": (*AllocPath, *PagePath),
    "verdict": Verdict,
    "migratetype": Mt,
}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        create_tables(connection)
        yield connection


def test_other_names_are_another_version_of_the_schema() -> None:
    names = [(enum.name, sorted(enum.codes.items())) for enum in ENUMS]
    assert (SCHEMA_VERSION, sha256(repr(names).encode()).hexdigest()[:16]) == NAMES_OF_VERSION


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_every_code_becomes_its_name(connection: duckdb.DuckDBPyConnection, enum: Enum) -> None:
    codes = [None, -1, *range(max(enum.codes) + 1)]
    found = connection.execute(
        f"SELECT {enum.of_code('code')} FROM (SELECT unnest($codes) AS code)", {"codes": codes}
    ).fetchall()
    assert [name for (name,) in found] == [
        enum.codes.get(-1 if code is None else code) for code in codes
    ]
    assert list(enum.codes) == sorted(enum.codes), "the order of the names is that of the codes"


@pytest.mark.parametrize("name", CODES)
def test_names_are_those_of_the_model(name: str) -> None:
    [enum] = [enum for enum in ENUMS if enum.name == name]
    assert list(enum.codes) == sorted(int(code) for code in CODES[name])
    if name != "verdict":
        assert all(enum.codes[code] == code.name.lower() for code in CODES[name])


def test_a_kind_s_place_among_the_names_is_its_code(connection: duckdb.DuckDBPyConnection) -> None:
    """What is read back for the model is enum_code(page_kind)."""
    for kind in PageKind:
        [(code,)] = connection.execute(
            "SELECT enum_code(?::page_kind)", [kind.name.lower()]
        ).fetchall()
        assert code == kind


def test_every_type_is_of_a_column_and_no_column_of_two() -> None:
    columns = {column.name for table in TABLES for column in table.columns}
    assert set(ENUM_OF) <= columns
    assert len(ENUM_OF) == sum(len(enum.columns) for enum in ENUMS)


def test_codes_in_columns_are_stored_by_name(connection: duckdb.DuckDBPyConnection) -> None:
    [table] = [table for table in TABLES if table.name == "placed_events"]
    paths = np.array([int(PagePath.NO_BLOCK), -1, int(AllocPath.FAILED)], np.int8)
    columns = {
        column.name: paths if column.name == "path" else np.arange(3) for column in table.columns
    }
    batch = from_columns(table, columns)
    assert isinstance(batch, pa.Table)
    connection.register("batch", batch)
    connection.execute(insert_statement(table, "batch"))
    found = connection.execute("SELECT path FROM placed_events ORDER BY seq").fetchall()
    assert found == [("no_block",), (None,), ("failed",)]
