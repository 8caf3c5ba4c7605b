"""The figures of a comparison: every side's value with its interval, row by row."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from reports import style, wording
from reports.change_wording import letter
from reports.document import Block, Picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from reports.comparison import Comparison

_COLOURS = (style.GREY, style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE)
_HEIGHT = 0.11  #: of one side's bar in inches


@style.styled
def side_by_side(
    names: Sequence[str],
    values: Mapping[str, Sequence[tuple[float, float, float]]],
    what: str,
) -> Figure:
    """Bars from zero with intervals.

    Args:
        names: one a row.
        values: side -> value, lower and upper end of its interval for each name; NaN where there
            is none.
        what: the axis label.
    """
    sides = len(values)
    figure = style.new_figure((_HEIGHT * sides + 0.09) * len(names) + 0.62)
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), [wording.shortened(name, 58) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=True, axis="x")
    thick = 0.8 / sides
    for at, (side, row_values) in enumerate(values.items()):
        places = [row - 0.4 + thick * (at + 0.5) for row in range(len(names))]
        sizes = [value if isfinite(value) else 0 for value, _, _ in row_values]
        colour = _COLOURS[at % len(_COLOURS)]
        label = wording.shortened(side, 40)
        axes.barh(places, sizes, thick * 0.85, color=colour, label=label)
        for place, (_, low, high) in zip(places, row_values, strict=True):
            if isfinite(low) and isfinite(high) and high > low:
                axes.plot([low, high], [place, place], color=style.BLACK, linewidth=0.7)
    axes.set_xlim(left=0)
    if what:
        axes.set_xlabel(what)
    figure.legend(loc="outside upper left", ncols=min(sides, 3))
    return figure


def pictures(comparison: Comparison) -> list[Block]:
    """A figure each for reference operations, churn of slabs and pages, and fragmentation."""
    found: list[Block] = []
    for caption, group, unit in (
        ("Reference operations by kind of page", "Reference operations", "per 1,000 events"),
        ("Slab churn", "Pages and slabs", ""),
        ("Fragmentation", "Fragmentation", ""),
    ):
        rows = [
            row
            for row in comparison.rows
            if row.quantity.group == group
            and row.quantity.headline
            and (not unit or row.quantity.unit == unit)
            and (group != "Reference operations" or row.quantity.items)
            and (group != "Pages and slabs" or "slabs" in row.quantity.name)
        ][:8]
        if not rows:
            continue
        names = [
            row.item
            if row.item and group == "Reference operations"
            else f"{row.name} ({row.quantity.unit})"
            for row in rows
        ]
        values = {
            f"{letter(at)}  {side.label}": [
                (row.values[at].value, row.values[at].low, row.values[at].high) for row in rows
            ]
            for at, side in enumerate(comparison.sides)
        }
        figure = side_by_side(names, values, unit)
        found.append(
            Picture(
                f"{caption}{f', {unit}' if unit else ''}, with 95 % intervals.", style.svg(figure)
            )
        )
    return found
