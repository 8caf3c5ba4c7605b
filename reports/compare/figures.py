"""The figures of a comparison: changes with their intervals, and distributions."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from reports.compare.comparison import Change, ChangeVerdict, Compared
from reports.compare.measure import BINS, BINS_PER_DECADE
from reports.compare.quantity import FRAGMENTATION, MEMORY, OPS
from reports.compare.tables import without_same
from reports.compare.wording import interval, letter, number, percent
from reports.render import wording
from reports.render.document import Block, Chart, OverTime, Ratio, Ratios

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.compare.comparison import Comparison, Distribution

_TIMES = {
    power: f"{10 ** (power % 3)} {unit}"
    for at, unit in enumerate(("ns", "us", "ms", "s"))
    for power in range(3 * at, 3 * at + 3)
}
_MOST = 9  #: rows of a figure


def changes(comparison: Comparison, rows: Sequence[Compared]) -> Ratios:
    """The change of each row with its interval, and all sides' values beside.

    Args:
        comparison: what the rows are of.
        rows: from top to bottom.
    """
    kinds = all(row.quantity.kinds for row in rows)
    units = [row.quantity.unit for row in rows]
    return Ratios(
        [row.item if row.quantity.kinds else row.name for row in rows],
        {letter(side): [ratio(row.changes[side]) for row in rows] for side in comparison.others},
        f"times {letter(comparison.baseline)}, with 95 % interval",
        ({"unit": units} if len(set(units)) > 1 else {})
        | {
            letter(side): [number(row.values[side].value) for row in rows]
            for side in range(len(comparison.sides))
        },
        by_row=kinds,
    )


def ratio(change: Change | None) -> Ratio | None:
    """A change as it is drawn; a word where there is no ratio."""
    if change is None:
        return None
    word = percent(change.change)
    if not isfinite(change.change) or change.change <= -1:
        told = f"{word}: frozen" if change.verdict is ChangeVerdict.FROZEN else word
        return Ratio(None, None, None, solid=False, said=told) if word != "-" else None
    whole = isfinite(change.low) and isfinite(change.high)
    low, high = (1 + change.low, 1 + change.high) if whole else (None, None)
    said = f"{word}, {told}" if (told := interval(change)) else word
    solid = change.verdict is ChangeVerdict.DIFFERS
    return Ratio(1 + change.change, low, high, solid=solid, said=said)


def lives(distribution: Distribution) -> OverTime:
    """How much of a distribution lies below a length of time: a line a side."""
    ends = 10 ** (np.arange(BINS + 1) / BINS_PER_DECADE)
    # Where next to nothing lies there is nothing to be seen.
    seen = np.flatnonzero([counts > counts.sum() / 1000 for counts in distribution.counts])
    first, last = int((seen % BINS).min()), int((seen % BINS).max()) + 1
    below = (100 * counts.cumsum() / counts.sum() for counts in distribution.counts)
    edges = ends[first : last + 1].tolist()
    return OverTime(
        edges,
        {},
        {letter(at): line[first:last].tolist() for at, line in enumerate(below)},
        "% of them",
        "lived no longer than",
        distribution.name,
        {10.0**power: _TIMES[power] for power in _TIMES if edges[0] <= 10.0**power <= edges[-1]},
        [wording.duration(round(edge)) for edge in edges[1:]],
    )


#: The three figures of the first pages: caption, group, and which of its rows.
_FIGURES: tuple[tuple[str, str, Callable[[Compared], bool]], ...] = (
    ("Reference operations by kind of page", OPS, lambda row: row.quantity.items),
    ("Memory of objects", MEMORY, lambda _: True),
    ("Fragmentation", FRAGMENTATION, lambda _: True),
)


def pictures(comparison: Comparison) -> list[Block]:
    """A figure each for reference operations, churn of slabs, fragmentation, and lifetimes."""
    words = {letter(at): f"{letter(at)}  {side.label}" for at, side in enumerate(comparison.sides)}
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
        units = {row.quantity.unit for row in rows}
        unit = f", {units.pop()}" if len(units) == 1 else ""
        found.append(
            Chart(
                f"{caption}{unit}: changes, and the values of the sides (right). Filled: differs; "
                "hollow: within the noise, or not tested. An interval that meets the panel's edge "
                "goes on beyond it.",
                [changes(comparison, rows)],
                words=words,
            )
        )
    if any(_changes(distribution) for distribution in comparison.distributions):
        panels = [lives(distribution) for distribution in comparison.distributions]
        found.append(
            Chart(
                "Lives that began and ended in the recordings, by their length: how many lived no "
                "longer than so long. From the times of kmem events.",
                panels,
                len(panels),
                words=words,
            )
        )
    return found


def _changes(distribution: Distribution) -> bool:
    first, *others = distribution.counts
    return not all((first == other).all() for other in others)
