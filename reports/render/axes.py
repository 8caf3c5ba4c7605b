"""What several figures share: axes of rows and of counts, and the looks that mean one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from reports.render import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

ROW = 0.155  #: height of a bar's row in inches
TICKS = StrMethodFormatter("{x:,g}")
REMOVED: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": style.GREY,
    "hatch": "/////",
    "linewidth": 0.5,
}
# Layers of an area chart from the bottom up: neighbours differ in lightness.
LAYERS = (style.BLUE, style.YELLOW, style.VERMILLION, style.SKY, style.BLACK, style.ORANGE)


def rows_axis(axes: Axes, names: Sequence[str], *, mono: bool = False) -> None:
    """One row a name, the first on top; only the x axis gets a grid."""
    axes.set_yticks(range(len(names)), names)
    if mono:
        for label in axes.get_yticklabels():
            label.set_fontfamily("DejaVu Sans Mono")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)


def count_axis(axes: Axes, largest: float, ticks: int = 5) -> float:
    """An x axis from 0 to a little above ``largest``; returns the divisor its ticks are in."""
    divisor, _ = style.scale(largest)
    axes.set_xlim(0, max(largest / divisor, 1) * 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=divisor == 1))
    axes.xaxis.set_major_formatter(TICKS)
    return divisor


def count_label(what: str, largest: float) -> str:
    """The label of an axis from count_axis, with the word that its divisor stands for."""
    _, word = style.scale(largest)
    return f"{what} ({word})" if word else what
