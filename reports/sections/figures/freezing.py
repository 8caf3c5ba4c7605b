"""Figures of what could be frozen next: what it saves, what stands in its way, and how deep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.render import style, wording
from reports.render.axes import LAYERS, REMOVED, ROW, count_axis, count_label, rows_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VERDICTS: dict[str, dict[str, Any]] = {
    "freezable": {"facecolor": style.BLUE},
    "freezable once readers change": {
        "facecolor": style.BLUE,
        "edgecolor": style.PALE,
        "linewidth": 0.4,
        "hatch": "/////",
    },
    "nearly": {"facecolor": style.SKY},
    "needs its count": {"facecolor": style.PALE, "edgecolor": style.GREY, "linewidth": 0.5},
    "frozen already": {"facecolor": style.GREEN},
    "not known": REMOVED | {"hatch": "....."},
}
_DONE: tuple[dict[str, Any], ...] = (
    {"facecolor": style.BLUE, "edgecolor": style.DARK, "linewidth": 0.4},
    {"facecolor": style.YELLOW, "edgecolor": style.DARK, "linewidth": 0.4, "hatch": "....."},
    {"facecolor": style.PALE, "edgecolor": style.DARK, "linewidth": 0.4, "hatch": "/////"},
)


@style.styled
def freezability(
    kinds: Sequence[str],
    verdicts: Sequence[str],
    saved: Sequence[int],
    lives: Mapping[str, Sequence[int]],
) -> Figure:
    """What freezing each kind saves, and what was done to its count.

    Args:
        kinds: page kinds, one a row.
        verdicts: the verdict on each.
        saved: reference operations that freezing it saves.
        lives: what was done to the count -> whole lives per kind, in the order of ``kinds``.
    """
    figure = style.new_figure(ROW * len(kinds) + 0.85)
    left, right = figure.subplots(1, 2, sharey=True)
    rows_axis(left, kinds)
    largest = max(saved, default=0)
    divisor = count_axis(left, largest, ticks=4)
    for verdict, look in _VERDICTS.items():
        rows = [row for row, given in enumerate(verdicts) if given == verdict]
        if rows:
            widths = [saved[row] / divisor for row in rows]
            left.barh(rows, widths, 0.7, label=verdict, **look)
    left.set_xlim(0, left.get_xlim()[1] * 1.18)
    for row, value in enumerate(saved):
        left.annotate(
            wording.count(value),
            (value / divisor, row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    left.set_xlabel(count_label("first sets and last drops", largest))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    _shares(right, lives, len(kinds))
    right.set_xlabel("share of the kind's whole lives (%); at the right their number")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure


def _shares(axes: Axes, parts: Mapping[str, Sequence[int]], rows: int) -> None:
    """A full-width bar a row, cut by share, with the row's total at its end."""
    totals = [sum(counts[row] for counts in parts.values()) for row in range(rows)]
    base = [0.0] * rows
    for (name, counts), look in zip(parts.items(), _DONE, strict=True):
        width = [100 * count / max(total, 1) for count, total in zip(counts, totals, strict=True)]
        axes.barh(range(rows), width, 0.7, left=base, label=name, **look)
        base = [start + part for start, part in zip(base, width, strict=True)]
    for row, total in enumerate(totals):
        axes.annotate(
            wording.count(total),
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(44, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6.5,
        )
    axes.set_xlim(0, 100)
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)


@style.styled
def depth(levels: Sequence[str], saved: Mapping[str, Sequence[int]]) -> Figure:
    """Reference operations saved by setting the count at each level, stacked by page kind.

    Args:
        levels: levels of the call stack, one a row.
        saved: page kind -> operations saved at each level; beyond six the rest is one layer.
    """
    figure = style.new_figure(ROW * len(levels) + 0.75)
    axes = figure.subplots()
    rows_axis(axes, levels, mono=True)
    totals = [sum(parts) for parts in zip(*saved.values(), strict=True)]
    divisor = count_axis(axes, max(totals, default=0))
    base = [0.0] * len(levels)
    for (kind, counts), colour in zip(_at_most(saved, len(LAYERS)).items(), LAYERS, strict=False):
        width = [count / divisor for count in counts]
        axes.barh(range(len(levels)), width, 0.7, left=base, color=colour, label=kind)
        base = [start + part for start, part in zip(base, width, strict=True)]
    axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
    for row, total in enumerate(totals):
        axes.annotate(
            wording.count(total),
            (base[row], row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_xlabel(count_label("reference operations saved", max(totals, default=0)))
    figure.legend(loc="outside upper left", ncols=6)
    return figure


def _at_most(parts: Mapping[str, Sequence[int]], layers: int) -> dict[str, Sequence[int]]:
    """The first parts as they are; where there are more than ``layers``, the rest as one."""
    if len(parts) <= layers:
        return dict(parts)
    names = list(parts)
    summed_up = [parts[name] for name in names[layers - 1 :]]
    rest = [sum(values) for values in zip(*summed_up, strict=True)]
    return {name: parts[name] for name in names[: layers - 1]} | {"other kinds": rest}
