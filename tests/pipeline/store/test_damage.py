"""A results database whose file is damaged: one line that says what can still be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.store.adding import writing
from pipeline.store.database import reading
from tests.pipeline.store.asked import answer

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 1 << 18
ROWS = 200_000


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "results.duckdb"
    with writing(path) as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash')")
    with duckdb.connect(path) as connection:
        connection.execute(
            "INSERT INTO internal.object_origins BY NAME SELECT 1 AS run, range AS origin,"
            f" hash(range) >> 2 AS bytes_req FROM range({ROWS})"
        )
    return path


def _blocks(db: Path, table: str) -> list[int]:
    with duckdb.connect(db, read_only=True) as connection:
        found = connection.execute(
            f"SELECT DISTINCT block_id FROM pragma_storage_info('{table}') WHERE persistent"
        ).fetchall()
    return [block for (block,) in found]


def _flipped(db: Path, block: int) -> None:
    data = bytearray(db.read_bytes())
    data[3 * 4096 + BLOCK * block + BLOCK // 2] ^= 1
    db.write_bytes(data)


def _asked(db: Path, sql: str) -> list[tuple[object, ...]]:
    with answer(db, sql) as (_, rows):
        return list(rows)


def test_what_can_still_be_read_is_said(db: Path) -> None:
    sql = "SELECT bit_xor(bytes_req) FROM internal.object_origins"
    assert _asked(db, sql)
    _flipped(db, _blocks(db, "internal.object_origins")[0])
    said = r"damaged: cannot read all of internal.object_origins; the other \d+ tables can be read"
    with pytest.raises(StoreError, match=said):
        _asked(db, sql)
    assert _asked(db, "SELECT comm FROM tasks") == [("bash",)]


def test_a_catalogue_that_is_damaged_is_one_line(db: Path) -> None:
    data = bytearray(db.read_bytes())
    for at in range(4096 + 8, 3 * 4096, 512):
        data[at] ^= 1
    db.write_bytes(data)
    with pytest.raises(StoreError, match="damaged: nothing of it can be read"), reading(db):
        pass


def test_a_database_of_other_columns_is_one_line(db: Path) -> None:
    with duckdb.connect(db) as connection:
        connection.execute("ALTER TABLE tasks RENAME pid TO other")
    said = "results.duckdb: not as allocsim writes it: Binder Error"
    with pytest.raises(StoreError, match=said), reading(db) as connection:
        connection.execute("SELECT pid FROM tasks")
    with pytest.raises(UsageError, match="pid"):  # of whoever asks, that is
        _asked(db, "SELECT pid FROM tasks")
