"""One cache of 6.12 through a window: cpu slabs and partial lists (R3.30 - R3.40).

The state between windows, and the steps that slabs go from list to list by.
allocsim.slub.cpu_slabs.tenures says when they are taken, allocsim.slub.cpu_slabs.tenure_objects
which objects they deal in.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.cpu_slabs import stepwise as slab_events
from allocsim.slub.cpu_slabs.tenure_objects import settle
from allocsim.slub.cpu_slabs.tenures import (
    CPU_LIST,
    NO_SLAB,
    NODE_LIST,
    NOWHERE,
    OF_CPU,
    Slab,
    Tenures,
    slab_of_object,
)
from allocsim.slub.paths import Path
from allocsim.slub.slabs import CACHE_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from allocsim.kernels.profile import CacheShape
    from allocsim.slub.sheaves.cache import CacheEvents
    from allocsim.tables import Index, Ints

# Arrays would be slower for windows of few events, and where CPUs take another slab all the time:
# for more than one event in MANY of the window before. Such windows go event by event.
FEW = 64
MANY = 16


@dataclass(slots=True)
class Cpu:
    """A CPU's part of a cache: struct kmem_cache_cpu.

    Args:
        slab: the slab it allocates from.
        freelist: places of free objects of it that are the CPU's own, the head last.
        partial: its partial list, the head last.
    """

    slab: Slab | None = None
    freelist: list[int] = field(default_factory=list)
    partial: list[Slab] = field(default_factory=list)


class CpuSlabs:
    """State of one cache between windows.

    Args:
        shape: the cache.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.

    Attributes:
        node: the node's partial list, by slab, the head first.
        slabs: slabs that have free objects or are a CPU's, by slab.
        pages: as Slabs has them.
    """

    def __init__(
        self,
        shape: CacheShape,
        number: int,
        cpus: int,
        freelist_order: Callable[[int, int, int], Sequence[int]] | None,
    ) -> None:
        self.shape = shape
        self.cpu_partial_slabs = shape.cpu_partial_slabs
        self.number = number
        self.freelist_order = freelist_order
        self.stat: Counter[str] = Counter()
        self.cpus = [Cpu() for _ in range(cpus)]
        self.node: OrderedDict[int, Slab] = OrderedDict()
        self.slabs: dict[int, Slab] = {}
        self.fallback: set[int] = set()  # slabs of the fallback order
        self.created = 0
        self._busy = False
        self.pages: list[int] = []
        # As CacheReplay has them: no callbacks, no sheaves.
        self.landed: list[tuple[int, int, int]] = []
        self.sheaf_objects: dict[int, int] = {}

    def take_up(self, slabs: Index, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them."""
        for key, place, number in zip(slabs.tolist(), places.tolist(), cpus.tolist(), strict=True):
            cpu = self.cpus[number] if number >= 0 else None
            slab = self.slabs.get(key)
            if slab is None:
                slab = self.slab(key)
                if cpu is None:
                    self.node[key], slab.where = slab, NODE_LIST
                elif cpu.slab is None:
                    cpu.slab, slab.where = slab, OF_CPU
                else:
                    cpu.partial.insert(0, slab)
                    slab.where = CPU_LIST
            slab.live -= 1
            (cpu.freelist if cpu is not None and cpu.slab is slab else slab.free).insert(0, place)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events."""
        before = self._slabs_taken()
        if len(events.op) < FEW or self._busy:
            slab_events.replay(self, events)
        else:
            self._by_tenures(events)
        self._busy = (self._slabs_taken() - before) * MANY > len(events.op)
        for key in [key for key, slab in self.slabs.items() if slab.where == NOWHERE]:
            del self.slabs[key]  # it is full: nothing else need be known

    def _slabs_taken(self) -> int:
        """How often a CPU took another slab to allocate from."""
        return self.stat["alloc_slowpath"] - self.stat["alloc_refill"]

    def _by_tenures(self, events: CacheEvents) -> None:
        known = np.flatnonzero((events.op < 0) & (events.parent < 0))
        slab_of = np.full(len(events.op), NO_SLAB, np.int64)
        slab_of[known] = slab_of_object(events.objects[known])
        tenures = Tenures(self, events, slab_of)
        tenures.run()
        settle(self, events, tenures, slab_of)

    def take_pages(self) -> Index:
        """Page requests since the last call: rows of event, slab, order, and +1 or -1 (i8)."""
        took = np.array(self.pages, np.int64).reshape(-1, 4)
        self.pages.clear()
        return took

    def in_sheaves(self) -> int:
        """There are no sheaves."""
        return 0

    def partial_slabs(self) -> tuple[int, int]:
        """Slabs on partial lists, the CPUs' and the node's, and the free objects on them."""
        listed = [slab for slab in self.slabs.values() if slab.where in (CPU_LIST, NODE_LIST)]
        return len(listed), sum(slab.objects - slab.live for slab in listed)

    # --- slabs

    def slab(self, key: int) -> Slab:
        """What is known of a slab: of one that nothing is noted of, that it is full."""
        slab = self.slabs.get(key)
        if slab is None:
            shape = self.shape
            order, objects = shape.order, shape.objects
            if key in self.fallback:
                order, objects = shape.min_order, shape.min_objects
            slab = self.slabs[key] = Slab(key, order, objects, objects)
        return slab

    def next_slab(self, number: int, time: int, max_order: int) -> tuple[Slab | None, Path]:
        """The slab that a CPU allocates from next, and where it is from (R3.32); None: refused."""
        cpu, stat = self.cpus[number], self.stat
        slab: Slab | None
        if cpu.partial:
            slab, path = cpu.partial.pop(), Path.CPU_PARTIAL
            stat["cpu_partial_alloc"] += 1
            stat["freelist_cmpxchg"] += 1
        elif self.node:
            slab, path = self._from_node(cpu), Path.NODE_PARTIAL
            stat["freelist_cmpxchg"] += 1
        else:
            slab, path = self._new_slab(time, max_order), Path.NEW_SLAB
        if slab is None:
            return None, Path.FAILED
        slab.where = OF_CPU
        return slab, path

    def _new_slab(self, time: int, max_order: int) -> Slab | None:
        """mm/slub.c:allocate_slab (6.12): of the wanted order, else of the fallback order."""
        shape = self.shape
        if shape.min_order > max_order:
            return None
        key = self.number << CACHE_BITS | self.created
        if shape.order > max_order:
            self.stat["order_fallback"] += 1
            self.fallback.add(key)
        self.created += 1
        self.stat["alloc_slab"] += 1
        slab = self.slab(key)
        slab.live = 0
        self.pages += (time, key, slab.order, +1)
        return slab

    def _from_node(self, cpu: Cpu) -> Slab:
        """mm/slub.c:get_partial_node (6.12), R3.33: one for the CPU, others for its list."""
        node, stat = self.node, self.stat
        stat["list_lock"] += 1
        stat["alloc_from_partial"] += 1
        _, found = node.popitem(last=False)
        wanted = self.cpu_partial_slabs // 2 + 1 if self.cpu_partial_slabs else 0
        for _ in range(min(wanted, len(node))):
            _, slab = node.popitem(last=False)
            slab.where = CPU_LIST
            cpu.partial.append(slab)
            stat["cpu_partial_node"] += 1
        return found

    def put_cpu_partial(self, slab: Slab, number: int, time: int) -> Path:
        """A full slab's first free, on a CPU: mm/slub.c:put_cpu_partial (6.12), R3.36."""
        partial = self.cpus[number].partial
        self.stat["cpu_partial_free"] += 1
        path = Path.CPU_PARTIAL_PUT
        if partial and len(partial) >= self.cpu_partial_slabs:
            path = Path.CPU_PARTIAL_DRAIN
            self.stat["cpu_partial_drain"] += 1
            self._put_partials(partial[::-1], time)
            partial.clear()
        slab.where = CPU_LIST
        partial.append(slab)
        return path

    def emptied(self, slab: Slab, time: int) -> Path:
        """The last free of a slab on a partial list: mm/slub.c:__slab_free (6.12), R3.35."""
        self.stat["list_lock"] += 1
        if slab.where != NODE_LIST or len(self.node) < self.shape.min_partial:
            return Path.SLAB_PUSH
        del self.node[slab.key]
        self.stat["free_remove_partial"] += 1
        self._discard(slab, time)
        return Path.SLAB_FREED

    def _put_partials(self, slabs: Iterable[Slab], time: int) -> None:
        """mm/slub.c:__put_partials (6.12), R3.37."""
        stat = self.stat
        stat["list_lock"] += 1
        empty: list[Slab] = []
        for slab in slabs:
            if len(self.node) >= self.shape.min_partial and not slab.live_at(time):
                empty.append(slab)
            else:
                self.node[slab.key], slab.where = slab, NODE_LIST
                stat["free_add_partial"] += 1
        for slab in reversed(empty):
            stat["deactivate_empty"] += 1
            self._discard(slab, time)

    def _discard(self, slab: Slab, time: int) -> None:
        """Give an empty slab, which is on no list, back to the page allocator."""
        self.stat["free_slab"] += 1
        self.pages += (time, slab.key, slab.order, -1)
        self.fallback.discard(slab.key)
        del self.slabs[slab.key]
