"""One cache of 6.12 through a window: cpu slabs and partial lists (R3.30 - R3.40).

A CPU takes another slab every few events, a step that hangs on all CPUs' steps before it, so a
window is gone through event by event; what most events do, pop and push on the CPU's own free
list, stands in the loop itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED, SlabsHeld
from allocsim.slub.cpu_slabs.lists import CPU_LIST, NODE_LIST, NOWHERE, OF_CPU, SlabLists
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import AllocPath

if TYPE_CHECKING:
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.tables import Int64

_HIT, _PUSH = int(AllocPath.CPU_SLAB_HIT), int(AllocPath.CPU_SLAB_PUSH)


class CpuSlabs(SlabLists):
    """State of one cache between windows: its slabs, each CPU's and the node's."""

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        objects, cpus = events.objects.tolist(), self.cpus
        orders = None if events.max_order is None else events.max_order.tolist()
        paths = []
        hits = pushes = 0
        for at, (number, op, parent) in enumerate(
            zip(events.cpu.tolist(), events.op.tolist(), events.parent.tolist(), strict=True)
        ):
            cpu = cpus[number]
            slab = cpu.slab
            if op > 0:
                if cpu.freelist and slab is not None:
                    # mm/slub.c:__slab_alloc_node (6.12), R3.31
                    slab.live += 1
                    objects[at] = cpu.freelist.pop()
                    hits += 1
                    paths.append(_HIT)
                    continue
                max_order = MAX_PAGE_ORDER if orders is None else orders[at]
                objects[at], path = self._slow_alloc(number, at, max_order)
            else:
                found = objects[at] = objects[parent] if parent >= 0 else objects[at]
                if slab is not None and slab.key == found >> INDEX_BITS:
                    # mm/slub.c:do_slab_free (6.12), R3.34
                    slab.live -= 1
                    cpu.freelist.append(found)
                    pushes += 1
                    paths.append(_PUSH)
                    continue
                path = AllocPath.IGNORED if found == FAILED else self._slow_free(number, found, at)
            paths.append(path)
        self.stat["alloc_fastpath"] += hits
        self.stat["free_fastpath"] += pushes
        events.objects[:] = objects
        events.path[:] = paths
        self.forget_full()

    def _slow_alloc(self, number: int, time: int, max_order: int) -> tuple[int, AllocPath]:
        """mm/slub.c:___slab_alloc (6.12), R3.32: the CPU's own list is empty."""
        cpu, stat = self.cpus[number], self.stat
        slab, path = cpu.slab, AllocPath.CPU_SLAB_REFILL
        stat["alloc_slowpath"] += 1
        if slab is not None:
            stat["freelist_cmpxchg"] += 1
            if slab.free:
                stat["alloc_refill"] += 1
            else:
                stat["deactivate_bypass"] += 1
                slab.where = NOWHERE
                slab = None
        if slab is None:
            slab, path = self.next_slab(number, time, max_order)
            cpu.slab = slab
            if slab is None:
                return FAILED, path
        cpu.freelist, slab.free = slab.free, []
        slab.live += 1
        return cpu.freelist.pop(), path

    def _slow_free(self, number: int, found: int, time: int) -> AllocPath:
        """mm/slub.c:__slab_free (6.12), R3.35: of a slab that is not the CPU's own."""
        stat, slab = self.stat, self.slab(found >> INDEX_BITS)
        stat["free_slowpath"] += 1
        stat["freelist_cmpxchg"] += 1
        slab.live -= 1
        slab.free.append(found)
        if slab.where == OF_CPU:
            stat["free_frozen"] += 1
            return AllocPath.FREE_FROZEN
        if slab.where == NOWHERE:
            return self.put_cpu_partial(slab, number, time)
        return AllocPath.SLAB_PUSH if slab.live else self.last_free(slab, number, time)

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows of event, CPU, slab, order, +1 or -1 (i8)."""
        took = np.array(self.pages, np.int64).reshape(-1, 5)
        self.pages.clear()
        return took

    def slabs_held(self) -> SlabsHeld:
        """As allocsim.slub.cache_model.CacheModel."""
        slabs = self.slabs.values()
        free = {
            where: [slab.objects - slab.live for slab in slabs if slab.where == where]
            for where in (OF_CPU, CPU_LIST, NODE_LIST)
        }
        of_cpus, node = free[CPU_LIST], free[NODE_LIST]
        return SlabsHeld(
            len(of_cpus) + len(node),
            sum(of_cpus) + sum(node),
            len(node),
            sum(node),
            len(free[OF_CPU]) + len(of_cpus),
        )
