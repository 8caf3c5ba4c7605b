"""Rows as text: nothing cut short, nothing ambiguous, and readable by other programs."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render.rows import WRITERS, Row, write_csv, write_json, write_table

NAMES = ("n", "what")


def table(names: tuple[str, ...], rows: list[Row]) -> list[str]:
    out = io.StringIO()
    write_table(names, rows, out)
    return out.getvalue().splitlines()


def test_numbers_stand_to_the_right_and_text_to_the_left() -> None:
    assert table(NAMES, [(1, "a"), (-1000, "long text"), (None, None), (2.5, "b")]) == [
        "    n  what",
        "-----  ---------",
        "    1  a",
        "-1000  long text",
        "",
        "  2.5  b",
    ]


def test_a_table_without_rows_has_its_heading() -> None:
    assert table(NAMES, []) == ["n  what", "-  ----"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (2**127, "170141183460469231731687303715884105728"),
        (0.1 + 0.2, "0.30000000000000004"),
        (float("inf"), "inf"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 11, 23), "2026-11-23"),
        (datetime(2026, 11, 23, 9, 17), "2026-11-23 09:17:00"),  # noqa: DTZ001 - as DuckDB gives it
        (timedelta(seconds=90), "0:01:30"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("tab\tand\nline", "tab\\tand\\nline"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("Übergröße", "Übergröße"),
        ([1, None, {"a": Decimal(1)}], '[1, null, {"a": "1"}]'),
        (b"\x00\xff", '"00ff"'),
    ],
)
def test_a_value_is_one_line_of_text(value: object, text: str) -> None:
    assert table(("v",), [(value,)])[2].strip() == text
    out = io.StringIO()
    write_csv(("v",), [(value,)], out)
    assert list(csv.reader(io.StringIO(out.getvalue()))) == [["v"], [text]]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False))


@given(st.lists(st.tuples(VALUES, VALUES)))
def test_json_gives_every_value_back(rows: list[tuple[object, object]]) -> None:
    out = io.StringIO()
    write_json(NAMES, rows, out)
    infinite = (float("inf"), float("-inf"))
    plain = [[str(v) if v in infinite else v for v in row] for row in rows]
    assert [list(row.values()) for row in json.loads(out.getvalue())] == plain


@given(st.lists(st.tuples(st.text(st.characters(blacklist_categories=["C", "Z"])), st.integers())))
def test_csv_gives_every_text_and_number_back(rows: list[tuple[str, int]]) -> None:
    out = io.StringIO()
    write_csv(NAMES, rows, out)
    found = list(csv.reader(io.StringIO(out.getvalue())))
    assert found == [list(NAMES), *([text, str(number)] for text, number in rows)]


def test_every_format_has_a_writer() -> None:
    assert set(WRITERS) == {"table", "markdown", "csv", "json"}
