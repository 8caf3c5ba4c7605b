"""What a report consists of: sections of blocks, worded and formatted, not yet laid out.

The layouts (text.py, html.py, json.py, pdf.py) turn these into what is read; they add no words and
no numbers. A block may name the view of the results database that its numbers are of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        minor: left out of plain text where the table would be too wide.
    """

    title: str
    numeric: bool = True
    share: int = 0
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a caption that says what is seen."""

    caption: str
    columns: tuple[TableColumn, ...]
    rows: list[list[Cell]]
    view: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of bars, one a row, each of parts that lie one behind the other.

    Args:
        rows: what the bars are of, the first on top.
        parts: name of a part -> its length in each row; the name has the colour.
        label: what the axis counts, with its unit.
        title: over the panel.
        notes: a word or number at each bar's end.
        ends: least and most of each whole bar, drawn where they differ.
        most: where the axis ends; None: with the longest bar.
    """

    rows: Sequence[str]
    parts: Mapping[str, Sequence[float]]
    label: str
    title: str = ""
    notes: Sequence[str] = ()
    ends: Sequence[tuple[float, float]] = ()
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """A panel of marks on one axis, one row a thing and a mark a name, with least and most.

    Args:
        rows: the first on top.
        marks: name -> (middle, least, most) in each row; None: it has none there.
        label: what the axis counts, with its unit.
    """

    rows: Sequence[str]
    marks: Mapping[str, Sequence[tuple[float, float, float] | None]]
    label: str


class Ratio(NamedTuple):
    """How many times as much something is, between two ends; None: none is known.

    Where there is no ratio what is ``said`` stands in its place; else it is said on hover. It is
    ``solid`` where it is told from chance.
    """

    ratio: float | None
    low: float | None
    high: float | None
    solid: bool
    said: str


@dataclass(frozen=True, slots=True)
class Ratios:
    """A panel of ratios, one row a thing, on an axis on which twice lies as far as half.

    Args:
        rows: the first on top.
        marks: name -> ratio in each row; None: it has none there.
        label: what the axis counts.
        columns: head -> a word beside each row.
        by_row: a mark has the colour of its row in place of its name's.
    """

    rows: Sequence[str]
    marks: Mapping[str, Sequence[Ratio | None]]
    label: str
    columns: Mapping[str, Sequence[str]]
    by_row: bool = False


@dataclass(frozen=True, slots=True)
class OverTime:
    """A panel over time: areas on each other, or lines, constant between two edges.

    Args:
        edges: one more than there are values, rising.
        areas: name -> value between each two edges, stacked in this order from below.
        lines: name -> likewise, drawn from zero.
        label: what the upright axis counts, with its unit.
        across: the same of the other axis.
        title: over the panel.
        ticks: place -> word on an axis of logarithms; none: the axis is one of plain numbers.
        slices: what is said of what lies between each two edges; none: where it begins.
    """

    edges: Sequence[float]
    areas: Mapping[str, Sequence[float]]
    lines: Mapping[str, Sequence[float]]
    label: str
    across: str
    title: str = ""
    ticks: Mapping[float, str] = field(default_factory=dict)
    slices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LinePanel:
    """A panel of lines through points that stand at equal distances.

    Args:
        places: what stands under each place.
        lines: name -> value at each place; None: none there.
        title: over the panel.
        across: what the places are.
        marked: the place of the kernel's own, which no line leads to; None: it is not there.
    """

    places: Sequence[str]
    lines: Mapping[str, Sequence[float | None]]
    title: str
    across: str
    marked: int | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """A panel of lines through points anywhere; across, distances grow with the logarithm from 1.

    Args:
        lines: name -> (across, up) of its points, in the order in which they are joined.
        title: over the panel: what is counted upwards, with its unit.
        across: what is counted across, with its unit.
        solid: name -> which of its points is filled.
        ringed: name -> which of its points has a ring.
    """

    lines: Mapping[str, Sequence[tuple[float, float]]]
    title: str
    across: str
    solid: Mapping[str, int] = field(default_factory=dict)
    ringed: Mapping[str, int] = field(default_factory=dict)


Panel = Bars | Points | Ratios | OverTime | LinePanel | Curves


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels, ``beside`` of them side by side, over a caption that says what is seen.

    ``words`` has what the legend calls a name, where that is more than the name itself.
    """

    caption: str
    panels: Sequence[Panel]
    beside: int = 1
    view: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


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
    view: str = ""


Block = Table | Chart | Heading | Text | Bullets | Answer


@dataclass(frozen=True, slots=True)
class Section:
    """A part that begins on a page of its own, unless it ``flows`` behind the one before."""

    title: str
    subtitle: str
    blocks: list[Block] = field(default_factory=list)
    flows: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A view that numbers of a report are of: its name, what a row of it is, and its SQL."""

    view: str
    row: str
    sql: str


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report.

    Args:
        title: what the file is called in a viewer's title bar.
        footer: the line at the foot of every page, beside the page number.
        sections: its parts, in order.
        sources: the views that its blocks name.
    """

    title: str
    footer: str
    sections: list[Section]
    sources: list[Source] = field(default_factory=list)
