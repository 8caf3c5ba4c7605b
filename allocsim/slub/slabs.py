"""The slabs of one cache: new, partial, empty (R3.13, R3.15, R3.17, R3.18, R3.22 of 7.2).

Only batches come here, a refill or a flush of a sheaf at a time; a cache without sheaves sends
batches of one. An object is ``slab << 16 | index``, a slab ``cache << 32 | number``, numbered from
0 in the order the cache made them; slabs older than the trace have the caller's negative keys.

A slab with no free object is on no list (R3.22), so the partial list is all there is to remember.
Many batches of one kind are done at once by allocsim.slub.slabs_bulk.
"""

from __future__ import annotations

from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.slub.node_partial import INDEX_BITS, NO_ROW, PartialList

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64

CACHE_BITS = 32
_PLACE = (1 << INDEX_BITS) - 1
LOOKAHEAD = 3  #: mm/slub.c:build_detached_freelist (7.2)


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
        self.partial = PartialList(max(shape.objects, shape.min_objects))
        self.created = 0
        self.fallback: set[int] = set()  # slabs of the fallback order
        self.least = min(shape.objects, shape.min_objects)
        #: Pages asked for and given back: time, slab, order, +1 or -1, one after the other.
        self.pages: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Slabs:
        """As deepcopy gives it, without a look at every number in every free list."""
        copied = copy(self)
        copied.stat = deepcopy(self.stat, memo)
        copied.partial = deepcopy(self.partial, memo)
        copied.fallback = self.fallback.copy()
        copied.pages = self.pages.copy()
        return copied

    def refill(self, want: int, time: int, max_order: int) -> tuple[list[int], bool]:
        """Take up to ``want`` objects: from partial slabs, then from new ones (R3.13).

        mm/slub.c:refill_objects (7.2). Returns the objects in the order they enter the sheaf, and
        whether a new slab was made. Fewer than ``want`` come back when pages are refused.
        """
        got: list[int] = []
        partial = self.partial
        if partial.objects:
            self.stat["list_lock"] += 1
        while partial.objects and len(got) < want:
            taken, left = partial.take_first(want - len(got))
            self.stat["freelist_cmpxchg"] += 2 if left else 1
            got += taken
            if left:
                # The remainder goes to the tail: mm/slub.c:__slab_try_return_freelist (7.2).
                partial.first_to_tail()
                self.stat["list_lock"] += 1
        from_partial = len(got)
        while len(got) < want and self.may_grow(max_order):
            got += self._from_new_slab(want - len(got), time, max_order)
        return got, len(got) > from_partial

    def requests(self) -> int:
        """Page requests made in this window so far."""
        return len(self.pages) // 4

    def may_grow(self, max_order: int) -> bool:
        """Whether a new slab can be had while the page allocator serves up to ``max_order``."""
        return self.shape.min_order <= max_order

    def _from_new_slab(self, want: int, time: int, max_order: int) -> list[int]:
        """mm/slub.c:allocate_slab, alloc_from_new_slab (7.2): up to ``want`` objects of it."""
        shape, number = self.shape, self.created
        slab = self.cache << CACHE_BITS | number
        order, objects = shape.order, shape.objects
        if order > max_order:
            order, objects = shape.min_order, shape.min_objects
            self.stat["order_fallback"] += 1
            self.fallback.add(slab)
        self.created += 1
        self.stat["alloc_slab"] += 1
        self.pages += (time, slab, order, +1)
        order_out = (
            range(objects)
            if self.freelist_order is None
            else self.freelist_order(self.cache, number, objects)
        )
        first = slab << INDEX_BITS
        if want < objects:
            # To the head of the list. A new slab is made only when the list is empty, so that is
            # its tail too.
            self.partial.add(slab, order_out[: want - 1 : -1])
            self.stat["list_lock"] += 1
        return [first | place for place in order_out[:want]]

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

    def take_all(self) -> list[int]:
        """Every free object of the list, which is empty then."""
        partial = self.partial
        taken: list[int] = []
        while partial.objects:
            taken += partial.take_first(self.partial.width)[0]
        return taken

    def take_one(self, time: int, max_order: int) -> tuple[int | None, bool]:
        """One object by the slow path (R3.15), and whether it took a new slab.

        mm/slub.c:___slab_alloc (7.2): the first partial slab stays on the list unless this was its
        last free object. None when there is no free object and pages are refused.
        """
        self.stat["alloc_slowpath"] += 1
        partial = self.partial
        if partial.objects:
            self.stat["list_lock"] += 1
            self.stat["freelist_cmpxchg"] += 1
            return partial.take_first(1)[0][0], False
        if not self.may_grow(max_order):
            return None, False
        return self._from_new_slab(1, time, max_order)[0], True

    def free_bulk(self, objects: list[int], time: int) -> None:
        """Give a sheaf's objects back, grouped by slab (R3.18).

        mm/slub.c:__kmem_cache_free_bulk, build_detached_freelist (7.2). The last object leads;
        scanning backward, objects of its slab join its chain and are compacted to the end, up to
        the third object of another slab. ``objects`` is consumed.
        """
        slabs = [found >> INDEX_BITS for found in objects]
        size = len(objects)
        while size:
            size -= 1
            slab = slabs[size]
            chain = [objects[size] & _PLACE]
            same = at = size
            misses = 0
            while at:
                at -= 1
                if slabs[at] != slab:
                    misses += 1
                    if misses == LOOKAHEAD:
                        break
                    continue
                chain.append(objects[at] & _PLACE)
                same -= 1
                if misses:
                    objects[at], slabs[at] = objects[same], slabs[same]
            size = same
            self._push_chain(slab, chain, time)

    def free_chain(self, slab: int, chain: list[int], time: int) -> None:
        """Push a chain, tail first, on its slab's free list (R3.17, mm/slub.c:__slab_free 7.2)."""
        self._push_chain(slab, [found & _PLACE for found in chain], time)

    def _push_chain(self, slab: int, places: list[int], time: int) -> None:
        self.stat["freelist_cmpxchg"] += 1
        held = self.partial.push(slab, places)
        if held == NO_ROW:
            self._was_full(slab, places, time)
        elif held >= self.least and held == self.objects_in(slab):
            self._became_empty(slab, time)

    def _was_full(self, slab: int, places: list[int], time: int) -> None:
        """A slab on no list got its first free objects."""
        self.stat["list_lock"] += 1
        if len(places) == self.objects_in(slab) and len(self.partial) >= self.shape.min_partial:
            self.discard(slab, time)
            return
        self.partial.add(slab, places)
        self.stat["free_add_partial"] += 1

    def _became_empty(self, slab: int, time: int) -> None:
        """A slab on the partial list has all its objects back."""
        partial = self.partial
        self.stat["list_lock"] += 1
        # nr_partial counts this slab too.
        if len(partial) >= self.shape.min_partial:
            partial.drop(partial.row(slab))
            self.stat["free_remove_partial"] += 1
            self.discard(slab, time)

    def objects_in(self, slab: int) -> int:
        """How many objects a slab has."""
        shape = self.shape
        return shape.min_objects if slab in self.fallback else shape.objects

    def objects_of(self, slabs: Int64) -> Int64:
        """How many objects each slab (keys, i8) has: fewer where its order fell back (i8, R3.4)."""
        if not self.fallback:
            return np.full(len(slabs), self.shape.objects)
        return np.array([self.objects_in(slab) for slab in slabs.tolist()], np.int64)

    def discard(self, slab: int, time: int) -> None:
        """Give an empty slab, which is on no list, back to the page allocator."""
        shape = self.shape
        order = shape.min_order if slab in self.fallback else shape.order
        self.fallback.discard(slab)
        self.stat["free_slab"] += 1
        self.pages += (time, slab, order, -1)

    def add_pre_trace(self, slabs: Sequence[int], objects: Sequence[int]) -> None:
        """Put slabs older than the trace on the list with the given free objects, in order."""
        held: dict[int, list[int]] = {}
        for slab, found in zip(slabs, objects, strict=True):
            held.setdefault(slab, []).append(found & _PLACE)
        for slab, places in held.items():
            self.partial.add(slab, places[::-1])
