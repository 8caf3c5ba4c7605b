"""A report as text: plain ASCII of 80 columns for a mail, or Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from reports.render.document import (
    Answer,
    Bar,
    Block,
    Bullets,
    Cell,
    Chart,
    Heading,
    Picture,
    Report,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 80
_LEAST = 12  #: columns that a shrinking column of a table keeps
_GAP = 2  #: columns between two of a table
# What reports are written with beyond ASCII, and its stand-in.
_PLAIN = str.maketrans(
    {
        "\u00a0": " ",
        "\u202f": " ",
        "\u2212": "-",
        "\u2013": "-",
        "\u2019": "'",
        "\u2026": "~",
        "\u00b5": "u",
        "\u00d7": "x",
        "\u00b7": "|",
        "\u201c": '"',
        "\u201d": '"',
        "\u25cf": "o",
        "\u25d0": "i",
        "\u25cb": "a",
    }
)


def ascii_only(text: str) -> str:
    """``text`` in printable ASCII; what has no stand-in becomes a question mark."""
    plain = visible(text).translate(_PLAIN).encode("ascii", "replace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in plain)


def cell_text(cell: Cell) -> str:
    """What a cell says; a bar says nothing."""
    if isinstance(cell, str):
        return cell
    return "" if isinstance(cell, Bar) else cell.text


def to_text(report: Report) -> str:
    """The report as lines of at most 80 ASCII characters; figures are left out."""
    lines: list[str] = []
    for section in report.sections:
        title = ascii_only(section.title)
        lines += ["", *_wrapped(title), "=" * min(len(title), WIDTH), *_wrapped(section.subtitle)]
        lines += [line for block in section.blocks for line in _apart(_text_block(block))]
    return "\n".join(lines).strip("\n") + "\n"


def _apart(block: list[str]) -> list[str]:
    """The lines of a block behind an empty one; none where it has none."""
    return ["", *block] if block else []


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(ascii_only(text), WIDTH, initial_indent=first, subsequent_indent=rest) or [
        ""
    ]


def _text_block(block: Block) -> list[str]:
    match block:
        case Heading():
            return [*_wrapped(block.text), "-" * min(len(block.text), WIDTH)]
        case Text():
            return _wrapped(block.text)
        case Bullets():
            return [line for item in block.items for line in _wrapped(item, "- ", "  ")]
        case Answer():
            note = _wrapped(block.note, "  ", "  ") if block.note else []
            return [*_wrapped(block.text), *note, *_from(block.view)]
        case Table():
            return [*_wrapped(block.caption), *_text_table(block)]
        case Picture() | Chart():
            return []


def _from(view: str) -> list[str]:
    return [f"  View: {view}"] if view else []


def _text_table(table: Table) -> list[str]:
    columns = _fitting(table)
    heads = [_wrapped_head(column) for column, _, _ in columns]
    tall = max(map(len, heads))
    widths = [width for _, _, width in columns]
    rule = "-" * (sum(widths) + _GAP * (len(widths) - 1))
    lines = [
        line
        for values in zip(*([""] * (tall - len(head)) + head for head in heads), strict=True)
        for line in _row(values, columns)
    ]
    rows = zip(*(cells for _, cells, _ in columns), strict=True)
    body = [line for values in rows for line in _row(values, columns)]
    return [*([*lines, rule] if any(map(any, heads)) else [rule]), *body]


def _wrapped_head(column: TableColumn) -> list[str]:
    """A head in lines as narrow as its words let it be."""
    pieces = re.split(r"(?<=[- ])(?!.$)", ascii_only(column.title))
    return [piece.strip() for piece in pieces] if column.numeric else ["".join(pieces)]


def _fitting(table: Table) -> list[tuple[TableColumn, list[str], int]]:
    """The columns that fit a line, each with its cells and its width.

    Minor ones are left out first; then the widest of words give way, and take several lines.
    """
    columns = [
        (column, [ascii_only(cell_text(row[at])) for row in table.rows])
        for at, column in enumerate(table.columns)
    ]
    sized = [
        (column, cells, max(map(len, [*_wrapped_head(column), *cells])))
        for column, cells in columns
    ]

    def over() -> int:
        return sum(width for *_, width in sized) + _GAP * (len(sized) - 1) - WIDTH

    while over() > 0 and any(column.minor for column, *_ in sized):
        del sized[max(at for at, (column, *_) in enumerate(sized) if column.minor)]
    words = [at for at, (column, *_) in enumerate(sized) if not column.numeric] or [0]
    while over() > 0:
        free = max(words, key=lambda at: sized[at][2])
        column, cells, width = sized[free]
        if width <= _LEAST:
            break
        sized[free] = (column, cells, width - 1)
    return sized


def _row(
    values: Sequence[str], columns: Sequence[tuple[TableColumn, list[str], int]]
) -> Iterator[str]:
    """The lines of a row: as many as its longest cell takes in its column."""
    cells = [
        textwrap.wrap(value, max(width, 1)) or [""]
        for value, (_, _, width) in zip(values, columns, strict=True)
    ]
    for at in range(max(map(len, cells))):
        parts = [cell[at] if at < len(cell) else "" for cell in cells]
        yield (
            (" " * _GAP)
            .join(
                part.rjust(width) if column.numeric else part.ljust(width)
                for part, (column, _, width) in zip(parts, columns, strict=True)
            )
            .rstrip()
        )


def to_markdown(report: Report) -> str:
    """The report as Markdown with pipe tables; figures are left out."""
    lines: list[str] = []
    for level, section in enumerate(report.sections):
        lines += ["", f"{'#' if level == 0 else '##'} {_escaped(section.title)}", ""]
        lines += [_escaped(section.subtitle)]
        lines += [line for block in section.blocks for line in _apart(_markdown_block(block))]
    return "\n".join(lines).strip("\n") + "\n"


def _escaped(text: str) -> str:
    text = visible(text)
    for char in "\\`*_|<":
        text = text.replace(char, f"\\{char}")
    return text.replace("~", "\\~")


def _markdown_block(block: Block) -> list[str]:
    match block:
        case Heading():
            return [f"### {_escaped(block.text)}"]
        case Text():
            return [_escaped(block.text)]
        case Bullets():
            return [f"- {_escaped(item)}" for item in block.items]
        case Answer():
            view = f" View: `{block.view}`." if block.view else ""
            return [f"**{_escaped(block.text)}**", "", _escaped(block.note) + view]
        case Table():
            heads = [_escaped(column.title) for column in block.columns]
            sides = ["---:" if column.numeric else "---" for column in block.columns]
            rows = [[_escaped(cell_text(cell)) for cell in row] for row in block.rows]
            return [
                _escaped(block.caption),
                "",
                *("| " + " | ".join(row) + " |" for row in [heads, sides, *rows]),
            ]
        case Picture() | Chart():
            return []
