"""Which node each CPU of a recording is on: inferred from where its pages came from (I9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import Int64


def cpu_nodes(slab_pages: Int64, pages: Int64) -> tuple[tuple[int, ...], int]:
    """The node of each CPU, and how many CPUs nothing told it of.

    Args:
        slab_pages: (CPUs, nodes) slab pages that each CPU asked for and got from a node (i8).
        pages: the same of all page allocations (i8).
    """
    told = np.where(slab_pages.sum(axis=1, keepdims=True) > 0, slab_pages, pages)
    known = np.flatnonzero(told.sum(axis=1))
    if not len(known):
        return (0,) * len(told), len(told)
    every = np.arange(len(told))
    # The nearest CPU by number that is known, the lower of two.
    nearest = known[np.abs(every[:, None] - known).argmin(axis=1)]
    return tuple(told.argmax(axis=1)[nearest].tolist()), len(told) - len(known)
