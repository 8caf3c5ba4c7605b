"""One cache of 6.12 through a window: cpu slabs and partial lists (R3.30 - R3.40).

A CPU takes another slab every few events, a step that hangs on all CPUs' steps before it, so a
window is gone through event by event (steps).
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.page_alloc.nodes import one_node
from allocsim.slub.cache_model import SlabsHeld
from allocsim.slub.columns import (
    as_column,
    copied,
    event_column,
    grow,
    grow_older,
    more_orders,
    more_structs,
    replay,
    zonelists,
)
from allocsim.slub.cpu_slabs import steps
from allocsim.slub.cpu_slabs.steps import (
    CPU_LIST,
    CPU_SIZE,
    FREELIST,
    LINKS,
    NODE_LIST,
    NONE,
    OF_CPU,
    PAGE_SIZE,
    PARTIAL,
    SLABS,
    CpuSlabColumns,
    CpuSlabEvents,
    CpuSlabState,
)
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.slabs import CACHE_BITS

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import CacheShape, CpuSlabShape
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.columns import Column
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64, Ints

_AHEAD = 8  #: slabs whose order (R3.6) is looked up at once


class CpuSlabs:
    """State of one cache between windows: its slabs, each CPU's and the node's.

    Args:
        shape: the cache.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.
        fast: compile what it does (columns).
        nodes, older_nodes: as Slub has them.
    """

    def __init__(  # noqa: PLR0913 - a cache and its world
        self,
        shape: CpuSlabShape,
        number: int,
        cpus: int,
        freelist_order: FreelistOrder | None,
        *,
        fast: bool = False,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.shape, self.number, self.fast = shape, number, fast
        self.freelist_order = freelist_order
        numbers = [0] * steps.NUMBERS
        numbers[steps.UNUSED] = NONE
        numbers[steps.BEST_ORDER], numbers[steps.BEST_OBJECTS] = shape.order, shape.objects
        numbers[steps.MIN_ORDER], numbers[steps.MIN_OBJECTS] = shape.min_order, shape.min_objects
        numbers[steps.MIN_PARTIAL] = shape.min_partial
        numbers[steps.CPU_PARTIAL_SLABS] = shape.cpu_partial_slabs
        nodes = nodes or one_node(cpus)
        self._older_nodes = older_nodes
        numbers[steps.BASE], numbers[steps.NODES] = number << CACHE_BITS, nodes.count
        cpu_structs, orders = [NONE] * (cpus * CPU_SIZE), list(range(shape.objects))
        cpu_structs[steps.HOME :: CPU_SIZE] = [node * steps.NODE_SIZE for node in nodes.of_cpu]
        of_nodes: Column = []
        for has_memory in nodes.memory:
            of_nodes += (NONE, NONE, 0, int(has_memory))
        near = zonelists(nodes, steps.NODE_SIZE)
        columns: tuple[Column, ...] = (
            numbers,
            cpu_structs,
            of_nodes,
            near,
            [],
            [],
            [],
            [],
            orders,
            [],
        )
        self.state = CpuSlabState(*(as_column(each, fast=fast) for each in columns))

    def __deepcopy__(self, _: dict[int, Any]) -> CpuSlabs:
        """As deepcopy gives it, but quicker."""
        other = copy(self)
        other.state = copied(self.state)
        return other

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them."""
        holder: dict[int, int] = {}  # of each slab
        for key, number in zip(slabs.tolist(), cpus.tolist(), strict=True):
            holder.setdefault(key, number)
        self._room_for_older(slabs)
        self._list_older(holder)
        c = self.state
        # From the last one on, each in front of its free list.
        for key, place in zip(slabs[::-1].tolist(), places[::-1].tolist(), strict=True):
            slab, cpu = steps.older_slab(c, key), holder[key] * CPU_SIZE
            if c.slabs[slab + steps.WHERE] == OF_CPU:
                c.slabs[slab + LINKS + place] = c.cpus[cpu + FREELIST]
                c.cpus[cpu + FREELIST] = place
            else:
                c.slabs[slab + LINKS + place] = c.slabs[slab + steps.FREE]
                c.slabs[slab + steps.FREE] = place
                c.slabs[slab + steps.INUSE] -= 1

    def _list_older(self, holder: dict[int, int]) -> None:
        """Let each CPU have its first slab, and its list the others; -1 stands for the node."""
        c = self.state
        lists: dict[int, list[int]] = {}
        for key, number in holder.items():
            if c.numbers[steps.UNUSED] == NONE:
                self._more_structs()
            slab, cpu = steps.older_slab(c, key), number * CPU_SIZE
            if number < 0:
                steps.to_node(c, slab)
            elif c.cpus[cpu + steps.SLAB] == NONE:
                c.cpus[cpu + steps.SLAB], c.slabs[slab + steps.WHERE] = slab, OF_CPU
            else:
                lists.setdefault(cpu, []).append(slab)
        for cpu, listed in lists.items():
            for slab in reversed(listed):
                steps.to_cpu_partial(c, slab, cpu)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        self.room_for_older(events)
        names = ("cpu", "op", "parent", "objects", "path", "max_order", "node")
        given = CpuSlabEvents(
            *(event_column(getattr(events, name), fast=self.fast) for name in names)
        )
        tuple_type = CpuSlabColumns if self.fast else None
        replay(steps, self.state, given, len(events.op), self._make_room, tuple_type)
        events.objects[:] = given.objects
        events.path[:] = given.path

    def room_for_older(self, events: CacheEvents) -> None:
        """Let slabs older than the trace that a window's frees are of be looked up."""
        carried = (events.op < 0) & (events.parent < 0)
        self._room_for_older(events.objects[carried] >> INDEX_BITS)

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters."""
        counted = map(int, self.state.numbers[: len(steps.COUNTERS)])
        return Counter(dict(zip(steps.COUNTERS, counted, strict=True)))

    def change(self, shape: CacheShape, _now: int, _kmalloc_cache: int) -> None:
        """As allocsim.slub.cache_model.CacheModel: min_partial alone can change."""
        self.shape = replace(self.shape, min_partial=shape.min_partial)
        self.state.numbers[steps.MIN_PARTIAL] = shape.min_partial

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows as allocsim.slub.cache_model.CacheModel (i8)."""
        n = self.state.numbers
        took = np.array(self.state.pages[: n[steps.PAGES]], np.int64)
        n[steps.PAGES] = 0
        return took.reshape(-1, PAGE_SIZE)

    def slabs_held(self) -> SlabsHeld:
        """As allocsim.slub.cache_model.CacheModel."""
        slabs = np.array(self.state.slabs, np.int64).reshape(-1, self._struct_size)
        free = slabs[:, steps.OBJECTS] - slabs[:, steps.INUSE]
        of_cpus, listed, node = (
            slabs[:, steps.WHERE] == where for where in (OF_CPU, CPU_LIST, NODE_LIST)
        )
        return SlabsHeld(
            int((listed | node).sum()),
            int(free[listed | node].sum()),
            int(node.sum()),
            int(free[node].sum()),
            int((of_cpus | listed).sum()),
        )

    # --- room

    @property
    def _struct_size(self) -> int:
        return LINKS + self.shape.objects

    def _make_room(self) -> None:
        """Make room for one more event at least, and for twice as much of what it lacked."""
        self.room_for(0)

    def room_for(self, bulk: int) -> None:
        """The same, for so many allocations and as many frees besides (R3.39)."""
        c = self.state
        n = c.numbers
        while not self._has_unused(2 * bulk + 2):
            self._more_structs()
        if n[steps.CREATED] + bulk >= n[steps.ORDERED]:
            n[steps.ORDERED] = more_orders(
                c,
                self.freelist_order,
                self.number,
                self.shape.objects,
                int(n[steps.CREATED]),
                _AHEAD + 2 * bulk,
            )
        partial = [first for first in c.cpus[PARTIAL::CPU_SIZE] if first != NONE]
        listed = max((c.slabs[first + SLABS] for first in partial), default=0)
        listed += n[steps.CPU_PARTIAL_SLABS]
        grow(c, "pages", n[steps.PAGES] + PAGE_SIZE * (listed + 3 * bulk + 4))

    def _has_unused(self, count: int) -> bool:
        """Whether so many structs have no slab."""
        slab = self.state.numbers[steps.UNUSED]
        for _ in range(count):
            if slab == NONE:
                return False
            slab = self.state.slabs[slab + steps.NEXT]
        return True

    def _more_structs(self) -> None:
        first, unused = len(self.state.slabs), self.state.numbers[steps.UNUSED]
        more = more_structs(self.state, self._struct_size, steps.NEXT)
        last = first + (more - 1) * self._struct_size
        self.state.slabs[last + steps.NEXT] = unused
        self.state.numbers[steps.UNUSED] = first

    def _room_for_older(self, keys: Int64) -> None:
        """Let slabs older than the trace, which have keys from -2 downwards, be looked up."""
        grow_older(self.state, int(keys.min(initial=NONE)), self._older_nodes, steps.NODE_SIZE)
