"""One cache whose windows are planned: sheaves first, then objects, then slabs, each all at once.

That takes a state in which every spare is full or empty, and events that leave it so: allocations
and frees that nothing is refused to.
"""

from __future__ import annotations

from bisect import bisect
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.slub.cache_model import FAILED
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.object_chains import ObjectChains
from allocsim.slub.paths import AllocPath
from allocsim.slub.sheaves import structs
from allocsim.slub.sheaves.plan import plan
from allocsim.slub.sheaves.sheaf_steps import put_empty, put_full
from allocsim.slub.sheaves.state import NO_SHEAF, Sheaves
from allocsim.slub.sheaves.structs import CELLS, MAIN, PCS_SIZE, SIZE, SPARE
from allocsim.slub.slabs import Slabs
from allocsim.slub.slabs_bulk import flush_run, refill_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.sheaves.plan import Plan
    from allocsim.slub.sheaves.stepwise import Stepwise
    from allocsim.tables import Int64, Ints


class Planned:
    """The state of one cache, taken over from where its events were gone through one by one.

    Args:
        state: it; no sheaf is anywhere but with a CPU or in the barn.

    Attributes:
        sheaves: the sheaves, without what they hold.
        contents: object in every cell of every sheaf, up to the sheaf's size (i8).
        memory: sheaves made and freed in the last window, as CacheState has them.
    """

    def __init__(self, state: Stepwise) -> None:
        self.shape, c = state.shape, state.state
        self.stat = state.stat
        self.memory: list[list[int]] = []
        self._cpu: Ints = np.empty(0, np.int16)  # of the events of the window
        size, capacity, n = state.sheaf_size, self.shape.capacity, c.numbers
        rows = np.array(c.sheaves[size : n[structs.SHEAVES_END]], np.int64).reshape(-1, size)
        main, spare = (c.pcs[which::PCS_SIZE] for which in (MAIN, SPARE))
        self.contents = rows[:, CELLS : CELLS + capacity].reshape(-1)
        self.sheaves = Sheaves(
            capacity=capacity,
            max_full=n[structs.MAX_FULL],
            main=[sheaf // size - 1 for sheaf in main],
            spare=[NO_SHEAF if sheaf == structs.NONE else sheaf // size - 1 for sheaf in spare],
            size=[c.sheaves[sheaf + SIZE] for sheaf in main],
            spare_full=[sheaf != structs.NONE and c.sheaves[sheaf + SIZE] > 0 for sheaf in spare],
            full=state.sheaf_list(c.nodes[structs.FULL]),
            empty=state.sheaf_list(c.nodes[structs.EMPTY]),
            count=len(rows),
            unused=state.sheaf_list(n[structs.UNUSED_SHEAF]),
        )
        self.slabs = Slabs(self.shape, self.stat, state.number, state.freelist_order)
        self.slabs.created = n[structs.CREATED]
        for slab, places in state.partial():
            self.slabs.partial.add(slab, np.array(places, np.int64))

    def __deepcopy__(self, memo: dict[int, Any]) -> Planned:
        """As deepcopy gives it, but quicker."""
        other = copy(self)
        other.stat, other.memory = deepcopy(self.stat, memo), self.memory.copy()
        other.contents, other.sheaves = self.contents.copy(), self.sheaves.copy()
        other.slabs = deepcopy(self.slabs, memo)
        return other

    def leave(self, to: Stepwise) -> None:
        """Hand the state over to one that is as cold as when the cache was made."""
        sheaves, capacity = self.sheaves, self.shape.capacity
        to.add_sheaves(sheaves.count)
        c = to.state
        n = c.numbers
        full = self.contents.reshape(-1, capacity).tolist()
        for cpu, (main, spare) in enumerate(zip(sheaves.main, sheaves.spare, strict=True)):
            pcs = cpu * PCS_SIZE
            c.pcs[pcs + MAIN] = to.sheaf(main)
            to.put(to.sheaf(main), full[main][: sheaves.size[cpu]])
            if spare != NO_SHEAF:
                c.pcs[pcs + SPARE] = to.sheaf(spare)
                to.put(to.sheaf(spare), full[spare] if sheaves.spare_full[cpu] else [])
        for number in sheaves.full:
            to.put(to.sheaf(number), full[number])
            put_full(c, 0, to.sheaf(number))
        for number in sheaves.empty:
            to.put(to.sheaf(number), [])
            put_empty(c, 0, to.sheaf(number))
        for number in sheaves.unused:
            to.put_unused(to.sheaf(number))
        to.made_before(self.slabs.created)
        for slab, places in self.slabs.partial.items():
            to.list_slab(slab, (slab << INDEX_BITS | places).tolist())
        n[: len(structs.COUNTERS)] = [self.stat[name] for name in structs.COUNTERS]

    def replay(self, events: CacheEvents) -> bool:
        """Replay a window; False, and nothing is done, where it cannot be planned."""
        self.memory, self._cpu = [], events.cpu
        if not len(events.op):
            return True  # asked for sheaves only, and all of them older than the trace
        planned = plan(self.sheaves, events.cpu, events.op, events.no_sheaf)
        if planned is None:
            return False
        chains = ObjectChains(planned, events.op, events.parent)
        contents = np.full(planned.after.count * self.shape.capacity, FAILED, np.int64)
        contents[: len(self.contents)] = self.contents
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
        self.memory = [[time, int(events.cpu[time]), sheaf, +1, 0] for time, sheaf in planned.made]
        frees = int(np.count_nonzero(free))
        stat, capacity = self.stat, self.shape.capacity
        stat.update(planned.stat)
        stat["alloc_fastpath"] += len(free) - frees
        stat["free_fastpath"] += frees
        stat["sheaf_refill"] += len(planned.refills) * capacity
        stat["sheaf_flush"] += len(planned.flushes) * capacity

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows as allocsim.slub.cache_model.CacheModel (i8)."""
        took = np.array(self.slabs.pages, np.int64).reshape(-1, 4)
        self.slabs.pages.clear()
        of_node = np.zeros(len(took), np.int64)
        return np.column_stack((took[:, 0], self._cpu[took[:, 0]], took[:, 1:], of_node))

    def in_sheaves(self) -> int:
        """Objects in the sheaves of all CPUs and of the barn."""
        full = len(self.sheaves.full) + sum(self.sheaves.spare_full)
        return sum(self.sheaves.size) + full * self.shape.capacity

    def partial(self) -> list[tuple[int, list[int]]]:
        """As SheafCache has it."""
        return [(slab, places.tolist()) for slab, places in self.slabs.partial.items()]
