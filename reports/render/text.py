"""A report as text: plain ASCII of 80 columns for a mail, or Markdown."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from reports.render.document import (
    Answer,
    Bar,
    Block,
    Bullets,
    Cell,
    Chart,
    Heading,
    Report,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import unbroken, visible

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
    """The lines of a block after an empty one; none where it has none."""
    return ["", *block] if block else []


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    lines = textwrap.wrap(
        unbroken(visible(text)), WIDTH, initial_indent=first, subsequent_indent=rest
    )
    return [ascii_only(line) for line in lines] or [""]


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
        case Chart():
            return []


def _from(view: str) -> list[str]:
    return [f"  View: {view}"] if view else []


class _Fitted(NamedTuple):
    """A column of a table as text: its head and its cells, in lines of ``width`` characters."""

    column: TableColumn
    head: list[str]
    cells: list[str]
    width: int


def _text_table(table: Table) -> list[str]:
    columns, left_out = _fitting(table)
    rule = "-" * _across(columns)
    tall = max(len(column.head) for column in columns)
    heads = [
        line
        for values in zip(*([""] * (tall - len(c.head)) + c.head for c in columns), strict=True)
        for line in _row(values, columns)
    ]
    body = [
        line
        for values in zip(*(column.cells for column in columns), strict=True)
        for line in _row(values, columns)
    ]
    note = _wrapped(f"Left out for want of width: {', '.join(left_out)}.") if left_out else []
    return [*([*heads, rule] if any(map(any, (c.head for c in columns))) else [rule]), *body, *note]


def _fitted(column: TableColumn, cells: list[str]) -> _Fitted:
    """A column as narrow as its cells are, with its head in several lines if that is wider."""
    title = ascii_only(column.title)
    widest = max(map(len, cells), default=0)
    head = [title]
    if len(title) > widest:
        # A mark stays with the word before it.
        head = [word.strip() for word in re.split(r"(?<=[-\w]) (?!.$)|(?<=-)(?=\w)", title)]
    return _Fitted(column, head, cells, max(map(len, [*head, *cells])))


def _across(columns: Sequence[_Fitted]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _fitting(table: Table) -> tuple[list[_Fitted], list[str]]:
    """The columns that fit a line, and the heads of those left out.

    Minor ones are left out first; then the widest of words give way, and take several lines.
    """
    columns = [
        _fitted(column, [ascii_only(cell_text(row[at])) for row in table.rows])
        for at, column in enumerate(table.columns)
    ]
    left_out: list[str] = []
    while _across(columns) > WIDTH and any(each.column.minor for each in columns):
        last = max(at for at, each in enumerate(columns) if each.column.minor)
        left_out.insert(0, columns.pop(last).column.title)
    words = [at for at, each in enumerate(columns) if not each.column.numeric] or [0]
    while _across(columns) > WIDTH:
        free = max(words, key=lambda at: columns[at].width)
        if columns[free].width <= _LEAST:
            break
        columns[free] = columns[free]._replace(width=columns[free].width - 1)
    return columns, left_out


def _row(values: Sequence[str], columns: Sequence[_Fitted]) -> Iterator[str]:
    """The lines of a row: as many as its longest cell takes in its column."""
    cells = [
        textwrap.wrap(value, each.width) if len(value) > each.width > 0 else [value]
        for value, each in zip(values, columns, strict=True)
    ]
    for at in range(max(map(len, cells))):
        parts = [cell[at] if at < len(cell) else "" for cell in cells]
        yield (
            (" " * _GAP)
            .join(
                part.rjust(each.width) if each.column.numeric else part.ljust(each.width)
                for part, each in zip(parts, columns, strict=True)
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
        case Chart():
            return []
