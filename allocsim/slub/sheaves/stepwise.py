"""One cache of which sheaves leave the pair of main and spare (7.2, R3.16, R3.20).

``plan`` knows main and spare as one stack of two sheaves that are full or empty by turns. Two users
of a cache break that: kfree_rcu, whose sheaf comes back full after a grace period, and prefilled
sheaves, which take the spare away and bring it back partly full every few events. A cache they use
is replayed here, from the first window they are seen in; there are few such caches (the maple
tree's nodes, a few sizes of kmalloc).

What is done at a barrier (main is empty or full, a sheaf is asked for, returned, detached, back
from its grace period) needs only the sizes of sheaves, and stands here. In between, sheaves are
known to grow and shrink by what the events say: ``stretches`` goes from barrier to barrier, and
follows the objects afterwards, all at once. Only a window in which pages may be refused (which has
one event), in which an object is freed that could not be allocated, or of a few events goes event
by event.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.profile import MAX_PAGE_ORDER
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import Path
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.barriers import NOTE, Stretches
from allocsim.slub.sheaves.plan import NO_SHEAF, Sheaf

if TYPE_CHECKING:
    from allocsim.slub.sheaves.cache import CacheEvents, CacheReplay

FAILED = -1  #: as in cache
NO_CALLBACK = -1
FEW = 64  #: events of a window that cost more to find the barriers of than to go through


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
        self.stretches: Stretches | None = None  #: while a window is gone through by barriers

    def sheaves(self) -> list[Sheaf]:
        """All sheaves, wherever they are."""
        parts = [self.main, self.full, self.empty, self.held.values()]
        parts += [[s for _, _, s in self.waiting]]
        parts += [[s for s in each if s is not None] for each in (self.spare, self.rcu_free)]
        return [sheaf for part in parts for sheaf in part]

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        return sum(sheaf.size for sheaf in self.sheaves())

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events, whose times never go back."""
        failed = (events.op < 0) & (events.parent < 0) & (events.objects == FAILED)
        if events.max_order is not None or len(events.op) < FEW or np.any(failed):
            self._by_event(events)
            return
        self.max_order, self.no_sheaf = MAX_PAGE_ORDER, False
        self.stretches = Stretches(self, events)
        self.stretches.replay()
        self.stretches = None

    def _by_event(self, events: CacheEvents) -> None:
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
                self.land(times[at])
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
        """mm/slub.c:alloc_from_pcs (7.2)."""
        path: Path | None = Path.MAIN_HIT
        if not self.main[cpu].size:
            path = self.replace_empty_main(cpu)
        if path is None:
            return self._slow_alloc()
        self.cache.stat["alloc_fastpath"] += 1
        return self._pop(self.main[cpu]), path

    @staticmethod
    def _pop(sheaf: Sheaf) -> int:
        sheaf.size -= 1
        return sheaf.objects.pop()

    @staticmethod
    def _push(sheaf: Sheaf, found: int) -> None:
        sheaf.size += 1
        sheaf.objects.append(found)

    def replace_empty_main(self, cpu: int) -> Path | None:
        """mm/slub.c:__pcs_replace_empty_main (7.2); None: there is no other."""
        main, spare, stat = self.main[cpu], self.spare[cpu], self.cache.stat
        if spare is not None and spare.size:
            self.main[cpu], self.spare[cpu] = spare, main
            return Path.SPARE_SWAP
        if self.full:
            stat["barn_get"] += 1
            self.empty.append(main)
            self.main[cpu] = self.full.pop()
            return Path.BARN_GET
        stat["barn_get_fail"] += 1
        self.spare[cpu] = None
        refilled = spare or self._empty_sheaf()
        new = stat["alloc_slab"]
        if refilled is None or not self.refill(refilled):
            if refilled is not None:
                self._flush(refilled)
                self._free_sheaf(refilled)
            return None
        self.main[cpu], self.spare[cpu] = refilled, main
        return Path.REFILL_NEW if stat["alloc_slab"] > new else Path.REFILL_PARTIAL

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
            sheaf = self.prefill(cpu, min(left, self.cache.shape.capacity))
        elif not sheaf.size:
            self.refill(sheaf)  # mm/slub.c:kmem_cache_refill_sheaf
        if sheaf is None or not sheaf.size:
            found, path = self._slow_alloc()
        else:
            found, path = self._pop(sheaf), Path.FROM_SHEAF
        self.held.pop(run, None)
        if sheaf is not None:
            if left > 1:
                self.held[run] = sheaf
            else:
                self.give_back(cpu, sheaf)
        return found, path

    def prefill(self, cpu: int, wanted: int) -> Sheaf | None:
        """A sheaf with ``wanted`` objects or more: mm/slub.c:kmem_cache_prefill_sheaf (R3.16)."""
        stat, sheaf = self.cache.stat, self.spare[cpu]
        if sheaf is not None:
            self.spare[cpu] = None
            stat["sheaf_prefill_fast"] += 1
        else:
            stat["sheaf_prefill_slow"] += 1
            stat["barn_get" if self.full else "barn_get_fail"] += 1
            sheaf = self.full.pop() if self.full else self._empty_sheaf()
        if sheaf is not None and sheaf.size < wanted and not self.refill(sheaf):
            self._flush(sheaf)
            self._free_sheaf(sheaf)
            return None
        return sheaf

    def give_back(self, cpu: int, sheaf: Sheaf) -> None:
        """mm/slub.c:kmem_cache_return_sheaf (7.2)."""
        stat = self.cache.stat
        if self.spare[cpu] is None:
            self.spare[cpu] = sheaf
            stat["sheaf_return_fast"] += 1
            return
        stat["sheaf_return_slow"] += 1
        if len(self.full) < self.cache.sheaves.max_full and self.refill(sheaf):
            self.full.append(sheaf)
            stat["barn_put"] += 1
            return
        self._flush(sheaf)
        self._free_sheaf(sheaf)

    # --- free

    def _free(self, cpu: int, found: int) -> Path:
        """mm/slub.c:free_to_pcs (7.2)."""
        full = self.main[cpu].size == self.cache.shape.capacity
        path = self.replace_full_main(cpu) if full else Path.MAIN_PUSH
        self._push(self.main[cpu], found)
        self.cache.stat["free_fastpath"] += 1
        return path

    def replace_full_main(self, cpu: int) -> Path:
        """mm/slub.c:__pcs_replace_full_main (7.2)."""
        main, spare = self.main[cpu], self.spare[cpu]
        if spare is None:
            empty, path = self._empty_sheaf(), Path.INSTALL_EMPTY
            if empty is not None:
                self.spare[cpu] = main
        elif spare.size < self.cache.shape.capacity:
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
        self.main[cpu] = empty
        return path

    def _flush_main(self, main: Sheaf) -> Sheaf:
        """mm/slub.c:sheaf_try_flush_main (7.2)."""
        cache = self.cache
        while main.objects:
            batch = main.objects[-cache.flush_batch :]
            del main.objects[-cache.flush_batch :]
            cache.stat["sheaf_flush"] += len(batch)
            cache.slabs.free_bulk(batch, self.time)
        main.size = 0
        return main

    def _free_rcu(self, cpu: int, found: int, now: int) -> Path:
        """kfree_rcu: mm/slub.c:__kfree_rcu_sheaf (7.2)."""
        cache, sheaf = self.cache, self.rcu_sheaf(cpu)
        if sheaf is None:
            # Batches of pointers, freed by kfree_bulk: past all sheaves (R3.19, R3.20).
            cache.stat["free_rcu_sheaf_fail"] += 1
            cache.slabs.free_chain(found >> INDEX_BITS, [found], self.time)
            cache.stat["free_slowpath"] += 1
            return Path.SLOW_FREE
        self._push(sheaf, found)
        if sheaf.size == cache.shape.capacity:
            self.detach(cpu, now)
        cache.stat["free_rcu_sheaf"] += 1
        return Path.RCU_FREE

    def rcu_sheaf(self, cpu: int) -> Sheaf | None:
        """A CPU's sheaf for kfree_rcu, which is taken from somewhere if it has none."""
        if self.rcu_free[cpu] is None:
            spare = self.spare[cpu]
            if spare is not None and not spare.size:
                self.rcu_free[cpu], self.spare[cpu] = spare, None
            else:
                self.rcu_free[cpu] = self._empty_sheaf()
        return self.rcu_free[cpu]

    def detach(self, cpu: int, now: int) -> None:
        """A CPU's sheaf for kfree_rcu is full: it waits for a grace period."""
        sheaf = self.rcu_free[cpu]
        if sheaf is not None:
            self.waiting.append((now + self.cache.grace_ns, cpu, sheaf))
        self.rcu_free[cpu] = None

    def land(self, now: int) -> None:
        """Sheaves whose grace period is over, each on the CPU that filled it.

        mm/slub.c:rcu_free_sheaf (7.2), a callback of call_rcu: slabs and the sheaf's memory are
        freed from that CPU.
        """
        stat = self.cache.stat
        while self.waiting and self.waiting[0][0] <= now:
            _, self.cpu, sheaf = self.waiting.popleft()
            if len(self.full) < self.cache.sheaves.max_full:
                stat["barn_put"] += 1
                self.full.append(sheaf)
                continue
            stat["barn_put_fail"] += 1
            self._flush(sheaf, self.cpu)
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
        sheaf = Sheaf(number, [])
        if self.stretches is not None:
            self.stretches.adopt(sheaf)
        return sheaf

    def _free_sheaf(self, sheaf: Sheaf) -> None:
        """mm/slub.c:free_empty_sheaf (7.2)."""
        self.cache.stat["sheaf_free"] += 1
        self.cache.sheaves.unused.append(sheaf.number)
        self._note(sheaf.number, -1)

    def _note(self, number: int, way: int) -> None:
        if self.stretches is not None:
            self.stretches.later(NOTE, self.time, self.cpu, number, way)
            return
        self.note(self.time, self.cpu, number, way)

    def note(self, time: int, cpu: int, number: int, way: int) -> None:
        """Write down what becomes of a sheaf's memory."""
        cache = self.cache
        cache.sheaf_memory.append((time, cpu, number, way, cache.slabs.requests()))

    def refill(self, sheaf: Sheaf) -> bool:
        """Fill a sheaf from the slabs: mm/slub.c:refill_sheaf (7.2); whether it is full."""
        cache = self.cache
        want = cache.shape.capacity - sheaf.size
        if self.stretches is not None:
            self.stretches.refill(sheaf, want)
            got = want
        else:
            objects, _ = cache.slabs.refill(want, self.time, self.max_order)
            sheaf.objects += objects
            got = len(objects)
        sheaf.size += got
        cache.stat["sheaf_refill"] += got
        return got == want

    def _flush(self, sheaf: Sheaf, callback: int = NO_CALLBACK) -> None:
        """mm/slub.c:sheaf_flush_unused (7.2); ``callback``: kfree_rcu's, on this CPU."""
        self.cache.stat["sheaf_flush"] += sheaf.size
        if self.stretches is not None:
            self.stretches.flush(sheaf, callback)
        else:
            self.flush_objects(sheaf.objects, self.time, callback)
            sheaf.objects = []
        sheaf.size = 0

    def flush_objects(self, objects: list[int], time: int, callback: int) -> None:
        """Give objects back to their slabs."""
        slabs = self.cache.slabs
        first = slabs.requests()
        slabs.free_bulk(objects, time)
        if callback != NO_CALLBACK:
            self.cache.landed.append((first, slabs.requests(), callback))
