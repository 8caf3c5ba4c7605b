"""Which requests go to which lock, by the way that the model served them.

SLUB counts takes of list_lock by cache, the page allocator those of zone->lock by zone; which
request a take belongs to is known by its path. A visit is a request whose path may take the lock,
once or several times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.paths import PagePath
from allocsim.slub.locks.holds import Lock
from allocsim.slub.paths import AllocPath
from allocsim.tables import joined, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import Zone
    from allocsim.slub.requests import ObjectRequests
    from allocsim.tables import Bools, Int8, Int16, Int32, Int64, Ints, UInt8

_LIST_LOCK = (
    # 7.x: refill_objects, get_from_partial, free_to_pcs_bulk's flush, __slab_free (R3.13 - R3.18)
    *(AllocPath.REFILL_PARTIAL, AllocPath.REFILL_NEW, AllocPath.SLOW_PARTIAL, AllocPath.SLOW_NEW),
    *(AllocPath.FLUSH, AllocPath.FLUSH_MAIN, AllocPath.SLOW_FREE),
    AllocPath.REMOTE_FREE,
    # 6.12: get_partial_node, put_partials, __slab_free of the last object (R3.33 - R3.37)
    *(AllocPath.NODE_PARTIAL, AllocPath.CPU_PARTIAL_DRAIN, AllocPath.SLAB_FREED),
)
_BARN = (AllocPath.BARN_GET, AllocPath.BARN_PUT, AllocPath.INSTALL_EMPTY)
_ZONE = (
    *(PagePath.REFILL, PagePath.REFILL_CLAIM, PagePath.REFILL_STEAL),
    *(PagePath.BUDDY, PagePath.BUDDY_CLAIM, PagePath.BUDDY_STEAL),
    *(PagePath.DRAIN, PagePath.BUDDY_FREE),
)


class Visits(NamedTuple):
    """Visits to locks; arrays of one length.

    Args:
        lock: Lock (i1).
        owner: number of the cache, or of the zone (i4).
        seq: number of the event (i8).
        cpu: its CPU (i2).
    """

    lock: Int8
    owner: Int32
    seq: Int64
    cpu: Int16


class PageRows(NamedTuple):
    """Page requests and how they were served; arrays of one length.

    Args:
        path: PagePath (u1).
        pfn: first page frame (i8).
        seq: number of the event (i8).
        cpu: its CPU (i2).
    """

    path: UInt8
    pfn: Int64
    seq: Int64
    cpu: Int16


def visits(
    objects: ObjectRequests, path: UInt8, pages: Sequence[PageRows], zones: Sequence[Zone]
) -> Visits:
    """The visits of a window.

    Args:
        objects: object requests.
        path: AllocPath of each.
        pages: those of slab and those of everyone else.
        zones: of the machine, by number.
    """
    having = [number for number, zone in enumerate(zones) if zone.managed]
    number = np.array(sorted(having, key=lambda each: zones[each].start_pfn), np.int32)
    starts = np.array([zones[each].start_pfn for each in number], np.int64)
    parts = [
        _part(Lock.LIST_LOCK, np.isin(path, _LIST_LOCK), objects.cache, objects.seq, objects.cpu),
        _part(Lock.BARN, np.isin(path, _BARN), objects.cache, objects.seq, objects.cpu),
    ]
    for rows in pages:
        at = np.searchsorted(starts, rows.pfn, side="right") - 1
        there = np.isin(rows.path, _ZONE) & (at >= 0)
        parts.append(_part(Lock.ZONE, there, number[at], rows.seq, rows.cpu))
    return joined(parts)


def _part(lock: Lock, there: Bools, owner: Ints, seq: Int64, cpu: Ints) -> Visits:
    rows = np.flatnonzero(there)
    return Visits(
        np.full(len(rows), lock, np.int8),
        owner[rows].astype(np.int32),
        seq[rows].astype(np.int64),
        cpu[rows].astype(np.int16),
    )


def joined_visits(windows: Sequence[Visits]) -> Visits:
    """Visits of several windows, at least one, in order of lock, owner and time."""
    every = joined(windows)
    order = np.lexsort((every.seq, every.owner, every.lock))
    return rows_of(every, order)
