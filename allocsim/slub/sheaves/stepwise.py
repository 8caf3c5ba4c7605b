"""One cache of 7.2 whose windows are gone through event by event (steps): its state, and its room.

The plan knows main and spare as one stack of two sheaves that are full or empty by turns. Three
things break that: kfree_rcu, whose sheaf comes back full after a grace period; prefilled sheaves,
which take the spare away and bring it back partly full every few events; and a page allocator that
refuses, whereupon refills come back short.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.slub_rules import KFREE_PAGE
from allocsim.page_alloc.nodes import one_node
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
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.requests import Op
from allocsim.slub.sheaves import change_steps, rcu_steps, steps, structs
from allocsim.slub.sheaves.slab_steps import home_of, listed_slab, to_list
from allocsim.slub.sheaves.structs import (
    BATCHED,
    CELLS,
    FREE,
    MAIN,
    MEMORY_SIZE,
    NODE_SIZE,
    NONE,
    PAGE_SIZE,
    PCS_SIZE,
    ROOM,
    SIZE,
    SPARE,
    SheafColumns,
    SheafEvents,
    SheafState,
)
from allocsim.slub.slabs import CACHE_BITS

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import SheafShape
    from allocsim.kernels.slub_rules import SheafRules
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.columns import Column
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64, Ints

_PLACE = (1 << INDEX_BITS) - 1


class Stepwise:
    """The state of one cache, from a cold start: an empty main sheaf for every CPU (R3.12).

    Args:
        shape: the cache.
        rules: the kernel version's numbers.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.
        largest: the most that its capacity ever is (R3.27).
        fast: compile what it does (columns).
        nodes: the memory nodes; None: all CPUs are on one.
        older_nodes: as Slub has it.
    """

    def __init__(  # noqa: PLR0913 - a cache and its world
        self,
        shape: SheafShape,
        rules: SheafRules,
        number: int,
        cpus: int,
        freelist_order: FreelistOrder | None,
        *,
        largest: int,
        fast: bool,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.shape, self.number, self.fast = shape, number, fast
        self.largest = largest
        nodes = nodes or one_node(cpus)
        self._older_nodes = older_nodes
        self.freelist_order = freelist_order
        self.prefilled: dict[int, int] = {}  # sheaves handed out, by the run they serve
        batch = KFREE_PAGE if nodes.count > 1 else 1
        self.sheaf_size = CELLS + max(largest, batch)
        self.struct_size = FREE + max(shape.objects, shape.min_objects)
        n = [0] * structs.NUMBERS
        for at in (
            structs.UNUSED_SHEAF,
            structs.UNUSED_BATCH,
            structs.WAITING,
            structs.WAITING_LAST,
        ):
            n[at] = NONE
        n[structs.UNUSED] = NONE
        n[structs.LARGEST], n[structs.SHEAF_SIZE] = largest, self.sheaf_size
        n[structs.MOST] = largest + 4
        n[structs.MOST_NEW] = 2 * (largest // shape.min_objects + 2)
        self._take_over(n)
        n[structs.BEST_ORDER], n[structs.BEST_OBJECTS] = shape.order, shape.objects
        n[structs.MIN_ORDER], n[structs.MIN_OBJECTS] = shape.min_order, shape.min_objects
        n[structs.FLUSH_BATCH], n[structs.GRACE] = rules.flush_batch, rules.grace_ns
        n[structs.BASE], n[structs.NODES] = number << CACHE_BITS, nodes.count
        n[structs.SHEAVES_END] = (cpus + 1) * self.sheaf_size
        pcs = [NONE] * (cpus * PCS_SIZE)
        pcs[MAIN::PCS_SIZE] = [self.sheaf(main) for main in range(cpus)]
        pcs[structs.HOME :: PCS_SIZE] = [node * NODE_SIZE for node in nodes.of_cpu]
        of_nodes: Column = []
        for has_memory in nodes.memory:
            of_nodes += (NONE, 0, NONE, 0, NONE, NONE, 0, int(has_memory))
        sheaves = [0] * n[structs.SHEAVES_END]
        sheaves[ROOM :: self.sheaf_size] = [shape.capacity] * (cpus + 1)
        orders = list(range(shape.objects))
        columns: list[Column] = [
            *(n, pcs, of_nodes, zonelists(nodes, NODE_SIZE), sheaves),
            *([], [], [], [], [], orders, [], []),
        ]
        self.state = SheafState(*(as_column(each, fast=fast) for each in columns))

    def __deepcopy__(self, _: dict[int, Any]) -> Stepwise:
        """As deepcopy gives it, but quicker."""
        other = copy(self)
        other.prefilled, other.state = self.prefilled.copy(), copied(self.state)
        return other

    def _take_over(self, n: Column) -> None:
        """Let the shape's numbers be those the steps go by."""
        shape = self.shape
        n[structs.CAPACITY], n[structs.MIN_PARTIAL] = shape.capacity, shape.min_partial
        n[structs.MAX_FULL] = shape.max_full_sheaves
        n[structs.MAX_EMPTY] = shape.max_empty_sheaves

    def change(self, shape: SheafShape, now: int) -> None:
        """Let the cache have another capacity, barn or min_partial from a moment on (R3.27).

        Pages and sheaves that are asked for or given back are those of one event.

        Args:
            shape: what it is from now on.
            now: the moment [ns].
        """
        c = self.state
        n = c.numbers
        n[structs.MEMORY] = 0
        cpus = range(0, len(c.pcs), PCS_SIZE)
        while not rcu_steps.callbacks(c, [now], 0):
            self._make_room()
        if shape.capacity != self.shape.capacity:
            for cpu in cpus:
                while not change_steps.drop_cpu(c, cpu, now):
                    self._make_room()
            while not change_steps.drop_barns(c):
                self._make_room()
            n[structs.UNUSED_SHEAF] = NONE
        old, self.shape = self.shape, shape
        self._take_over(n)
        if shape.capacity != old.capacity:
            for cpu in cpus:
                self._make_room()
                change_steps.new_main(c, cpu)

    def sheaf(self, number: int) -> int:
        """The struct of a sheaf, by its number; in front of them is that of none."""
        return (number + 1) * self.sheaf_size

    @property
    def sheaves_made(self) -> int:
        """How many sheaves have a number."""
        return int(self.state.numbers[structs.SHEAVES_END]) // self.sheaf_size - 1

    def add_sheaves(self, count: int) -> None:
        """Let there be so many sheaves in all; the new ones are empty, and nobody's."""
        n, size = self.state.numbers, self.sheaf_size
        first, end = int(n[structs.SHEAVES_END]), self.sheaf(count)
        n[structs.SHEAVES_END] = end
        grow(self.state, "sheaves", end)
        for sheaf in range(first, end, size):
            self.state.sheaves[sheaf + SIZE] = 0
            self.state.sheaves[sheaf + ROOM] = self.shape.capacity

    def sheaf_list(self, first: int) -> list[int]:
        """Numbers of the sheaves of a list, by its first one, which comes last."""
        sheaf, found = first, []
        while sheaf != NONE:
            found.append(sheaf // self.sheaf_size - 1)
            sheaf = self.state.sheaves[sheaf + structs.NEXT_SHEAF]
        return found[::-1]

    def put_unused(self, sheaf: int) -> None:
        """Let a sheaf be one that was freed."""
        c = self.state
        n = c.numbers
        c.sheaves[sheaf + structs.NEXT_SHEAF], n[structs.UNUSED_SHEAF] = (
            n[structs.UNUSED_SHEAF],
            sheaf,
        )

    def made_before(self, slabs: int) -> None:
        """Let so many slabs have been made; of those that live, none has free objects."""
        n = self.state.numbers
        n[structs.CREATED] = n[structs.ORDERED] = slabs
        grow(self.state, "struct_of", slabs)
        grow(self.state, "node_of", slabs)

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters."""
        counted = map(int, self.state.numbers[: len(structs.COUNTERS)])
        return Counter(dict(zip(structs.COUNTERS, counted, strict=True)))

    def put(self, sheaf: int, objects: list[int]) -> None:
        """Let a sheaf have these objects and no others, the next to be taken last."""
        self._room_for_older(np.array(objects, np.int64) >> INDEX_BITS)
        self.state.sheaves[sheaf + SIZE] = len(objects)
        self.state.sheaves[sheaf + CELLS : sheaf + CELLS + len(objects)] = as_column(
            objects, fast=self.fast
        )

    def list_slab(self, slab: int, objects: list[int]) -> None:
        """Put a slab at its node's list's tail, with objects, the next to be taken last."""
        if self.state.numbers[structs.UNUSED] == NONE:
            self._more_structs()
        self._room_for_older(np.array([slab]))
        struct = listed_slab(self.state, slab, NONE)
        to_list(self.state, struct, home_of(self.state, slab))
        free = struct + FREE
        self.state.slabs[free : free + len(objects)] = as_column(objects, fast=self.fast)
        self.state.slabs[free - FREE + structs.COUNT] = len(objects)

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them.

        A CPU with objects in its main sheaf has an empty spare.
        """
        pcs, objects = self.state.pcs, slabs << INDEX_BITS | places
        sheaves = len(pcs) // PCS_SIZE
        for cpu in np.unique(cpus[cpus >= 0]).tolist():
            self.put(pcs[cpu * PCS_SIZE + MAIN], objects[cpus == cpu][::-1].tolist())
            pcs[cpu * PCS_SIZE + SPARE] = self.sheaf(sheaves)
            sheaves += 1
            self.add_sheaves(sheaves)
        held: dict[int, list[int]] = {}
        listed = cpus < 0
        for slab, found in zip(slabs[listed].tolist(), objects[listed].tolist(), strict=True):
            held.setdefault(slab, []).append(found)
        for slab, free in held.items():
            self.list_slab(slab, free[::-1])

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        carried = (events.op < 0) & (events.parent < 0)
        self._room_for_older(events.objects[carried] >> INDEX_BITS)
        names, given = self.given(events)
        tuple_type = SheafColumns if self.fast else None
        replay(steps, self.state, given, len(events.op), self._make_room, tuple_type)
        self.take_back(events, given, names)

    def given(self, events: CacheEvents) -> tuple[list[int], SheafEvents]:
        """A window's runs of prefilled sheaves, and its events as steps take them."""
        self.state.numbers[structs.MEMORY] = 0
        names, run, prefilled = self._runs(events)
        ts = np.zeros(len(events.op), np.int64) if events.ts is None else events.ts
        parent = np.where(events.parent < 0, np.arange(len(ts)), events.parent)
        columns = events._replace(parent=parent, run=run, ts=ts)
        given = [*(event_column(each, fast=self.fast) for each in columns), prefilled]
        return names, SheafEvents._make(given)

    def take_back(self, events: CacheEvents, given: SheafEvents, names: list[int]) -> None:
        """Fill in what became of a window's events."""
        events.objects[:] = given.objects
        events.path[:] = given.path
        sheaves = zip(names, map(int, given.prefilled), strict=True)
        self.prefilled |= {each: sheaf for each, sheaf in sheaves if sheaf != NONE}

    def _runs(self, events: CacheEvents) -> tuple[list[int], Int64, Column]:
        """The runs of a window, which of them each event is of, and the sheaves they have."""
        run = np.zeros(len(events.op), np.int64)
        names: list[int] = []
        if events.run is not None:
            rows = np.flatnonzero((events.op == Op.FROM_SHEAF) | (events.op == Op.ASK_SHEAF))
            if len(rows):
                found, run[rows] = np.unique(events.run[rows], return_inverse=True)
                names = found.tolist()
        sheaves = [self.prefilled.pop(name, NONE) for name in names]
        return names, run, as_column(sheaves, fast=self.fast)

    @property
    def memory(self) -> list[list[int]]:
        """Sheaves made and freed in the last window, as CacheState has them."""
        end = self.state.numbers[structs.MEMORY]
        memory: list[list[int]] = (
            np.array(self.state.memory[:end], np.int64).reshape(-1, MEMORY_SIZE).tolist()
        )
        return memory

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows as allocsim.slub.cache_model.CacheModel (i8)."""
        n = self.state.numbers
        took = np.array(self.state.pages[: n[structs.PAGES]], np.int64)
        n[structs.PAGES] = 0
        return took.reshape(-1, PAGE_SIZE)

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        cells, size = self.state.sheaves, self.sheaf_size
        sheaves = range(size, self.state.numbers[structs.SHEAVES_END], size)
        return int(sum(cells[each + SIZE] for each in sheaves if cells[each + ROOM] != BATCHED))

    def partial(self) -> list[tuple[int, list[int]]]:
        """As SheafCache has it."""
        c, found = self.state, []
        for head in c.nodes[structs.HEAD :: NODE_SIZE]:
            slab = head
            while slab != NONE:
                free = c.slabs[slab + FREE : slab + FREE + c.slabs[slab + structs.COUNT]]
                found.append((c.slabs[slab + structs.KEY], [int(each) & _PLACE for each in free]))
                slab = c.slabs[slab + structs.NEXT]
        return found

    def can_be_planned(self) -> bool:
        """Whether every spare is full or empty, and no sheaf elsewhere but in the barn."""
        c = self.state
        spares = [sheaf for sheaf in c.pcs[SPARE::PCS_SIZE] if sheaf != NONE]
        return (
            c.numbers[structs.WAITING] == NONE
            and c.numbers[structs.NODES] == 1
            and all(sheaf == NONE for sheaf in c.pcs[structs.RCU_FREE :: PCS_SIZE])
            and all(c.sheaves[sheaf + SIZE] in (0, self.shape.capacity) for sheaf in spares)
            and not self.prefilled
        )

    # --- room

    def _make_room(self) -> None:
        """Make room for one more event at least, and for twice as much of what it lacked."""
        c, shape = self.state, self.shape
        n = c.numbers
        most, new = int(n[structs.MOST]), int(n[structs.MOST_NEW])
        while n[structs.UNUSED_COUNT] < min(most, n[structs.CREATED] + len(c.older) + new + 4):
            self._more_structs()
        if n[structs.NODES] > 1:
            grow(c, "node_of", int(n[structs.CREATED]) + 2 * new)
        if n[structs.CREATED] + new > n[structs.ORDERED]:
            n[structs.ORDERED] = more_orders(
                c, self.freelist_order, self.number, shape.objects, int(n[structs.CREATED]), 2 * new
            )
        grow(c, "pages", n[structs.PAGES] + PAGE_SIZE * (most + new))
        self.room_for_sheaves()

    def room_for_sheaves(self) -> None:
        """Make room for the sheaves that one more event may need."""
        c = self.state
        n = c.numbers
        grow(c, "sheaves", n[structs.SHEAVES_END] + 4 * self.sheaf_size)
        grow(c, "memory", n[structs.MEMORY] + 4 * MEMORY_SIZE)

    def _more_structs(self) -> None:
        c = self.state
        first, size = len(c.slabs), self.struct_size
        more = more_structs(c, size, structs.NEXT)
        c.slabs[first + (more - 1) * size + structs.NEXT] = c.numbers[structs.UNUSED]
        c.numbers[structs.UNUSED] = first
        c.numbers[structs.UNUSED_COUNT] += more

    def _room_for_older(self, keys: Int64) -> None:
        """Let slabs older than the trace, which have keys from -2 downwards, be looked up."""
        grow_older(self.state, int(keys.min(initial=NONE)), self._older_nodes, NODE_SIZE)
