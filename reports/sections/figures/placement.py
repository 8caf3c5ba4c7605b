"""Figures of where things lie: free memory over time, and who frees what another CPU allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import StrMethodFormatter

from reports.render import style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

_LAYERS = (style.BLUE, style.YELLOW, style.VERMILLION, style.BLACK)
_LINES: tuple[dict[str, Any], ...] = (
    {"color": style.BLACK, "linestyle": "-"},
    {"color": style.BLUE, "linestyle": "--"},
    {"color": style.VERMILLION, "linestyle": "-"},
    {"color": style.GREEN, "linestyle": "-."},
)
_BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1.03), "borderaxespad": 0.3}
_NUMBERED = 16  #: CPUs up to which a matrix has its numbers written in it


@style.styled
def free_memory(
    times: Sequence[float],
    mib: Mapping[str, Sequence[float]],
    index: Mapping[int, Sequence[float | None]],
) -> Figure:
    """Free memory by migratetype, and the unusable free space index of some orders.

    Args:
        times: seconds since the first event, rising.
        mib: migratetype -> MiB free at each time: areas, stacked in this order from below.
        index: order -> index at each time, 0 to 1; None where nothing is free.
    """
    figure = style.new_figure(3.0)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    factor, unit = (1, "s") if times[-1] >= 1 else (1000, "ms")
    at = [time * factor for time in times]
    base = np.zeros(len(at))
    for (kind, values), colour in zip(mib.items(), _LAYERS, strict=False):
        top = base + np.array(values)
        upper.fill_between(at, base, top, step="post", color=colour, label=kind, linewidth=0)
        base = top
    upper.set_ylim(0, max(float(base.max()), 1) * 1.04)
    upper.set_ylabel("free (MiB)")
    for (order, shares), look in zip(index.items(), _LINES, strict=False):
        known = [np.nan if value is None else value for value in shares]
        lower.step(at, known, where="post", label=f"order {order}", linewidth=0.9, **look)
    lower.set_ylim(0, 1.04)
    lower.set_ylabel("unusable index")
    lower.set_xlabel(f"time since the first event ({unit})")
    for axes in (upper, lower):
        axes.set_xlim(at[0], max(at[-1], at[0] + 1e-9))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.grid(visible=True, axis="y")
        axes.legend(**_BESIDE)
    return figure


@style.styled
def cpu_matrix(cpus: Sequence[int], objects: Sequence[Sequence[int]]) -> Figure:
    """Objects by the CPU that allocated and the CPU that freed them, as shares of all.

    Args:
        cpus: numbers of the CPUs.
        objects: a row an allocating CPU, a column a freeing one.
    """
    count = len(objects)
    figure = style.new_figure(min(0.26 * count + 0.9, 4.6))
    axes = figure.subplots()
    table = np.array(objects, float)
    share = 100 * table / max(table.sum(), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0)
    if count <= _NUMBERED:
        for row, column in np.ndindex(*share.shape):
            dark = share[row, column] > 0.6 * share.max()
            axes.text(
                column,
                row,
                f"{share[row, column]:.1f}",
                ha="center",
                va="center",
                fontsize=6,
                color="white" if dark else style.BLACK,
            )
        names = [str(cpu) for cpu in cpus]
        axes.set_xticks(range(count), names)
        axes.set_yticks(range(count), names)
    axes.set_xlabel("freed on CPU")
    axes.set_ylabel("allocated on CPU")
    figure.colorbar(image, ax=axes, label="share of objects (%)", shrink=0.9)
    return figure
