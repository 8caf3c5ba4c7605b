"""What a task did just before it took a page: tells tmpfs pages from anonymous ones.

vma_alloc_folio and shmem_alloc_folio ask with the same gfp flags (GFP_HIGHUSER_MOVABLE); other
filesystems add __GFP_WRITE. What the task did last before a run of such allocations does tell:
it opened a file (mm/shmem.c:shmem_write_begin follows), or took a node for the mapping's xarray
(shmem_add_to_page_cache), where a page fault comes out of nowhere or behind rss_stat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_kinds import plain_name
from allocsim.tables import Bools, Columns, Int64, stable_order
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.tables import Int32

# (event, function it is called from): the path's name is given back at the end of open; putname
# is inlined there or not. xas_alloc is lib/xarray.c's.
_MARKS = (
    (Ev.KMEM_CACHE_FREE, "putname"),
    (Ev.KMEM_CACHE_FREE, "do_sys_openat2"),
    (Ev.KMEM_CACHE_ALLOC, "xas_alloc"),
)
_STEPS = 64
_INTERRUPT = 0x18  # common_flags: hard and soft interrupts run on top of a task (I6)


class ShmemHints:
    """What each task did last, carried from window to window.

    Args:
        functions: function of each call site, as far as it is known.
        gfp: value of each gfp bit by its name (allocsim.kernels.release).
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

    def window(self, columns: Columns) -> Int64:
        """Rows of page allocations that follow the opening of a file or growth of a mapping (i8).

        Args:
            columns: event columns of the window, row for row.
        """
        if not any(len(sites) for sites in self._sites.values()) or "gfp_flags" not in columns:
            return np.empty(0, np.int64)
        event = columns["event"]
        counts = (event <= Ev.MM_PAGE_FREE) | (event == Ev.RSS_STAT)
        counts &= (columns["irq_flags"] & _INTERRUPT) == 0
        if "probe" in columns:
            counts &= columns["probe"] == 0
        rows = np.flatnonzero(counts)
        if not len(rows):
            return rows
        pid = columns["pid"][rows]
        if int(pid.max()) >= len(self._last):
            self._last = np.append(self._last, np.zeros(int(pid.max()) + 1, bool))
        unclear = self._unclear(columns, rows)
        asks = np.flatnonzero(unclear)
        before = _last_clear(_task_before(pid, asks), asks)
        marked = self._last[pid[asks]]
        here = before >= 0
        marked[here] = self._is_mark(columns, rows[before[here]])
        # What each task did last: of several values for one task the last stands.
        last = np.full(len(self._last), -1, np.int64)
        clear = np.flatnonzero(~unclear)
        last[pid[clear]] = clear
        tasks = np.flatnonzero(last >= 0)
        self._last[tasks] = self._is_mark(columns, rows[last[tasks]])
        return rows[asks[marked]]

    def _unclear(self, columns: Columns, rows: Int64) -> Bools:
        """Page allocations whose flags speak for anonymous memory and tmpfs alike."""
        unclear: Bools = columns["event"][rows] == Ev.MM_PAGE_ALLOC
        at = np.flatnonzero(unclear)
        gfp = columns["gfp_flags"][rows[at]].astype(np.int64)
        unclear[at] = (gfp & (self._needs | self._lacks)) == self._needs
        return unclear

    def _is_mark(self, columns: Columns, rows: Int64) -> Bools:
        """Whether the events at some rows are those that speak for tmpfs."""
        mark = np.zeros(len(rows), bool)
        event, site = columns["event"][rows], columns["call_site"][rows]
        for code, sites in self._sites.items():
            mark |= (event == code) & np.isin(site, sites)
        return mark


def _task_before(pid: Int32, asks: Int64) -> Int64:
    """The event before each of some events that the same task did (i8); -1: none.

    Args:
        pid: task of every event, in time order.
        asks: which events ask.
    """
    before = np.full(len(asks), -1, np.int64)
    left = np.arange(len(asks))
    # As many tasks run at a time as there are CPUs: nearly all are found a few events back.
    for step in range(1, _STEPS + 1):
        at = asks[left] - step
        found = (at < 0) | (pid[at] == pid[asks[left]])
        before[left[found]] = np.maximum(at[found], -1)
        left = left[~found]
        if not len(left):
            return before
    tasks = np.zeros(int(pid.max()) + 1, bool)
    tasks[pid[asks[left]]] = True
    rows = np.flatnonzero(tasks[pid])
    rows = rows[stable_order(pid[rows].astype(np.uint64))]
    place = np.empty(len(pid), np.int64)
    place[rows] = np.arange(len(rows))
    at = place[asks[left]] - 1
    same = (at >= 0) & (pid[rows[at]] == pid[asks[left]])
    before[left] = np.where(same, rows[at], -1)
    return before


def _last_clear(before: Int64, asks: Int64) -> Int64:
    """The last event before each that does not ask itself, following those that do."""
    if not len(asks):
        return before
    at = np.minimum(np.searchsorted(asks, before), len(asks) - 1)
    link = np.where(asks[at] == before, at, np.arange(len(asks)))
    while True:
        further = link[link]
        if np.array_equal(further, link):
            return before[link]
        link = further
