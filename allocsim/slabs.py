"""The slabs of one cache: new, partial, empty (R3.13, R3.15, R3.17, R3.18, R3.22 of 7.2).

Only batches come here, a refill or a flush of a sheaf at a time; a cache without sheaves sends
batches of one. An object is ``slab << 16 | index``, a slab ``cache << 32 | number``, numbered from
0 in the order the cache made them; slabs older than the trace have the caller's negative keys.

A slab with no free object is on no list (R3.22), so the partial list is all there is to remember.
Free lists have their head last: a push is an append.
"""

from __future__ import annotations

from collections import deque
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from allocsim.profile import CacheShape

INDEX_BITS = 16
CACHE_BITS = 32
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
        freelist_order: Callable[[int, int, int], Sequence[int]] | None,
    ) -> None:
        self.shape = shape
        self.stat = stat
        self.cache = cache
        self.freelist_order = freelist_order
        #: Free list of every slab on the partial list.
        self.partial: dict[int, list[int]] = {}
        #: The list's order, head first. Slabs freed from the midst of it stay until they are head.
        self.queue: deque[int] = deque()
        self.created = 0
        self.fallback: set[int] = set()  # slabs of the fallback order
        self.least = min(shape.objects, shape.min_objects)
        #: Pages asked for and given back: time, slab, order, +1 or -1, one after the other.
        self.pages: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Slabs:
        """As deepcopy gives it, without a look at every number in every free list."""
        copied = copy(self)
        copied.stat = deepcopy(self.stat, memo)
        copied.partial = {slab: free.copy() for slab, free in self.partial.items()}
        copied.queue = self.queue.copy()
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
        if partial:
            self.stat["list_lock"] += 1
        while partial and len(got) < want:
            slab = self._head()
            self.queue.popleft()
            free = partial.pop(slab)
            room = want - len(got)
            if len(free) <= room:
                free.reverse()
                got += free
            else:
                # The remainder goes to the tail: mm/slub.c:__slab_try_return_freelist (7.2).
                got += free[: -room - 1 : -1]
                del free[-room:]
                self._add(slab, free)
                self.stat["list_lock"] += 1
        from_partial = len(got)
        while len(got) < want and self.may_grow(max_order):
            got += self._from_new_slab(want - len(got), time, max_order)
        return got, len(got) > from_partial

    def _head(self) -> int:
        """The first slab of the partial list, which is not empty."""
        while self.queue[0] not in self.partial:
            self.queue.popleft()
        return self.queue[0]

    def _add(self, slab: int, free: list[int]) -> None:
        """Add a slab at the tail of the partial list."""
        self.partial[slab] = free
        self.queue.append(slab)

    def requests(self) -> int:
        """Page requests made in this window so far."""
        return len(self.pages) // 4

    def may_grow(self, max_order: int) -> bool:
        """Whether a new slab can be had while the page allocator serves up to ``max_order``."""
        return self.shape.min_order <= max_order

    def falls_short(self, want: int) -> bool:
        """Whether the partial list holds fewer than ``want`` free objects."""
        for free in self.partial.values():
            want -= len(free)
            if want <= 0:
                return False
        return want > 0

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
        first = slab << INDEX_BITS
        if self.freelist_order is None:
            free = list(range(first, first + objects))
        else:
            free = [first + index for index in self.freelist_order(self.cache, number, objects)]
        if want >= objects:
            return free
        got = free[:want]
        free.reverse()
        del free[-want:]
        # To the head of the list. A new slab is made only when the list is empty, so that is its
        # tail too.
        self._add(slab, free)
        self.stat["list_lock"] += 1
        return got

    def take_one(self, time: int, max_order: int) -> tuple[int | None, bool]:
        """One object by the slow path (R3.15), and whether it took a new slab.

        mm/slub.c:___slab_alloc (7.2): the first partial slab stays on the list unless this was its
        last free object. None when there is no free object and pages are refused.
        """
        self.stat["alloc_slowpath"] += 1
        if self.partial:
            self.stat["list_lock"] += 1
            slab = self._head()
            free = self.partial[slab]
            taken = free.pop()
            if not free:
                del self.partial[slab]
                self.queue.popleft()
            return taken, False
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
        if len(set(slabs)) == len(slabs):
            # No two of one slab: every object is its own chain.
            get, least = self.partial.get, self.least
            for slab, found in zip(reversed(slabs), reversed(objects), strict=True):
                free = get(slab)
                if free is None:
                    self._was_full(slab, [found], time)
                else:
                    free.append(found)
                    if len(free) >= least:
                        self._may_be_empty(slab, free, time)
            return
        size = len(objects)
        while size:
            size -= 1
            slab = slabs[size]
            chain = [objects[size]]
            same = at = size
            misses = 0
            while at:
                at -= 1
                if slabs[at] == slab:
                    chain.append(objects[at])
                    same -= 1
                    objects[at] = objects[same]
                    slabs[at] = slabs[same]
                else:
                    misses += 1
                    if misses == LOOKAHEAD:
                        break
            size = same
            self.free_chain(slab, chain, time)

    def free_chain(self, slab: int, chain: list[int], time: int) -> None:
        """Push a chain, tail first, on its slab's free list (R3.17, mm/slub.c:__slab_free 7.2)."""
        free = self.partial.get(slab)
        if free is None:
            self._was_full(slab, chain, time)
        else:
            free += chain
            if len(free) >= self.least:
                self._may_be_empty(slab, free, time)

    def _was_full(self, slab: int, chain: list[int], time: int) -> None:
        """A slab on no list got its first free objects."""
        self.stat["list_lock"] += 1
        if len(chain) == self._objects(slab) and len(self.partial) >= self.shape.min_partial:
            self._discard(slab, time)
            return
        self._add(slab, chain)
        self.stat["free_add_partial"] += 1

    def _may_be_empty(self, slab: int, free: list[int], time: int) -> None:
        """A slab on the partial list got more free objects: perhaps all it has."""
        if len(free) < self._objects(slab):
            return
        self.stat["list_lock"] += 1
        # nr_partial counts this slab too.
        if len(self.partial) >= self.shape.min_partial:
            del self.partial[slab]
            self.stat["free_remove_partial"] += 1
            self._discard(slab, time)

    def _objects(self, slab: int) -> int:
        shape = self.shape
        return shape.min_objects if slab in self.fallback else shape.objects

    def _discard(self, slab: int, time: int) -> None:
        shape = self.shape
        order = shape.min_order if slab in self.fallback else shape.order
        self.fallback.discard(slab)
        self.stat["free_slab"] += 1
        self.pages += (time, slab, order, -1)

    def add_older(self, slabs: Sequence[int], objects: Sequence[int]) -> None:
        """Put slabs older than the trace on the list with the given free objects, in order."""
        for slab, found in zip(slabs, objects, strict=True):
            if slab not in self.partial:
                self._add(slab, [])
            self.partial[slab].append(found)
        for free in self.partial.values():
            free.reverse()
