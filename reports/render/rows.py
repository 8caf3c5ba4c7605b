"""Rows of a query as text: an aligned table to read, CSV or JSON for other programs.

Values keep their full precision in each of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from math import isfinite
from typing import TextIO
from uuid import UUID

Row = Sequence[object]
_AS_TEXT = (Decimal, date, datetime, time, timedelta, UUID)


def write_table(names: Sequence[str], rows: Iterable[Row], out: TextIO) -> None:
    """An aligned table: numbers to the right, NULL as an empty cell, nothing cut short."""
    kept = [tuple(row) for row in rows]
    right = [
        any(isinstance(row[i], int | float | Decimal) for row in kept)
        and all(row[i] is None or isinstance(row[i], int | float | Decimal) for row in kept)
        for i in range(len(names))
    ]
    cells = [[_cell(value) for value in row] for row in kept]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(values, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip() + "\n"

    rule = ["-" * width for width in widths]
    out.writelines(line(values) for values in chain([names, rule], cells))


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
    "csv": write_csv,
    "json": write_json,
}
