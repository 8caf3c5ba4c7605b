"""One cache of which sheaves leave the pair of main and spare, event by event (7.2, R3.16, R3.20).

``plan`` knows main and spare as one stack of two sheaves that are full or empty by turns. Three
things break that: kfree_rcu, whose sheaf comes back full after a grace period; prefilled sheaves,
which take the spare away and bring it back partly full every few events; and a page allocator that
refuses, whereupon refills come back short. A cache that meets one of them is replayed here from
that window on. There are few such caches: the maple tree's nodes, a few sizes of kmalloc.

What most events do, pop and push on the CPU's main sheaf, stands in the loop itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.barn import Barn
from allocsim.slub.sheaves.state import NO_SHEAF, Sheaf

if TYPE_CHECKING:
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.sheaves.state import CacheState

_HIT, _PUSH = int(AllocPath.MAIN_HIT), int(AllocPath.MAIN_PUSH)


class Steps(Barn[Sheaf]):
    """The sheaves of one cache as lists, and what is done to them.

    Args:
        cache: the cache; its sheaves are taken over as they are.
    """

    def __init__(self, cache: CacheState) -> None:
        before, self.capacity = cache.sheaves, cache.shape.capacity

        def taken(number: int, size: int) -> Sheaf:
            first = number * self.capacity
            return Sheaf(number, cache.contents[first : first + size].tolist())

        super().__init__(
            [taken(number, self.capacity) for number in before.full],
            [taken(number, 0) for number in before.empty],
            before.max_full,
            cache.stat,
        )
        self.cache = cache
        self.main = [
            taken(number, size) for number, size in zip(before.main, before.size, strict=True)
        ]
        self.spare = [
            None if number == NO_SHEAF else taken(number, self.capacity * full)
            for number, full in zip(before.spare, before.spare_full, strict=True)
        ]
        #: Each CPU's sheaf for kfree_rcu, and those that wait for their grace period to end.
        self.rcu_free: list[Sheaf | None] = [None] * len(before.main)
        self.waiting: deque[tuple[int, int, Sheaf]] = deque()
        #: Prefilled sheaves, by the run they serve.
        self.prefilled: dict[int, Sheaf] = {}
        self.time = self.cpu = 0
        self.max_order = MAX_PAGE_ORDER
        self.no_sheaf = False

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        parts = [self.main, self.full, self.empty, self.prefilled.values()]
        parts += [[s for _, _, s in self.waiting]]
        parts += [[s for s in each if s is not None] for each in (self.spare, self.rcu_free)]
        return sum(len(sheaf.objects) for part in parts for sheaf in part)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events, whose times never go back."""
        none = [0] * len(events.op)
        objects, main = events.objects.tolist(), self.main
        orders = None if events.max_order is None else events.max_order.tolist()
        refused = None if events.no_sheaf is None else events.no_sheaf.tolist()
        times = none if events.ts is None else events.ts.tolist()
        runs = none if events.run is None else events.run.tolist()
        left = none if events.left is None else events.left.tolist()
        capacity, waiting = self.capacity, self.waiting
        paths = []
        hits = pushes = 0
        self.max_order, self.no_sheaf = MAX_PAGE_ORDER, False
        for at, (cpu, op, parent) in enumerate(
            zip(events.cpu.tolist(), events.op.tolist(), events.parent.tolist(), strict=True)
        ):
            if waiting and waiting[0][0] <= times[at]:
                self.time = at
                self.rcu_free_sheaves(times[at])
            held = main[cpu].objects
            if op == 1 and held:
                # mm/slub.c:alloc_from_pcs (7.2)
                objects[at] = held.pop()
                hits += 1
                paths.append(_HIT)
                continue
            self.time, self.cpu = at, cpu
            if orders is not None:
                self.max_order = orders[at]
            if refused is not None:
                self.no_sheaf = refused[at]
            if op > 0:
                objects[at], path = (
                    self._alloc(cpu)
                    if op == Op.ALLOC
                    else self._from_sheaf(cpu, runs[at], left[at])
                )
                paths.append(path)
                continue
            found = objects[at] = objects[parent] if parent >= 0 else objects[at]
            if found == FAILED:
                path = AllocPath.IGNORED
            elif op == Op.FREE_RCU:
                path = self._free_rcu(cpu, found, times[at])
            elif len(held) < capacity:
                # mm/slub.c:free_to_pcs (7.2)
                held.append(found)
                pushes += 1
                paths.append(_PUSH)
                continue
            else:
                path = self._free_to_full(cpu, found)
            paths.append(path)
        self.stat["alloc_fastpath"] += hits
        self.stat["free_fastpath"] += pushes
        events.objects[:] = objects
        events.path[:] = paths

    # --- allocation

    def _alloc(self, cpu: int) -> tuple[int, AllocPath]:
        """mm/slub.c:alloc_from_pcs (7.2), the main sheaf being empty."""
        spare, made = self.spare[cpu], self.stat["alloc_slab"]
        main, self.spare[cpu], path = self.replace_empty_main(
            self.main[cpu], spare, spare_holds=spare is not None and bool(spare.objects)
        )
        self.main[cpu] = main
        if path == AllocPath.FAILED:
            return self.cache.slow_alloc(self.time, self.max_order)
        if path == AllocPath.REFILL_PARTIAL and self.stat["alloc_slab"] > made:
            path = AllocPath.REFILL_NEW
        self.stat["alloc_fastpath"] += 1
        return main.objects.pop(), path

    def _from_sheaf(self, cpu: int, run: int, left: int) -> tuple[int, AllocPath]:
        """An allocation out of a prefilled sheaf: had before a run's first, then returned.

        mm/slub.c:kmem_cache_alloc_from_sheaf_noprof (7.2). Where it cannot be filled, the object
        is taken by the slow path.
        """
        sheaf = self.prefilled.pop(run, None)
        if sheaf is None:
            sheaf = self._prefill(cpu, min(left, self.capacity))
        elif not sheaf.objects:
            self.refill(sheaf)  # mm/slub.c:kmem_cache_refill_sheaf
        if sheaf is None or not sheaf.objects:
            found, path = self.cache.slow_alloc(self.time, self.max_order)
        else:
            found, path = sheaf.objects.pop(), AllocPath.FROM_SHEAF
        if sheaf is not None:
            if left > 1:
                self.prefilled[run] = sheaf
            else:
                self._return_sheaf(cpu, sheaf)
        return found, path

    def _prefill(self, cpu: int, wanted: int) -> Sheaf | None:
        """A sheaf with ``wanted`` objects or more: mm/slub.c:kmem_cache_prefill_sheaf (R3.16)."""
        stat, sheaf = self.stat, self.spare[cpu]
        if sheaf is not None:
            self.spare[cpu] = None
            stat["sheaf_prefill_fast"] += 1
        else:
            stat["sheaf_prefill_slow"] += 1
            stat["barn_get" if self.full else "barn_get_fail"] += 1
            sheaf = self.full.pop() if self.full else self.empty_sheaf()
        if sheaf is not None and len(sheaf.objects) < wanted and not self.refill(sheaf):
            self.flush(sheaf)
            self.free_sheaf(sheaf)
            return None
        return sheaf

    def _return_sheaf(self, cpu: int, sheaf: Sheaf) -> None:
        """mm/slub.c:kmem_cache_return_sheaf (7.2)."""
        stat = self.stat
        if self.spare[cpu] is None:
            self.spare[cpu] = sheaf
            stat["sheaf_return_fast"] += 1
            return
        stat["sheaf_return_slow"] += 1
        if len(self.full) < self.max_full and self.refill(sheaf):
            self.full.append(sheaf)
            stat["barn_put"] += 1
            return
        self.flush(sheaf)
        self.free_sheaf(sheaf)

    # --- free

    def _free_to_full(self, cpu: int, found: int) -> AllocPath:
        """mm/slub.c:free_to_pcs (7.2), the main sheaf being full."""
        spare = self.spare[cpu]
        main, self.spare[cpu], path = self.replace_full_main(
            self.main[cpu],
            spare,
            spare_has_room=spare is not None and len(spare.objects) < self.capacity,
        )
        self.main[cpu] = main
        main.objects.append(found)
        self.stat["free_fastpath"] += 1
        return path

    def _free_rcu(self, cpu: int, found: int, now: int) -> AllocPath:
        """kfree_rcu: mm/slub.c:__kfree_rcu_sheaf (7.2)."""
        cache, sheaf = self.cache, self._rcu_sheaf(cpu)
        if sheaf is None:
            # Batches of pointers, freed by kfree_bulk: past all sheaves (R3.19, R3.20).
            self.stat["free_rcu_sheaf_fail"] += 1
            cache.slabs.free_chain(found >> INDEX_BITS, [found], self.time)
            self.stat["free_slowpath"] += 1
            return AllocPath.SLOW_FREE
        sheaf.objects.append(found)
        if len(sheaf.objects) == self.capacity:
            self.waiting.append((now + cache.rules.grace_ns, cpu, sheaf))
            self.rcu_free[cpu] = None
        self.stat["free_rcu_sheaf"] += 1
        return AllocPath.RCU_FREE

    def _rcu_sheaf(self, cpu: int) -> Sheaf | None:
        """A CPU's sheaf for kfree_rcu, which is taken from somewhere if it has none."""
        if self.rcu_free[cpu] is None:
            spare = self.spare[cpu]
            if spare is not None and not spare.objects:
                self.rcu_free[cpu], self.spare[cpu] = spare, None
            else:
                self.rcu_free[cpu] = self.empty_sheaf()
        return self.rcu_free[cpu]

    def rcu_free_sheaves(self, now: int) -> None:
        """Sheaves whose grace period is over, each on the CPU that filled it.

        mm/slub.c:rcu_free_sheaf (7.2), a callback of call_rcu: slabs and the sheaf's memory are
        freed from that CPU.
        """
        cache, stat = self.cache, self.stat
        while self.waiting and self.waiting[0][0] <= now:
            _, self.cpu, sheaf = self.waiting.popleft()
            if len(self.full) < self.max_full:
                stat["barn_put"] += 1
                self.full.append(sheaf)
                continue
            stat["barn_put_fail"] += 1
            first = cache.slabs.requests()
            self.flush(sheaf)
            cache.callbacks.append((first, cache.slabs.requests(), self.cpu))
            if len(self.empty) < cache.rules.max_empty_sheaves:
                self.empty.append(sheaf)
            else:
                self.free_sheaf(sheaf)

    # --- what a barn does to sheaves

    def new_sheaf(self) -> Sheaf | None:
        """mm/slub.c:alloc_empty_sheaf (7.2)."""
        if self.no_sheaf:
            return None
        self.stat["sheaf_alloc"] += 1
        number = self.cache.sheaves.new_sheaf()
        self.cache.note_sheaf(self.time, self.cpu, number, +1)
        return Sheaf(number, [])

    def free_sheaf(self, sheaf: Sheaf) -> None:
        """mm/slub.c:free_empty_sheaf (7.2)."""
        self.stat["sheaf_free"] += 1
        self.cache.sheaves.unused.append(sheaf.number)
        self.cache.note_sheaf(self.time, self.cpu, sheaf.number, -1)

    def refill(self, sheaf: Sheaf) -> bool:
        """Fill a sheaf from the slabs: mm/slub.c:refill_sheaf (7.2); whether it is full."""
        want = self.capacity - len(sheaf.objects)
        objects, _ = self.cache.slabs.refill(want, self.time, self.max_order)
        sheaf.objects += objects
        self.stat["sheaf_refill"] += len(objects)
        return len(objects) == want

    def flush(self, sheaf: Sheaf) -> None:
        """mm/slub.c:sheaf_flush_unused (7.2)."""
        self.stat["sheaf_flush"] += len(sheaf.objects)
        self.cache.slabs.free_bulk(sheaf.objects, self.time)
        sheaf.objects = []

    def flush_main(self, main: Sheaf) -> None:
        """mm/slub.c:sheaf_try_flush_main (7.2): from its top, a batch at a time."""
        batch = self.cache.rules.flush_batch
        while main.objects:
            objects = main.objects[-batch:]
            del main.objects[-batch:]
            self.stat["sheaf_flush"] += len(objects)
            self.cache.slabs.free_bulk(objects, self.time)
