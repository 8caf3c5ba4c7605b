"""How full the upper zones were when a recording began: inferred from the first that was passed by.

A request takes its page from the highest zone it may come from, unless that has no more than its
low watermark (R4.29). So at the first page from a zone below, the zones between had that little
free, and at the start as much more as the recording had taken from them until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.gfp import highest_zones
from allocsim.page_alloc.zones import zone_classes
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import Zone
    from allocsim.tables import Columns, Int64

#: Event columns that are looked at.
COLUMNS = ("event", "pfn", "order", "gfp_flags")


class ZoneFallbacks:
    """Finds the first page that a zone did not give.

    Args:
        zones: the machine's zones.

    Attributes:
        taken: (zones) pages taken from a zone before it was first passed by; -1: it never was (i8).
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = zones
        self._classes = zone_classes(zones)
        self._managed = np.array([z for z, zone in enumerate(zones) if zone.managed])
        self._starts = np.array([zones[z].start_pfn for z in self._managed.tolist()])
        self._net = np.zeros(len(zones), np.int64)
        self.taken = np.full(len(zones), -1, np.int64)

    def add(self, columns: Columns) -> None:
        """Add the next events.

        Args:
            columns: those named by COLUMNS.
        """
        event, pfn = columns["event"], columns["pfn"]
        allocates = event == Ev.MM_PAGE_ALLOC
        rows = np.flatnonzero((allocates | (event == Ev.MM_PAGE_FREE)) & (pfn >= self._starts[0]))
        # Places among the zones that have memory, in their order.
        place = np.searchsorted(self._starts, pfn[rows], side="right") - 1
        # Of the page's own node: which node a request preferred is told by the page alone (R4.35).
        first = self._managed[place] // self._classes * self._classes
        most = highest_zones(columns["gfp_flags"][rows], self._zones) + first
        wanted = np.searchsorted(self._managed, most, side="right") - 1
        sign = np.where(allocates[rows], 1, -1)
        pages = sign * (np.int64(1) << columns["order"][rows].astype(np.int64))
        for at, zone in enumerate(self._managed.tolist()):
            mine = np.where(place == at, pages, 0)
            if self.taken[zone] < 0:
                passed = np.flatnonzero(allocates[rows] & (place < at) & (wanted >= at))
                if len(passed):
                    self.taken[zone] = max(self._net[zone] + mine[: passed[0]].sum(), 0)
            self._net[zone] += mine.sum()

    def free(self) -> Int64:
        """(zones) free pages at the start of zones that were passed by; -1: not known (i8)."""
        low = np.array([zone.wmark_low for zone in self._zones])
        return np.where(self.taken < 0, -1, low + self.taken)
