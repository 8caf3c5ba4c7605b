"""The slabs of one cache whose windows are planned: new, partial, empty (R3.17 - R3.22 of 7.2).

Only runs of batches come here (slabs_bulk), to which no page is refused. An object is
``slab << 16 | index``, a slab ``cache << 32 | number``, numbered from 0 in the order the cache made
them; slabs older than the trace have the caller's negative keys.

A slab with no free object is on no list (R3.22), so the partial list is all there is to remember.
"""

from __future__ import annotations

from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.slub.node_partial import INDEX_BITS, PartialList

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64

CACHE_BITS = 32


class Slabs:
    """Partial list of one cache on one node.

    Args:
        shape: the cache.
        stat: the cache's counters, shared with the layer above.
        cache: the cache's number.
        freelist_order: (cache, how many slabs before it, objects) -> indices in the order a new
            slab hands them out; None: ascending.
    """

    def __init__(
        self,
        shape: CacheShape,
        stat: Counter[str],
        cache: int,
        freelist_order: FreelistOrder | None,
    ) -> None:
        self.shape = shape
        self.stat = stat
        self.cache = cache
        self.freelist_order = freelist_order
        self.partial = PartialList(shape.objects)
        self.created = 0
        #: Pages asked for and given back: time, slab, order, +1 or -1, one after the other.
        self.pages: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Slabs:
        """As deepcopy gives it, without a look at every number in every free list."""
        copied = copy(self)
        copied.stat = deepcopy(self.stat, memo)
        copied.partial = deepcopy(self.partial, memo)
        copied.pages = self.pages.copy()
        return copied

    def new_slabs(self, times: Sequence[int]) -> Int64:
        """Make slabs of the wanted order, and ask for their pages (R3.4, R3.6).

        Args:
            times: the event that each slab is made at, rising.

        Returns:
            (slabs, objects of one), slab << 16 | index, in the order they are handed out (i8).
        """
        shape, first = self.shape, self.created
        number = np.arange(first, first + len(times))
        self.created += len(times)
        self.stat["alloc_slab"] += len(times)
        slab = self.cache << CACHE_BITS | number
        for time, made in zip(times, slab.tolist(), strict=True):
            self.pages += (time, made, shape.order, +1)
        if self.freelist_order is None:
            places = np.arange(shape.objects)[None]
        else:
            order = self.freelist_order
            places = np.array(
                [order(self.cache, at, shape.objects) for at in number.tolist()], np.int64
            ).reshape(-1, shape.objects)
        return (slab << INDEX_BITS)[:, None] | places

    def discard(self, slab: int, time: int) -> None:
        """Give an empty slab, which is on no list, back to the page allocator."""
        self.stat["free_slab"] += 1
        self.pages += (time, slab, self.shape.order, -1)
