"""The figures of a comparison: changes with their intervals, and distributions."""

from __future__ import annotations

from math import ceil, isfinite, log2
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from reports.compare.comparison import Change, ChangeVerdict, Compared
from reports.compare.measure import BINS, BINS_PER_DECADE
from reports.compare.quantity import FRAGMENTATION, OPS, PAGES
from reports.compare.tables import without_same
from reports.compare.wording import letter, number, percent
from reports.render import style, wording
from reports.render.document import Block, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reports.compare.comparison import Comparison, Distribution

_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE)
_LINES = (style.GREY, *_COLOURS)  #: of all sides, the baseline among them
_DASHES = ("-", "-", "--", "-.", ":")
_TIMES = {
    power: f"{10 ** (power % 3)} {unit}"
    for at, unit in enumerate(("ns", "us", "ms", "s"))
    for power in range(3 * at, 3 * at + 3)
}
_FARTHEST = 5  #: powers of two that a change is drawn out to; what is beyond ends in an arrow
_ROW = 0.135  #: height of one side's line of a row in inches
_TWO_LINES = 0.28  #: height of a row whose name takes two lines
_MOST = 9  #: rows of a figure
_COLUMN = 40  #: width of a column of values in points


@style.styled
def changes(comparison: Comparison, rows: Sequence[Compared], names: Sequence[str]) -> Figure:
    """The change of each row with its interval, on a scale of ratios, and all sides' values beside.

    Args:
        comparison: what the rows are of.
        rows: from top to bottom.
        names: what they are called, with the unit on a line of its own where they have several.
    """
    others = comparison.others
    least = _TWO_LINES if any("\n" in name for name in names) else 0
    figure = style.new_figure(max(_ROW * len(others) + 0.06, least) * len(rows) + 0.75)
    axes = figure.subplots()
    reach = _reach(row.changes[side] for row in rows for side in others)
    for line, row in enumerate(rows):
        for at, side in enumerate(others):
            place = line + 0.8 * ((at + 0.5) / len(others) - 0.5)
            _draw(axes, row.changes[side], place, reach, _COLOURS[at % len(_COLOURS)])
    axes.axvline(0, color=style.BLACK, linewidth=0.7)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-reach - 0.15, reach + 0.15)
    axes.set_xticks(range(-reach, reach + 1), [_ratio(power) for power in range(-reach, reach + 1)])
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(f"times {letter(comparison.baseline)}, with 95 % interval")
    _values(axes, comparison, rows)
    handles = [
        Line2D([], [], color=_COLOURS[at % len(_COLOURS)], marker="o", markersize=4, linewidth=1)
        for at in range(len(others))
    ]
    labels = [
        f"{letter(side)}  {wording.shortened(comparison.sides[side].label, 40)}" for side in others
    ]
    for filled, label in ((True, "differs"), (False, "within the noise, or not tested")):
        inside = style.DARK if filled else "white"
        handles.append(
            Line2D([], [], color=style.DARK, marker="o", markerfacecolor=inside, markersize=4, lw=0)
        )
        labels.append(label)
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 4))
    return figure


def _ratio(power: int) -> str:
    return f"1/{2**-power}" if power < 0 else str(2**power)


def _reach(several: Iterable[Change | None]) -> int:
    """Powers of two to either side of no change that the axis needs."""
    ends = [
        abs(log2(1 + end))
        for change in several
        if change is not None
        for end in (change.change, change.low, change.high)
        if isfinite(end) and end > -1
    ]
    return min(max(ceil(max(ends, default=0)), 1), _FARTHEST)


def _draw(axes: Axes, change: Change | None, place: float, reach: int, colour: str) -> None:
    """One change: a dot and its interval; a word where there is no ratio."""
    if change is None:
        return
    if not isfinite(change.change) or change.change <= -1:
        word = percent(change.change)
        told = f"{word}: frozen" if change.verdict is ChangeVerdict.FROZEN else word
        if word != "-":
            axes.text(0.06, place, told, color=colour, va="center", fontsize=6.5)
        return
    if isfinite(change.low) and isfinite(change.high):
        ends = [log2(max(1 + end, 1e-9)) for end in (change.low, change.high)]
        inside = [min(max(end, -reach - 0.1), reach + 0.1) for end in ends]
        axes.plot(inside, [place, place], color=colour, linewidth=1)
        for end, marker in zip(ends, ("<", ">"), strict=True):
            if abs(end) > reach + 0.1:
                edge = min(max(end, -reach - 0.1), reach + 0.1)
                axes.plot([edge], [place], marker=marker, color=colour, markersize=3)
    at = log2(1 + change.change)
    if abs(at) <= reach + 0.1:
        fill = colour if change.verdict is ChangeVerdict.DIFFERS else "white"
        axes.plot([at], [place], "o", color=colour, markerfacecolor=fill, markersize=4)


def _values(axes: Axes, comparison: Comparison, rows: Sequence[Compared]) -> None:
    """All sides' values in columns to the right of the axes."""
    placed: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "ha": "right",
        "va": "center",
    }
    for at in range(len(comparison.sides)):
        offset = (_COLUMN * (at + 1), 0)
        axes.annotate(letter(at), (1, -0.85), offset, weight="bold", **placed)
        for line, row in enumerate(rows):
            axes.annotate(number(row.values[at].value), (1, line), offset, **placed)


@style.styled
def distributions(names: Sequence[str], several: Sequence[Distribution]) -> Figure:
    """How much of each distribution lies below a length of time: a panel each, a line a side.

    Args:
        names: of the sides.
        several: the distributions.
    """
    figure = style.new_figure(2.3)
    panels = figure.subplots(1, len(several), sharey=True, squeeze=False)[0]
    ends = 10 ** (np.arange(BINS + 1) / BINS_PER_DECADE)
    # Where next to nothing lies there is nothing to be seen.
    seen = np.flatnonzero(
        [
            any(counts[at] > counts.sum() / 1000 for each in several for counts in each.counts)
            for at in range(BINS)
        ]
    )
    for axes, distribution in zip(panels, several, strict=True):
        for at, (name, counts) in enumerate(zip(names, distribution.counts, strict=True)):
            below = 100 * np.concatenate(([0.0], counts.cumsum())) / counts.sum()
            colour, dashes = _LINES[at % len(_LINES)], _DASHES[at % len(_DASHES)]
            label = wording.shortened(name, 40) if axes is panels[0] else None
            axes.plot(ends, below, color=colour, linestyle=dashes, linewidth=1.2, label=label)
        axes.set_xscale("log")
        axes.set_xlim(ends[seen[0]], ends[seen[-1] + 1])
        ticks = [
            10.0**power for power in range(13) if ends[seen[0]] <= 10.0**power <= ends[seen[-1] + 1]
        ]
        axes.set_xticks(ticks, [_TIMES[round(np.log10(tick))] for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 100)
        axes.grid(visible=True)
        axes.set_title(distribution.name, loc="left")
        axes.set_xlabel("lived no longer than")
    panels[0].set_ylabel("% of them")
    figure.legend(loc="outside upper left", ncols=min(len(names), 3))
    return figure


#: The three figures of the first pages: caption, group, and which of its rows.
_FIGURES: tuple[tuple[str, str, Callable[[Compared], bool]], ...] = (
    ("Reference operations by kind of page", OPS, lambda row: row.quantity.items),
    ("Churn of slabs", PAGES, lambda row: "slabs" in row.quantity.name),
    ("Fragmentation", FRAGMENTATION, lambda _: True),
)


def pictures(comparison: Comparison) -> list[Block]:
    """A figure each for reference operations, churn of slabs, fragmentation, and lifetimes."""
    found: list[Block] = []
    for caption, group, wanted in _FIGURES:
        rows = [
            row
            for row in comparison.rows
            if row.quantity.group == group and row.quantity.headline and wanted(row)
        ]
        rows = without_same(comparison, rows, "")[0][:_MOST]
        if not rows:
            continue
        units = dict.fromkeys(row.quantity.unit for row in rows)
        names = [
            (row.item if row.quantity.kinds else row.name)
            + (f"\n{row.quantity.unit}" if len(units) > 1 else "")
            for row in rows
        ]
        unit = f", {next(iter(units))}" if len(units) == 1 else ""
        found.append(
            Picture(
                f"{caption}{unit}: changes, and the values of the sides (right).",
                style.svg(changes(comparison, rows, names)),
            )
        )
    if any(_changes(distribution) for distribution in comparison.distributions):
        names = [f"{letter(at)}  {side.label}" for at, side in enumerate(comparison.sides)]
        found.append(
            Picture(
                "Lives that began and ended in the recordings, by their length: how many lived no "
                "longer than so long. From the times of kmem events.",
                style.svg(distributions(names, comparison.distributions)),
            )
        )
    return found


def _changes(distribution: Distribution) -> bool:
    first, *others = distribution.counts
    return not all((first == other).all() for other in others)
