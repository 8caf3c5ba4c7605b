"""One cache through a window: sheaves planned, objects traced, slabs drawn from and flushed to."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.slub_rules import sheaf_bytes
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED, SlabsHeld
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.object_chains import ObjectChains
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.plan import plan
from allocsim.slub.sheaves.state import CacheState
from allocsim.slub.sheaves.stepwise import Steps
from allocsim.slub.slabs_bulk import flush_run, refill_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.sheaves.plan import Plan
    from allocsim.tables import Int64, Ints


class SheafCache(CacheState):
    """One cache of a kernel with sheaves: its state, and windows of events."""

    steps: Steps | None = None  #: once sheaves have left the pair of main and spare
    _cpu: Ints = np.empty(0, np.int16)  # of the events of the window

    @property
    def sheaf_bytes(self) -> int:
        """Bytes that each of its sheaves asks kmalloc for (R3.10)."""
        return sheaf_bytes(self.rules, self.shape.capacity)

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them."""
        objects = slabs << INDEX_BITS | places
        listed = cpus < 0
        self.slabs.add_pre_trace(slabs[listed].tolist(), objects[listed].tolist())
        for cpu in np.unique(cpus[~listed]).tolist():
            self._fill(cpu, objects[cpus == cpu])

    def _fill(self, cpu: int, objects: Int64) -> None:
        """Before any event: put objects into a CPU's main sheaf, the next to be taken first.

        An empty spare comes with it.
        """
        sheaves = self.sheaves
        first = sheaves.main[cpu] * self.shape.capacity
        self.contents[first : first + len(objects)] = objects[::-1]
        sheaves.size[cpu] = len(objects)
        sheaves.spare[cpu] = sheaves.new_sheaf()
        self.contents = self.contents_for(sheaves.count)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        self.sheaf_memory.clear()
        self.callbacks.clear()
        self._cpu = events.cpu
        if not self.shape.capacity:
            self._without_sheaves(events)
        elif self.steps is not None:
            self.steps.replay(events)
        elif not self._planned(events):
            self.steps = Steps(self)
            self.steps.replay(events)

    def _planned(self, events: CacheEvents) -> bool:
        """Replay a window that can be planned; False, and nothing is done, where it cannot."""
        orders = events.max_order
        if not len(events.op):
            return True  # asked for sheaves only, and all of them older than the trace
        if np.any(np.abs(events.op) > 1):
            return False
        if orders is not None and np.any(orders < self.shape.order):
            return False
        planned = plan(self.sheaves, events.cpu, events.op, events.no_sheaf)
        if planned is None:
            return False
        chains = ObjectChains(planned, events.op, events.parent)
        contents = self.contents_for(planned.after.count)
        #: The object at each end of a chain: refills, as the slabs give them, cells, older frees.
        slots = np.empty(chains.slots, np.int64)
        table = np.concatenate((slots, contents, events.objects[chains.carried]))
        grew = self._batches(planned, chains, table)
        self._settle(events, planned, table[chains.source], grew)
        cells, sources = chains.held_at_end(planned)
        contents[cells] = table[sources]
        self.contents = contents
        self.sheaves = planned.after
        return True

    def _batches(self, planned: Plan, chains: ObjectChains, table: Int64) -> list[int]:
        """Refill from and flush to the slabs, in time order; the events that took a new slab.

        Fills the refills' slots in the table.
        """
        capacity = self.shape.capacity
        refills = [time for time, _, _ in planned.refills]
        flushes = [time for time, _, _ in planned.flushes]
        end = max((*refills[-1:], *flushes[-1:]), default=0) + 1
        grew: list[int] = []
        at_refill = at_flush = 0
        while at_refill < len(refills) or at_flush < len(flushes):
            # No event does both.
            next_refill = refills[at_refill] if at_refill < len(refills) else end
            next_flush = flushes[at_flush] if at_flush < len(flushes) else end
            if next_refill < next_flush:
                first, at_refill = at_refill, bisect(refills, next_flush, at_refill)
                times = refills[first:at_refill]
                got, new = refill_run(self.slabs, times, capacity)
                table[first * capacity : at_refill * capacity] = got.reshape(-1)
                grew += [times[at] for at in new]
            else:
                first, at_flush = at_flush, bisect(flushes, next_refill, at_flush)
                flushed = table.take(chains.flushed[first:at_flush])
                flush_run(self.slabs, flushed, flushes[first:at_flush])
        return grew

    def _settle(
        self, events: CacheEvents, planned: Plan, objects: Int64, grew: Sequence[int]
    ) -> None:
        """Write down what became of the events."""
        events.objects[:] = objects
        free = events.op < 0
        events.path[:] = free * np.uint8(AllocPath.MAIN_PUSH - AllocPath.MAIN_HIT) + np.uint8(
            AllocPath.MAIN_HIT
        )
        events.path[planned.special] = planned.path
        events.path[grew] = AllocPath.REFILL_NEW
        self.sheaf_memory += [
            (time, int(events.cpu[time]), sheaf, +1, 0) for time, sheaf in planned.made
        ]
        frees = int(np.count_nonzero(free))
        stat, capacity = self.stat, self.shape.capacity
        stat.update(planned.stat)
        stat["alloc_fastpath"] += len(free) - frees
        stat["free_fastpath"] += frees
        stat["sheaf_refill"] += len(planned.refills) * capacity
        stat["sheaf_flush"] += len(planned.flushes) * capacity

    def _without_sheaves(self, events: CacheEvents) -> None:
        """A cache without sheaves: every event is a batch of its own (R3.11, R3.15, R3.17)."""
        objects, paths = events.objects.tolist(), events.path.tolist()
        orders = None if events.max_order is None else events.max_order.tolist()
        for at, (op, parent) in enumerate(
            zip(events.op.tolist(), events.parent.tolist(), strict=True)
        ):
            if op > 0:
                max_order = MAX_PAGE_ORDER if orders is None else orders[at]
                objects[at], paths[at] = self.slow_alloc(at, max_order)
                continue
            if parent >= 0:
                objects[at] = objects[parent]
            found = objects[at]
            if found == FAILED:
                paths[at] = AllocPath.IGNORED
                continue
            self.slabs.free_chain(found >> INDEX_BITS, [found], at)
            self.stat["free_slowpath"] += 1
            if op == Op.FREE_RCU:
                self.stat["free_rcu_sheaf_fail"] += 1
            paths[at] = AllocPath.SLOW_FREE
        events.objects[:] = objects
        events.path[:] = paths

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows of event, CPU, slab, order, +1 or -1 (i8)."""
        took = np.array(self.slabs.pages, np.int64).reshape(-1, 4)
        self.slabs.pages.clear()
        cpu = self._cpu[took[:, 0]].astype(np.int64)
        for first, end, on in self.callbacks:
            cpu[first:end] = on
        return np.insert(took, 1, cpu, axis=1)

    def in_sheaves(self) -> int:
        """Objects in the sheaves of all CPUs and of the barn."""
        if self.steps is not None:
            return self.steps.in_sheaves()
        sheaves, capacity = self.sheaves, self.shape.capacity
        full = len(sheaves.full) + sum(sheaves.spare_full)
        return sum(sheaves.size) + full * capacity if capacity else 0

    def slabs_held(self) -> SlabsHeld:
        """As allocsim.slub.cache_model.CacheModel."""
        partial = self.slabs.partial
        return SlabsHeld(len(partial), partial.objects, len(partial), partial.objects, None)
