"""What DuckDB 1.2 and later can do with a results database: read it, and ask its views.

The list of functions is what DuckDB 1.2.2 says of itself: the names in duckdb_functions(), and of
window functions those of its manual.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import duckdb
import pytest

from pipeline.store.adding import writing
from reports.views import VIEWS, view
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OF_1_2 = set((ROOT / "tests/data/duckdb-1.2-functions.txt").read_text().split())
#: https://duckdb.org/docs/internals/storage: version 65 is written by 1.2, and read since then.
STORAGE_OF_1_2 = 65


@pytest.mark.parametrize("cache", ["kept", "none"])
def test_the_file_is_of_the_version_that_1_2_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    if cache == "none":
        monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    db = tmp_path / "x.db"
    for _ in range(2):  # a new one, and one that is added to
        with writing(db) as connection:
            connection.execute("INSERT INTO tasks VALUES (1, 42, 'bash')")
        magic, version = struct.unpack_from("<8x4sQ", db.read_bytes())
        assert (magic, version) == (b"DUCK", STORAGE_OF_1_2)


def functions(node: object) -> Iterator[str]:
    """Functions that a parse tree calls; an ASOF join is one of them."""
    if isinstance(node, list):
        for each in node:
            yield from functions(each)
    elif isinstance(node, dict):
        if node.get("function_name") and not node.get("is_operator"):
            yield node["function_name"]
        if node.get("ref_type") == "ASOF":  # 1.2.2 and 1.5.6 join what is NULL to some row
            yield "asof join"
        yield from functions(list(node.values()))


def called(sql: str) -> set[str]:
    with duckdb.connect() as connection:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree = json.loads(text)
    assert not tree["error"], tree
    return set(functions(tree))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_calls_functions_that_1_2_has(name: str) -> None:
    assert called(view(name).query) <= OF_1_2


def test_a_function_that_1_2_has_not_is_found() -> None:
    assert called("SELECT (SELECT if(a, abs(b), 1) FROM t)") - OF_1_2 == {"if"}
    assert called("FROM t ASOF JOIN u USING (run, seq)") - OF_1_2 == {"asof join"}
