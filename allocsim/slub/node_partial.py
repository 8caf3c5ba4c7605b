"""A node's partial list of one cache in arrays: which slabs are on it, and their free objects.

A slab on the list has a row: how many objects are free, and their places in the slab, head of the
free list last, so that a push is an append. The list's order is a queue of slabs. One that is freed
out of its midst leaves its entry behind; entries of slabs that have no row are passed over.

They serve many slabs at once (slabs_bulk).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.tables import Int64

INDEX_BITS = 16  #: an object is slab << 16 | index
NUMBER = (1 << 32) - 1  #: of a slab: its number in its cache
NO_ROW = -1
_ROWS, _SLABS = 16, 64  # to begin with


class PartialList:
    """The list.

    Args:
        width: most objects a slab has.

    Attributes:
        free: (rows, width) places of free objects (u2).
        count: free objects of each row, 0 for a row not in use (i4).
        slab: the slab of each row (i8).
        objects: free objects of all slabs on the list.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.objects = 0
        self.free = np.empty((_ROWS, width), np.uint16)
        self.count = np.zeros(_ROWS, np.int32)
        self.slab = np.empty(_ROWS, np.int64)
        self._row_of = np.full(_SLABS, NO_ROW, np.int32)  # by number
        self._pre_trace: dict[int, int] = {}  # rows of slabs older than the trace
        self._unused = list(range(_ROWS))
        self._queue = np.empty(_SLABS, np.int64)
        self._head = self._tail = 0

    def __len__(self) -> int:
        return len(self.count) - len(self._unused)

    def __deepcopy__(self, _: dict[int, Any]) -> PartialList:
        """As deepcopy gives it, but quicker."""
        copied = copy(self)
        for name in ("free", "count", "slab", "_row_of", "_queue", "_pre_trace", "_unused"):
            setattr(copied, name, getattr(self, name).copy())
        return copied

    def items(self) -> Iterator[tuple[int, Int64]]:
        """Slabs and the places of their free objects (i8), the head of the list first.

        The head of a free list is last.
        """
        slabs = self._queue[self._head : self._tail]
        for slab, row in zip(slabs.tolist(), self.rows(slabs).tolist(), strict=True):
            if row != NO_ROW:
                yield slab, self.free[row, : self.count[row]].astype(np.int64)

    def add(self, slab: int, places: Int64) -> None:
        """Put a slab at the tail of the list, with free objects."""
        slabs = np.array([slab])
        row = self.new_rows(slabs)
        self.free[row[0], : len(places)] = places
        self.hold(row, np.array([len(places)]))
        self.append(slabs)

    def rows(self, slabs: Int64) -> Int64:
        """The row of each slab (key, i8): i8, NO_ROW where it is not on the list."""
        pre_trace = np.flatnonzero(slabs < 0)
        number = slabs & NUMBER
        number[pre_trace] = 0
        self._room_for(int(number.max(initial=0)))
        found = self._row_of.take(number).astype(np.int64)
        if len(pre_trace):
            found[pre_trace] = [
                self._pre_trace.get(slab, NO_ROW) for slab in slabs[pre_trace].tolist()
            ]
        return found

    def ahead(self, most: int) -> tuple[Int64, Int64]:
        """The first slabs of the list, without taking them off it.

        Args:
            most: as many at least, if there are.

        Returns:
            Their rows (i8), and how far from the queue's head each entry stands (i8, rising).
        """
        looked = most
        while True:
            rows = self.rows(self._queue[self._head : min(self._head + looked, self._tail)])
            there = np.flatnonzero(rows != NO_ROW)
            # Entries of slabs that were freed lie between.
            if len(there) >= min(most, len(self)):
                return rows[there], there
            looked *= 2

    def pass_by(self, entries: int) -> None:
        """The first entries of the queue have been dealt with."""
        self._head += entries

    def append(self, slabs: Int64) -> None:
        """Queue slabs (keys, i8), which have rows, at the tail, in this order."""
        self._append_room(len(slabs))
        self._queue[self._tail : self._tail + len(slabs)] = slabs
        self._tail += len(slabs)

    def new_rows(self, slabs: Int64) -> Int64:
        """Give slabs (keys, i8) that have none empty rows (i8); the caller queues the slabs."""
        if len(slabs) > len(self._unused):
            self._more_rows(len(slabs))
        rows = np.array(self._unused[len(self._unused) - len(slabs) :], np.int64)
        del self._unused[len(self._unused) - len(slabs) :]
        self.slab[rows] = slabs
        self._set(slabs, rows)
        return rows

    def hold(self, rows: Int64, counts: Int64) -> None:
        """Say how many free objects slabs have now, whose ``free`` has been written.

        Args:
            rows: each no more than once (i8).
            counts: free objects of each (i8).
        """
        self.objects += int(counts.sum()) - int(self.count[rows].sum())
        self.count[rows] = counts

    def drop_many(self, rows: Int64) -> None:
        """Take the slabs of some rows (i8, each once) off the list, and give the rows back."""
        self.objects -= int(self.count[rows].sum())
        slabs = self.slab[rows]
        self._set(slabs, np.full(len(rows), NO_ROW, np.int64))
        self.count[rows] = 0
        self._unused += rows.tolist()

    def _set(self, slabs: Int64, rows: Int64) -> None:
        newer = slabs >= 0
        number = slabs[newer] & NUMBER
        if len(number):
            self._room_for(int(number.max()))
            self._row_of[number] = rows[newer]
        if len(number) < len(slabs):
            for slab, row in zip(slabs[~newer].tolist(), rows[~newer].tolist(), strict=True):
                if row == NO_ROW:
                    del self._pre_trace[slab]
                else:
                    self._pre_trace[slab] = row

    def _room_for(self, number: int) -> None:
        if number >= len(self._row_of):
            grown = np.full(2 * number + 1, NO_ROW, np.int32)
            grown[: len(self._row_of)] = self._row_of
            self._row_of = grown

    def _more_rows(self, wanted: int) -> None:
        rows = len(self.count)
        more = max(rows, wanted)
        self.free = np.concatenate((self.free, np.empty((more, self.width), np.uint16)))
        self.count = np.concatenate((self.count, np.zeros(more, np.int32)))
        self.slab = np.concatenate((self.slab, np.empty(more, np.int64)))
        self._unused = [*range(rows + more - 1, rows - 1, -1), *self._unused]

    def _append_room(self, wanted: int) -> None:
        if self._tail + wanted <= len(self._queue):
            return
        waiting = self._queue[self._head : self._tail]
        self._queue = np.empty(2 * (len(waiting) + wanted), np.int64)
        self._queue[: len(waiting)] = waiting
        self._head, self._tail = 0, len(waiting)
