"""SLUB for every cache of a trace: windows of object requests in, their placement out.

A cache is replayed by the rules of its kernel's generation: sheaves (allocsim.slub.sheaves.cache)
or cpu slabs (allocsim.slub.cpu_slabs.cache). The caches of a machine share only the page
allocator, so each is replayed by itself. Pages wanted and returned come out; what the page
allocator refuses must be known when the window goes in.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.cache_shapes import CpuSlabShape, SheafShape
from allocsim.kernels.slub_rules import CpuSlabRules, SheafRules
from allocsim.page_alloc.nodes import NO_NODE
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED, CacheEvents
from allocsim.slub.counters import counted
from allocsim.slub.cpu_slabs.cache import CpuSlabs
from allocsim.slub.live_objects import LiveObjects
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.requests import PageRequests, Placement, SheafObjects
from allocsim.slub.sheaves.cache import SheafCache
from allocsim.slub.sheaves.sheaf_kmalloc import (
    NO_KMALLOC_CACHE,
    Origin,
    before_their_kmalloc_caches,
    handed_out,
    join,
    merge,
    places,
    sheaf_kmalloc_caches,
    sheaves_wanted,
)
from allocsim.slub.slabs import CACHE_BITS
from allocsim.tables import find, stable_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.kernels.slub_rules import SlubRules
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cache_model import CacheModel
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.slub.requests import FreeBefore, ObjectRequests, PreTraceObjects, Refusals
    from allocsim.slub.sheaves.sheaf_kmalloc import SheafRequests
    from allocsim.tables import Int8, Int16, Int64

SPARSE = 8  #: handles further apart than this are searched for, not tabled


class Slub:
    """Every cache's sheaves, barn and slabs, from a cold start but for ``free_before``.

    It makes the sheaves itself: where the kmalloc cache of their size is among the caches, they
    take objects of it, so the trace's own sheaves (T7) must not be among the requests.

    Args:
        profile: the kernel version.
        shapes: the shape of every cache, by cache number.
        cpus: CPUs; those of the requests are below it.
        free_before: what lay free before the trace.
        freelist_order: (cache, slab, objects) -> indices in the order a new slab hands them out,
            slabs numbered from 0 in their cache; ascending where not given (R3.6).
        nodes: the memory nodes; None: all CPUs are on one.
        older_nodes: node of slabs older than the trace, by their keys, -2 downwards (i8); those not
            told are on node 0.
        fast: let numba compile what goes event by event (columns); the outcome is the same.
    """

    def __init__(  # noqa: PLR0913 - the caches and their world
        self,
        profile: Profile,
        shapes: Sequence[CacheShape],
        cpus: int,
        free_before: FreeBefore | None = None,
        freelist_order: FreelistOrder | None = None,
        *,
        fast: bool = False,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.cpus = cpus
        self._nodes = 1 if nodes is None else nodes.count
        self.generation = profile.slub.generation
        self.kmalloc_caches = sheaf_kmalloc_caches(profile.slub, shapes)
        self.sequence, self.depth = before_their_kmalloc_caches(self.kmalloc_caches)
        self.caches: list[CacheModel] = [
            _cache_model(
                *(profile.slub, shape, number, cpus, freelist_order, nodes, older_nodes),
                fast=fast,
            )
            for number, shape in enumerate(shapes)
        ]
        self.with_sheaves = {
            number: cache
            for number, cache in enumerate(self.caches)
            if isinstance(cache, SheafCache)
        }
        self.live_objects = LiveObjects()
        #: Sheaves made and freed in the last window that are objects of a cache of the trace.
        self.sheaf_objects = _sheaf_objects([])
        if free_before is not None:
            self._seed_free(free_before)

    def _seed_free(self, free: FreeBefore) -> None:
        for number in np.unique(free.cache).tolist():
            own = free.cache == number
            self.caches[number].seed_free(free.slab[own], free.index[own], free.cpu[own])

    def window(
        self,
        requests: ObjectRequests,
        pre_trace: PreTraceObjects | None = None,
        refusals: Refusals | None = None,
    ) -> tuple[Placement, PageRequests]:
        """Replay a window.

        Args:
            requests: the object requests.
            pre_trace: the objects among those freed that were live before the trace.
            refusals: what the page allocator refuses; None: nothing.

        Raises:
            ValueError: a CPU or cache out of range, handles of allocations that do not rise, a
                free of an object that is neither live nor declared, or that is of another cache.
        """
        count = len(requests.op)
        self._check(requests)
        order = stable_order(requests.cache)
        place = np.empty(count, np.int64)
        place[order] = np.arange(count)
        objects = np.empty(count, np.int64)
        parent, stays = self._parents(requests, pre_trace, place, objects)
        max_order = None if refusals is None else _max_order(refusals, requests.seq[order])
        window = CacheEvents(
            requests.cpu.take(order),
            requests.op.take(order),
            parent,
            objects,
            np.empty(count, np.uint8),
            max_order,
            # A sheaf is a small kmalloc: there is one unless not even a page is to be had.
            None if max_order is None else max_order < 0,
            None,
            None if requests.run is None else requests.run.take(order),
            None if requests.left is None else requests.left.take(order),
            node=self._asked_nodes(requests, order),
        )
        numbers = np.arange(len(self.caches))
        ends = np.searchsorted(requests.cache.take(order), numbers, side="right").tolist()
        pages, sheaves = self._replay(window, order, [0, *ends], requests)
        self.sheaf_objects = _sheaf_objects(sheaves)
        self.live_objects.add(requests.object[stays], objects[place[stays]])
        return _placement(window, order), _pages(requests, pages)

    def _asked_nodes(self, requests: ObjectRequests, order: Int64) -> Int16 | None:
        """The nodes requests ask for, as far as there are several and the machine has them."""
        if requests.node is None or self._nodes == 1:
            return None
        there = (requests.node >= 0) & (requests.node < self._nodes)
        return np.where(there, requests.node, np.int16(NO_NODE)).take(order)

    def _replay(
        self, window: CacheEvents, order: Int64, bounds: Sequence[int], requests: ObjectRequests
    ) -> tuple[Int64, list[Int64]]:
        """Replay all caches.

        Returns their page requests (row, cache, CPU, slab, order, way, node, place), and sheaves
        made and freed: rows, CPUs, ways, the cache they are objects of, and the objects.

        Cache c has the places from bounds[c] up to bounds[c + 1] of the window.
        """
        wanted: dict[int, list[SheafRequests]] = defaultdict(list)
        pages, sheaves = [], []
        for number in self.sequence:
            cache, own = self.caches[number], slice(bounds[number], bounds[number + 1])
            if own.start == own.stop and number not in wanted:
                continue
            part, rows = window.part(own.start, own.stop), order[own]
            mine = asked = None
            if number in wanted:
                asked = join(wanted[number])
                part, rows, mine = merge(part, rows, asked)
            if requests.ts is not None:
                part = part._replace(ts=requests.ts[rows])
            if requests.due is not None:
                part = part._replace(due=requests.due[rows])
            cache.replay(part)
            if mine is not None and asked is not None:
                window.objects[own], window.path[own] = part.objects[mine], part.path[mine]
                given = part.objects[~mine]
                handed_out(self.with_sheaves, asked, given)
                kmalloc_cache = np.full(len(given), number)
                sheaves.append(np.stack((asked.row, asked.cpu, asked.op, kmalloc_cache, given)))
            took = cache.take_pages()
            origin = Origin(mine, asked, self.depth)
            place = places(took[:, 0], origin, 2 * np.arange(len(took)) + 1)
            took[:, 0] = rows[took[:, 0]]
            pages.append(np.concatenate((np.insert(took, 1, number, axis=1), place), axis=1))
            asks = self.kmalloc_caches[number]
            if asks != NO_KMALLOC_CACHE and self.with_sheaves[number].sheaf_memory:
                wanted[asks].append(sheaves_wanted(self.with_sheaves[number], part, rows, origin))
        return np.concatenate([np.empty((0, 7 + self.depth), np.int64), *pages]), sheaves

    def counters(self) -> dict[str, Int64]:
        """The counters its generation keeps, by name (allocsim.slub.counters).

        Returns:
            Of each an array of one value a cache, by cache number, since the start (i8).
        """
        return {
            name: np.array([cache.stat[name] for cache in self.caches], np.int64)
            for name in counted(self.generation)
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
        pre_trace: PreTraceObjects | None,
        place: Int64,
        objects: Int64,
    ) -> tuple[Int64, Int64]:
        """Place of each free's allocation, and the allocations that outlive the window.

        Places count the events cache by cache. -1 stands for a free whose allocation was before the
        window, whose object is filled in, and for an allocation.
        """
        parent = np.full(len(place), -1, np.int64)
        born = np.flatnonzero(requests.op > 0)
        freed = np.flatnonzero(requests.op < 0)
        handles = requests.object[born]
        if len(handles) and (
            np.any(handles[1:] <= handles[:-1]) or handles[0] <= self.live_objects.highest
        ):
            raise ValueError("handles of allocations must rise from one to the next")
        which = _find(handles, requests.object[freed])
        here = np.flatnonzero(which >= 0)
        allocs, frees = born.take(which.take(here)), freed.take(here)
        if np.any(allocs > frees) or np.any(requests.cache[allocs] != requests.cache[frees]):
            raise ValueError("an object is freed before its allocation, or to another cache")
        parent[place[frees]] = place[allocs]

        freed = freed.take(np.flatnonzero(which < 0))
        found, known = self.live_objects.take(requests.object[freed])
        unknown = np.flatnonzero(~known)
        if len(unknown):
            found[unknown] = _pre_trace(requests.object[freed[unknown]], pre_trace)
        of_cache = found >> (INDEX_BITS + CACHE_BITS)
        if np.any((of_cache >= 0) & (of_cache != requests.cache[freed])):
            raise ValueError("an object is freed to another cache")
        objects[place[freed]] = found
        stays = requests.op > 0
        stays[allocs] = False
        return parent, np.flatnonzero(stays)


def _cache_model(  # noqa: PLR0913 - a cache and its world
    rules: SlubRules,
    shape: CacheShape,
    number: int,
    cpus: int,
    freelist_order: FreelistOrder | None,
    nodes: Nodes | None,
    older_nodes: Int64 | None,
    *,
    fast: bool,
) -> CacheModel:
    """The model of a cache; which one is chosen here, by the generation of its rules, alone."""
    if isinstance(rules, SheafRules) and isinstance(shape, SheafShape):
        return SheafCache(
            *(shape, rules, number, cpus, freelist_order),
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )
    if isinstance(rules, CpuSlabRules) and isinstance(shape, CpuSlabShape):
        return CpuSlabs(
            *(shape, number, cpus, freelist_order),
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )
    raise TypeError(f"the shape of {shape.name} is not of a kernel with {rules.generation.value}")


def _find(handles: Int64, wanted: Int64) -> Int64:
    """Place of each wanted handle among rising handles; -1 where it is not there."""
    if not len(handles):
        return np.full(len(wanted), -1, np.int64)
    first, span = int(handles[0]), int(handles[-1] - handles[0]) + 1
    if span > SPARSE * len(handles):
        return find(handles, wanted)
    # The last entry stands for every handle that is out of range.
    table = np.full(span + 1, -1, np.int64)
    table[handles - first] = np.arange(len(handles))
    return table[np.minimum((wanted - first).view(np.uint64), np.uint64(span))]


def _pre_trace(handles: Int64, pre_trace: PreTraceObjects | None) -> Int64:
    """Objects of lives that began before the trace."""
    if pre_trace is not None and len(pre_trace.object):
        order = np.argsort(pre_trace.object)
        which = _find(pre_trace.object[order], handles)
        if np.all(which >= 0):
            rows = order[which]
            return pre_trace.slab[rows] << INDEX_BITS | pre_trace.index[rows]
    raise ValueError("a free ends an object that is neither live nor declared older")


def _max_order(refusals: Refusals, seq: Int64) -> Int8:
    since = np.searchsorted(refusals.seq, seq, side="right")
    return np.append(np.int8(MAX_PAGE_ORDER), refusals.max_order)[since].astype(np.int8)


def _sheaf_objects(sheaves: Sequence[Int64]) -> SheafObjects:
    """Sheaves in order of their rows; those that could not be had are left out."""
    columns = np.concatenate([np.empty((5, 0), np.int64), *sheaves], axis=1)
    columns = columns[:, np.argsort(columns[0], kind="stable")]
    row, cpu, way, cache, found = columns[:, columns[4] != FAILED]
    return SheafObjects(
        row,
        cpu.astype(np.int16),
        way.astype(np.int8),
        cache.astype(np.int32),
        found >> INDEX_BITS,
        found.astype(np.int16).astype(np.int32),
    )


def _placement(window: CacheEvents, order: Int64) -> Placement:
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


def _pages(requests: ObjectRequests, pages: Int64) -> PageRequests:
    """Page requests (row, cache, CPU, slab, order, way, node, place), put in order of time."""
    in_time = np.lexsort((*pages.T[:6:-1], pages[:, 0]))
    row, cache, cpu, slab, order, way, node = pages[in_time, :7].T
    return PageRequests(
        requests.seq[row],
        cpu.astype(np.int16),
        cache.astype(np.int32),
        slab,
        order.astype(np.int8),
        way.astype(np.int8),
        node.astype(np.int16),
    )
