"""One cache event by event, where sheaves leave the pair of main and spare (7.2, R3.16, R3.20).

``plan`` knows main and spare as one stack of two sheaves that are full or empty by turns. Two users
of a cache break that: kfree_rcu, whose sheaf comes back full after a grace period, and prefilled
sheaves, which take the spare away and bring it back partly full every few events. A cache they use
is stepped through, from the first window they are seen in; there are few such caches (the maple
tree's nodes, a few sizes of kmalloc).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from allocsim.partial_list import INDEX_BITS
from allocsim.paths import Path
from allocsim.profile import MAX_PAGE_ORDER
from allocsim.requests import Op
from allocsim.sheaves import NO_SHEAF

if TYPE_CHECKING:
    from allocsim.cache import CacheEvents, CacheReplay

FAILED = -1  #: as in cache


class Sheaf:
    """A sheaf: its number, and its objects, the next to be taken last."""

    __slots__ = ("number", "objects")

    def __init__(self, number: int, objects: list[int]) -> None:
        self.number = number
        self.objects = objects


class Steps:
    """The sheaves of one cache as lists, and what is done to them.

    Args:
        cache: the cache; its sheaves are taken over as they are.
    """

    def __init__(self, cache: CacheReplay) -> None:
        self.cache = cache
        before, capacity = cache.sheaves, cache.shape.capacity

        def taken(number: int, size: int) -> Sheaf:
            first = number * capacity
            return Sheaf(number, cache.contents[first : first + size].tolist())

        self.main = [
            taken(number, size) for number, size in zip(before.main, before.size, strict=True)
        ]
        self.spare = [
            None if number == NO_SHEAF else taken(number, capacity * full)
            for number, full in zip(before.spare, before.spare_full, strict=True)
        ]
        self.full = [taken(number, capacity) for number in before.full]
        self.empty = [taken(number, 0) for number in before.empty]
        #: Each CPU's sheaf for kfree_rcu, and those that wait for their grace period to end.
        self.rcu_free: list[Sheaf | None] = [None] * len(before.main)
        self.waiting: deque[tuple[int, int, Sheaf]] = deque()
        #: Prefilled sheaves, by the run they serve.
        self.held: dict[int, Sheaf] = {}
        self.time = self.cpu = 0
        self.max_order = MAX_PAGE_ORDER
        self.no_sheaf = False

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        parts = [self.main, self.full, self.held.values(), [s for _, _, s in self.waiting]]
        parts += [[s for s in each if s is not None] for each in (self.spare, self.rcu_free)]
        return sum(len(sheaf.objects) for part in parts for sheaf in part)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events."""
        count = len(events.op)
        none = [0] * count
        parents, objects = events.parent.tolist(), events.objects.tolist()
        orders = None if events.max_order is None else events.max_order.tolist()
        refused = None if events.no_sheaf is None else events.no_sheaf.tolist()
        times = none if events.ts is None else events.ts.tolist()
        runs = none if events.run is None else events.run.tolist()
        left = none if events.left is None else events.left.tolist()
        paths = []
        self.max_order, self.no_sheaf = MAX_PAGE_ORDER, False
        for at, (cpu, op) in enumerate(zip(events.cpu.tolist(), events.op.tolist(), strict=True)):
            self.time, self.cpu = at, cpu
            if orders is not None:
                self.max_order = orders[at]
            if refused is not None:
                self.no_sheaf = refused[at]
            if self.waiting:
                self._land(times[at])
                self.cpu = cpu
            if op == Op.ALLOC:
                objects[at], path = self._alloc(cpu)
            elif op == Op.FROM_SHEAF:
                objects[at], path = self._from_sheaf(cpu, runs[at], left[at])
            else:
                found = objects[at] = objects[parents[at]] if parents[at] >= 0 else objects[at]
                if found == FAILED:
                    path = Path.IGNORED
                elif op == Op.FREE:
                    path = self._free(cpu, found)
                else:
                    path = self._free_rcu(cpu, found, times[at])
            paths.append(path)
        events.objects[:] = objects
        events.path[:] = paths

    # --- allocation

    def _alloc(self, cpu: int) -> tuple[int, Path]:
        """mm/slub.c:alloc_from_pcs, __pcs_replace_empty_main (7.2)."""
        main, path = self.main[cpu], Path.MAIN_HIT
        if not main.objects:
            stat, spare = self.cache.stat, self.spare[cpu]
            if spare is not None and spare.objects:
                self.main[cpu], self.spare[cpu] = spare, main
                path = Path.SPARE_SWAP
            elif self.full:
                stat["barn_get"] += 1
                self.empty.append(main)
                self.main[cpu] = self.full.pop()
                path = Path.BARN_GET
            else:
                stat["barn_get_fail"] += 1
                self.spare[cpu] = None
                refilled = spare or self._empty_sheaf()
                new = stat["alloc_slab"]
                if refilled is None or not self._refill(refilled):
                    if refilled is not None:
                        self._flush(refilled)
                        self._free_sheaf(refilled)
                    return self._slow_alloc()
                self.main[cpu], self.spare[cpu] = refilled, main
                path = Path.REFILL_NEW if stat["alloc_slab"] > new else Path.REFILL_PARTIAL
            main = self.main[cpu]
        self.cache.stat["alloc_fastpath"] += 1
        return main.objects.pop(), path

    def _slow_alloc(self) -> tuple[int, Path]:
        found, path = self.cache.slow_alloc(self.time, self.max_order)
        return found, Path(path)

    def _from_sheaf(self, cpu: int, run: int, left: int) -> tuple[int, Path]:
        """An allocation out of a prefilled sheaf: had before a run's first, then returned.

        mm/slub.c:kmem_cache_alloc_from_sheaf_noprof (7.2). Where it cannot be filled, the object
        is taken by the slow path.
        """
        sheaf = self.held.get(run)
        if sheaf is None:
            sheaf = self._prefill(cpu, min(left, self.cache.shape.capacity))
        elif not sheaf.objects:
            self._refill(sheaf)  # mm/slub.c:kmem_cache_refill_sheaf
        if sheaf is None or not sheaf.objects:
            found, path = self._slow_alloc()
        else:
            found, path = sheaf.objects.pop(), Path.FROM_SHEAF
        self.held.pop(run, None)
        if sheaf is not None:
            if left > 1:
                self.held[run] = sheaf
            else:
                self._return(cpu, sheaf)
        return found, path

    def _prefill(self, cpu: int, wanted: int) -> Sheaf | None:
        """A sheaf with ``wanted`` objects or more: mm/slub.c:kmem_cache_prefill_sheaf (R3.16)."""
        stat, sheaf = self.cache.stat, self.spare[cpu]
        if sheaf is not None:
            self.spare[cpu] = None
            stat["sheaf_prefill_fast"] += 1
        else:
            stat["sheaf_prefill_slow"] += 1
            stat["barn_get" if self.full else "barn_get_fail"] += 1
            sheaf = self.full.pop() if self.full else self._empty_sheaf()
        if sheaf is not None and len(sheaf.objects) < wanted and not self._refill(sheaf):
            self._flush(sheaf)
            self._free_sheaf(sheaf)
            return None
        return sheaf

    def _return(self, cpu: int, sheaf: Sheaf) -> None:
        """mm/slub.c:kmem_cache_return_sheaf (7.2)."""
        stat = self.cache.stat
        if self.spare[cpu] is None:
            self.spare[cpu] = sheaf
            stat["sheaf_return_fast"] += 1
            return
        stat["sheaf_return_slow"] += 1
        if len(self.full) < self.cache.sheaves.max_full and self._refill(sheaf):
            self.full.append(sheaf)
            stat["barn_put"] += 1
            return
        self._flush(sheaf)
        self._free_sheaf(sheaf)

    # --- free

    def _free(self, cpu: int, found: int) -> Path:
        """mm/slub.c:free_to_pcs, __pcs_replace_full_main (7.2)."""
        main, path = self.main[cpu], Path.MAIN_PUSH
        capacity = self.cache.shape.capacity
        if len(main.objects) == capacity:
            spare = self.spare[cpu]
            if spare is None:
                empty, path = self._empty_sheaf(), Path.INSTALL_EMPTY
                if empty is not None:
                    self.spare[cpu] = main
            elif len(spare.objects) < capacity:
                empty, path = spare, Path.SPARE_SWAP
                self.spare[cpu] = main
            elif len(self.full) >= self.cache.sheaves.max_full:
                self.cache.stat["barn_put_fail"] += 1
                self._flush(spare)
                empty, path = spare, Path.FLUSH
                self.spare[cpu] = main
            else:
                empty, path = self._empty_sheaf(), Path.BARN_PUT
                self.cache.stat["barn_put" if empty else "barn_put_fail"] += 1
                if empty is not None:
                    self.full.append(main)
            if empty is None:
                empty, path = self._flush_main(main), Path.FLUSH_MAIN
            self.main[cpu] = main = empty
        main.objects.append(found)
        self.cache.stat["free_fastpath"] += 1
        return path

    def _flush_main(self, main: Sheaf) -> Sheaf:
        """mm/slub.c:sheaf_try_flush_main (7.2)."""
        cache = self.cache
        while main.objects:
            batch = main.objects[-cache.flush_batch :]
            del main.objects[-cache.flush_batch :]
            cache.stat["sheaf_flush"] += len(batch)
            cache.slabs.free_bulk(batch, self.time)
        return main

    def _free_rcu(self, cpu: int, found: int, now: int) -> Path:
        """kfree_rcu: mm/slub.c:__kfree_rcu_sheaf (7.2); a full sheaf waits for a grace period."""
        cache, sheaf = self.cache, self.rcu_free[cpu]
        if sheaf is None:
            spare = self.spare[cpu]
            if spare is not None and not spare.objects:
                sheaf, self.spare[cpu] = spare, None
            else:
                sheaf = self._empty_sheaf()
        if sheaf is None:
            # Batches of pointers, freed by kfree_bulk: past all sheaves (R3.19, R3.20).
            cache.stat["free_rcu_sheaf_fail"] += 1
            cache.slabs.free_chain(found >> INDEX_BITS, [found], self.time)
            cache.stat["free_slowpath"] += 1
            return Path.SLOW_FREE
        sheaf.objects.append(found)
        if len(sheaf.objects) == cache.shape.capacity:
            self.waiting.append((now + cache.grace_ns, cpu, sheaf))
            sheaf = None
        self.rcu_free[cpu] = sheaf
        cache.stat["free_rcu_sheaf"] += 1
        return Path.RCU_FREE

    def _land(self, now: int) -> None:
        """Sheaves whose grace period is over, each on the CPU that filled it.

        mm/slub.c:rcu_free_sheaf (7.2), a callback of call_rcu: slabs and the sheaf's memory are
        freed from that CPU.
        """
        stat, slabs = self.cache.stat, self.cache.slabs
        while self.waiting and self.waiting[0][0] <= now:
            _, self.cpu, sheaf = self.waiting.popleft()
            if len(self.full) < self.cache.sheaves.max_full:
                stat["barn_put"] += 1
                self.full.append(sheaf)
                continue
            stat["barn_put_fail"] += 1
            first = slabs.requests()
            self._flush(sheaf)
            self.cache.landed.append((first, slabs.requests(), self.cpu))
            if len(self.empty) < self.cache.max_empty:
                self.empty.append(sheaf)
            else:
                self._free_sheaf(sheaf)

    # --- sheaves

    def _empty_sheaf(self) -> Sheaf | None:
        """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2)."""
        if self.empty:
            return self.empty.pop()
        if self.no_sheaf:
            return None
        self.cache.stat["sheaf_alloc"] += 1
        number = self.cache.sheaves.new_sheaf()
        self._note(number, +1)
        return Sheaf(number, [])

    def _free_sheaf(self, sheaf: Sheaf) -> None:
        """mm/slub.c:free_empty_sheaf (7.2)."""
        self.cache.stat["sheaf_free"] += 1
        self.cache.sheaves.unused.append(sheaf.number)
        self._note(sheaf.number, -1)

    def _note(self, number: int, way: int) -> None:
        cache = self.cache
        cache.sheaf_memory.append((self.time, self.cpu, number, way, cache.slabs.requests()))

    def _refill(self, sheaf: Sheaf) -> bool:
        """Fill a sheaf from the slabs: mm/slub.c:refill_sheaf (7.2); whether it is full."""
        cache = self.cache
        want = cache.shape.capacity - len(sheaf.objects)
        got, _ = cache.slabs.refill(want, self.time, self.max_order)
        sheaf.objects += got
        cache.stat["sheaf_refill"] += len(got)
        return len(got) == want

    def _flush(self, sheaf: Sheaf) -> None:
        """mm/slub.c:sheaf_flush_unused (7.2)."""
        self.cache.stat["sheaf_flush"] += len(sheaf.objects)
        self.cache.slabs.free_bulk(sheaf.objects, self.time)
        sheaf.objects = []
