"""Where the slabs of a synthetic trace lie: their first page frames, those of older slabs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.initial_state.slabs import FIRST_KEY

if TYPE_CHECKING:
    from allocsim.simulated_window import SimulatedWindow
    from allocsim.tables import I4, I8


_NUMBER = (1 << 32) - 1  # of a slab within its cache


class SlabFrames:
    """First page frame of every slab that was ever made, by cache and number.

    Four bytes a slab: one table for all caches, in which each has room for twice what it has made.
    """

    def __init__(self, caches: int) -> None:
        self._room = np.full(caches, 16, np.int64)
        self._first = np.cumsum(self._room) - self._room
        self._frames = np.zeros(int(self._room.sum()), np.uint32)
        #: First page frame of each slab older than the trace, by FIRST_KEY less its key.
        self.pre_trace: I8 = np.empty(0, np.int64)

    def add(self, result: SimulatedWindow) -> None:
        """Note the slabs of a window."""
        born = np.flatnonzero(result.slab_pages.way > 0)
        if not len(born):
            return
        cache, number = result.slab_pages.cache[born], result.slab_pages.slab[born] & _NUMBER
        most = np.zeros(len(self._room), np.int64)
        np.maximum.at(most, cache, number + 1)
        if np.any(most > self._room):
            self._grow(np.where(most > self._room, 2 * most, self._room))
        self._frames[self._first[cache] + number] = result.slab_pfns[born]

    def _grow(self, room: I8) -> None:
        frames = np.zeros(int(room.sum()), np.uint32)
        first = np.cumsum(room) - room
        for old, new, count in zip(
            self._first.tolist(), first.tolist(), self._room.tolist(), strict=True
        ):
            frames[new : new + count] = self._frames[old : old + count]
        self._room, self._first, self._frames = room, first, frames

    def of(self, cache: I4, slab: I8) -> I8:
        """First page frame of each slab (i8)."""
        at = slab & _NUMBER
        at += self._first[cache]
        if not len(self.pre_trace):
            frames: I8 = self._frames[at].astype(np.int64)
            return frames
        old = slab < 0
        at[old] = 0
        frames = self._frames[at].astype(np.int64)
        frames[old] = self.pre_trace[FIRST_KEY - slab[old]]
        return frames
