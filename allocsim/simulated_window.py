"""What became of the requests of a simulated window, and windows put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.replay import PageResults, PageSample
from allocsim.slub.requests import PageRequests, Placement, SheafObjects
from allocsim.tables import Columns, concat, empty, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Array, Int64, UInt8

#: One simulated slab's life: what ``SimulatedWindow.slabs`` holds. -1 where it is not known.
SLAB_LIFE = {
    "slab": "i8",
    "cache": "i4",
    "order": "i1",
    "pfn": "i8",
    "alloc_seq": "i8",
    "alloc_cpu": "i2",
    "free_seq": "i8",
    "free_cpu": "i2",
}


class SimulatedWindow(NamedTuple):
    """What became of the requests of a window, row for row.

    Args:
        objects: the placement of the object requests.
        pages: path, first page frame and pressure of the page requests.
        slabs: lives of slabs that ended (SLAB_LIFE).
        slab_pages: slab pages asked for and given back.
        slab_pfns: first page frame of each of them (i8).
        slab_paths: how the page allocator served each of them, PagePath (u1).
        sheaves: sheaves made; their rows are those of ``objects``.
        samples: states of the page allocator at the wanted events.
    """

    objects: Placement
    pages: PageResults
    slabs: Columns
    slab_pages: PageRequests
    slab_pfns: Int64
    slab_paths: UInt8
    sheaves: SheafObjects
    samples: list[tuple[int, PageSample]]


def _no_rows(*dtypes: str) -> list[Array]:
    return [np.empty(0, dtype) for dtype in dtypes]


NO_PLACEMENT = Placement(*_no_rows("u1", "i8", "i4"))
NO_PAGES = PageRequests(*_no_rows("i8", "i2", "i4", "i8", "i1", "i1", "i2"))
NO_SHEAVES = SheafObjects(*_no_rows("i8", "i2", "i1", "i4", "i8", "i4"))
NOTHING = SimulatedWindow(
    NO_PLACEMENT,
    PageResults(*_no_rows("u1", "i8", "u1")),
    empty(SLAB_LIFE),
    NO_PAGES,
    np.empty(0, np.int64),
    np.empty(0, np.uint8),
    NO_SHEAVES,
    [],
)


def joined_windows(windows: Sequence[SimulatedWindow]) -> SimulatedWindow:
    """Windows that follow one another, as one."""
    before = np.cumsum([0, *(len(window.objects.path) for window in windows[:-1])])
    sheaves = [
        window.sheaves._replace(row=window.sheaves.row + rows)
        for window, rows in zip(windows, before.tolist(), strict=True)
    ]
    return SimulatedWindow(
        Placement.joined([window.objects for window in windows]),
        joined([window.pages for window in windows]),
        concat([window.slabs for window in windows]),
        joined([window.slab_pages for window in windows]),
        np.concatenate([window.slab_pfns for window in windows]),
        np.concatenate([window.slab_paths for window in windows]),
        joined(sheaves),
        [sample for window in windows for sample in window.samples],
    )
