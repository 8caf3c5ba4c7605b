"""The state of one cache between windows: its slabs, and its sheaves as they stand (7.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.slub.cache_model import FAILED
from allocsim.slub.paths import AllocPath
from allocsim.slub.slabs import Slabs

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import SheafShape
    from allocsim.kernels.slub_rules import SheafRules
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64

NO_SHEAF = -1


@dataclass(slots=True, eq=False)
class Sheaf:
    """A sheaf: its number, and its objects, the next to be taken last."""

    number: int
    objects: list[int]


@dataclass(slots=True)
class Sheaves:
    """The sheaves between two windows, by number; contents are kept beside (cache).

    Args:
        capacity: objects in a sheaf, at least 1.
        max_full: full sheaves the barn takes.
        main: main sheaf of every CPU.
        spare: spare sheaf of every CPU, NO_SHEAF where there is none.
        size: objects in every CPU's main sheaf.
        spare_full: whether every CPU's spare is full; a spare that is not full is empty.
        full: full sheaves of the barn, the next to be taken last.
        empty: empty sheaves of the barn, the next to be taken last.
        count: numbers given so far.
        unused: numbers of sheaves that were freed.
    """

    capacity: int
    max_full: int
    main: list[int]
    spare: list[int]
    size: list[int]
    spare_full: list[bool]
    full: list[int]
    empty: list[int]
    count: int
    unused: list[int]

    @classmethod
    def cold(cls, cpus: int, capacity: int, max_full: int) -> Sheaves:
        """A new cache: an empty main sheaf for every CPU (R3.12), no spare, an empty barn."""
        return cls(
            capacity=capacity,
            max_full=max_full,
            main=list(range(cpus)),
            spare=[NO_SHEAF] * cpus,
            size=[0] * cpus,
            spare_full=[False] * cpus,
            full=[],
            empty=[],
            count=cpus,
            unused=[],
        )

    def copy(self) -> Sheaves:
        """An independent copy."""
        names = ("main", "spare", "size", "spare_full", "full", "empty", "unused")
        lists: dict[str, Any] = {name: list(getattr(self, name)) for name in names}
        return replace(self, **lists)

    def __deepcopy__(self, _: dict[int, Any]) -> Sheaves:
        """As deepcopy gives it, but quicker."""
        return self.copy()

    def new_sheaf(self) -> int:
        """The number of a sheaf just allocated."""
        if self.unused:
            return self.unused.pop()
        self.count += 1
        return self.count - 1


class CacheState:
    """State of one cache between windows.

    Args:
        shape: the cache.
        rules: the kernel version's numbers.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.

    Attributes:
        sheaf_memory: sheaves allocated (+1) and freed (-1) in this window: event, CPU, sheaf, which
            of both, and the page requests before it, of this window or of this event.
        sheaf_objects: object of its kmalloc cache that each sheaf is (sheaf_kmalloc).
        callbacks: page requests of this window made by callbacks of kfree_rcu: first, end, and the
            CPU.
        contents: object in every cell of every sheaf, up to the sheaf's size (i8).
    """

    def __init__(
        self,
        shape: SheafShape,
        rules: SheafRules,
        number: int,
        cpus: int,
        freelist_order: FreelistOrder | None,
    ) -> None:
        self.shape = shape
        self.rules = rules
        self.number = number
        self.stat: Counter[str] = Counter()
        self.slabs = Slabs(shape, self.stat, number, freelist_order)
        self.sheaf_memory: list[tuple[int, int, int, int, int]] = []
        self.sheaf_objects: dict[int, int] = {}
        self.callbacks: list[tuple[int, int, int]] = []
        self.sheaves = Sheaves.cold(cpus, shape.capacity, rules.max_full_sheaves)
        self.contents: Int64 = np.full(self.sheaves.count * shape.capacity, FAILED, np.int64)

    def slow_alloc(self, time: int, max_order: int) -> tuple[int, AllocPath]:
        """One object by the slow path (R3.15): object, FAILED if there is none, and path."""
        found, new = self.slabs.take_one(time, max_order)
        if found is None:
            return FAILED, AllocPath.FAILED
        return found, AllocPath.SLOW_NEW if new else AllocPath.SLOW_PARTIAL

    def note_sheaf(self, time: int, cpu: int, number: int, way: int) -> None:
        """Write down what becomes of a sheaf's memory (sheaf_kmalloc)."""
        self.sheaf_memory.append((time, cpu, number, way, self.slabs.requests()))

    def contents_for(self, sheaves: int) -> Int64:
        """A copy of the cells' contents with room for so many sheaves.

        Returns:
            (sheaves x capacity) objects, slab << 16 | index; FAILED in cells that are new (i8).
        """
        contents = np.full(sheaves * self.shape.capacity, FAILED, np.int64)
        contents[: len(self.contents)] = self.contents
        return contents
