"""Pointers to struct page as frame numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import I8, U8


@dataclass(frozen=True, slots=True)
class StructPages:
    """Where the structs of page frames lie.

    Attributes:
        base: the address of frame 0's.
        size: bytes of each.
        votes: allocations that agree on it; 0: pointers alone tell.
    """

    base: int
    size: int
    votes: int

    def frames(self, pointers: U8) -> I8:
        """The frame numbers of pointers to struct page: i8; -1 for NULL, a failed allocation."""
        frame = ((pointers - np.uint64(self.base)) // np.uint64(self.size)).astype(np.int64)
        frame[pointers == 0] = -1
        return frame
