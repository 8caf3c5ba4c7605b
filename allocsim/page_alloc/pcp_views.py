"""What a batch of events looks like to one page list, and to one CPU in one zone.

Searches only: which event finds the list empty, which free fills the CPU's lists. The lists
themselves, and what steers them, are in page_lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.pcp_free_count import free_count_after, free_count_bound
from allocsim.page_alloc.zones import COSTLY_ORDER
from allocsim.tables import rows_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.page_alloc.pcp import PageList, Pcp
    from allocsim.tables import I1, I4, Bools

NEVER = 1 << 30  #: behind every event


class ListView:
    """One page list's events of the batch.

    Args:
        pages: the list.
        events: rows of its events, ascending (i4).
        at: their positions among the listed events of the batch.
        depth: running sum of pushes less pops behind each event; cells (PageList.base, .top) are
            depth + ``shift``.
        start: that sum before the first event.

    Attributes:
        upto: events before the slow event being worked on; ``move_to`` sets it.
        epoch: number of the list's current epoch (page_pending), which began before ``begun``
            with ``level`` cells filled.
    """

    def __init__(
        self, pages: PageList, events: I4, at: npt.NDArray[np.intp], depth: I4, start: int
    ) -> None:
        self.pages = pages
        self.events, self.at, self.depth = events, at, depth
        self.start = start
        self.shift = pages.top - start
        self.upto = 0
        self.epoch = -1
        self.begun = 0
        self.level = pages.top

    def move_to(self, event: int) -> None:
        """Let ``upto`` and the list's top be those before ``event``."""
        self.upto = int(self.events.searchsorted(np.int32(event)))
        self.pages.top = self._top(self.upto)

    def _top(self, upto: int) -> int:
        return self.shift + (int(self.depth[upto - 1]) if upto else self.start)

    def next_empty(self, at: int) -> int:
        """The first event from ``at`` on that finds the list empty, or NEVER."""
        found = _first_below(self.depth, at, self.pages.base - self.shift)
        return int(self.events[found]) if found < len(self.events) else NEVER

    def complete(self, resolved: int) -> int:
        """How many cells of the buffer hold what the list holds before ``upto``.

        ``resolved``: listed events before this position have been written into the buffers.
        """
        first = int(self.at.searchsorted(resolved))
        level = self.level
        if first > self.begun:
            level = self._top(first)
        else:
            first = self.begun
        if first >= self.upto:
            return level
        return min(level, int(self.depth[first : self.upto].min()) + self.shift)

    def refilled(self) -> None:
        """The event at ``upto`` refilled the list and took its block: a new epoch begins."""
        self.shift = self.pages.top - int(self.depth[self.upto])
        self.level = self.pages.top
        self.upto += 1
        self.begun = self.upto


class CpuEvents(NamedTuple):
    """Events of one CPU in one zone, or of several one behind the other; arrays of one length.

    Args:
        events: their rows, ascending for one CPU.
        free: which of them free.
        order: their orders.
        pages: pages freed by each, 0 for an allocation.
        halves: which halve free_count.
        balance: running sum of pages freed less allocated behind each event.
    """

    events: I4
    free: Bools
    order: I1
    pages: I4
    halves: Bools
    balance: I4

    def part(self, start: int, end: int) -> CpuEvents:
        """Those from ``start`` on, before ``end``."""
        return rows_of(self, slice(start, end))


class CpuView:
    """What slow events need of one CPU's events in one zone.

    Args:
        pcp: its lists' numbers.
        columns: its events.
        start: the running sum before the first event.
        flushes: whether free_high (R4.7) may strike at all.
    """

    def __init__(self, pcp: Pcp, columns: CpuEvents, start: int, *, flushes: bool) -> None:
        self.pcp = pcp
        self.events, self.free, self.order, self.pages, self.halves, self.balance = columns
        self.start = start
        self.shift = pcp.count - start
        self._counted = 0  # free_count is that before this position
        self._factored = 0  # alloc_factor likewise
        self.may_flush = self._may_flush() if flushes else np.empty(0, np.intp)
        self.lists: dict[int, ListView] = {}
        self.empty_at: dict[int, int] = {}

    def _may_flush(self) -> npt.NDArray[np.intp]:
        """Positions of frees at which free_high cannot be ruled out."""
        frees = np.flatnonzero(self.free)
        high = (self.order[frees] >= 1) & (self.order[frees] <= COSTLY_ORDER)
        again = high & np.concatenate(([self.pcp.prev_free_high], high[:-1]))
        bound = free_count_bound(
            self.pcp.free_count, self.pages, self.halves, self.pcp.free_count_cap
        )
        return frees[again & (bound[frees] >= self.pcp.free_high_threshold)]

    def position(self, event: int) -> int:
        """How many of this CPU's events come before ``event``."""
        return int(self.events.searchsorted(np.int32(event)))

    def remember(self, position: int) -> None:
        """Bring free_count, alloc_factor and the previous-free flag to before ``position``."""
        pcp = self.pcp
        at = slice(self._counted, position)
        pcp.free_count = free_count_after(
            pcp.free_count, self.pages[at], self.halves[at], pcp.free_count_cap
        )
        frees = np.flatnonzero(self.free[at])
        if len(frees):
            pcp.prev_free_high = bool(1 <= self.order[at][frees[-1]] <= COSTLY_ORDER)
        self._counted = position
        self.factor(position)

    def factor(self, position: int) -> None:
        """Bring alloc_factor to before ``position``: each free halves it (R4.6)."""
        pcp = self.pcp
        if pcp.alloc_factor:
            freed = np.count_nonzero(self.free[self._factored : position])
            pcp.alloc_factor >>= min(int(freed), 31)
        self._factored = position

    def freed_at(self, position: int) -> None:
        """The free at ``position`` has been done: the pcp's numbers are those behind it."""
        self._counted = self._factored = position + 1
        self.shift = self.pcp.count - int(self.balance[position])
        missing = self.pcp.free_high_threshold - self.pcp.free_count
        if len(self.may_flush) and missing > 0:
            # free_count cannot be at the threshold again before so many pages have been freed.
            freed = np.cumsum(self.pages[position + 1 :])
            reached = position + 2 + int(freed.searchsorted(missing))
            self.may_flush = self.may_flush[self.may_flush >= reached]

    def refilled_at(self, position: int) -> None:
        """The allocation at ``position`` has refilled a list; free_count has still to follow."""
        self._factored = position + 1
        self.shift = self.pcp.count - int(self.balance[position])

    def count_before(self, position: int) -> int:
        """Pages on the lists before a position."""
        return self.shift + (int(self.balance[position - 1]) if position else self.start)

    def next_full(self, position: int, *, below_high: bool) -> int:
        """The first free from ``position`` on that may do more than push, or NEVER."""
        pcp, numbers = self.pcp, self.pcp.numbers
        limit = pcp.high
        if below_high and numbers.high_min != numbers.high_max:
            # R4.8: every free lowers high until it is high_min, and drains from there on.
            limit = numbers.high_min if pcp.high == numbers.high_min else -NEVER
        found = _first_full(self.balance, self.free, position, limit - self.shift)
        if len(self.may_flush):
            at = int(self.may_flush.searchsorted(position))
            if at < len(self.may_flush):
                found = min(found, int(self.may_flush[at]))
        return int(self.events[found]) if found < len(self.events) else NEVER


def _first_below(values: I4, at: int, limit: int) -> int:
    """Position of the first value below ``limit`` from ``at`` on, or the length."""
    step, n = 256, len(values)
    while at < n:
        hit = values[at : at + step] < limit
        found = int(hit.argmax())
        if hit[found]:
            return at + found
        at += step
        step *= 4
    return n


def _first_full(count: I4, free: Bools, at: int, limit: int) -> int:
    """Position of the first free from ``at`` on with a count of ``limit`` or more."""
    step, n = 256, len(count)
    while at < n:
        hit = count[at : at + step] >= limit
        hit &= free[at : at + step]
        found = int(hit.argmax())
        if hit[found]:
            return at + found
        at += step
        step *= 4
    return n
