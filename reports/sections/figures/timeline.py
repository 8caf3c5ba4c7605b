"""The figures of a report: rows of the views in, matplotlib figures out.

Every function takes plain sequences and draws exactly those numbers on linear axes from zero;
nothing is smoothed or left out (what a caller has summed up as "other" is drawn as a row).
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.patches import Patch

from reports.render import style, wording
from reports.render.axes import LAYERS, REMOVED, ROW, TICKS, count_axis, count_label, rows_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HOW: dict[str, dict[str, Any]] = {
    "observed": {"facecolor": style.BLUE},
    "inferred": {"facecolor": style.SKY},
    "assumed": {"facecolor": style.YELLOW, "hatch": "/////"},
    "unknown": {"facecolor": "white", "hatch": "....."},
}
_POINTS = (
    ("o", style.BLUE),
    ("s", style.VERMILLION),
    ("^", style.GREEN),
    ("D", style.BLACK),
    ("v", style.PURPLE),
    ("x", style.ORANGE),
    ("P", style.SKY),
)
_LINES = (("-", style.BLACK), ("-", style.VERMILLION), ("--", style.BLUE))
_BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1.03), "borderaxespad": 0.3}


class Ranged(NamedTuple):
    """A number and how far it may be off: all alike where nothing is assumed."""

    middle: float
    low: float
    high: float


def _error_bars(axes: Axes, ends: Sequence[tuple[int, float, float]], colour: str) -> None:
    """A line from least to most for each (row, least, most) that has both."""
    wide = [each for each in ends if each[1] < each[2]]
    if wide:
        rows, low, high = zip(*wide, strict=True)
        axes.hlines(rows, low, high, color=colour, linewidth=0.9)


def _wrapped(policy: str) -> str:
    """A policy's name over a panel: broken behind a hyphen where it is long."""
    return textwrap.fill(wording.shortened(policy, 36), 18)


@style.styled
def by_kind(
    kinds: Sequence[str],
    locked: Mapping[str, Sequence[int]],
    baseline: Sequence[int] | None,
    ends: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> Figure:
    """Locked instructions by page kind, a panel a policy.

    Args:
        kinds: page kinds, one a row.
        locked: policy -> locked instructions per kind, in the order of ``kinds``.
        baseline: the same under the policy that others are compared with; None if not replayed.
        ends: policy -> the same at least and at most, equal where nothing is assumed; None: nothing
            is anywhere.

    Returns:
        Panels side by side on one scale: solid what the policy does, hatched what it removes
        against the baseline, dark what it adds; a bar from least to most where it is assumed.
    """
    columns = len(locked) if len(locked) <= 5 else -(-len(locked) // 2)
    lines = -(-len(locked) // columns)
    figure = style.new_figure(lines * (ROW * len(kinds) + 0.35) + 0.5)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    largest = max(max(values, default=0) for values in [*locked.values(), baseline or [0]])
    ends = ends or {}
    largest = max([largest, *(high for pairs in ends.values() for _, high in pairs)])
    for axes in grid.flat[len(locked) :]:
        axes.set_axis_off()
    for axes, (policy, values) in zip(grid.flat, locked.items(), strict=False):
        rows_axis(axes, kinds)
        divisor = count_axis(axes, largest, ticks=4)
        axes.set_title(_wrapped(policy), loc="left")
        axes.tick_params(labelbottom=True)
        _kind_bars(axes, values, baseline or values, divisor)
        bars = [
            (row, low / divisor, high / divisor)
            for row, (low, high) in enumerate(ends.get(policy, ()))
        ]
        _error_bars(axes, bars, style.DARK)
    figure.supxlabel(count_label("locked reference-count instructions", largest), fontsize=7)
    handles = [Patch(color=style.BLUE, label="done under the policy")]
    if baseline is not None:
        changes = [
            value - base
            for values in locked.values()
            for value, base in zip(values, baseline, strict=True)
        ]
        if min(changes) < 0:
            handles.append(Patch(**REMOVED, label="removed against refcounted"))
        if max(changes) > 0:
            handles.append(Patch(color=style.VERMILLION, label="added against refcounted"))
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _kind_bars(axes: Axes, values: Sequence[int], baseline: Sequence[int], divisor: float) -> None:
    rows = range(len(values))
    common = [min(value, base) / divisor for value, base in zip(values, baseline, strict=True)]
    removed = [max(base - value, 0) / divisor for value, base in zip(values, baseline, strict=True)]
    added = [max(value - base, 0) / divisor for value, base in zip(values, baseline, strict=True)]
    axes.barh(rows, common, 0.7, color=style.BLUE, label="done")
    axes.barh(rows, removed, 0.7, left=common, label="removed", **REMOVED)
    axes.barh(rows, added, 0.7, left=common, color=style.VERMILLION, label="added")


@style.styled
def how_known(kinds: Sequence[str], shares: Mapping[str, Sequence[int]]) -> Figure:
    """How the kind of each kind's pages is known.

    Args:
        kinds: page kinds, one a row.
        shares: observed, inferred, assumed, unknown -> page allocations per kind.

    Returns:
        A full-width bar a kind, cut by share, with the number of allocations at its end.
    """
    figure = style.new_figure(ROW * len(kinds) + 0.75)
    axes = figure.subplots()
    rows_axis(axes, kinds)
    totals = [sum(parts) for parts in zip(*shares.values(), strict=True)]
    left = [0.0] * len(kinds)
    for how, counts in shares.items():
        width = [
            100 * part / total if total else 0 for part, total in zip(counts, totals, strict=True)
        ]
        axes.barh(
            range(len(kinds)),
            width,
            0.7,
            left=left,
            label=how,
            edgecolor=style.DARK,
            linewidth=0.4,
            **_HOW[how],
        )
        left = [start + part for start, part in zip(left, width, strict=True)]
    for row, total in enumerate(totals):
        axes.annotate(
            wording.count(total),
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(48, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6.5,
        )
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the kind's page lives (%); at the right their number")
    figure.legend(loc="outside upper left", ncols=4)
    return figure


@style.styled
def over_time(
    edges: Sequence[float], layers: Mapping[str, Sequence[int]], lines: Mapping[str, Sequence[int]]
) -> Figure:
    """Locked instructions per time slice, in two panels on one time axis.

    Args:
        edges: the slices' borders in seconds, one more than there are slices.
        layers: page kind -> locked instructions per slice: the upper panel's areas, stacked in
            this order from below; at most six.
        lines: policy -> locked instructions of all kinds per slice: the lower panel's steps.
    """
    figure = style.new_figure(3.4)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    factor, unit = (1, "s") if edges[-1] >= 1 else (1000, "ms")
    borders = [edge * factor for edge in edges]
    totals = [sum(parts) for parts in zip(*layers.values(), strict=True)]
    largest = max([*totals, *(value for values in lines.values() for value in values)], default=0)
    divisor, _ = style.scale(largest)
    base = [0.0] * (len(edges) - 1)
    for (kind, counts), colour in zip(layers.items(), LAYERS, strict=False):
        top = [low + value / divisor for low, value in zip(base, counts, strict=True)]
        upper.stairs(top, borders, baseline=base, fill=True, color=colour, label=kind)
        base = top
    for (policy, counts), (dash, colour) in zip(lines.items(), _LINES, strict=False):
        lower.stairs(
            [value / divisor for value in counts],
            borders,
            baseline=None,
            label=wording.shortened(policy, 24),
            color=colour,
            linewidth=0.9,
            linestyle=dash,
        )
    for axes in (upper, lower):
        axes.set_xlim(borders[0], borders[-1])
        axes.set_ylim(0, max(largest / divisor, 1) * 1.04)
        axes.yaxis.set_major_formatter(TICKS)
        axes.grid(visible=True, axis="y")
    upper.legend(reverse=True, **_BESIDE)
    lower.legend(**_BESIDE)
    lower.set_xlabel(f"time since the first event ({unit})")
    figure.supylabel(count_label("locked instructions per slice", largest), fontsize=7)
    return figure


@style.styled
def ranked(names: Sequence[str], values: Sequence[int], what: str) -> Figure:
    """One bar a name with its value at the end; ``what`` is the axis label with its unit."""
    figure = style.new_figure(ROW * len(names) + 0.45)
    axes = figure.subplots()
    rows_axis(axes, [wording.shortened(name, 48) for name in names], mono=True)
    largest = max(values, default=0)
    divisor = count_axis(axes, largest)
    bars = axes.barh(
        range(len(names)), [value / divisor for value in values], 0.7, color=style.BLUE
    )
    axes.bar_label(bars, [wording.count(value) for value in values], padding=3, fontsize=6.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
    axes.set_xlabel(count_label(what, largest))
    return figure


@style.styled
def savings(runs: Sequence[str], saved: Mapping[str, Sequence[Ranged | None]]) -> Figure:
    """Percentages saved, a row a run and a mark a policy, with a bar from least to most.

    Args:
        runs: labels, one a row.
        saved: policy -> percent per run; None where the run lacks the policy.
    """
    figure = style.new_figure(0.19 * len(runs) + 0.85)
    axes = figure.subplots()
    rows_axis(axes, [wording.shortened(name, 44) for name in runs])
    axes.grid(visible=True, axis="y")
    axes.axvline(0, color=style.DARK, linewidth=0.6)
    for (policy, values), (mark, colour) in zip(saved.items(), _POINTS, strict=False):
        points = [(value, row) for row, value in enumerate(values) if value is not None]
        axes.plot(
            [value.middle for value, _ in points],
            [row for _, row in points],
            mark,
            label=wording.shortened(policy, 28),
            color=colour,
            markersize=4.5,
            markerfacecolor="none",
            markeredgewidth=1.1,
            clip_on=False,
        )
        _error_bars(axes, [(row, value.low, value.high) for value, row in points], colour)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0), max(high, 0))
    axes.set_xlabel("locked instructions saved by freezing (%)")
    figure.legend(loc="outside upper left", ncols=4)
    return figure
