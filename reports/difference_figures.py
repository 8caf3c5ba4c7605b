"""The figures of a comparison: every side's value with its interval, row by row."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from reports import style, wording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

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
