"""SLUB of 7.2 for every cache of a trace: windows of object requests in, their placement out.

The caches of a machine share only the page allocator, so each is replayed by itself. Pages wanted
and returned come out; what the page allocator refuses must be known when the window goes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.cache import FAILED, CacheEvents, CacheReplay
from allocsim.lanes import stable_order
from allocsim.live import LiveObjects
from allocsim.paths import COUNTERS
from allocsim.profile import MAX_PAGE_ORDER
from allocsim.slabs import INDEX_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from allocsim.profile import CacheShape, Profile

CACHE_BITS = 32
NO_SLAB = -1


class ObjectRequests(NamedTuple):
    """Object requests of a window, in time order; arrays of one length.

    Args:
        seq: number of the event, rising (i8).
        cpu: CPU (integer).
        cache: cache number (integer).
        op: +1 allocation, -1 free (i1).
        object: handle of the object's life (i8): of an allocation a new one, above all before it;
            of a free the one its allocation had, or one that ``OlderObjects`` declares.
    """

    seq: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.integer]
    cache: npt.NDArray[np.integer]
    op: npt.NDArray[np.int8]
    object: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OlderObjects:
    """Objects freed in a window that were live before the trace (I2); arrays of one length.

    Args:
        object: their handles, as the frees have them (i8).
        slab: key of the slab each lies on: below -1, one slab one key in the whole trace (i8).
        index: place in the slab (i4).
    """

    object: npt.NDArray[np.int64]
    slab: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FreeBefore:
    """Free objects of slabs older than the trace: each cache's partial list when it begins.

    In list order, and in free-list order within a slab; every other object of these slabs, and
    every object of a slab of ``OlderObjects`` that is not named here, was live.

    Args:
        cache: cache number (i4).
        slab: the slab's key, as in OlderObjects (i8).
        index: place in the slab (i4).
    """

    cache: npt.NDArray[np.int64]
    slab: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placement:
    """What SLUB did with the requests of a window, row for row.

    Args:
        path: Path (u1).
        slab: slab of the object (i8): cache << 32 | number, numbered from 0 in the order the cache
            made them; a key of OlderObjects; -1 where the model could not allocate the object.
        index: place in the slab (i4); -1 as above.
    """

    path: npt.NDArray[np.uint8]
    slab: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]


class PageRequests(NamedTuple):
    """Slab pages asked for and given back, in time order; arrays of one length.

    Args:
        seq: event that did it (i8).
        cpu: its CPU (i2).
        cache: cache number (i4).
        slab: the slab, as in Placement (i8).
        order: order of the block (i1).
        way: +1 allocated, -1 freed (i1).
    """

    seq: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.int16]
    cache: npt.NDArray[np.int32]
    slab: npt.NDArray[np.int64]
    order: npt.NDArray[np.int8]
    way: npt.NDArray[np.int8]


class Refusals(NamedTuple):
    """From event ``seq`` on, the page allocator serves no order above ``max_order``; -1: none.

    In order of ``seq``; before the first every order is served.
    """

    seq: npt.NDArray[np.int64]
    max_order: npt.NDArray[np.int8]


class Slub:
    """Every cache's sheaves, barn and slabs, from a cold start but for ``free_before``.

    Args:
        profile: the kernel version.
        shapes: the shape of every cache, by cache number.
        cpus: CPUs; those of the requests are below it.
        free_before: what lay free before the trace.
        freelist_order: (cache, slab, objects) -> indices in the order a new slab hands them out;
            ascending where not given (R3.6).
    """

    def __init__(
        self,
        profile: Profile,
        shapes: Sequence[CacheShape],
        cpus: int,
        free_before: FreeBefore | None = None,
        freelist_order: Callable[[int, int, int], Sequence[int]] | None = None,
    ) -> None:
        def order_of(cache: int) -> Callable[[int, int], Sequence[int]]:
            if freelist_order is None:
                return lambda _, objects: range(objects)
            return lambda slab, objects: freelist_order(cache, slab, objects)

        self.cpus = cpus
        self.caches = [
            CacheReplay(shape, profile.slub, cpus, order_of(number))
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
                free of an object that is neither live nor declared, or live in another cache.
        """
        count = len(requests.op)
        objects = np.full(count, FAILED, np.int64)
        path = np.zeros(count, np.uint8)
        if not count:
            return _placement(path, objects, requests.cache), _pages([])
        self._check(requests)
        order = stable_order(requests.cache, len(self.caches))
        parent = self._parents(requests, older, objects)
        place = np.empty(count, np.int32)
        place[order] = np.arange(count, dtype=np.int32)
        parent = np.where(parent >= 0, place[parent], -1)[order].astype(np.int64)
        in_cache = CacheEvents(
            requests.cpu[order],
            requests.op[order],
            parent,
            objects[order],
            path,
            None if refusals is None else _max_order(refusals, requests.seq[order]),
        )
        bounds = np.cumsum(np.bincount(requests.cache, minlength=len(self.caches)))
        pages: list[tuple[int, int, int, int, int, int]] = []
        begin = 0
        for number, end in enumerate(bounds.tolist()):
            if end > begin:
                pages += self._cache(number, in_cache, begin, end, requests, order)
            begin = end
        objects[order] = in_cache.objects
        paths = np.empty(count, np.uint8)
        paths[order] = in_cache.path
        self._remember(requests, objects, parent, order)
        return _placement(paths, objects, requests.cache), _pages(pages)

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
            low, high = int(column.min()), int(column.max())
            if low < 0 or high >= limit:
                wrong = low if low < 0 else high
                raise ValueError(f"{name} {wrong} is out of range, 0 to {limit - 1}")

    def _parents(
        self,
        requests: ObjectRequests,
        older: OlderObjects | None,
        objects: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Row of each free's allocation, -1 if before the window; those objects are filled in."""
        alloc_rows = np.flatnonzero(requests.op > 0)
        handles = requests.object[alloc_rows]
        if len(handles) and (np.any(np.diff(handles) <= 0) or handles[0] <= self.live.highest):
            raise ValueError("handles of allocations must rise from one to the next")
        parent = np.full(len(objects), -1, np.int64)
        free_rows = np.flatnonzero(requests.op < 0)
        freed = requests.object[free_rows]
        if len(handles):
            place = np.minimum(np.searchsorted(handles, freed), len(handles) - 1)
            here = handles[place] == freed
            parent[free_rows[here]] = alloc_rows[place[here]]
            free_rows, freed = free_rows[~here], freed[~here]
        found, known = self.live.take(freed)
        objects[free_rows] = found
        unknown = np.flatnonzero(~known)
        if len(unknown):
            objects[free_rows[unknown]] = self._older(freed[unknown], older)
        return parent

    @staticmethod
    def _older(
        freed: npt.NDArray[np.int64], older: OlderObjects | None
    ) -> npt.NDArray[np.int64]:
        handles = np.empty(0, np.int64) if older is None else older.object
        order = np.argsort(handles)
        place = np.minimum(np.searchsorted(handles[order], freed), len(handles) - 1)
        if older is None or not len(handles) or np.any(handles[order[place]] != freed):
            raise ValueError("a free ends an object that is neither live nor declared older")
        rows = order[place]
        return older.slab[rows] << INDEX_BITS | older.index[rows]

    def _cache(
        self,
        number: int,
        window: CacheEvents,
        begin: int,
        end: int,
        requests: ObjectRequests,
        order: npt.NDArray[np.int64],
    ) -> list[tuple[int, int, int, int, int, int]]:
        """Replay one cache's part of the window; its page requests."""
        cache = self.caches[number]
        part = window.part(begin, end)
        frees_elsewhere = (window.parent[begin:end] >= 0) & (part.parent < 0)
        if np.any(frees_elsewhere) or np.any(part.parent >= end - begin):
            raise ValueError(f"an object of cache {number} is freed to another cache")
        cache.replay(part)
        pages, cache.slabs.pages = cache.slabs.pages, []
        return [
            (
                int(requests.seq[order[begin + page.time]]),
                int(requests.cpu[order[begin + page.time]]),
                number,
                page.slab if page.slab < 0 else number << CACHE_BITS | page.slab,
                page.order,
                page.way,
            )
            for page in pages
        ]

    def _remember(
        self,
        requests: ObjectRequests,
        objects: npt.NDArray[np.int64],
        parent: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
    ) -> None:
        """Keep the objects that are live behind the window."""
        live = requests.op > 0
        live[order[parent[parent >= 0]]] = False
        self.live.add(requests.object[live], objects[live])


def _max_order(refusals: Refusals, seq: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    since = np.searchsorted(refusals.seq, seq, side="right")
    return np.append(np.int8(MAX_PAGE_ORDER), refusals.max_order)[since].astype(np.int8)


def _placement(
    path: npt.NDArray[np.uint8],
    objects: npt.NDArray[np.int64],
    cache: npt.NDArray[np.integer],
) -> Placement:
    slab = objects >> INDEX_BITS
    index = (objects & ((1 << INDEX_BITS) - 1)).astype(np.int32)
    ours = slab >= 0
    slab += np.where(ours, cache.astype(np.int64) << CACHE_BITS, 0)
    index[objects == FAILED] = NO_SLAB
    return Placement(path, slab, index)


def _pages(pages: list[tuple[int, int, int, int, int, int]]) -> PageRequests:
    pages.sort(key=lambda page: page[0])
    columns = np.array(pages, np.int64).reshape(-1, 6).T
    return PageRequests(
        columns[0],
        columns[1].astype(np.int16),
        columns[2].astype(np.int32),
        columns[3],
        columns[4].astype(np.int8),
        columns[5].astype(np.int8),
    )
