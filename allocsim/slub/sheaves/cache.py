"""One cache of a kernel with sheaves through a window: planned, or event by event (7.2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.cache_shapes import SheafShape
from allocsim.kernels.slub_rules import sheaf_bytes
from allocsim.slub.cache_model import NO_KMALLOC_CACHE, SlabsHeld
from allocsim.slub.sheaves.planned import Planned
from allocsim.slub.sheaves.stepwise import Stepwise

if TYPE_CHECKING:
    from collections import Counter

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.slub_rules import SheafRules
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cache_model import CacheEvents
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Int64, Ints

MANY = 2000  #: events of a window from which a plan is quicker than a step for each


class SheafCache:
    """One cache between windows.

    A window is planned where it can be and is long enough; what is compiled goes event by event.
    Once planned it stays so as long as it can, and what could not be planned never is again.

    Args:
        shape: the cache.
        rules: the kernel version's numbers.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order, fast, nodes, older_nodes: as Slub has them.
        kmalloc_cache: the cache its sheaves are objects of (sheaf_kmalloc).
        largest: the most that its capacity ever is; None: as it is.

    Attributes:
        sheaf_objects: object of its kmalloc cache that each sheaf is (sheaf_kmalloc).
    """

    def __init__(  # noqa: PLR0913 - a cache and its world
        self,
        shape: SheafShape,
        rules: SheafRules,
        number: int,
        cpus: int,
        freelist_order: FreelistOrder | None,
        *,
        kmalloc_cache: int = NO_KMALLOC_CACHE,
        largest: int | None = None,
        fast: bool = False,
        nodes: Nodes | None = None,
        older_nodes: Int64 | None = None,
    ) -> None:
        self.shape, self.rules, self.number = shape, rules, number
        largest = shape.capacity if largest is None else largest
        self.sheaf_objects: dict[int, int] = {}
        one = nodes is None or nodes.count == 1
        self._may_plan = one and not fast
        #: First number of the sheaves that are objects of a kmalloc cache, and that; the last last.
        self._kmalloc_caches = [(0, kmalloc_cache)]
        self._cold = partial(
            Stepwise,
            rules=rules,
            number=number,
            cpus=cpus,
            freelist_order=freelist_order,
            largest=largest,
            fast=fast,
            nodes=nodes,
            older_nodes=older_nodes,
        )
        self._state: Stepwise | Planned = self._cold(shape)

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters, since the start."""
        return self._state.stat

    @property
    def sheaf_memory(self) -> list[list[int]]:
        """Sheaves made and freed in this window.

        Of each the event, CPU, sheaf, +1 or -1, and the page requests before it, of this window or
        of this event.
        """
        return self._state.memory

    @property
    def sheaf_bytes(self) -> int:
        """Bytes that each of its sheaves asks kmalloc for (R3.10)."""
        return sheaf_bytes(self.rules, self.shape.capacity)

    @property
    def kmalloc_caches(self) -> list[int]:
        """The caches that its sheaves are objects of, those it was made with, too."""
        return sorted({cache for _, cache in self._kmalloc_caches} - {NO_KMALLOC_CACHE})

    def kmalloc_cache_of(self, sheaf: int) -> int:
        """The cache that a sheaf is an object of, which its capacity when it was made says."""
        return next(cache for first, cache in reversed(self._kmalloc_caches) if first <= sheaf)

    def change(self, shape: CacheShape, now: int, kmalloc_cache: int) -> None:
        """As allocsim.slub.cache_model.CacheModel: capacity, barn and min_partial can change."""
        if not isinstance(shape, SheafShape):
            raise TypeError(f"the shape of {shape.name} is not of a kernel with sheaves")
        may_plan, state = self._may_plan, self._stepwise()
        if shape.capacity != self.shape.capacity:
            self._kmalloc_caches.append((state.sheaves_made, kmalloc_cache))
        state.change(shape, now)
        self.shape, self._may_plan = shape, may_plan

    def seed_free(self, slabs: Int64, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them."""
        self._stepwise().seed_free(slabs, places, cpus)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events; objects and paths are filled in."""
        if not (self._plans(events) and self._planned().replay(events)):
            self._stepwise().replay(events)

    def _plans(self, events: CacheEvents) -> bool:
        """Whether a window is to be planned, as far as its events say."""
        orders = events.max_order
        if not (self._may_plan and self.shape.capacity):
            return False
        if np.any(np.abs(events.op) != 1) or (
            orders is not None and np.any(orders < self.shape.order)
        ):
            self._may_plan = False
            return False
        return isinstance(self._state, Planned) or (
            len(events.op) >= MANY and self._state.can_be_planned()
        )

    def _planned(self) -> Planned:
        if isinstance(self._state, Stepwise):
            self._state = Planned(self._state)
        return self._state

    def _stepwise(self) -> Stepwise:
        if isinstance(self._state, Planned):
            self._may_plan = False
            state = self._cold(self.shape)
            self._state.leave(state)
            self._state = state
        return self._state

    def take_pages(self) -> Int64:
        """Page requests since the last call: rows as allocsim.slub.cache_model.CacheModel (i8)."""
        return self._state.take_pages()

    def in_sheaves(self) -> int:
        """Objects in all sheaves, wherever they are."""
        return self._state.in_sheaves()

    def partial(self) -> list[tuple[int, list[int]]]:
        """Slabs of each node's partial list, and places of their free objects, the head last."""
        return self._state.partial()

    def slabs_held(self) -> SlabsHeld:
        """As allocsim.slub.cache_model.CacheModel."""
        slabs = self.partial()
        free = sum(len(places) for _, places in slabs)
        return SlabsHeld(len(slabs), free, len(slabs), free, None)
