"""Objects and paths of a window of a cache of 6.12, once it is known whose slab is which.

In a tenure the CPU's own free list is a stack: its allocations pop, its own frees of the slab's
objects push. Count allocations less such frees: an event touches the cell of that number, and an
allocation takes what was pushed into its cell last. What nobody pushed there came with the list:
cell 0 was its head. Frees by other CPUs, and those of a slab that is nobody's, push on the slab's
list, which is only ever taken whole: when a tenure begins, and whenever the CPU's own list is empty
(R3.32). So cells behind those that the list had are filled from there, latest push first.

The object of a free is that of its allocation, so every object is the end of a chain (reuse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.cpu_slabs.tenures import CARRIED, NO_SLAB
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.object_chains import follow
from allocsim.slub.paths import Path
from allocsim.slub.slabs import CACHE_BITS
from allocsim.tables import stable_order

if TYPE_CHECKING:
    from allocsim.slub.cpu_slabs.cache import CpuSlabs
    from allocsim.slub.cpu_slabs.tenures import Tenure, Tenures
    from allocsim.slub.sheaves.cache import CacheEvents
    from allocsim.tables import Bools, Index

FAILED = -1  #: object of an allocation that failed
_PLACE = (1 << INDEX_BITS) - 1
_NUMBER = (1 << CACHE_BITS) - 1


def settle(cache: CpuSlabs, events: CacheEvents, window: Tenures, slab_of: Index) -> None:
    """Fill in objects, paths and counters of a window, and carry free lists on.

    Args:
        cache: the cache, its lists as the window leaves them.
        events: the window.
        window: its tenures.
        slab_of: slab of every free whose allocation was before the window, NO_SLAB of others.
    """
    _Settled(cache, events, window, slab_of).settle()


class _Settled:
    """One window: tenures in order of CPU and time, events CPU by CPU."""

    def __init__(
        self, cache: CpuSlabs, events: CacheEvents, window: Tenures, slab_of: Index
    ) -> None:
        self.cache, self.events, self.moved = cache, events, window.moved
        self.count = count = len(events.op)
        self.span = count + 1
        in_order = sorted(window.tenures, key=lambda tenure: (tenure.cpu, tenure.start))
        self.tenures: list[Tenure] = in_order
        self.slab = np.array([NO_SLAB if t.slab is None else t.slab.key for t in in_order])
        self.start = np.array([tenure.start for tenure in in_order])
        self.free = np.array([tenure.free for tenure in in_order])
        self.how = np.array([tenure.how for tenure in in_order])
        tenure_cpu = np.array([tenure.cpu for tenure in in_order])
        last = np.append(tenure_cpu[1:] != tenure_cpu[:-1], True)
        self.last = np.flatnonzero(last)
        #: When each tenure ends.
        self.end = np.where(last, count, np.append(self.start[1:], count))

        self.order = stable_order(events.cpu)
        key = events.cpu[self.order].astype(np.int64) * self.span + self.order + 1
        first = np.searchsorted(key, tenure_cpu * self.span + self.start + 1)
        #: Tenure of each event's CPU, in order of the CPUs.
        self.tenure = np.cumsum(np.bincount(first, minlength=self.span)[:count]) - 1

        self.allocs = events.op > 0
        self.where = slab_of
        rows = np.flatnonzero(self.allocs[self.order])
        self.where[self.order[rows]] = self.slab[self.tenure[rows]]
        freed = np.flatnonzero(events.parent >= 0)
        self.where[freed] = self.where[events.parent[freed]]
        here = np.empty(count, np.int64)
        here[self.order] = self.slab[self.tenure]
        exists = self.where != NO_SLAB
        #: Frees onto the CPU's own list, and onto the slab's.
        self.own = ~self.allocs & (self.where == here) & exists
        self.push = np.flatnonzero(~self.allocs & (self.where != here) & exists)
        self.table: list[Index] = []  # objects at the ends of chains
        self.ends = 0
        self.path = np.full(count, Path.IGNORED, np.uint8)

    def settle(self) -> None:
        """Fill in everything."""
        events, count = self.events, self.count
        self._log()
        self._cells()
        source = events.parent.astype(np.int64)
        known = np.flatnonzero(~self.allocs & (events.parent < 0))
        source[known] = self._known(events.objects[known])
        failed = np.flatnonzero(self.allocs & (self.where == NO_SLAB))
        source[failed] = self._known(np.full(len(failed), FAILED))
        self._takes(source)
        lists = self._lists()
        follow(source, events.op)
        self.objects = np.concatenate([np.empty(0, np.int64), *self.table])
        events.objects[:] = self.objects[source - count]
        for tenure, sources in lists:
            cpu = self.cache.cpus[tenure.cpu]
            cpu.freelist = (self._objects(sources)[::-1] & _PLACE).tolist()
        self._leave_pushed()
        self._paths()
        self._count()

    def _known(self, objects: Index) -> Index:
        """Ends of chains that are known objects."""
        ends = self.count + self.ends + np.arange(len(objects))
        self.table.append(objects)
        self.ends += len(objects)
        return ends

    def _objects(self, sources: Index) -> Index:
        """Objects of events and of ends of chains."""
        inside = sources < self.count
        found = np.empty(len(sources), np.int64)
        found[inside] = self.events.objects[sources[inside]]
        found[~inside] = self.objects[sources[~inside] - self.count]
        return found

    # --- pushes onto slabs' lists

    def _log(self) -> None:
        """All pushes, slab by slab in order of time; first what lay there before the window."""
        seen = {tenure.slab.key: tenure.slab for tenure in self.tenures if tenure.slab is not None}
        before = [slab for slab in seen.values() if slab.free]
        held = [slab.key << INDEX_BITS | place for slab in before for place in slab.free]
        held_slab = np.repeat(
            np.array([slab.key for slab in before], np.int64), [len(slab.free) for slab in before]
        )
        self.taken = seen
        slabs = np.concatenate((held_slab, self.where[self.push]))
        self.slabs = np.unique(np.concatenate((slabs, self.slab)))
        number = np.searchsorted(self.slabs, slabs)
        time = np.concatenate((np.full(len(held), -1), self.push))
        source = np.concatenate((self._known(np.array(held, np.int64)), self.push))
        order = stable_order(number)
        self.log_slab, self.log = number[order], source[order]
        self.log_key = self.log_slab * self.span + time[order] + 1
        self.number = np.searchsorted(self.slabs, self.slab)
        #: How far the log was when each tenure had taken up its slab's list.
        self.taken_up = self._logged(self.number, self.start)

    def _logged(self, number: Index, time: Index) -> Index:
        """Place in the log of a slab's first push that is not before ``time``."""
        place: Index = np.searchsorted(self.log_key, number * self.span + time + 1)
        return place

    # --- cells

    def _cells(self) -> None:
        """The cell of every event on a CPU's own list, and its neighbours there."""
        step = self.allocs[self.order].astype(np.int64) - self.own[self.order]
        before = np.cumsum(step) - step
        begin = np.searchsorted(self.tenure, np.arange(len(self.tenures)))
        total = np.append(before, before[-1] + step[-1] if len(step) else 0)
        base = total[begin]
        #: Allocations less frees of each tenure.
        self.used = np.append(base[1:], total[-1]) - base
        touching = np.flatnonzero((step != 0) & (self.slab[self.tenure] != NO_SLAB))
        tenure = self.tenure[touching]
        cell = before[touching] - base[tenure] - (step[touching] < 0)
        low, high = np.zeros(len(self.tenures), np.int64), np.full(len(self.tenures), -1)
        np.minimum.at(low, tenure, cell)
        np.maximum.at(high, tenure, cell)
        width = high - low + 1
        offset = np.cumsum(width) - width - low
        key = offset[tenure] + cell
        order = stable_order(key)
        self.cell, self.cell_tenure = cell[order], tenure[order]
        self.cell_event = self.order[touching[order]]
        key = key[order]
        self.first = np.append(True, key[1:] != key[:-1])[: len(key)]
        #: Places of the last event of each cell, by tenure and cell.
        self.latest = np.flatnonzero(np.append(key[1:] != key[:-1], True)[: len(key)])

    def _takes(self, source: Index) -> None:
        """Where each allocation's object comes from."""
        takes = self.allocs[self.cell_event]
        again = np.flatnonzero(takes & ~self.first)
        source[self.cell_event[again]] = self.cell_event[again - 1]
        place = np.flatnonzero(takes & self.first)
        tenure, cell = self.cell_tenure[place], self.cell[place]
        event = self.cell_event[place]
        came = cell < self.free[tenure]
        source[event[came]] = self._came_with(tenure[came], cell[came])
        self._refills(source, tenure[~came], cell[~came], event[~came])

    def _came_with(self, tenure: Index, cell: Index) -> Index:
        """Sources of what was on the CPU's own list when tenures began."""
        how = self.how[tenure]
        source = np.empty(len(tenure), np.int64)
        new = np.flatnonzero(how == Path.NEW_SLAB)
        objects = self.slab[tenure[new]] << INDEX_BITS | self._handed_out(tenure[new], cell[new])
        source[new] = self._known(objects)
        held = np.flatnonzero(how == CARRIED)
        lists = [self.cache.cpus[self.tenures[t].cpu].freelist for t in tenure[held].tolist()]
        places = [own[-1 - at] for own, at in zip(lists, cell[held].tolist(), strict=True)]
        source[held] = self._known(
            self.slab[tenure[held]] << INDEX_BITS | np.array(places, np.int64)
        )
        taken = np.flatnonzero((how != Path.NEW_SLAB) & (how != CARRIED))
        source[taken] = self.log[self.taken_up[tenure[taken]] - 1 - cell[taken]]
        return source

    def _handed_out(self, tenure: Index, cell: Index) -> Index:
        """Places of objects in the order that new slabs hand them out (R3.6)."""
        cache, order = self.cache, self.cache.freelist_order
        if order is None or not len(tenure):
            return cell
        which, back = np.unique(tenure, return_inverse=True)
        orders = [
            order(cache.number, slab.key & _NUMBER, slab.objects)
            for slab in (self.tenures[t].slab for t in which.tolist())
            if slab is not None
        ]
        lengths = np.array([len(places) for places in orders])
        starts = np.cumsum(lengths) - lengths
        places = np.concatenate([np.array(each, np.int64) for each in orders])
        found: Index = places[starts[back] + cell]
        return found

    def _refills(self, source: Index, tenure: Index, cell: Index, event: Index) -> None:
        """What CPUs take from their slabs' lists because their own is empty.

        The events are allocations from cells that the lists had not when the tenures began; they
        stand by tenure and cell, each cell's first.
        """
        begin = self.taken_up[tenure]
        #: Cells that there are once the slab's list has been taken at each event.
        cells = self.free[tenure] + self._logged(self.number[tenure], event) - begin
        stop = np.searchsorted(tenure, tenure, side="right").tolist()
        ahead = (cells - cell).tolist()
        starts, at = [], 0
        while at < len(stop):
            starts.append(at)
            at = min(at + ahead[at], stop[at])
        first = np.array(starts, np.int64)
        self.refills = event[first]
        group = np.searchsorted(first, np.arange(len(cell)), side="right") - 1
        head = first[group]
        top = begin + cells[head] - self.free[tenure] - 1
        source[event] = self.log[top - (cell - cell[head])]
        #: Cells of each tenure when it ends, and the first that its last refill brought.
        self.cells, self.brought = self.free.copy(), self.free.copy()
        self.cells[tenure[first]] = cells[first]
        self.brought[tenure[first]] = cell[first]

    # --- what is left

    def _lists(self) -> list[tuple[Tenure, Index]]:
        """Sources of what is on the CPUs' own lists at the end, head first."""
        lists = []
        for at in self.last.tolist():
            tenure = self.tenures[at]
            if tenure.slab is None:
                lists.append((tenure, np.empty(0, np.int64)))
                continue
            cell = np.arange(self.used[at], self.cells[at])
            source = np.empty(len(cell), np.int64)
            own = slice(*np.searchsorted(self.cell_tenure[self.latest], [at, at + 1]))
            latest = self.latest[own]
            latest = latest[self.cell[latest] >= self.used[at]]
            source[: len(latest)] = self.cell_event[latest]
            rest = cell[len(latest) :]
            came = rest < self.free[at]
            with_it, later = rest[came], rest[~came]
            source[len(latest) :][came] = self._came_with(np.full(len(with_it), at), with_it)
            top = self.taken_up[at] + self.cells[at] - self.free[at] - 1
            source[len(latest) :][~came] = self.log[top - (later - self.brought[at])]
            lists.append((tenure, source))
        return lists

    def _leave_pushed(self) -> None:
        """Slabs' lists: what was pushed and not taken."""
        taken = np.zeros(len(self.slabs), np.int64)
        np.maximum.at(taken, self.number, self.taken_up + self.cells - self.free)
        for tenured in self.taken.values():
            tenured.free = []
        left = np.flatnonzero(np.arange(len(self.log)) >= taken[self.log_slab])
        places = (self._objects(self.log[left]) & _PLACE).tolist()
        number = self.log_slab[left]
        which, begin = np.unique(number, return_index=True)
        bounds = [*begin.tolist(), len(left)]
        for at, key in enumerate(self.slabs[which].tolist()):
            slab = self.cache.slabs.get(key)
            if slab is not None:
                slab.free += places[bounds[at] : bounds[at + 1]]

    # --- paths and counters

    def _paths(self) -> None:
        path = self.path
        path[self.allocs] = Path.CPU_SLAB_HIT
        path[self.own] = Path.CPU_SLAB_PUSH
        path[self.push] = np.where(self._frozen(), Path.FREE_FROZEN, Path.SLAB_PUSH)
        path[self.refills] = Path.CPU_SLAB_REFILL
        begun = self.start >= 0
        path[self.start[begun]] = self.how[begun]
        for time, how in self.moved:
            path[time] = how
        self.events.path[:] = path

    def _frozen(self) -> Bools:
        """Which pushes are onto a slab that is a CPU's."""
        key = self.number * self.span + self.start + 1
        order = np.argsort(key)
        number = np.searchsorted(self.slabs, self.where[self.push])
        at = np.searchsorted(key[order], number * self.span + self.push + 1) - 1
        tenure = order[np.maximum(at, 0)]
        frozen: Bools = (at >= 0) & (self.number[tenure] == number) & (self.push < self.end[tenure])
        return frozen

    def _count(self) -> None:
        stat, path = self.cache.stat, self.path
        slow = len(self.refills) + int(np.count_nonzero(self.start >= 0))
        stat["alloc_slowpath"] += slow
        stat["alloc_fastpath"] += int(np.count_nonzero(self.allocs)) - slow
        stat["alloc_refill"] += len(self.refills)
        stat["free_fastpath"] += int(np.count_nonzero(self.own))
        stat["free_slowpath"] += len(self.push)
        stat["free_frozen"] += int(np.count_nonzero(path == Path.FREE_FROZEN))
        stat["freelist_cmpxchg"] += len(self.push) + len(self.refills)
