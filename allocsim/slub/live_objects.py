"""Objects that live from one window into another: handle to object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import Bools, Int64

NONE = np.iinfo(np.int64).min
RECENT = 1 << 22  #: handles looked up directly
FEW = 1 << 12  #: size of their table to begin with


class LiveObjects:
    """Handle -> object, for handles that only rise.

    Most objects die young, so the latest handles have a table of their own that is looked up
    directly; what outlives it moves to a sorted list. Memory is bounded by the live objects.

    Args:
        recent: handles in the table.
    """

    def __init__(self, recent: int = RECENT) -> None:
        self._recent = recent
        self._table = np.full(min(recent, FEW), NONE, np.int64)
        self._first = 0  # handle at the table's begin
        self._old = _SortedObjects()
        self.highest = NONE

    def add(self, handles: Int64, objects: Int64) -> None:
        """Add lives.

        Args:
            handles: rising, all above those added before (i8).
            objects: the object of each, slab << 16 | index (i8).
        """
        if not len(handles):
            return
        span = int(handles[-1]) - self._first + 1
        if span > len(self._table) and len(self._table) < self._recent:
            grown = np.full(min(2 * span, self._recent), NONE, np.int64)
            grown[: len(self._table)] = self._table
            self._table = grown
        if span > len(self._table):
            self._move(int(handles[-1]) + 1 - len(self._table) // 2)
        late = int(np.searchsorted(handles, self._first))
        self._old.add(handles[:late], objects[:late])
        self._table[handles[late:] - self._first] = objects[late:]
        self.highest = int(handles[-1])

    def _move(self, first: int) -> None:
        """Let the table begin at handle ``first``."""
        leaving = self._table[: first - self._first]
        live = np.flatnonzero(leaving != NONE)
        self._old.add(live + self._first, leaving[live])
        staying = self._table[first - self._first :].copy()
        self._table[: len(staying)] = staying
        self._table[len(staying) :] = NONE
        self._first = first

    def take(self, handles: Int64) -> tuple[Int64, Bools]:
        """End lives.

        Args:
            handles: each no more than once (i8).

        Returns:
            The object of each (i8), NONE where the handle was not live; and which were (bool).
        """
        place = handles - self._first
        recent = (place >= 0) & (place < len(self._table))
        inside = place[recent]
        objects = np.full(len(handles), NONE, np.int64)
        objects[recent] = self._table[inside]
        self._table[inside] = NONE
        objects[~recent] = self._old.take(handles[~recent])
        return objects, objects != NONE


class _SortedObjects:
    """Handle -> object in two sorted columns that grow at the end.

    Ended lives are marked and, once they are the larger part, squeezed out.
    """

    def __init__(self) -> None:
        self._handles: Int64 = np.empty(0, np.int64)
        self._objects: Int64 = np.empty(0, np.int64)
        self._used = 0
        self._ended = 0

    def add(self, handles: Int64, objects: Int64) -> None:
        used = self._used + len(handles)
        if used > len(self._handles):
            room = used * 3 // 2
            for name in ("_handles", "_objects"):
                column = np.empty(room, np.int64)
                column[: self._used] = getattr(self, name)[: self._used]
                setattr(self, name, column)
        self._handles[self._used : used] = handles
        self._objects[self._used : used] = objects
        self._used = used

    def take(self, handles: Int64) -> Int64:
        """The objects, NONE for a handle that is not live."""
        if not self._used:
            return np.full(len(handles), NONE, np.int64)
        place = np.searchsorted(self._handles[: self._used], handles)
        place = np.minimum(place, self._used - 1)
        objects = np.where(self._handles[place] == handles, self._objects[place], NONE)
        ended = place[objects != NONE]
        self._objects[ended] = NONE
        self._ended += len(ended)
        if self._ended > self._used // 2:
            self._squeeze()
        return objects

    def _squeeze(self) -> None:
        keep = self._objects[: self._used] != NONE
        self._handles = self._handles[: self._used][keep]
        self._objects = self._objects[: self._used][keep]
        self._used = len(self._handles)
        self._ended = 0
