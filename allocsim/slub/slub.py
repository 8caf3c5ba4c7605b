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

from allocsim.kernels.cache_shapes import AskedShape, CpuSlabShape, SheafShape
from allocsim.kernels.slub_rules import AskedRules, SheafRules
from allocsim.page_alloc.nodes import NO_NODE
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.asked_sheaves.cache import AskedSheaves
from allocsim.slub.cache_model import FAILED, CacheEvents
from allocsim.slub.counters import counted
from allocsim.slub.cpu_slabs.cache import CpuSlabs
from allocsim.slub.live_objects import LiveObjects
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.requests import Op, PageRequests, Placement, SheafObjects
from allocsim.slub.sheaves.cache import SheafCache
from allocsim.slub.sheaves.sheaf_kmalloc import (
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
from allocsim.tables import find, joined, stable_order

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
    from allocsim.tables import Bools, Int8, Int16, Int64

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
        changes: shapes that the caches have from a moment [ns, on the trace's clock] on, in order
            (R3.27); requests need their times then.
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
        changes: Sequence[tuple[int, Sequence[CacheShape]]] = (),
        *,
        fast: bool = False,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.cpus = cpus
        self._nodes = 1 if nodes is None else nodes.count
        self.generation = profile.slub.generation
        kmalloc_caches = [sheaf_kmalloc_caches(profile.slub, shapes)]
        for _, later in changes:
            kmalloc_caches.append(sheaf_kmalloc_caches(profile.slub, later, kmalloc_caches))
        self.kmalloc_caches = kmalloc_caches[0]
        self.sequence, self.depth = before_their_kmalloc_caches(*kmalloc_caches)
        self.shapes = list(shapes)
        #: Changes to come: when, the shapes, and the caches that sheaves come from.
        self.changes = [
            (when, list(later), their)
            for (when, later), their in zip(changes, kmalloc_caches[1:], strict=True)
        ]
        ever = list(zip(shapes, *(later for _, later in changes), strict=True))
        self.caches: list[CacheModel] = [
            _cache_model(
                *(profile.slub, ever[number], number, cpus, freelist_order, nodes, older_nodes),
                kmalloc_cache=self.kmalloc_caches[number],
                fast=fast,
            )
            for number in range(len(shapes))
        ]
        self.with_sheaves = {
            number: cache
            for number, cache in enumerate(self.caches)
            if isinstance(cache, SheafCache | AskedSheaves)
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
        parts, begin = [], 0
        while self.changes and len(requests.seq):
            if requests.ts is None:
                raise ValueError("changes at a moment need requests with times")
            due = np.flatnonzero(requests.ts[begin:] >= self.changes[0][0])
            if not len(due):
                break
            at = begin + int(due[0])
            if at > begin:
                parts.append(self._part(requests.part(slice(begin, at)), pre_trace, refusals))
            parts.append(self._change(requests.part(slice(at, at + 1)), refusals, at))
            begin = at
        if not parts:
            return self._part(requests, pre_trace, refusals)[:2]
        parts.append(self._part(requests.part(slice(begin, None)), pre_trace, refusals, begin))
        placements, pages, sheaves = zip(*parts, strict=True)
        self.sheaf_objects = joined(sheaves)
        return Placement.joined(placements), joined(pages)

    def _part(
        self,
        requests: ObjectRequests,
        pre_trace: PreTraceObjects | None,
        refusals: Refusals | None,
        first: int = 0,
    ) -> tuple[Placement, PageRequests, SheafObjects]:
        """A part of a window, from a row on, in which nothing changes."""
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
        found = self.sheaf_objects._replace(row=self.sheaf_objects.row + first)
        return _placement(window, order), _pages(requests, pages), found

    def _change(
        self, request: ObjectRequests, refusals: Refusals | None, row: int
    ) -> tuple[Placement, PageRequests, SheafObjects]:
        """Do the next change, in front of a request: cache after cache, a row each.

        A cache changes behind those whose sheaves are objects of it.
        """
        when, shapes, kmalloc_caches = self.changes[0]
        self.changes = self.changes[1:]
        told = _Told(self)
        orders = None if refusals is None else _max_order(refusals, request.seq)
        event = CacheEvents(
            request.cpu,
            request.op,
            np.full(1, -1),
            np.full(1, FAILED),
            np.zeros(1, np.uint8),
            orders,
            None,
        )
        now = when if request.ts is None else int(request.ts[0])
        times = np.full(len(self.sequence), now)
        for place, number in enumerate(self.sequence):
            cache = self.caches[number]
            if number in told.wanted:
                told.replay(number, event.part(0, 0), np.empty(0, np.int64), times)
            if shapes[number] != self.shapes[number]:
                cache.change(shapes[number], now, kmalloc_caches[number])
                told.note(number, event, np.array([place]), Origin(None, None, self.depth))
        self.shapes, self.kmalloc_caches = shapes, kmalloc_caches
        sheaves = _sheaf_objects(told.sheaves)
        every = request._replace(seq=np.repeat(request.seq, len(self.sequence)))
        return (
            _placement(event.part(0, 0), np.empty(0, np.int64)),
            _pages(every, told.pages()),
            sheaves._replace(row=np.full_like(sheaves.row, row)),
        )

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
        told = _Told(self)
        for number in self.sequence:
            own = slice(bounds[number], bounds[number + 1])
            if own.start == own.stop and number not in told.wanted:
                continue
            part, rows = window.part(own.start, own.stop), order[own]
            part, mine = told.replay(number, part, rows, requests.ts, requests.due)
            if mine is not None:
                window.objects[own], window.path[own] = part.objects[mine], part.path[mine]
        return told.pages(), told.sheaves

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
        objects[place[requests.op == Op.ASK_SHEAF]] = FAILED  # which has none
        stays = requests.op > 0
        stays[allocs] = False
        return parent, np.flatnonzero(stays)


class _Told:
    """What caches ask for while they are gone through, each before those its sheaves come from.

    Attributes:
        wanted: sheaves wanted of a cache, and given back to it.
        sheaves: sheaves made and freed: rows, CPUs, ways, cache they are objects of, the objects.
    """

    def __init__(self, slub: Slub) -> None:
        self._slub = slub
        self._pages: list[Int64] = []
        self.wanted: dict[int, list[SheafRequests]] = defaultdict(list)
        self.sheaves: list[Int64] = []

    def replay(
        self,
        number: int,
        part: CacheEvents,
        rows: Int64,
        ts: Int64 | None,
        due: Int64 | None = None,
    ) -> tuple[CacheEvents, Bools | None]:
        """Replay a cache's events, and what is wanted of it between them.

        Args:
            number: the cache.
            part: its events.
            rows: their rows.
            ts: by row, times [ns].
            due: by row, as ObjectRequests has it.

        Returns:
            All it did, and which events of that are its own (None: all).
        """
        cache = self._slub.caches[number]
        mine = asked = None
        if number in self.wanted:
            asked = join(self.wanted[number])
            part, rows, mine = merge(part, rows, asked)
        if ts is not None:
            part = part._replace(ts=ts[rows])
        if due is not None:
            part = part._replace(due=due[rows])
        cache.replay(part)
        if mine is not None and asked is not None:
            given = part.objects[~mine]
            handed_out(self._slub.with_sheaves, asked, given)
            kmalloc_cache = np.full(len(given), number)
            self.sheaves.append(np.stack((asked.row, asked.cpu, asked.op, kmalloc_cache, given)))
        self.note(number, part, rows, Origin(mine, asked, self._slub.depth))
        return part, mine

    def note(self, number: int, part: CacheEvents, rows: Int64, origin: Origin) -> None:
        """Note what a cache has just asked of others."""
        took = self._slub.caches[number].take_pages()
        if len(took):
            at = took[:, 0]
            place = places(at, origin, 2 * np.arange(len(took)) + 1)
            of_cache = np.full(len(took), number)
            self._pages.append(np.column_stack((rows[at], of_cache, took[:, 1:], place)))
        cache = self._slub.with_sheaves.get(number)
        if cache is not None and cache.sheaf_memory:
            for asks in cache.kmalloc_caches:
                self.wanted[asks].append(sheaves_wanted(cache, part, rows, origin, asks))

    def pages(self) -> Int64:
        """Page requests: rows of row, cache, CPU, slab, order, way, node, place."""
        return np.concatenate([np.empty((0, 7 + self._slub.depth), np.int64), *self._pages])


def _cache_model(  # noqa: PLR0913 - a cache and its world
    rules: SlubRules,
    ever: Sequence[CacheShape],
    number: int,
    cpus: int,
    freelist_order: FreelistOrder | None,
    nodes: Nodes | None,
    older_nodes: Int64 | None,
    *,
    kmalloc_cache: int,
    fast: bool,
) -> CacheModel:
    """The model of a cache; which one is chosen here, by the generation of its rules, alone.

    ``ever``: its shape at the start, then those it will have.
    """
    shape = ever[0]
    if isinstance(rules, SheafRules) and isinstance(shape, SheafShape):
        return SheafCache(
            *(shape, rules, number, cpus, freelist_order),
            kmalloc_cache=kmalloc_cache,
            largest=max(each.capacity for each in ever if isinstance(each, SheafShape)),
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )
    if isinstance(rules, AskedRules) and isinstance(shape, AskedShape) and shape.capacity:
        return AskedSheaves(
            *(shape, rules, number, cpus, freelist_order),
            kmalloc_cache=kmalloc_cache,
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )
    below = shape.cpu_slabs if isinstance(shape, AskedShape) else shape
    if not isinstance(rules, SheafRules) and isinstance(below, CpuSlabShape):
        return CpuSlabs(
            *(below, number, cpus, freelist_order),
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
