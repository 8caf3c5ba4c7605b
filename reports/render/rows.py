"""Rows of a query as text: an aligned table to read, Markdown, CSV or JSON for other programs.

Values keep their full precision in each of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import TextIO
from uuid import UUID

Row = Sequence[object]
_AS_TEXT = (Decimal, date, datetime, time, timedelta, UUID)


def write_table(names: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """An aligned table: numbers to the right, NULL as an empty cell, nothing cut short."""
    cells, right = _cells(names, rows)
    widths = _widths(cells)
    cells[1:1] = [["-" * width for width in widths]]
    out.writelines("  ".join(_padded(row, widths, right)).rstrip() + "\n" for row in cells)


def write_markdown(names: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """A table of Markdown, aligned likewise."""
    cells, right = _cells(names, rows)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    widths = [max(width, 3) for width in _widths(cells)]
    rule = [
        "-" * (width - to_right) + ":" * to_right
        for width, to_right in zip(widths, right, strict=True)
    ]
    cells[1:1] = [rule]
    out.writelines("| " + " | ".join(_padded(row, widths, right)) + " |\n" for row in cells)


def _cells(names: Sequence[str], rows: Iterable[Row]) -> tuple[list[list[str]], list[bool]]:
    """Names and values as text, and which columns are numbers."""
    kept = [tuple(row) for row in rows]
    right = [
        any(isinstance(row[i], int | float | Decimal) for row in kept)
        and all(row[i] is None or isinstance(row[i], int | float | Decimal) for row in kept)
        for i in range(len(names))
    ]
    return [list(names), *([_cell(value) for value in row] for row in kept)], right


def _widths(cells: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _padded(row: list[str], widths: list[int], right: list[bool]) -> list[str]:
    return [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    ]


def write_csv(names: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """CSV with a header line; NULL as an empty field."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)


def write_json(names: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """A JSON array with one object a row, one row a line; NULL as null."""
    out.writelines(_json_lines(names, rows))


def _json_lines(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    before = "["
    for row in rows:
        record = dict(zip(names, map(_plain, row), strict=True))
        yield before + "\n" + json.dumps(record, ensure_ascii=False, allow_nan=False)
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _cell(value: object) -> str:
    """A value as one line of text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | int):
        return repr(value)
    if isinstance(value, str):
        # Line breaks and control characters would break the table or steer the terminal.
        return value if value.isprintable() else json.dumps(value, ensure_ascii=True)[1:-1]
    if isinstance(value, _AS_TEXT):
        return str(value)
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: object) -> object:
    """A value as JSON can hold it; what JSON has no word for becomes text."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


WRITERS: dict[str, Callable[[Sequence[str], Iterable[Row], TextIO], None]] = {
    "table": write_table,
    "markdown": write_markdown,
    "csv": write_csv,
    "json": write_json,
}
