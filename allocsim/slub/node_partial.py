"""A node's partial list of one cache in arrays: which slabs are on it, and their free objects.

A slab on the list has a row: how many objects are free, and their places in the slab, head of the
free list last, so that a push is an append. The list's order is a queue of slabs. One that is freed
out of its midst leaves its entry behind; entries of slabs that have no row are passed over.

Arrays serve many slabs at once (slabs_bulk); memoryviews of the same bytes serve one.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        counts: memoryview of ``count``; read it, and let the methods write.
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
        self._look()

    def _look(self) -> None:
        """Take memoryviews of arrays that are new."""
        self.counts = self.count.data
        self._cells = self.free.reshape(-1).data
        self._slabs = self.slab.data
        self._rows = self._row_of.data

    def __len__(self) -> int:
        return len(self.count) - len(self._unused)

    def __deepcopy__(self, _: dict[int, Any]) -> PartialList:
        """As deepcopy gives it; memoryviews cannot be copied."""
        copied = copy(self)
        copied.copy_arrays()
        return copied

    def copy_arrays(self) -> None:
        """Let everything that changes be this list's own."""
        self.free, self.count, self.slab = self.free.copy(), self.count.copy(), self.slab.copy()
        self._row_of, self._queue = self._row_of.copy(), self._queue.copy()
        self._pre_trace, self._unused = self._pre_trace.copy(), self._unused.copy()
        self._look()

    def items(self) -> Iterator[tuple[int, list[int]]]:
        """Slabs and their free objects, the head of the list first, that of a free list last."""
        for slab in self._queue[self._head : self._tail].tolist():
            row = self.row(slab)
            if row != NO_ROW:
                yield slab, self.top(row, self.counts[row])[::-1]

    # -- one slab

    def row(self, slab: int) -> int:
        """The row of a slab, NO_ROW if it is not on the list."""
        if slab < 0:
            return self._pre_trace.get(slab, NO_ROW)
        number, rows = slab & NUMBER, self._rows
        return rows[number] if number < len(rows) else NO_ROW

    def add(self, slab: int, places: Sequence[int]) -> None:
        """Put a slab at the tail of the list, with free objects."""
        if not self._unused:
            self._more_rows(1)
        row = self._unused.pop()
        if slab < 0:
            self._pre_trace[slab] = row
        else:
            self._room_for(slab & NUMBER)
            self._rows[slab & NUMBER] = row
        self._slabs[row] = slab
        self._push(row, places)
        self._append_room(1)
        self._queue[self._tail] = slab
        self._tail += 1

    def push(self, slab: int, places: Sequence[int]) -> int:
        """Push free objects on a slab's free list; how many it has now, NO_ROW if it has no row."""
        row = self.row(slab)
        if row != NO_ROW:
            return self._push(row, places)
        return NO_ROW

    def _push(self, row: int, places: Sequence[int]) -> int:
        cells, held = self._cells, self.counts[row]
        at = row * self.width + held
        for place in places:
            cells[at] = place
            at += 1
        self.objects += len(places)
        held += len(places)
        self.counts[row] = held
        return held

    def take_first(self, most: int) -> tuple[list[int], int]:
        """Take up to so many objects from the first slab, head first; and how many it has left.

        There must be a slab; one that has none left goes off the list.
        """
        row = self.first()
        held = self.counts[row]
        count = min(held, most)
        left = held - count
        taken = self.top(row, count)
        if left:
            self.counts[row] = left
            self.objects -= count
        else:
            self._head += 1
            self.drop(row)
        return taken, left

    def top(self, row: int, count: int) -> list[int]:
        """Objects at the head of a slab's free list, head first."""
        end = row * self.width + self.counts[row]
        base = self._slabs[row] << INDEX_BITS
        places = self._cells[end - count : end].tolist()
        places.reverse()
        return [base | place for place in places]

    def first(self) -> int:
        """Row of the first slab; there must be one."""
        while True:
            row = self.row(int(self._queue[self._head]))
            if row != NO_ROW:
                return row
            self._head += 1

    def first_to_tail(self) -> None:
        """Move the first slab, of which take_first() has left something, to the tail."""
        slab = self._queue[self._head]
        self._head += 1
        self._append_room(1)
        self._queue[self._tail] = slab
        self._tail += 1

    def drop(self, row: int) -> None:
        """Take a slab that is freed off the list; its entry in the queue stays behind."""
        slab = self._slabs[row]
        if slab < 0:
            del self._pre_trace[slab]
        else:
            self._rows[slab & NUMBER] = NO_ROW
        self.objects -= self.counts[row]
        self.counts[row] = 0
        self._unused.append(row)

    # -- many slabs

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
            most: entries of the queue to look at; those of slabs that have gone count too.

        Returns:
            Their rows (i8), and how far from the queue's head each entry stands (i8, rising).
        """
        rows = self.rows(self._queue[self._head : min(self._head + most, self._tail)])
        there = np.flatnonzero(rows != NO_ROW)
        return rows[there], there

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

    # -- room

    def _room_for(self, number: int) -> None:
        if number >= len(self._row_of):
            grown = np.full(2 * number + 1, NO_ROW, np.int32)
            grown[: len(self._row_of)] = self._row_of
            self._row_of = grown
            self._look()

    def _more_rows(self, wanted: int) -> None:
        rows = len(self.count)
        more = max(rows, wanted)
        self.free = np.concatenate((self.free, np.empty((more, self.width), np.uint16)))
        self.count = np.concatenate((self.count, np.zeros(more, np.int32)))
        self.slab = np.concatenate((self.slab, np.empty(more, np.int64)))
        self._unused = [*range(rows + more - 1, rows - 1, -1), *self._unused]
        self._look()

    def _append_room(self, wanted: int) -> None:
        if self._tail + wanted <= len(self._queue):
            return
        waiting = self._queue[self._head : self._tail]
        self._queue = np.empty(2 * (len(waiting) + wanted), np.int64)
        self._queue[: len(waiting)] = waiting
        self._head, self._tail = 0, len(waiting)
