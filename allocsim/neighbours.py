"""What a task did just before it took a page: tells tmpfs pages from anonymous ones.

vma_alloc_folio and shmem_alloc_folio ask with the same gfp flags (GFP_HIGHUSER_MOVABLE); other
filesystems add __GFP_WRITE. What the task did last before a run of such allocations does tell:
it opened a file (mm/shmem.c:shmem_write_begin follows), or took a node for the mapping's xarray
(shmem_add_to_page_cache), where a page fault comes out of nowhere or behind rss_stat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from allocsim.columns import Bools, Columns, Index, stable_order
from allocsim.events import Ev
from allocsim.page_kinds import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping

# (event, function it is called from): the path's name is given back at the end of open; putname
# is inlined there or not. xas_alloc is lib/xarray.c's.
_MARKS = (
    (Ev.KMEM_CACHE_FREE, "putname"),
    (Ev.KMEM_CACHE_FREE, "do_sys_openat2"),
    (Ev.KMEM_CACHE_ALLOC, "xas_alloc"),
)
_INTERRUPT = 0x18  # common_flags: hard and soft interrupts run on top of a task (I6)


class Neighbours:
    """What each task did last, carried from window to window.

    Args:
        functions: function of each call site, as far as it is known.
        gfp: value of each gfp bit by its name (allocsim.kernel).
    """

    def __init__(self, functions: Mapping[int, str], gfp: Mapping[str, int]) -> None:
        self._sites = {
            code: np.array(
                [site for site, name in functions.items() if (code, plain_name(name)) in _MARKS],
                np.uint64,
            )
            for code in (Ev.KMEM_CACHE_FREE, Ev.KMEM_CACHE_ALLOC)
        }
        self._needs = gfp["__GFP_MOVABLE"] | gfp["__GFP_HIGHMEM"]
        self._lacks = gfp["__GFP_ZERO"] | gfp["__GFP_WRITE"] | gfp["__GFP_NORETRY"]
        self._last = np.zeros(1, bool)

    def window(self, columns: Columns) -> Index:
        """Rows of page allocations that follow the opening of a file or growth of a mapping (i8).

        Args:
            columns: event columns of the window, row for row.
        """
        if not any(len(sites) for sites in self._sites.values()) or "gfp_flags" not in columns:
            return np.empty(0, np.int64)
        event = columns["event"]
        counts = (event <= Ev.MM_PAGE_FREE) | (event == Ev.RSS_STAT)
        counts &= (columns["irq_flags"] & _INTERRUPT) == 0
        rows = np.flatnonzero(counts)
        if not len(rows):
            return rows
        pid = columns["pid"][rows]
        if int(pid.max()) >= len(self._last):
            grown = np.zeros(int(pid.max()) + 1, bool)
            grown[: len(self._last)] = self._last
            self._last = grown
        unclear = self._unclear(columns, rows)
        marks = self._marks(columns, rows)
        found = self._after_mark(pid, unclear, marks)
        clear = ~unclear
        # The last of several values for one task stands.
        self._last[pid[clear]] = marks[clear]
        return rows[found]

    def _unclear(self, columns: Columns, rows: Index) -> Bools:
        """Page allocations whose flags speak for anonymous memory and tmpfs alike."""
        unclear: Bools = columns["event"][rows] == Ev.MM_PAGE_ALLOC
        at = np.flatnonzero(unclear)
        gfp = columns["gfp_flags"][rows[at]].astype(np.int64)
        unclear[at] = (gfp & (self._needs | self._lacks)) == self._needs
        return unclear

    def _marks(self, columns: Columns, rows: Index) -> Bools:
        marks = np.zeros(len(rows), bool)
        event = columns["event"][rows]
        site = columns["call_site"][rows]
        for code, sites in self._sites.items():
            for known in sites:
                marks |= (event == code) & (site == known)
        return marks

    def _after_mark(self, pid: npt.NDArray[np.int32], unclear: Bools, marks: Bools) -> Index:
        """Which unclear allocations have a mark as the task's last other event."""
        asks = np.zeros(len(self._last), bool)
        asks[pid[unclear]] = True
        of_task = np.flatnonzero(asks[pid])
        if not len(of_task):
            return of_task
        of_task = of_task[stable_order(pid[of_task].astype(np.uint64))]
        task = pid[of_task]
        at = np.arange(len(of_task))
        begins = np.ones(len(of_task), bool)
        begins[1:] = task[1:] != task[:-1]
        start = np.maximum.accumulate(np.where(begins, at, 0))
        before = np.maximum.accumulate(np.where(unclear[of_task], -1, at))
        here = before >= start
        marked = np.where(here, marks[of_task[before]], self._last[task])
        return np.sort(of_task[unclear[of_task] & marked])
