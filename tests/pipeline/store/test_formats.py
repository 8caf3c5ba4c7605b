"""How answers are written: addresses as the kernel prints them, and for programs as numbers."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.errors import UsageError
from pipeline.store.adding import writing
from pipeline.store.asking import Question, ask
from pipeline.store.asking.formats import BINARY, writer
from pipeline.store.query import asking

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = 0xFFFFFFFF81234570
ROW = (
    f"SELECT {ADDRESS}::UBIGINT AS ptr, NULL::UBIGINT AS none, 16::UBIGINT AS small,"
    f" [{ADDRESS}::UBIGINT, NULL] AS many, {{'at': {ADDRESS}::UBIGINT, 'n': 1}} AS part,"
    f" {ADDRESS}::HUGEINT AS number, -1::BIGINT AS less, 'a|b' AS text"
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("formats") / "x.db"
    with writing(path) as connection:
        connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash'), (1, 43, 'sh')")
    return path


def written(db: Path, sql: str, name: str) -> bytes:
    out = BytesIO()
    with asking(db) as each:
        assert each.statements(sql) == 1
        answer = each.batches(0, 1000) if name in BINARY else each.answer(0)
        writer(name)(answer, lambda rows: rows, out)
    return out.getvalue()


def test_an_address_is_text_as_the_kernel_prints_it(db: Path) -> None:
    assert written(db, ROW, "csv").decode().splitlines()[1] == (
        '0xffffffff81234570,,0x10,"[""0xffffffff81234570"", null]",'
        '"{""at"": ""0xffffffff81234570"", ""n"": 1}",18446744071581156720,-1,a|b'
    )
    [row] = json.loads(written(db, ROW, "json"))
    assert row == {
        "ptr": "0xffffffff81234570",
        "none": None,
        "small": "0x10",
        "many": ["0xffffffff81234570", None],
        "part": {"at": "0xffffffff81234570", "n": 1},
        "number": ADDRESS,
        "less": -1,
        "text": "a|b",
    }
    assert b"\n0xffffffff81234570        0x10   [" in written(db, ROW, "table")


def test_markdown_is_aligned_and_keeps_bars(db: Path) -> None:
    text = written(db, "SELECT 'a|b' AS text, 7 AS n UNION ALL SELECT 'c', 1000", "markdown")
    assert text.decode() == (
        "| text |    n |\n"
        "| ---- | ---: |\n"
        "| a\\|b |    7 |\n"
        "| c    | 1000 |\n"
    )  # fmt: skip


def read_parquet(content: bytes) -> pa.Table:
    return parquet.read_table(pa.BufferReader(content))


def read_arrow(content: bytes) -> pa.Table:
    return pa.ipc.open_file(content).read_all()


@pytest.mark.parametrize(("name", "read"), [("parquet", read_parquet), ("arrow", read_arrow)])
def test_for_programs_an_address_is_a_number(db: Path, name: str, read: Any) -> None:
    [row] = read(written(db, ROW, name)).to_pylist()
    assert (row["ptr"], row["small"], row["many"]) == (ADDRESS, 16, [ADDRESS, None])
    many = read(written(db, "SELECT range AS n, 'kfree'::event AS e FROM range(200000)", name))
    assert many.num_rows == 200_000
    assert many.slice(199_999).to_pylist() == [{"n": 199_999, "e": "kfree"}]


def asked(db: Path, sql: str, name: str = "csv") -> bytes:
    out = BytesIO()
    ask(Question(str(db), sql, name, 60.0, None), out)
    return out.getvalue()


@pytest.mark.slow
def test_several_statements_are_answered_one_after_the_other(db: Path) -> None:
    several = "-- é; a comment\nfrom tasks;\n select 'ü;' as a; /* no; more */"
    assert asked(db, several).decode() == "run,pid,comm\n1,42,bash\n1,43,sh\n\na\nü;\n"
    with pytest.raises(UsageError, match=r"^statement 2: COPY: can do more than read"):
        asked(db, "from tasks; copy tasks to 'x'")
    with pytest.raises(UsageError, match=r"^statement 2: Catalog Error: .*Did you mean"):
        asked(db, "from tasks; from task; from tasks")
    with pytest.raises(UsageError, match=r"^no SQL statement is there, such as: from policy"):
        asked(db, " -- nothing\n;")
    with pytest.raises(UsageError, match=r"^parquet holds one answer; here are 2"):
        asked(db, "from tasks; from tasks", "parquet")
    assert read_parquet(asked(db, "from tasks", "parquet")).num_rows == 2
