"""A report as text: plain ASCII of 80 columns for a mail, or Markdown."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from reports.render.document import (
    Answer,
    Bar,
    Block,
    Bullets,
    Cell,
    Heading,
    Picture,
    Report,
    Table,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 80
_LEAST = 12  #: columns that the shrinking column of a table keeps
# What reports are written with beyond ASCII, and its stand-in.
_PLAIN = str.maketrans(
    {
        "\u202f": " ",
        "\u2212": "-",
        "\u2013": "-",
        "\u2019": "'",
        "\u2026": "~",
        "\u00b5": "u",
        "\u00d7": "x",
        "\u00b7": "|",
        "\u25cf": "o",
    }
)


def ascii_only(text: str) -> str:
    """``text`` in printable ASCII; what has no stand-in becomes a question mark."""
    plain = text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")
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
        for block in section.blocks:
            lines += ["", *_text_block(block)]
    return "\n".join(lines).strip("\n") + "\n"


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
            return [*_wrapped(block.text), *_wrapped(block.note)]
        case Table():
            return [*_wrapped(block.caption), *_text_table(block)]
        case Picture():
            return []


def _text_table(table: Table) -> list[str]:
    heads = [ascii_only(column.title) for column in table.columns]
    rows = [[ascii_only(cell_text(cell)) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    # One column gives way where the table is too wide: the one that takes the free width on a page.
    free = next((at for at, column in enumerate(table.columns) if column.share), 0)
    over = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    if over > 0:
        widths[free] = max(widths[free] - over, _LEAST)

    def line(values: Sequence[str]) -> str:
        return "  ".join(
            _clipped(value, width).rjust(width)
            if column.numeric
            else _clipped(value, width).ljust(width)
            for value, width, column in zip(values, widths, table.columns, strict=True)
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [*([line(heads), rule] if any(heads) else [rule]), *map(line, rows)]


def _clipped(text: str, width: int) -> str:
    """``text`` in ``width`` characters: two dots for what is left out before its last two thirds.

    What rows differ in stands at the end of their names.
    """
    if len(text) <= width:
        return text
    tail = 2 * (width - 2) // 3
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"


def to_markdown(report: Report) -> str:
    """The report as Markdown with pipe tables; figures are left out."""
    lines: list[str] = []
    for level, section in enumerate(report.sections):
        lines += ["", f"{'#' if level == 0 else '##'} {_escaped(section.title)}", ""]
        lines += [_escaped(section.subtitle)]
        for block in section.blocks:
            lines += ["", *_markdown_block(block)]
    return "\n".join(lines).strip("\n") + "\n"


def _escaped(text: str) -> str:
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
            return [f"**{_escaped(block.text)}**", "", _escaped(block.note)]
        case Table():
            heads = [_escaped(column.title) for column in block.columns]
            sides = ["---:" if column.numeric else "---" for column in block.columns]
            rows = [[_escaped(cell_text(cell)) for cell in row] for row in block.rows]
            return [
                _escaped(block.caption),
                "",
                *("| " + " | ".join(row) + " |" for row in [heads, sides, *rows]),
            ]
        case Picture():
            return []
