"""The sheaves' own memory: every sheaf is a small kmalloc, an object of another cache (R3.10, T7).

A cache whose sheaf is allocated by an event asks a kmalloc cache for an object in the midst of that
event. So caches are replayed before the kmalloc cache of their sheaves, and the requests they make
are put between its own. What it asks of the page allocator on their account stands in the midst of
what the event asks for itself: that order is kept as a place, a number for each cache on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.kernels.cache_shapes import SheafShape
from allocsim.kernels.slub_rules import kmalloc_size, sheaf_bytes, sheaves_of
from allocsim.page_alloc.nodes import NO_NODE
from allocsim.slub.cache_model import NO_KMALLOC_CACHE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.slub_rules import SlubRules
    from allocsim.slub.asked_sheaves.cache import AskedSheaves
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.sheaves.cache import SheafCache
    from allocsim.tables import Bools, Int8, Int64, Ints

    WithSheaves = SheafCache | AskedSheaves

NO_OBJECT = -1


class Origin(NamedTuple):
    """Why a cache was asked: for its own events, and for sheaves between them.

    Args:
        own: which events are the cache's own (bool); None: all.
        asked: the others, in order; None: there are none.
        depth: caches on the longest way from a cache to its last kmalloc cache, itself included.
    """

    own: Bools | None
    asked: SheafRequests | None
    depth: int


class SheafRequests(NamedTuple):
    """Sheaves that caches want from their kmalloc cache, and give back to it, in a window.

    Arrays of one length.

    Args:
        row: the event, as a row of the window, rising.
        cpu: its CPU.
        op: +1 wanted, -1 given back.
        cache: number of the cache whose sheaf it is.
        sheaf: its number there.
        parent: of one given back, the request that had it, -1 if that was before the window.
        objects: the kmalloc cache's object it is, where that is known: of one from before the
            window.
        place: where in the midst of the event, a row each: twice the page requests of each cache on
            the way here that were made before, -1 behind the last.
        max_order: largest order to be had from the page allocator then; None: any.
        no_sheaf: whether the kmalloc cache may not allocate a sheaf for this one in turn.
    """

    row: Int64
    cpu: Ints
    op: Int8
    cache: Int64
    sheaf: Int64
    parent: Int64
    objects: Int64
    place: Int64
    max_order: Int8 | None
    no_sheaf: Bools


def sheaf_kmalloc_caches(
    rules: SlubRules, shapes: Sequence[CacheShape], before: Sequence[Sequence[int]] = ()
) -> list[int]:
    """Number of the cache each cache's sheaves are allocated from.

    -1 for a cache without sheaves, as all are in a kernel that has none, where the trace does not
    have that kmalloc cache, and where that one's own sheaves would come, in the end, from the cache
    itself (those of kmalloc-256 are objects of kmalloc-256): such sheaves are counted but take no
    object.

    Args:
        rules: of the kernel.
        shapes: the caches.
        before: the same of the shapes they had before, of which there may still be sheaves.
    """
    sheaves = sheaves_of(rules)
    by_name = {shape.name: number for number, shape in enumerate(shapes)}
    asked = [{each[number] for each in before} for number in range(len(shapes))]
    kmalloc_caches: list[int] = []
    for number, shape in enumerate(shapes):
        kmalloc_cache = NO_KMALLOC_CACHE
        if sheaves is not None and isinstance(shape, SheafShape) and shape.capacity:
            size = kmalloc_size(sheaf_bytes(sheaves, shape.capacity))
            name = f"kmalloc-{size}" if size < 1024 else f"kmalloc-{size // 1024}k"
            kmalloc_cache = by_name.get(name, NO_KMALLOC_CACHE)
        ends = [kmalloc_cache]
        for end in ends:
            if end not in (number, NO_KMALLOC_CACHE):
                ends += asked[end].difference(ends)
        kmalloc_caches.append(NO_KMALLOC_CACHE if number in ends else kmalloc_cache)
        asked[number].add(kmalloc_caches[-1])
    return kmalloc_caches


def before_their_kmalloc_caches(*kmalloc_caches: Sequence[int]) -> tuple[list[int], int]:
    """Cache numbers, each before the kmalloc caches of its sheaves; and the longest such chain.

    Args:
        kmalloc_caches: as sheaf_kmalloc_caches has them, of each shape that caches have in turn.

    Raises:
        ValueError: a cache is, through others, its own kmalloc cache.
    """
    count = len(kmalloc_caches[0])
    asked = [{each[number] for each in kmalloc_caches} for number in range(count)]
    depth = [0] * count
    for number in range(count):
        level = {number}
        while level:
            level = set().union(*(asked[at] for at in level)) - {NO_KMALLOC_CACHE}
            depth[number] += 1
            if depth[number] > count:
                raise ValueError(f"the sheaves of cache {number} would come from itself")
    sequence = sorted(range(count), key=lambda number: -depth[number])
    return sequence, max(depth, default=1)


def places(at: Int64, origin: Origin, before: Int64) -> Int64:
    """Place of things a cache did in the midst of events, a row each.

    Args:
        at: the event of each.
        origin: whose the events are.
        before: a number that orders what the cache did.
    """
    place = np.full((len(at), origin.depth), -1)
    place[:, 0] = before
    if origin.asked is not None and origin.own is not None:
        request = np.cumsum(~origin.own) - 1
        theirs = np.flatnonzero(~origin.own[at])
        way = origin.asked.place[request[at[theirs]]]
        last = np.count_nonzero(way >= 0, axis=1)
        way[np.arange(len(way)), last] = before[theirs]
        place[theirs] = way
    return place


def sheaves_wanted(
    cache: SheafCache | AskedSheaves,
    events: CacheEvents,
    rows: Int64,
    origin: Origin,
    kmalloc_cache: int,
) -> SheafRequests:
    """What a cache did with sheaves of one kmalloc cache in the window it has just been through.

    A sheaf of a kmalloc cache must not make the cache it is from allocate another
    (SLAB_ALLOC_NO_RECURSE, mm/slub.c:__alloc_empty_sheaf 7.2). The sheaves a cache is made with are
    not from its kmalloc cache.
    """
    known = cache.sheaf_objects
    kept, objects = [], []
    for at, on, number, way, pages in cache.sheaf_memory:
        if cache.kmalloc_cache_of(number) != kmalloc_cache:
            continue
        if way < 0 and number not in known:
            continue
        if way > 0:
            known[number] = NO_OBJECT  # until its kmalloc cache has been through (handed_out)
        kept.append((at, on, way, number, 2 * pages))
        objects.append(known[number])
    time, cpu, op, sheaf, before = np.array(kept, np.int64).reshape(-1, 5).T
    wants = op > 0
    no_sheaf: Bools = wants & cache.shape.name.startswith("kmalloc-")
    max_order = None
    if events.max_order is not None:
        max_order = events.max_order[time]
        no_sheaf = no_sheaf | (max_order < 0)
    return SheafRequests(
        rows[time],
        cpu,
        op.astype(np.int8),
        np.full(len(time), cache.number),
        sheaf,
        np.full(len(time), -1),
        np.array(objects, np.int64),
        places(time, origin, before),
        max_order,
        no_sheaf,
    )


def join(requests: Sequence[SheafRequests]) -> SheafRequests:
    """The requests of several caches to one kmalloc cache, in order of their rows."""
    row, cpu, op, cache, sheaf, objects, place, no_sheaf = (
        np.concatenate([getattr(request, name) for request in requests])
        for name in ("row", "cpu", "op", "cache", "sheaf", "objects", "place", "no_sheaf")
    )
    orders = [request.max_order for request in requests if request.max_order is not None]
    order = np.lexsort((*place.T[::-1], row))
    parent = np.full(len(order), -1)
    had: dict[tuple[int, int], int] = {}
    asked = zip(cache[order].tolist(), sheaf[order].tolist(), op[order].tolist(), strict=True)
    for at, (asker, number, way) in enumerate(asked):
        if way > 0:
            had[asker, number] = at
        else:
            parent[at] = had.pop((asker, number), -1)
    return SheafRequests(
        row[order],
        cpu[order],
        op[order],
        cache[order],
        sheaf[order],
        parent,
        objects[order],
        place[order],
        np.concatenate(orders)[order] if orders else None,
        no_sheaf[order],
    )


def merge(
    events: CacheEvents, rows: Int64, sheaves: SheafRequests
) -> tuple[CacheEvents, Int64, Bools]:
    """A cache's own events with the sheaves wanted from it between them.

    Args:
        events: the cache's own events.
        rows: their rows of the window.
        sheaves: the sheaves wanted; no row is among ``rows``.

    Returns:
        All events, their rows, and which of them are the cache's own.
    """
    at = np.searchsorted(rows, sheaves.row)
    later = np.searchsorted(at, np.arange(len(rows)), side="right")
    parent = np.where(events.parent >= 0, events.parent + later[events.parent], -1)
    theirs = np.where(sheaves.parent >= 0, at[sheaves.parent] + sheaves.parent, -1)
    no_sheaf = np.zeros(len(rows), np.bool_) if events.no_sheaf is None else events.no_sheaf
    merged = events._replace(
        cpu=np.insert(events.cpu, at, sheaves.cpu),
        op=np.insert(events.op, at, sheaves.op),
        parent=np.insert(parent, at, theirs),
        objects=np.insert(events.objects, at, sheaves.objects),
        path=np.insert(events.path, at, 0),
        max_order=None
        if events.max_order is None or sheaves.max_order is None
        else np.insert(events.max_order, at, sheaves.max_order),
        no_sheaf=np.insert(no_sheaf, at, sheaves.no_sheaf),
        run=None if events.run is None else np.insert(events.run, at, 0),
        left=None if events.left is None else np.insert(events.left, at, 0),
        node=None if events.node is None else np.insert(events.node, at, NO_NODE),
    )
    return merged, np.insert(rows, at, sheaves.row), np.insert(np.ones(len(rows), np.bool_), at, 0)


def handed_out(
    caches: Mapping[int, SheafCache | AskedSheaves], sheaves: SheafRequests, objects: Int64
) -> None:
    """Note what object each sheaf is, once its kmalloc cache has been through the window.

    Args:
        caches: caches that have sheaves, by number.
        sheaves: the requests to the kmalloc cache.
        objects: the object of each.
    """
    asked = (sheaves.cache.tolist(), sheaves.sheaf.tolist(), sheaves.op.tolist(), objects.tolist())
    for asker, number, way, found in zip(*asked, strict=True):
        if way > 0:
            caches[asker].sheaf_objects[number] = found
        else:
            del caches[asker].sheaf_objects[number]
