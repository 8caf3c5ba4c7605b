"""One cache of 6.18 through a window: sheaves above cpu slabs, event by event (R3.45)."""

from __future__ import annotations

from collections import Counter
from copy import copy, deepcopy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from allocsim.kernels.slub_rules import sheaf_bytes
from allocsim.slub.asked_sheaves import steps
from allocsim.slub.asked_sheaves.steps import AskedColumns, AskedState
from allocsim.slub.columns import replay
from allocsim.slub.cpu_slabs.cache import CpuSlabs
from allocsim.slub.cpu_slabs.steps import CpuSlabColumns
from allocsim.slub.sheaves.stepwise import Stepwise
from allocsim.slub.sheaves.structs import SheafColumns

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import AskedShape, CacheShape
    from allocsim.kernels.slub_rules import AskedRules
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cache_model import CacheEvents, SlabsHeld
    from allocsim.slub.cpu_slabs.steps import CpuSlabState
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.slub.sheaves.structs import SheafState
    from allocsim.tables import Int64, Ints

#: What the kernel calls counters of sheaves that have another name where there is nothing below.
_NAMES = {"alloc_fastpath": "alloc_cpu_sheaf", "free_fastpath": "free_cpu_sheaf"}


class AskedSheaves:
    """One cache between windows: of its sheaves the barn and the CPUs', below them its cpu slabs.

    Args:
        shape: the cache; its capacity is not 0.
        rules: the kernel version's numbers.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order, fast, nodes, older_nodes: as Slub has them.
        kmalloc_cache: the cache its sheaves are objects of (sheaf_kmalloc).

    Attributes:
        sheaf_objects: as SheafCache has them.
        above, below: its sheaves, its cpu slabs.
    """

    def __init__(  # noqa: PLR0913 - a cache and its world
        self,
        shape: AskedShape,
        rules: AskedRules,
        number: int,
        cpus: int,
        freelist_order: FreelistOrder | None,
        *,
        kmalloc_cache: int,
        fast: bool = False,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.shape, self.rules, self.number, self.fast = shape, rules, number, fast
        self.sheaf_objects: dict[int, int] = {}
        self._kmalloc_cache = kmalloc_cache
        self.above = Stepwise(
            shape,
            rules.sheaves,
            number,
            cpus,
            freelist_order,
            largest=shape.capacity,
            fast=fast,
            nodes=nodes,
        )
        self.below = CpuSlabs(
            *(shape.cpu_slabs, number, cpus, freelist_order),
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> AskedSheaves:
        """As deepcopy gives it, but quicker."""
        other = copy(self)
        other.sheaf_objects = self.sheaf_objects.copy()
        other.above, other.below = deepcopy(self.above, memo), deepcopy(self.below, memo)
        return other

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters, since the start."""
        above, below = self.above.stat, self.below.stat
        return below + Counter({_NAMES.get(name, name): above[name] for name in above})

    @property
    def sheaf_memory(self) -> list[list[int]]:
        """As SheafCache has it."""
        return self.above.memory

    @property
    def sheaf_bytes(self) -> int:
        """Bytes that each of its sheaves asks kmalloc for."""
        return sheaf_bytes(self.rules.sheaves, self.shape.capacity)

    @property
    def kmalloc_caches(self) -> list[int]:
        """The caches that its sheaves are objects of."""
        return [self._kmalloc_cache] if self._kmalloc_cache >= 0 else []

    def kmalloc_cache_of(self, _sheaf: int) -> int:
        """The cache that a sheaf is an object of."""
        return self._kmalloc_cache

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """As allocsim.slub.cache_model.CacheModel: all of it below; the sheaves are empty."""
        self.below.seed_free(slabs, places, cpus)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        self.below.room_for_older(events)
        names, given = self.above.given(events)
        state = AskedState(self.above.state, self.below.state)
        columns = _columns if self.fast else None
        replay(steps, state, given, len(events.op), self._make_room, columns)
        self.above.take_back(events, given, names)

    def _make_room(self) -> None:
        objects = self.shape.capacity + 1
        self.above.room_for_sheaves()
        self.below.room_for(objects)

    def change(self, shape: CacheShape, _now: int, _kmalloc_cache: int) -> None:
        """As allocsim.slub.cache_model.CacheModel: nothing can change here (R3.45)."""
        if shape != self.shape:
            raise TypeError(f"{shape.name}: sheaves above cpu slabs do not change")

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows as allocsim.slub.cache_model.CacheModel (i8)."""
        return self.below.take_pages()

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        return self.above.in_sheaves()

    def slabs_held(self) -> SlabsHeld:
        """As allocsim.slub.cache_model.CacheModel."""
        return self.below.slabs_held()


def _columns(above: SheafState, below: CpuSlabState) -> AskedColumns:
    """A state as tuples, which is what compiled functions can be given."""
    return AskedColumns(
        SheafColumns(*(getattr(above, each.name) for each in fields(above))),
        CpuSlabColumns(*(getattr(below, each.name) for each in fields(below))),
    )
