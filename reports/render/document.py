"""What a report consists of: sections of blocks, worded and formatted, not yet laid out.

The layouts (pdf.py) turn these into pages; they add no words and no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in a table cell: ``share`` of the column's full width, 0 to 1."""

    share: float


@dataclass(frozen=True, slots=True)
class Mono:
    """Text in a typewriter face: a symbol, a cache, a column name."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Text that is to be found first."""

    text: str


Cell = str | Mono | Strong | Bar


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a table.

    Args:
        title: its head.
        numeric: right-aligned if True.
        share: part of the free width it takes; 0 for as much as its content needs.
    """

    title: str
    numeric: bool = True
    share: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a caption that says what is seen."""

    caption: str
    columns: tuple[TableColumn, ...]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure (SVG) over a caption that says what is seen."""

    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of points."""

    items: list[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The one sentence a reader wants first, with a note on how it is known."""

    text: str
    note: str


Block = Table | Picture | Heading | Text | Bullets | Answer


@dataclass(frozen=True, slots=True)
class Section:
    """A part that begins on a page of its own."""

    title: str
    subtitle: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Args:
        title: what the file is called in a viewer's title bar.
        footer: the line at the foot of every page, beside the page number.
        sections: its parts, in order.
    """

    title: str
    footer: str
    sections: list[Section]
