"""The figure on what operations take: ranges by kind of page, and where their lines were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from reports.render import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

_LINE_AT: dict[str, dict[str, Any]] = {
    "own": {"facecolor": style.BLUE},
    "other": {"facecolor": style.YELLOW, "edgecolor": style.DARK, "linewidth": 0.4},
    "remote": {"facecolor": style.VERMILLION},
    "unknown": {"facecolor": "white", "edgecolor": style.GREY, "hatch": ".....", "linewidth": 0.5},
}


@style.styled
def cost_ranges(
    kinds: Sequence[str],
    low: Sequence[float],
    high: Sequence[float],
    places: Mapping[str, Sequence[int]],
) -> Figure:
    """What operations take by kind, from low to high, and where their cache lines were.

    Args:
        kinds: page kinds, one a row.
        low: microseconds at least.
        high: microseconds at most.
        places: place -> operations per kind, in the order of ``kinds``.
    """
    figure = style.new_figure(0.155 * len(kinds) + 0.85)
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yticks(range(len(kinds)), kinds)
    left.set_ylim(len(kinds) - 0.4, -0.6)
    left.grid(visible=True, axis="x")
    left.spines["left"].set_visible(False)
    left.set_xscale("log")
    widths = [top - bottom for bottom, top in zip(low, high, strict=True)]
    left.barh(range(len(kinds)), widths, 0.55, left=low, color=style.BLUE)
    smallest = min((value for value in low if value > 0), default=1e-3)
    left.set_xlim(smallest / 2, max([*high, smallest]) * 2)
    left.xaxis.set_major_locator(LogLocator(numticks=6))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.xaxis.set_minor_locator(NullLocator())
    left.set_xlabel("microseconds, at least to at most")
    totals = [sum(row) or 1 for row in zip(*places.values(), strict=True)]
    base = [0.0] * len(kinds)
    for place, values in places.items():
        share = [100 * value / total for value, total in zip(values, totals, strict=True)]
        right.barh(range(len(kinds)), share, 0.7, left=base, label=place, **_LINE_AT[place])
        base = [start + width for start, width in zip(base, share, strict=True)]
    right.set_xlim(0, 100)
    right.grid(visible=True, axis="x")
    right.spines["left"].set_visible(False)
    right.set_xlabel("percent of operations")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    return figure
