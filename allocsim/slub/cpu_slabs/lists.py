"""The slabs of one cache of 6.12, and the lists they go from and to (R3.32 - R3.37)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import AllocPath
from allocsim.slub.slabs import CACHE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocsim.kernels.cache_shapes import CpuSlabShape
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import I8, Ints

NOWHERE, OF_CPU, CPU_LIST, NODE_LIST = range(4)  # R3.40: full, cpu slab, cpu partial, node partial


@dataclass(slots=True, eq=False)
class Slab:
    """A slab that has free objects, or is a CPU's.

    Args:
        key: the slab, as in Placement.
        order: its order.
        objects: how many it has.
        live: objects in use.
        free: free objects on slab->freelist, its head last.
        where: which list it is on.
    """

    key: int
    order: int
    objects: int
    live: int
    free: list[int] = field(default_factory=list)
    where: int = NOWHERE


@dataclass(slots=True)
class Cpu:
    """A CPU's part of a cache: struct kmem_cache_cpu.

    Args:
        slab: the slab it allocates from.
        freelist: free objects of it that are the CPU's own, the head last.
        partial: its partial list, the head last.
    """

    slab: Slab | None = None
    freelist: list[int] = field(default_factory=list)
    partial: list[Slab] = field(default_factory=list)


class SlabLists:
    """The slabs of one cache: each CPU's slab and partial list, and the node's partial list.

    Args:
        shape: the cache.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.

    Attributes:
        node: the node's partial list, by slab, the head first.
        slabs: slabs that have free objects or are a CPU's, by slab.
        fallback: slabs of the fallback order.
        pages: page requests of this window: event, CPU, slab, order, +1 or -1, one behind the
            other.
    """

    def __init__(
        self, shape: CpuSlabShape, number: int, cpus: int, freelist_order: FreelistOrder | None
    ) -> None:
        self.shape = shape
        self.number = number
        self.freelist_order = freelist_order
        self.stat: Counter[str] = Counter()
        self.cpus = [Cpu() for _ in range(cpus)]
        self.node: OrderedDict[int, Slab] = OrderedDict()
        self.slabs: dict[int, Slab] = {}
        self.fallback: set[int] = set()
        self.created = 0
        self.pages: list[int] = []

    def seed_free(self, slabs: I8, places: Ints, cpus: Ints) -> None:
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
            own = cpu.freelist if cpu is not None and cpu.slab is slab else slab.free
            own.insert(0, key << INDEX_BITS | place)

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

    def next_slab(self, number: int, time: int, max_order: int) -> tuple[Slab | None, AllocPath]:
        """The slab that a CPU allocates from next, and where it is from (R3.32); None: refused."""
        cpu, stat = self.cpus[number], self.stat
        slab: Slab | None
        if cpu.partial:
            slab, path = cpu.partial.pop(), AllocPath.CPU_PARTIAL
            stat["cpu_partial_alloc"] += 1
            stat["freelist_cmpxchg"] += 1
        elif self.node:
            slab, path = self._from_node(cpu), AllocPath.NODE_PARTIAL
            stat["freelist_cmpxchg"] += 1
        else:
            slab, path = self._new_slab(number, time, max_order), AllocPath.NEW_SLAB
        if slab is None:
            return None, AllocPath.FAILED
        slab.where = OF_CPU
        return slab, path

    def put_cpu_partial(self, slab: Slab, number: int, time: int) -> AllocPath:
        """A full slab's first free, on a CPU: mm/slub.c:put_cpu_partial (6.12), R3.36."""
        partial, most = self.cpus[number].partial, self.shape.cpu_partial_slabs
        self.stat["cpu_partial_free"] += 1
        path = AllocPath.CPU_PARTIAL_PUT
        if partial and len(partial) >= most:
            path = AllocPath.CPU_PARTIAL_DRAIN
            self.stat["cpu_partial_drain"] += 1
            self._put_partials(partial[::-1], number, time)
            partial.clear()
        slab.where = CPU_LIST
        partial.append(slab)
        return path

    def last_free(self, slab: Slab, number: int, time: int) -> AllocPath:
        """The last free of a slab on a partial list: mm/slub.c:__slab_free (6.12), R3.35."""
        self.stat["list_lock"] += 1
        if slab.where != NODE_LIST or len(self.node) < self.shape.min_partial:
            return AllocPath.SLAB_PUSH
        del self.node[slab.key]
        self.stat["free_remove_partial"] += 1
        self._discard(slab, number, time)
        return AllocPath.SLAB_FREED

    def forget_full(self) -> None:
        """Drop what is noted of full slabs: nothing else need be known of them."""
        for key in [key for key, slab in self.slabs.items() if slab.where == NOWHERE]:
            del self.slabs[key]

    def _new_slab(self, number: int, time: int, max_order: int) -> Slab | None:
        """mm/slub.c:allocate_slab (6.12): of the wanted order, else of the fallback order."""
        shape = self.shape
        if shape.min_order > max_order:
            return None
        key = self.number << CACHE_BITS | self.created
        if shape.order > max_order:
            self.stat["order_fallback"] += 1
            self.fallback.add(key)
        slab = self.slab(key)
        order, objects = self.freelist_order, slab.objects
        places = range(objects) if order is None else order(self.number, self.created, objects)
        slab.free = [key << INDEX_BITS | place for place in places][::-1]
        slab.live = 0
        self.created += 1
        self.stat["alloc_slab"] += 1
        self.pages += (time, number, key, slab.order, +1)
        return slab

    def _from_node(self, cpu: Cpu) -> Slab:
        """mm/slub.c:get_partial_node (6.12), R3.33: one for the CPU, others for its list."""
        node, stat, most = self.node, self.stat, self.shape.cpu_partial_slabs
        stat["list_lock"] += 1
        stat["alloc_from_partial"] += 1
        _, found = node.popitem(last=False)
        wanted = most // 2 + 1 if most else 0
        for _ in range(min(wanted, len(node))):
            _, slab = node.popitem(last=False)
            slab.where = CPU_LIST
            cpu.partial.append(slab)
            stat["cpu_partial_node"] += 1
        return found

    def _put_partials(self, slabs: Iterable[Slab], number: int, time: int) -> None:
        """mm/slub.c:__put_partials (6.12), R3.37."""
        stat = self.stat
        stat["list_lock"] += 1
        empty: list[Slab] = []
        for slab in slabs:
            if len(self.node) >= self.shape.min_partial and not slab.live:
                empty.append(slab)
            else:
                self.node[slab.key], slab.where = slab, NODE_LIST
                stat["free_add_partial"] += 1
        for slab in reversed(empty):
            stat["deactivate_empty"] += 1
            self._discard(slab, number, time)

    def _discard(self, slab: Slab, number: int, time: int) -> None:
        """Give an empty slab, which is on no list, back to the page allocator."""
        self.stat["free_slab"] += 1
        self.pages += (time, number, slab.key, slab.order, -1)
        self.fallback.discard(slab.key)
        del self.slabs[slab.key]
