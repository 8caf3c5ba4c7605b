"""Small codes for values of which there are few, exact and without sorting the values.

A table of 2^k slots is indexed by the top bits of value * multiplier. The multiplier is chosen so
that the values known so far fall into slots of their own; a value that is not the one its slot
stands for is new. So a look-up is one multiplication and two gathers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct

if TYPE_CHECKING:
    from allocsim.tables import Array, Int64, UInt16, UInt64

# Odd, bits well mixed: the golden ratio's, as in include/linux/hash.h:GOLDEN_RATIO_64.
_GOLDEN = 0x61C8864680B583EB
_MIN_BITS, _MAX_BITS, _TRIES = 12, 20, 8
# With more values than this a table without collisions would be too large for the cache.
_MAX_TABLE = 2000


class Interner:
    """Numbers 64-bit values 0, 1, 2, ... in the order they are first seen (by window, by size)."""

    def __init__(self) -> None:
        self.values: UInt64 = np.zeros(0, np.uint64)
        self._order: Int64 = np.zeros(0, np.int64)
        self._multiplier = np.uint64(_GOLDEN)
        self._shift = np.uint64(64 - _MIN_BITS)
        self._table: UInt16 | None = None

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, values: UInt64) -> Array:
        """The code of each value: u2, or i8 once there are many; new values are taken in."""
        if not len(values):
            return np.zeros(0, np.uint16)
        codes = self._slot_codes(values)
        if codes is None:
            return self._search(values)
        wrong = self.values.take(codes) != values
        if not wrong.any():
            return codes
        self._add(distinct(values[wrong]))
        return self.codes(values)

    def _slot_codes(self, values: UInt64) -> UInt16 | None:
        """The codes the values' slots stand for; None without a table."""
        if self._table is None:
            if len(self.values):
                return None
            self._add(distinct(values[:: max(len(values) // 4096, 1)]))
            return self._slot_codes(values)
        slots = (values * self._multiplier) >> self._shift
        return self._table.take(slots.view(np.int64))

    def _search(self, values: UInt64) -> Int64:
        """The codes by binary search, for any number of values."""
        ordered = self.values[self._order]
        at = np.searchsorted(ordered, values)
        at[at == len(ordered)] = 0
        new = ordered[at] != values
        if new.any():
            self._add(distinct(values[new]))
            return self._search(values)
        return self._order[at]

    def _add(self, values: UInt64) -> None:
        self.values = np.concatenate([self.values, values])
        self._order = np.argsort(self.values, kind="stable")
        self._table = self._separate() if len(self.values) <= _MAX_TABLE else None

    def _separate(self) -> UInt16 | None:
        """A table in which no two values share a slot; None if none was found."""
        for bits in range(_MIN_BITS, _MAX_BITS + 1):
            self._shift = np.uint64(64 - bits)
            for attempt in range(_TRIES):
                self._multiplier = np.uint64((_GOLDEN * (2 * attempt + 1)) & (1 << 64) - 1)
                slots = (self.values * self._multiplier) >> self._shift
                if len(distinct(slots)) == len(slots):
                    table = np.zeros(1 << bits, np.uint16)
                    table[slots] = np.arange(len(slots), dtype=np.uint16)
                    return table
        return None
