"""Figures on page descriptors: what schemes take, over time, and where they break even."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from reports.render import style, wording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

PARTS = ("word", "descriptors", "slab waste", "unknown")
_LOOKS: dict[str, dict[str, Any]] = {
    "word": {"facecolor": style.BLUE},
    "descriptors": {"facecolor": style.YELLOW, "edgecolor": style.DARK, "linewidth": 0.3},
    "slab waste": {"facecolor": style.VERMILLION},
    "unknown": {
        "facecolor": "white",
        "edgecolor": style.GREY,
        "hatch": ".....",
        "linewidth": 0.5,
    },
}
_LABELS = {"word": "words of all pages", "unknown": "at most besides: not known"}
_LINES = (("-", style.VERMILLION), ("--", style.BLACK), ("-", style.BLUE), ("-.", style.PURPLE))
_MARKS = ("o", "s", "^", "D")
_PAGES = tuple(1 << n for n in range(10))
_MIB = 1 << 20


@style.styled
def overhead(
    schemes: Mapping[str, Mapping[str, float]],
    seconds: Sequence[float],
    over_time: Mapping[str, Sequence[float]],
    shown: str,
) -> Figure:
    """What page descriptors take: of every scheme at the end, of one over time.

    Args:
        schemes: scheme -> part -> percent of memory.
        seconds: moments, since the first event.
        over_time: part -> bytes at each moment, without words, of the scheme ``shown``.
        shown: that scheme.

    Returns:
        Left a bar a scheme, on one linear scale; right what lies on top of its words.
    """
    figure = style.new_figure(2.15)
    left, right = figure.subplots(1, 2, width_ratios=(5, 6))
    rows = range(len(schemes))
    base = np.zeros(len(schemes))
    for part in PARTS:
        widths = np.array([parts[part] for parts in schemes.values()])
        label = _LABELS.get(part, part)
        left.barh(rows, widths, 0.6, left=base, label=label, **_LOOKS[part])
        base += widths
    ends = [sum(parts[part] for part in PARTS[:3]) for parts in schemes.values()]
    for row, (value, edge) in enumerate(zip(ends, base, strict=True)):
        text = wording.percent(value)
        left.annotate(
            text, (edge, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    left.set_yticks(rows, [wording.shortened(name, 18) for name in schemes])
    left.set_ylim(len(schemes) - 0.4, -0.6)
    left.set_xlim(0, max(base, default=1) * 1.22)
    left.grid(visible=True, axis="x")
    left.set_xlabel("percent of memory, at the end")
    figure.legend(loc="outside upper left", ncols=4)

    bottom = np.zeros(len(seconds))
    for part in PARTS[1:]:
        top = bottom + np.array(over_time[part]) / _MIB
        right.fill_between(seconds, bottom, top, **_LOOKS[part])
        bottom = top
    right.set_xlim(0, max(seconds[-1], 1e-9))
    right.set_ylim(0, max(float(bottom.max()), 1e-9) * 1.08)
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    right.grid(visible=True, axis="y")
    right.set_xlabel("time since the first event (s)")
    right.set_ylabel("MiB beside the words")
    right.set_title(shown, loc="left")
    return figure


@style.styled
def break_even(
    schemes: Mapping[str, tuple[float, float]], points: Sequence[tuple[str, float, float]]
) -> Figure:
    """Where schemes cost as much as struct page, and where a run lies.

    Args:
        schemes: scheme -> bytes of its word, and bytes that a described block's descriptor takes.
        points: label, percent of pages that belong to described blocks, pages of such a block.

    Returns:
        A line a scheme over the share of described pages: above it the scheme saves.
    """
    figure = style.new_figure(2.9)
    axes = figure.subplots()
    share = np.linspace(0.01, 100, 400)
    for (name, (word, cost)), (dash, colour) in zip(schemes.items(), _LINES, strict=False):
        pages = share / 100 * cost / (64 - word)
        axes.plot(share, pages, dash, color=colour, label=f"{name}: as much as struct page")
        if name == list(schemes)[-1]:
            axes.fill_between(share, pages, 1e-3, color=style.PALE, alpha=0.6, linewidth=0)
    for (label, x, y), mark in zip(points, _MARKS, strict=False):
        axes.plot(
            [x],
            [y],
            mark,
            color=style.BLACK,
            markerfacecolor="white",
            markersize=5.5,
            label=label,
            clip_on=False,
            zorder=5,
            linestyle="none",
        )
    highest = max([8.0, *(y * 1.5 for _, _, y in points)])
    axes.set_yscale("log", base=2)
    axes.set_ylim(0.5, highest)
    axes.yaxis.set_major_locator(FixedLocator([0.5, *_PAGES]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.axhline(1, color=style.DARK, linewidth=0.6, linestyle=":")
    axes.annotate("blocks of one page", (99, 1), va="bottom", ha="right", fontsize=6)
    axes.set_xlim(0, 100)
    axes.grid(visible=True)
    axes.set_xlabel("pages that belong to a block with a descriptor (percent of memory)")
    axes.set_ylabel("pages of such a block, on average")
    figure.legend(loc="outside upper left", ncols=2)
    return figure
