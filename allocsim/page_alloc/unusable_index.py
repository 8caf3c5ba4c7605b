"""How useful free memory is: the unusable free space index.

M. Gorman and A. Whitcroft, "The What, The Why and the Where To of Anti-Fragmentation", Ottawa
Linux Symposium 2006; mm/vmstat.c:unusable_free_index prints it in thousandths
(/sys/kernel/debug/extfrag/unusable_index).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import F8, Ints


def unusable_index(free_blocks: Ints) -> F8:
    """Share of free pages that lie in blocks too small for a request of each order.

    F_u(j) = (free - sum over i >= j of k_i 2^i) / free, with k_i free blocks of order i. 0: all
    free memory can serve the order; 1: none can, also where nothing is free.

    Args:
        free_blocks: (..., orders) free blocks per order, of all types together or of one.

    Returns:
        (..., orders) numbers from 0 to 1.
    """
    pages = free_blocks.astype(np.float64) * 2.0 ** np.arange(free_blocks.shape[-1])
    free = pages.sum(axis=-1, keepdims=True)
    usable = np.cumsum(pages[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(free > 0, (free - usable) / free, 1.0)
