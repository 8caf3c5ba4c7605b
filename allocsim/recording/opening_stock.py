"""Blocks of pages that were there before the recording, by the kernel's page owner (I8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_extents import within

if TYPE_CHECKING:
    from allocsim.tables import Bools, Columns, Int8, Int32, Int64


@dataclass(slots=True)
class OpeningStock:
    """What /sys/kernel/debug/page_owner said of each block that was allocated.

    A block tells of the first life that the recording shows on its frames, and of no later one.

    Attributes:
        pfn: i8, first frames of the blocks, ascending.
        order: i4, their orders.
        gfp_flags: i8, what each was allocated with.
        stack: i4, where it was (a number among the recording's stacks); -1: not known.
        block_type: i1, migratetype of the page block each lies in (allocsim.page_alloc.zones.Mt);
            -1: another.
        ts: i8, ns: when each was allocated, by the kernel's clock.
        unread: blocks of which the page owner's words could not be read.
    """

    pfn: Int64
    order: Int32
    gfp_flags: Int64
    stack: Int32
    block_type: Int8
    ts: Int64
    unread: int = 0
    _told: Bools = field(init=False)

    def __post_init__(self) -> None:
        self._told = np.zeros(len(self.pfn), np.bool_)

    def tell(self, lives: Columns, since: int) -> None:
        """Give lives that are older than the recording the flags, stack and order they began with.

        Args:
            lives: page lives by handle; what is told is written into them.
            since: handle from which on lives are new.
        """
        new = np.flatnonzero(lives["page"] >= since)
        ends = {"start": self.pfn, "end": self.pfn + (np.int64(1) << self.order.astype(np.int64))}
        block = within(ends, lives["pfn"][new])
        on_one = block >= 0
        on_one[on_one] = ~self._told[block[on_one]]
        block, first = np.unique(block[on_one], return_index=True)
        self._told[block] = True
        life = new[on_one][first]
        freed = lives["free_seq"][life] >= 0
        fits = (lives["alloc_seq"][life] < 0) & (lives["alloc_ts"][life] < 0)
        fits &= lives["pfn"][life] == self.pfn[block]
        # Between the two the block may have gone and come back as another.
        fits &= ~freed | (lives["order"][life] == self.order[block])
        life, block = life[fits], block[fits]
        lives["order"][life] = self.order[block]
        lives["gfp_flags"][life] = self.gfp_flags[block]
        lives["stack"][life] = self.stack[block]
