"""Main sheaves between barriers, in a window of a cache that kfree_rcu or prefilled sheaves use.

Until a CPU's main sheaf is empty or full, its size is a running sum of the CPU's events, and each
of them touches the cell that the sum says.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import stable_order

if TYPE_CHECKING:
    from allocsim.slub.paths import Path
    from allocsim.slub.sheaves.barriers import Stretches
    from allocsim.slub.sheaves.cache import CacheEvents
    from allocsim.tables import Bools, Index, Ints

#: Moments of an event: callbacks of kfree_rcu come first; a barrier lies before the event takes or
#: puts its object, or behind it.
LAND, BEFORE, TOUCH, BEHIND = range(4)
MOMENTS = 4

NO_CELL = -1


class MainSheaves:
    """Ordinary events CPU by CPU: from one barrier of a main sheaf to the next.

    Args:
        window: the window, whose sheaves are carried on.
        events: its events.

    Attributes:
        row: the ordinary events, CPU by CPU.
        next: the next barrier of each CPU, a heap: moment, CPU, place in ``row``.
    """

    def __init__(self, window: Stretches, events: CacheEvents) -> None:
        self.window, self.events = window, events
        self.capacity = window.capacity
        row = np.flatnonzero(np.abs(events.op) == 1)
        self.row = row[stable_order(events.cpu[row])]
        self.op = events.op[self.row]
        #: Running sum behind each place; the one before the first is put last.
        self.sum = np.append(np.cumsum(-self.op.astype(np.int64)), 0)
        cpu = events.cpu[self.row]
        first = np.flatnonzero(first_of_each(cpu))
        ends = np.append(first[1:], len(row))[: len(first)]
        self.ends = dict(zip(cpu[first].tolist(), ends.tolist(), strict=True))
        #: Next barriers: moment, CPU, place.
        self.next: list[tuple[int, int, int]] = []
        #: Stretches: first place, first cell of the sheaf, its size before.
        self.stretches: list[tuple[int, int, int]] = []
        for on, place in zip(cpu[first].tolist(), first.tolist(), strict=True):
            self._begin(on, place)

    def _begin(self, cpu: int, place: int) -> None:
        """A stretch of a CPU's main sheaf begins at a place; find where it ends."""
        main = self.window.steps.main[cpu]
        size, end, before = main.size, self.ends[cpu], int(self.sum[place - 1])
        self.stretches.append((place, main.cell, size))
        low = before - size  # an empty sheaf's; what is below wraps around
        at, length = place, 2 * self.capacity + 32
        while at < end:
            sums = self.sum[at : min(at + length, end)]
            out = (sums - low).view(np.uint64) > self.capacity
            found = int(out.argmax())
            if out[found]:
                at += found
                heappush(self.next, (int(self.row[at]) * MOMENTS + BEFORE, cpu, at))
                break
            at, length = at + length, 2 * length
        at = min(at, end)
        main.size = size + int(self.sum[at - 1]) - before

    def go_on(self, until: int) -> None:
        """All barriers before a moment."""
        window, steps = self.window, self.window.steps
        while self.next and self.next[0][0] < until:
            moment, cpu, place = heappop(self.next)
            window.at(moment)
            row = int(self.row[place])
            if self.op[place] < 0:
                path: Path | None = steps.replace_full_main(cpu)
            else:
                steps.no_sheaf = self.events.no_sheaf is not None and bool(
                    self.events.no_sheaf[row]
                )
                path = steps.replace_empty_main(cpu)
                steps.no_sheaf = False
            if path is None:
                window.slow(row)
                self.stretches.append((place, NO_CELL, 0))
                place += 1
            else:
                self.events.path[row] = path
            if place < self.ends[cpu]:
                self._begin(cpu, place)

    def cells(self) -> Index:
        """The cell of each event, -1 where it has none."""
        start, first, size = np.array(self.stretches, np.int64).reshape(-1, 3).T
        # Where several begin, the last one lasts.
        order = np.argsort(start, kind="stable")
        start, first, size = start[order], first[order], size[order]
        length = np.diff(start, append=len(self.row))
        cell = np.repeat(first + size - self.sum[start - 1], length)
        cell += self.sum[:-1] - (self.op < 0)
        cell[np.repeat(first, length) < 0] = NO_CELL
        return cell


def first_of_each(keys: Ints) -> Bools:
    """Whether a place has another key than the one before it; keys of a kind stand together."""
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    return first
