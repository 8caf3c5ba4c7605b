"""Live blocks of pages over time, by kind, order and charge: what descriptors are needed for.

Counts of allocations, not of pages (R6.4): a descriptor is one for the whole block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.zones import ORDERS
from allocsim.recording.page_kinds import PageKind

if TYPE_CHECKING:
    from allocsim.tables import Bools, Columns, Int64

_ORDERS = ORDERS + 8  # of a frame that a damaged recording holds, or of a gigantic page
_GROUPS = len(PageKind) * _ORDERS * 4


class LiveBlocks:
    """Blocks live when a recording begins, and at the end of each of its time slices.

    Args:
        first_ts: time of the first event, ns.
        slice_ns: length of a slice, ns.
        slices: how many there are.
    """

    def __init__(self, first_ts: int, slice_ns: int, slices: int) -> None:
        self._first, self._slice, self._slices = first_ts, slice_ns, slices
        # What changes when the recording begins (column 0) and in each slice.
        self._changes = np.zeros((_GROUPS, slices + 1), np.int64)

    def add(self, lives: Columns, *, sure: bool = True) -> None:
        """Count lives in, in any order.

        Args:
            lives: ``kind``, ``order``, ``charged`` (__GFP_ACCOUNT), ``start`` and ``end`` (ns; -1:
                before the recording, and not seen to end).
            sure: the recording knows them; else each may have been there or not.
        """
        group = (
            lives["kind"].astype(np.int64) * _ORDERS + np.clip(lives["order"], 0, _ORDERS - 1)
        ) * 4
        group += lives["charged"] * 2 + int(sure)
        self._count(group, self.column_of(lives["start"]), 1)
        ended = lives["end"] >= 0
        self._count(group[ended], self.column_of(lives["end"][ended]), -1)

    def without(self, kind: PageKind) -> LiveBlocks:
        """The same without the blocks of a kind."""
        others = LiveBlocks(self._first, self._slice, self._slices)
        others._changes = self._changes.copy()
        others._changes[int(kind) * _ORDERS * 4 : (int(kind) + 1) * _ORDERS * 4] = 0
        return others

    def add_unknown(self, pages: int) -> None:
        """Count pages in of which it is never known whether they are a block."""
        self._changes[int(PageKind.UNKNOWN) * _ORDERS * 4, 0] += pages

    def column_of(self, ts: Int64) -> Int64:
        """Column of a time: 0 before the recording, else 1 for its first slice, and so on."""
        column = (ts - self._first) // self._slice + 1
        return np.where(ts < 0, 0, np.clip(column, 0, self._slices))

    def _count(self, group: Int64, column: Int64, change: int) -> None:
        flat = np.bincount(group * (self._slices + 1) + column, minlength=self._changes.size)
        self._changes += change * flat.reshape(self._changes.shape)

    def rows(self) -> Columns:
        """One row a moment and group of which there is ever a block.

        Columns ``moment`` (0: when the recording begins, n: the end of slice n - 1; i4),
        ``page_kind`` (i2), ``order`` (i4), ``charged``, ``sure`` (bool) and ``blocks`` (i8).
        """
        live = np.cumsum(self._changes, axis=1)
        group = np.flatnonzero(live.any(axis=1))
        moments = np.arange(self._slices + 1, dtype=np.int32)
        return {
            "moment": np.tile(moments, len(group)),
            "page_kind": np.repeat(group // (4 * _ORDERS), len(moments)).astype(np.int16),
            "order": np.repeat(group // 4 % _ORDERS, len(moments)).astype(np.int32),
            "charged": _flag(group, 2, len(moments)),
            "sure": _flag(group, 1, len(moments)),
            "blocks": live[group].ravel(),
        }


def _flag(group: Int64, bit: int, times: int) -> Bools:
    return np.repeat((group & bit) != 0, times)
