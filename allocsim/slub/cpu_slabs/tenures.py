"""A window of a cache of 6.12, a step for each barrier: which slab is whose, and when (R3.32 - 37).

A CPU allocates from one slab until all its objects are in use: until as many as the slab had free,
and as many as were freed to it since, by whichever CPU, have been taken. That is a *tenure*. When
the objects die is known beforehand, so the end of a tenure is found without knowing which object
any event deals in, and so is the next moment at which lists move: the first free of a slab that was
full, and the last free of one that nobody allocates from. A loop takes these in order of time.

Which object is which, and who found the CPU's own list empty, follows for all events at once
(allocsim.slub.cpu_slabs.tenure_objects).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.kernels.profile import MAX_PAGE_ORDER
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import Path
from allocsim.tables import stable_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.slub.cpu_slabs.cache import CpuSlabs
    from allocsim.slub.sheaves.cache import CacheEvents
    from allocsim.tables import Index

NOWHERE, OF_CPU, CPU_LIST, NODE_LIST = range(4)  # R3.40: full, cpu slab, cpu partial, node partial
NO_SLAB = -1
CARRIED = Path.CPU_SLAB_HIT  #: how a tenure began that began before the window

_TENURE, _FIRST_FREE, _LAST_FREE = range(3)
_FEW = 64  # below that, lists are quicker than arrays
_TRIES = 3  # steps towards a tenure's end before whole stretches are looked at


@dataclass(slots=True, eq=False)
class Slab:
    """A slab that has free objects, or is a CPU's, or of which the window frees objects.

    Args:
        key: the slab, as in Placement.
        order: its order.
        objects: how many it has.
        live: objects in use, before any of ``deaths``.
        free: places of free objects on slab->freelist when the window began, its head last.
        deaths: events to come in this window that free its objects, rising.
        where: which list it is on.
        tenures: how often it became a CPU's slab.
    """

    key: int
    order: int
    objects: int
    live: int
    free: list[int] = field(default_factory=list)
    deaths: list[int] = field(default_factory=list)
    where: int = NOWHERE
    tenures: int = 0

    def live_at(self, time: int) -> int:
        """Objects in use when ``time`` begins, if none was allocated since ``live``."""
        return self.live - bisect_left(self.deaths, time)


class Tenure(NamedTuple):
    """A slab is a CPU's from an allocation on.

    Args:
        cpu: the CPU.
        start: the event that began it; -1: it was its slab before the window.
        rank: that event's place among the CPU's allocations.
        slab: the slab; None: the CPU has none.
        how: Path of the event; CARRIED: none began it.
        free: objects on the CPU's own list at the beginning, that event's among them.
    """

    cpu: int
    start: int
    rank: int
    slab: Slab | None
    how: int
    free: int


class _Allocs:
    """The allocations of one CPU: when each is, and when its object dies, ``never`` if not here."""

    def __init__(self, time: Index, death: Index) -> None:
        self.time, self.death = time, death
        self.times, self.deaths = time.tolist(), death.tolist()
        #: Allocations before each object's death.
        self.rank = np.searchsorted(time, death)
        self.ranks = self.rank.tolist()

    def end(self, start: int, free: int, older: list[int]) -> int:
        """Rank of the allocation that finds the slab full; the number of ranks if none does.

        That is the first of rank k with k - start >= free + (objects freed before it).

        Args:
            start: rank at which the tenure begins, or the window.
            free: free objects of the slab then.
            older: later frees of its other objects, rising.
        """
        ranks, first = len(self.times), start + free
        if first >= ranks:
            return ranks
        rank = first + bisect_left(older, self.times[first]) if older else first
        if rank == first and (not free or (free < _FEW and min(self.ranks[start:rank]) > rank)):
            return rank
        for _ in range(_TRIES):
            if rank >= ranks:
                return ranks
            freed = int(np.count_nonzero(self.rank[start:rank] <= rank))
            reached = first + freed + bisect_left(older, self.times[rank])
            if reached == rank:
                return rank
            rank = reached
        return self._far_end(start, free, older, rank)

    def _far_end(self, start: int, free: int, older: list[int], first: int) -> int:
        """As end(), which is not before ``first``."""
        ranks = len(self.times)
        theirs = np.searchsorted(self.time, older)
        while first < ranks:
            last = min(ranks, first + max(_FEW, first - start))
            span = last - first
            died = np.concatenate((self.rank[start:last], theirs)) - first
            freed = np.cumsum(np.bincount(np.clip(died, 0, span), minlength=span + 1)[:span])
            full = np.arange(first - start, last - start) >= free + freed
            at = int(full.argmax())
            if full[at]:
                return first + at
            first = last
        return ranks

    def deaths_after(self, start: int, end: int, time: int, never: int) -> list[int]:
        """Deaths of the objects of ranks from ``start`` to ``end`` behind ``time``, rising."""
        if end - start < _FEW:
            deaths = sorted(self.deaths[start:end])
            return deaths[bisect_right(deaths, time) : bisect_left(deaths, never)]
        death = self.death[start:end]
        later: list[int] = np.sort(death[(death > time) & (death < never)]).tolist()
        return later


class Tenures:
    """A window of one cache.

    Args:
        cache: its state, which is carried on but for what lies on free lists.
        events: the window.
        slab_of: slab of every free whose allocation was before the window, NO_SLAB of others.

    Attributes:
        tenures: every tenure, those of a CPU in order of time.
        moved: frees that moved a slab, and their paths.
    """

    def __init__(self, cache: CpuSlabs, events: CacheEvents, slab_of: Index) -> None:
        self.cache, self.events = cache, events
        self.never = count = len(events.op)
        self._cpu_of = events.cpu.tolist()
        frees = np.flatnonzero(events.op < 0)
        parent = events.parent[frees]
        inside = parent >= 0
        death = np.full(count, count)
        death[parent[inside]] = frees[inside]
        self._allocs = list(self._by_cpu(death))
        self._current: list[Tenure] = []
        self.tenures: list[Tenure] = []
        self.moved: list[tuple[int, int]] = []
        self._heap: list[tuple[int, int, int, int, Slab | None]] = []
        self._serial = 0
        carried = frees[~inside]
        self._older(carried[slab_of[carried] != NO_SLAB], slab_of)

    def _by_cpu(self, death: Index) -> Iterator[_Allocs]:
        events = self.events
        allocs = np.flatnonzero(events.op > 0)
        cpu = events.cpu[allocs]
        allocs = allocs[stable_order(cpu)]
        ends = np.cumsum(np.bincount(cpu, minlength=len(self.cache.cpus)))
        for time in np.split(allocs, ends[:-1]):
            yield _Allocs(time, death[time])

    def _older(self, frees: Index, slab_of: Index) -> None:
        """Tell slabs which events of the window free objects allocated before it."""
        if not len(frees):
            return
        key = slab_of[frees]
        order = stable_order(key)
        frees, key = frees[order], key[order]
        starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
        deaths = np.split(frees, starts[1:])
        for slab_key, theirs in zip(key[starts].tolist(), deaths, strict=True):
            slab = self.cache.slab(slab_key)
            slab.deaths = theirs.tolist()
            if slab.where == NOWHERE:
                self._push(slab.deaths[0], _FIRST_FREE, 0, slab)
            elif slab.where != OF_CPU:
                self._expect_empty(slab)

    def _push(self, time: int, what: int, number: int, slab: Slab | None) -> None:
        self._serial += 1
        self._heap.append((time, self._serial, what, number, slab))

    def _expect_empty(self, slab: Slab) -> None:
        """A slab that nobody allocates from may become empty in this window."""
        if slab.deaths and len(slab.deaths) == slab.live:
            self._serial += 1
            item = (slab.deaths[-1], self._serial, _LAST_FREE, slab.tenures, slab)
            heappush(self._heap, item)

    # --- the window

    def run(self) -> None:
        """Go through all barriers in order of time."""
        heapify(self._heap)
        for number, cpu in enumerate(self.cache.cpus):
            slab = cpu.slab
            tenure = Tenure(number, -1, 0, slab, CARRIED, len(cpu.freelist))
            self._begin(tenure, 0 if slab is None else slab.objects - slab.live)
        heap = self._heap
        while heap:
            time, _, what, number, slab = heappop(heap)
            if what == _TENURE:
                self._next_slab(number, time)
            elif slab is None:
                continue
            elif what == _FIRST_FREE:
                self._first_free(slab, time)
            elif slab.tenures == number:
                self._last_free(slab, time)
        self._leave()

    def _begin(self, tenure: Tenure, free: int) -> None:
        """A tenure begins, of a slab with so many free objects: look for its end."""
        self.tenures.append(tenure)
        if tenure.start < 0:
            self._current.append(tenure)
        else:
            self._current[tenure.cpu] = tenure
        allocs, slab = self._allocs[tenure.cpu], tenure.slab
        if slab is None:
            end = tenure.rank + (tenure.start >= 0)
        else:
            end = allocs.end(tenure.rank, free, slab.deaths)
        if end < len(allocs.times):
            self._serial += 1
            heappush(self._heap, (allocs.times[end], self._serial, _TENURE, tenure.cpu, None))

    def _next_slab(self, number: int, time: int) -> None:
        """mm/slub.c:___slab_alloc (6.12) where the CPU's slab has no free object (R3.32)."""
        cache, stat = self.cache, self.cache.stat
        cpu, past, allocs = cache.cpus[number], self._current[number], self._allocs[number]
        rank = bisect_left(allocs.times, time, past.rank)
        if past.slab is not None:
            stat["freelist_cmpxchg"] += 1
            stat["deactivate_bypass"] += 1
            self._is_full(past.slab, allocs.deaths_after(past.rank, rank, time, self.never), time)
        orders = self.events.max_order
        max_order = MAX_PAGE_ORDER if orders is None else int(orders[time])
        slab, how = cache.next_slab(number, time, max_order)
        cpu.slab = slab
        free = 0
        if slab is not None:
            slab.live = slab.live_at(time)
            slab.deaths = slab.deaths[bisect_left(slab.deaths, time) :]
            slab.tenures += 1
            free = slab.objects - slab.live
        self._begin(Tenure(number, time, rank, slab, how, free), free)

    def _is_full(self, slab: Slab, deaths: list[int], time: int) -> None:
        """A tenure ends: all objects are in use, those of the tenure die as given."""
        older = slab.deaths[bisect_right(slab.deaths, time) :]
        slab.deaths = sorted(deaths + older) if older else deaths
        slab.live = slab.objects
        slab.where = NOWHERE
        if slab.deaths:
            self._serial += 1
            heappush(self._heap, (slab.deaths[0], self._serial, _FIRST_FREE, 0, slab))

    def _first_free(self, slab: Slab, time: int) -> None:
        """The first free of a full slab."""
        path = self.cache.put_cpu_partial(slab, self._cpu_of[time], time)
        self.moved.append((time, path))
        if slab.live > 1:
            self._expect_empty(slab)

    def _last_free(self, slab: Slab, time: int) -> None:
        """A slab that nobody allocates from becomes empty."""
        path = self.cache.emptied(slab, time)
        if path == Path.SLAB_FREED:
            self.moved.append((time, path))

    def _leave(self) -> None:
        """Bring what slabs know of their objects behind the window."""
        for tenure, allocs in zip(self._current, self._allocs, strict=True):
            if tenure.slab is not None:
                died = allocs.death[tenure.rank :] < self.never
                tenure.slab.live += len(died) - int(np.count_nonzero(died))
        for slab in self.cache.slabs.values():
            slab.live -= len(slab.deaths)
            slab.deaths = []


def slab_of_object(objects: Index) -> Index:
    """The slab of each object; NO_SLAB for one whose allocation failed."""
    slabs: Index = objects >> INDEX_BITS
    return slabs
