"""The sheaves' own memory: every sheaf is a small kmalloc, an object of another cache (R3.10, T7).

A cache whose sheaf is allocated by an event asks its home cache for an object in the midst of that
event. So caches are replayed before their homes, and the requests they make are put between
the home's own. A sheaf freed in a shortage is not given back: its cache keeps it for the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.profile import kmalloc_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from allocsim.cache import CacheEvents, CacheReplay
    from allocsim.columns import Index, Ints
    from allocsim.profile import CacheShape, SlubRules

NO_HOME = -1


class SheafRequests(NamedTuple):
    """Sheaves a cache wants from its home in a window; arrays of one length.

    Args:
        row: the event, as a row of the window, rising.
        cpu: its CPU.
        max_order: largest order to be had from the page allocator then; None: any.
        no_sheaf: whether the home may not allocate a sheaf for this one in turn.
    """

    row: Index
    cpu: Ints
    max_order: npt.NDArray[np.int8] | None
    no_sheaf: npt.NDArray[np.bool_]


def sheaf_homes(rules: SlubRules, shapes: Sequence[CacheShape]) -> list[int]:
    """Number of the cache each cache's sheaves are allocated from.

    -1 for a cache without sheaves, where the trace does not have that kmalloc cache, and where the
    home's own sheaves would come, in the end, from the cache itself (kmalloc-256 is its own
    home): those sheaves are counted but take no object.
    """
    by_name = {shape.name: number for number, shape in enumerate(shapes)}
    homes: list[int] = []
    for number, shape in enumerate(shapes):
        size = kmalloc_size(rules.sheaf_header + 8 * shape.capacity)
        name = f"kmalloc-{size}" if size < 1024 else f"kmalloc-{size // 1024}k"
        home = by_name.get(name, NO_HOME) if shape.capacity else NO_HOME
        end = home
        while 0 <= end < number:
            end = homes[end]
        homes.append(NO_HOME if end == number else home)
    return homes


def before_their_homes(homes: Sequence[int]) -> list[int]:
    """Cache numbers, every cache before its home.

    Raises:
        ValueError: a cache is, through other homes, its own home.
    """
    depth = []
    for number in range(len(homes)):
        steps, at = 0, number
        while at != NO_HOME:
            steps, at = steps + 1, homes[at]
            if steps > len(homes):
                raise ValueError(f"the sheaves of cache {number} would come from itself")
        depth.append(steps)
    return sorted(range(len(homes)), key=lambda number: -depth[number])


def sheaves_wanted(cache: CacheReplay, events: CacheEvents, rows: Index) -> SheafRequests:
    """The sheaves a cache allocated in the window it has just been through.

    One for a kmalloc cache must not make its home allocate another (SLAB_ALLOC_NO_RECURSE,
    mm/slub.c:__alloc_empty_sheaf 7.2).
    """
    made = np.array(cache.made)
    no_sheaf = np.full(len(made), cache.shape.name.startswith("kmalloc-"))
    if events.max_order is None:
        return SheafRequests(rows[made], events.cpu[made], None, no_sheaf)
    max_order = events.max_order[made]
    return SheafRequests(rows[made], events.cpu[made], max_order, no_sheaf | (max_order < 0))


def join(requests: Sequence[SheafRequests]) -> SheafRequests:
    """The requests of several caches to one home, in order of their rows."""
    row, cpu, no_sheaf = (
        np.concatenate([getattr(request, name) for request in requests])
        for name in ("row", "cpu", "no_sheaf")
    )
    orders = [request.max_order for request in requests if request.max_order is not None]
    order = np.argsort(row)
    max_order = np.concatenate(orders)[order] if orders else None
    return SheafRequests(row[order], cpu[order], max_order, no_sheaf[order])


def merge(
    events: CacheEvents, rows: Index, sheaves: SheafRequests
) -> tuple[CacheEvents, Index, npt.NDArray[np.bool_]]:
    """A cache's own events with the sheaves wanted from it between them.

    Args:
        events: the cache's own events.
        rows: their rows of the window.
        sheaves: the sheaves wanted; no row is among ``rows``.

    Returns:
        All events, their rows, and which of them are the cache's own.
    """
    count = len(sheaves.row)
    at = np.searchsorted(rows, sheaves.row)
    later = np.searchsorted(at, np.arange(len(rows)), side="right")
    parent = np.where(events.parent >= 0, events.parent + later[events.parent], -1)
    no_sheaf = np.zeros(len(rows), np.bool_) if events.no_sheaf is None else events.no_sheaf
    merged = events._replace(
        cpu=np.insert(events.cpu, at, sheaves.cpu),
        op=np.insert(events.op, at, np.ones(count, np.int8)),
        parent=np.insert(parent, at, -1),
        objects=np.insert(events.objects, at, -1),
        path=np.insert(events.path, at, 0),
        max_order=None
        if events.max_order is None or sheaves.max_order is None
        else np.insert(events.max_order, at, sheaves.max_order),
        no_sheaf=np.insert(no_sheaf, at, sheaves.no_sheaf),
    )
    return merged, np.insert(rows, at, sheaves.row), np.insert(np.ones(len(rows), np.bool_), at, 0)
