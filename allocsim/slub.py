"""SLUB of 7.2 for every cache of a trace: windows of object requests in, their placement out.

The caches of a machine share only the page allocator, so each is replayed by itself. Pages wanted
and returned come out; what the page allocator refuses must be known when the window goes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.cache import FAILED, CacheEvents, CacheReplay
from allocsim.lanes import stable_order
from allocsim.live import LiveObjects
from allocsim.paths import COUNTERS
from allocsim.profile import MAX_PAGE_ORDER
from allocsim.requests import PageRequests, Placement
from allocsim.slabs import CACHE_BITS, INDEX_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from allocsim.profile import CacheShape, Profile
    from allocsim.requests import FreeBefore, ObjectRequests, OlderObjects, Refusals

    Rows = npt.NDArray[np.int64]


class Slub:
    """Every cache's sheaves, barn and slabs, from a cold start but for ``free_before``.

    Args:
        profile: the kernel version.
        shapes: the shape of every cache, by cache number.
        cpus: CPUs; those of the requests are below it.
        free_before: what lay free before the trace.
        freelist_order: (cache, slab, objects) -> indices in the order a new slab hands them out,
            slabs numbered from 0 in their cache; ascending where not given (R3.6).
    """

    def __init__(
        self,
        profile: Profile,
        shapes: Sequence[CacheShape],
        cpus: int,
        free_before: FreeBefore | None = None,
        freelist_order: Callable[[int, int, int], Sequence[int]] | None = None,
    ) -> None:
        self.cpus = cpus
        self.caches = [
            CacheReplay(shape, profile.slub, number, cpus, freelist_order)
            for number, shape in enumerate(shapes)
        ]
        self.live = LiveObjects()
        if free_before is not None:
            objects = free_before.slab << INDEX_BITS | free_before.index
            for number in np.unique(free_before.cache).tolist():
                rows = free_before.cache == number
                self.caches[number].slabs.add_older(
                    free_before.slab[rows].tolist(), objects[rows].tolist()
                )

    def window(
        self,
        requests: ObjectRequests,
        older: OlderObjects | None = None,
        refusals: Refusals | None = None,
    ) -> tuple[Placement, PageRequests]:
        """Replay a window.

        Args:
            requests: the object requests.
            older: the objects among those freed that were live before the trace.
            refusals: what the page allocator refuses; None: nothing.

        Raises:
            ValueError: a CPU or cache out of range, handles of allocations that do not rise, a
                free of an object that is neither live nor declared, or that is of another cache.
        """
        count = len(requests.op)
        self._check(requests)
        order = stable_order(requests.cache, len(self.caches))
        place = np.empty(count, np.int64)
        place[order] = np.arange(count)
        objects = np.empty(count, np.int64)
        parent, stays = self._parents(requests, older, place, objects)
        window = CacheEvents(
            requests.cpu.take(order),
            requests.op.take(order),
            parent,
            objects,
            np.empty(count, np.uint8),
            None if refusals is None else _max_order(refusals, requests.seq[order]),
        )
        numbers = np.arange(len(self.caches))
        ends = np.searchsorted(requests.cache.take(order), numbers, side="right").tolist()
        begin = 0
        for cache, end in zip(self.caches, ends, strict=True):
            if begin < end:
                cache.replay(window.part(begin, end))
            begin = end
        self.live.add(requests.object[stays], objects[place[stays]])
        return _placement(window, order), self._pages(requests, order, [0, *ends])

    def counters(self) -> dict[str, npt.NDArray[np.int64]]:
        """The kernel's counters by name, one value a cache, since the start (COUNTERS)."""
        return {
            name: np.array([cache.stat[name] for cache in self.caches], np.int64)
            for name in COUNTERS
        }

    def _check(self, requests: ObjectRequests) -> None:
        for name, column, limit in (
            ("cpu", requests.cpu, self.cpus),
            ("cache", requests.cache, len(self.caches)),
        ):
            low, high = int(column.min(initial=0)), int(column.max(initial=0))
            if low < 0 or high >= limit:
                wrong = low if low < 0 else high
                raise ValueError(f"{name} {wrong} is out of range, 0 to {limit - 1}")

    def _parents(
        self,
        requests: ObjectRequests,
        older: OlderObjects | None,
        place: Rows,
        objects: Rows,
    ) -> tuple[Rows, Rows]:
        """Place of each free's allocation, and the rows of allocations that outlive the window.

        Places count the events cache by cache. -1 stands for a free whose allocation was before the
        window, whose object is filled in, and for an allocation.
        """
        parent = np.full(len(place), -1, np.int64)
        born = np.flatnonzero(requests.op > 0)
        freed = np.flatnonzero(requests.op < 0)
        handles = requests.object[born]
        if len(handles) and (np.any(handles[1:] <= handles[:-1]) or handles[0] <= self.live.highest):
            raise ValueError("handles of allocations must rise from one to the next")
        which = _find(handles, requests.object[freed])
        here = which >= 0
        allocs, frees = born[which[here]], freed[here]
        if np.any(allocs > frees) or np.any(requests.cache[allocs] != requests.cache[frees]):
            raise ValueError("an object is freed before its allocation, or to another cache")
        parent[place[frees]] = place[allocs]

        freed = freed[~here]
        found, known = self.live.take(requests.object[freed])
        unknown = np.flatnonzero(~known)
        if len(unknown):
            found[unknown] = _older(requests.object[freed[unknown]], older)
        home = found >> (INDEX_BITS + CACHE_BITS)
        if np.any((home >= 0) & (home != requests.cache[freed])):
            raise ValueError("an object is freed to another cache")
        objects[place[freed]] = found
        stays = requests.op > 0
        stays[allocs] = False
        return parent, np.flatnonzero(stays)

    def _pages(self, requests: ObjectRequests, order: Rows, begins: Sequence[int]) -> PageRequests:
        """The caches' page requests, put into one order of time."""
        pages = [
            (begin + page.time, number, page.slab, page.order, page.way)
            for number, (cache, begin) in enumerate(zip(self.caches, begins, strict=False))
            for page in cache.slabs.pages
        ]
        for cache in self.caches:
            cache.slabs.pages.clear()
        place, cache_of, slab, page_order, way = np.array(pages, np.int64).reshape(-1, 5).T
        row = order[place]
        by_time = np.argsort(row, kind="stable")
        row = row[by_time]
        return PageRequests(
            requests.seq[row],
            requests.cpu[row].astype(np.int16),
            cache_of[by_time].astype(np.int32),
            slab[by_time],
            page_order[by_time].astype(np.int8),
            way[by_time].astype(np.int8),
        )


def _find(handles: Rows, wanted: Rows) -> Rows:
    """Place of each wanted handle among rising handles; -1 where it is not there."""
    if not len(handles):
        return np.full(len(wanted), -1, np.int64)
    first, span = int(handles[0]), int(handles[-1] - handles[0]) + 1
    offset = wanted - first
    if span == len(handles):
        offset[offset >= span] = -1
        return np.maximum(offset, -1, out=offset)
    which = np.minimum(np.searchsorted(handles, wanted), len(handles) - 1)
    return np.where(handles[which] == wanted, which, -1)


def _older(handles: Rows, older: OlderObjects | None) -> Rows:
    """Objects of lives that began before the trace."""
    if older is not None and len(older.object):
        order = np.argsort(older.object)
        which = _find(older.object[order], handles)
        if np.all(which >= 0):
            rows = order[which]
            return older.slab[rows] << INDEX_BITS | older.index[rows]
    raise ValueError("a free ends an object that is neither live nor declared older")


def _max_order(refusals: Refusals, seq: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    since = np.searchsorted(refusals.seq, seq, side="right")
    return np.append(np.int8(MAX_PAGE_ORDER), refusals.max_order)[since].astype(np.int8)


def _placement(window: CacheEvents, order: Rows) -> Placement:
    count = len(order)
    placement = Placement(
        np.empty(count, np.uint8), np.empty(count, np.int64), np.empty(count, np.int32)
    )
    placement.path[order] = window.path
    # An index has 15 bits; all 16 set, as in FAILED, read as -1.
    placement.index[order] = window.objects.astype(np.int16)
    slab = np.right_shift(window.objects, INDEX_BITS, out=window.objects)
    placement.slab[order] = slab
    return placement
