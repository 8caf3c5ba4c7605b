"""The second event of a large kmalloc (T3).

6.12 and later emit kmalloc twice for a size that is not a constant and above 8 KiB: first inside
the slab code, with a call site there, then with the real call site (mm/slub.c:
__kmalloc_large_node_noprof, then :__do_kmalloc_node; 7.2). The second is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.events import Ev
from pipeline.ingest.stacks.contexts import before

if TYPE_CHECKING:
    from allocsim.tables import Int64
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.stream import Stream

_COMPARED = ("ptr", "bytes_req", "bytes_alloc")


def large_twice(stream: Stream, types: EventTypes, large: int) -> Int64:
    """Large kmallocs that the same CPU reports twice at once.

    Between the two there may only be events of interrupts.

    Args:
        stream: the records.
        types: the recording's event types.
        large: bytes above which a kmalloc comes from the page allocator (R3.2).

    Returns:
        i8, pairs x 2: the two records of each.
    """
    found = [_large_twice(stream, types, slot, large) for slot in range(len(types.kept))]
    return np.concatenate([np.zeros((0, 2), np.int64), *found])


def _large_twice(stream: Stream, types: EventTypes, slot: int, large: int) -> Int64:
    kept = types.kept[slot]
    none = np.zeros((0, 2), np.int64)
    if kept.event.code != Ev.KMALLOC or any(name not in kept.columns for name in _COMPARED):
        return none
    record = np.flatnonzero(stream.slot == slot)
    size = stream.gather(kept.columns["bytes_alloc"], stream.offset[record])
    record = record[size > large]
    same = np.ones(max(len(record) - 1, 0), np.bool_)
    for name in _COMPARED:
        values = stream.gather(kept.columns[name], stream.offset[record])
        same &= values[1:] == values[:-1]
    at = np.flatnonzero(same)
    if not at.size:
        return none
    events = stream.slot < len(types.kept)
    at = at[before(stream, record[at + 1], events) == record[at]]
    # A failed allocation has no address, so two in a row are four alike: every other one goes.
    number = np.arange(len(at))
    run = number - np.maximum.accumulate(np.where(np.diff(at, prepend=-2) > 1, number, 0))
    at = at[run % 2 == 0]
    return np.stack([record[at], record[at + 1]], axis=1)
