"""Page blocks: who allocates how many, and what of them is freed.

From mm_page_alloc and mm_page_free alone, as perf kmem: whose block a frame is when it is freed is
as in a replay (allocsim.recording.page_lives), also where a block is freed in parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_lives import Pages
from allocsim.tables import concat, empty, find, take
from allocsim.trace.events import Ev
from allocsim.trace.late_results import EventWindow, LateResultCollector
from pipeline.stat.groups import Groups, GroupSums
from pipeline.stat.tables import FIGURES, KEYS, PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Bools, Columns

EVENTS = frozenset({Ev.MM_PAGE_ALLOC, Ev.MM_PAGE_FREE})
COLUMNS = frozenset({"ts", "cpu", "pid", "event", "pfn", "order"})
_BLOCK = {"page": "i8", "group": "i8", "counted": "?"}


@dataclass(slots=True)
class PageCounts:
    """What no row of the table has.

    Attributes:
        unknown_frees: frees of pages that the recording does not allocate.
        unknown_bytes_freed: what they gave back.
        failed: requests that got nothing.
        failed_bytes: what they asked for.
    """

    unknown_frees: int = 0
    unknown_bytes_freed: int = 0
    failed: int = 0
    failed_bytes: int = 0


class PageTotals:
    """Totals of page blocks by the keys of a table.

    Args:
        by: the keys (tables.KEYS).
        page_size: bytes of a page.
    """

    def __init__(self, by: Sequence[str], page_size: int) -> None:
        self.by = tuple(dict.fromkeys(by))
        self._columns = [KEYS[name].page for name in self.by]
        self._page_size = page_size
        self.groups = Groups(len(self._columns))
        self.sums = GroupSums([figure.name for figure in FIGURES[PAGE]])
        self.counts = PageCounts()
        self._pages = Pages(set_before_alloc=False)
        self._late = LateResultCollector()
        self._seq = 0
        self._blocks: Columns = empty(_BLOCK)

    def window(self, events: Columns, counted: Bools, until: Bools) -> None:
        """Take in the next events; what is after the end of what is counted does not matter.

        Args:
            events: their columns; those the trace lacks are absent.
            counted: which are selected.
            until: which are not after the end of what is counted.
        """
        code = events["event"]
        rows = np.flatnonzero(((code == Ev.MM_PAGE_ALLOC) | (code == Ev.MM_PAGE_FREE)) & until)
        if not len(rows):
            return
        events, counted = take(events, rows), counted[rows]
        allocates = events["event"] == Ev.MM_PAGE_ALLOC
        size = np.int64(self._page_size) << events["order"].astype(np.int64)
        failed = allocates & (events["pfn"] < 0) & counted
        self.counts.failed += int(failed.sum())
        self.counts.failed_bytes += int(size[failed].sum())

        found = self._pages.window(EventWindow(events, self._seq, self._late))
        self._pages.carry(found)
        self._seq += len(rows)
        at, page = found.rows, found.lives["page"][found.life]
        allocs = allocates[at]
        self._enter(events, at[allocs], page[allocs], counted)
        self._freed(at[~allocs], page[~allocs], counted, size)
        self._blocks = take(
            self._blocks, find(self._pages.lives["page"], self._blocks["page"]) >= 0
        )

    def _enter(self, events: Columns, rows: np.ndarray, page: np.ndarray, counted: Bools) -> None:
        order = np.argsort(page, kind="stable")
        rows, page = rows[order], page[order]
        none = np.full(len(rows), -1, np.int64)
        keys = [events[name][rows] if name in events else none for name in self._columns]
        group = self.groups.codes(keys, len(rows))
        block = {"page": page, "group": group, "counted": counted[rows]}
        self._blocks = concat([self._blocks, block])
        size = np.int64(self._page_size) << events["order"][rows].astype(np.int64)
        self.sums.add("allocations", group[counted[rows]])
        self.sums.add("bytes_alloc", group[counted[rows]], size[counted[rows]])

    def _freed(self, rows: np.ndarray, page: np.ndarray, counted: Bools, size: np.ndarray) -> None:
        rows, page = rows[counted[rows]], page[counted[rows]]
        block = find(self._blocks["page"], page)
        known = block >= 0
        group = self._blocks["group"][block[known]]
        self.sums.add("frees", group)
        self.sums.add("bytes_freed", group, size[rows[known]])
        self.counts.unknown_frees += int((~known).sum())
        self.counts.unknown_bytes_freed += int(size[rows[~known]].sum())

    def finish(self) -> None:
        """Count what is live."""
        lives = self._pages.lives
        blocks = take(self._blocks, self._blocks["counted"])
        at = find(lives["page"], blocks["page"])
        left = lives["frames"][at] - lives["pages_freed"][at] - lives["lost"][at]
        self.sums.add("live", blocks["group"])
        self.sums.add("live_bytes_alloc", blocks["group"], left * self._page_size)
