"""Objects that live from one window into another: handle to object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Handles = npt.NDArray[np.int64]

NONE = np.iinfo(np.int64).min


class LiveObjects:
    """Handle -> object, for handles that only rise.

    New entries go at the end, so the handles stay sorted; ended ones are marked and, once they are
    the larger part, squeezed out. Memory is bounded by the live objects.
    """

    def __init__(self) -> None:
        self._handles: Handles = np.empty(0, np.int64)
        self._objects: Handles = np.empty(0, np.int64)
        self._used = 0
        self._ended = 0
        self.highest = NONE

    def add(self, handles: Handles, objects: Handles) -> None:
        """Add rising handles, all above those added before."""
        if not len(handles):
            return
        used = self._used + len(handles)
        if used > len(self._handles):
            room = max(used, self._used * 3 // 2)
            self._handles = np.resize(self._handles[: self._used], room)
            self._objects = np.resize(self._objects[: self._used], room)
        self._handles[self._used : used] = handles
        self._objects[self._used : used] = objects
        self._used = used
        self.highest = int(handles[-1])

    def take(self, handles: Handles) -> tuple[Handles, npt.NDArray[np.bool_]]:
        """End the given lives: their objects, and which of the handles were live."""
        if not self._used:
            return np.zeros(len(handles), np.int64), np.zeros(len(handles), np.bool_)
        place = np.searchsorted(self._handles[: self._used], handles)
        place = np.minimum(place, self._used - 1)
        objects = self._objects[place]
        known = (self._handles[place] == handles) & (objects != NONE)
        ended = place[known]
        self._objects[ended] = NONE
        self._ended += len(ended)
        if self._ended > self._used // 2:
            self._squeeze()
        return objects, known

    def _squeeze(self) -> None:
        keep = self._objects[: self._used] != NONE
        self._handles = self._handles[: self._used][keep]
        self._objects = self._objects[: self._used][keep]
        self._used = len(self._handles)
        self._ended = 0
