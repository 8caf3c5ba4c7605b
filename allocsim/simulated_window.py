"""What became of the requests of a simulated window, and windows put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.replay import PageResults, PageSample
from allocsim.slub.requests import PageRequests, Placement, SheafObjects
from allocsim.tables import Columns, concat, empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I8, Array

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
        sheaves: sheaves made; their rows are those of ``objects``.
        samples: states of the page allocator at the wanted events.
    """

    objects: Placement
    pages: PageResults
    slabs: Columns
    slab_pages: PageRequests
    slab_pfns: I8
    sheaves: SheafObjects
    samples: list[tuple[int, PageSample]]


PAGE_RESULTS = ("path", "pfn", "pressure")
NO_PLACEMENT = Placement(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int32))
NO_PAGES = PageRequests(
    np.empty(0, np.int64),
    np.empty(0, np.int16),
    np.empty(0, np.int32),
    np.empty(0, np.int64),
    np.empty(0, np.int8),
    np.empty(0, np.int8),
)
NO_SHEAVES = SheafObjects(
    np.empty(0, np.int64),
    np.empty(0, np.int16),
    np.empty(0, np.int8),
    np.empty(0, np.int32),
    np.empty(0, np.int64),
    np.empty(0, np.int32),
)
NOTHING = SimulatedWindow(
    NO_PLACEMENT,
    PageResults(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.uint8)),
    empty(SLAB_LIFE),
    NO_PAGES,
    np.empty(0, np.int64),
    NO_SHEAVES,
    [],
)


def joined(windows: Sequence[SimulatedWindow]) -> SimulatedWindow:
    """Windows that follow one another, as one."""
    before = np.cumsum([0, *(len(window.objects.path) for window in windows[:-1])])
    sheaves = [
        window.sheaves._replace(row=window.sheaves.row + rows)
        for window, rows in zip(windows, before.tolist(), strict=True)
    ]
    return SimulatedWindow(
        Placement(*_columns([window.objects for window in windows], ("path", "slab", "index"))),
        PageResults(*_columns([window.pages for window in windows], PAGE_RESULTS)),
        concat([window.slabs for window in windows]),
        PageRequests(*_columns([window.slab_pages for window in windows], PageRequests._fields)),
        np.concatenate([window.slab_pfns for window in windows]),
        SheafObjects(*_columns(sheaves, SheafObjects._fields)),
        [sample for window in windows for sample in window.samples],
    )


def _columns(tables: Sequence[object], names: Sequence[str]) -> list[Array]:
    """The named columns of tables, each as one."""
    return [np.concatenate([getattr(table, name) for table in tables]) for name in names]
