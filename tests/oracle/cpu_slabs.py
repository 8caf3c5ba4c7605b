"""SLUB of 6.12 with cpu slabs, one event at a time, one NUMA node (R3.29 - R3.40).

Written to be read beside mm/slub.c of 6.12 and docs/rules.md, not to be fast. Every counter is
incremented where mm/slub.c has stat() or stat_add(), under the name of the sysfs file. Ours are
`list_lock`, acquisitions of the node's list_lock, and `freelist_cmpxchg`, successful locked
cmpxchgs of a slab's free list (slab_update_freelist). Paths have the names of
allocsim.slub.paths.AllocPath in lower case.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.oracle.slub import NOTHING, ascending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from allocsim.kernels.cache_shapes import CpuSlabShape


@dataclass(eq=False)
class Slab:
    number: int  # as handed to the outside
    order: int
    objects: int
    freelist: list[int]  # slab->freelist: indices, head first
    inuse: int = 0
    frozen: bool = False
    on_node_partial: bool = False  # slab_test_node_partial
    slabs: int = 0  # on a cpu partial list: its length from here to the end


@dataclass
class Cpu:
    """struct kmem_cache_cpu."""

    slab: Slab | None = None
    freelist: list[int] = field(default_factory=list)  # head first
    partial: list[Slab] = field(default_factory=list)  # head first


Found = tuple[Slab, int]  # an object: its slab and its place in it


class Cache:
    """One cache; of `shape` its orders and objects, min_partial and cpu_partial_slabs matter."""

    def __init__(self, slub: CpuSlabs, number: int, shape: CpuSlabShape) -> None:
        self.slub = slub
        self.number = number
        self.shape = shape
        self.cpus: dict[int, Cpu] = {}
        self.partial: list[Slab] = []  # node partial list, head first
        self.slabs: dict[int, Slab] = {}  # every slab by number
        self.created = 0
        self.stat: Counter[str] = Counter()

    # --- allocation -------------------------------------------------------------------------

    def alloc(self, cpu: int) -> tuple[str, Found | None]:
        """__slab_alloc_node: the path, and the object if there is one (R3.31)."""
        c = self.cpus.setdefault(cpu, Cpu())
        if not c.freelist or c.slab is None:
            return self.slab_alloc(c)
        self.stat["alloc_fastpath"] += 1
        return "cpu_slab_hit", (c.slab, c.freelist.pop(0))

    def slab_alloc(self, c: Cpu) -> tuple[str, Found | None]:
        """___slab_alloc, R3.32, without a node asked for."""
        self.stat["alloc_slowpath"] += 1
        if c.slab is not None:
            freelist = self.get_freelist(c.slab)
            if freelist:
                self.stat["alloc_refill"] += 1
                return "cpu_slab_refill", self.load_freelist(c, freelist)
            c.slab = None
            self.stat["deactivate_bypass"] += 1
        if c.partial:
            c.slab = c.partial.pop(0)
            freelist = self.get_freelist(c.slab)
            self.stat["cpu_partial_alloc"] += 1
            return "cpu_partial", self.load_freelist(c, freelist)
        slab = self.get_partial_node(c)
        if slab is not None:
            path, freelist = "node_partial", self.freeze_slab(slab)
        else:
            slab = self.new_slab()
            if slab is None:
                return "failed", None
            path, freelist = "new_slab", slab.freelist
            slab.freelist, slab.inuse, slab.frozen = [], slab.objects, True
        c.slab = slab
        return path, self.load_freelist(c, freelist)

    @staticmethod
    def load_freelist(c: Cpu, freelist: list[int]) -> Found:
        assert c.slab is not None
        assert c.slab.frozen
        c.freelist = freelist[1:]
        return c.slab, freelist[0]

    def get_freelist(self, slab: Slab) -> list[int]:
        self.stat["freelist_cmpxchg"] += 1
        freelist = slab.freelist
        slab.freelist, slab.inuse, slab.frozen = [], slab.objects, bool(freelist)
        return freelist

    def freeze_slab(self, slab: Slab) -> list[int]:
        assert not slab.frozen
        self.stat["freelist_cmpxchg"] += 1
        freelist = slab.freelist
        slab.freelist, slab.inuse, slab.frozen = [], slab.objects, True
        return freelist

    def get_partial_node(self, c: Cpu) -> Slab | None:
        """R3.33."""
        if not self.partial:
            return None
        self.stat["list_lock"] += 1
        partial, partial_slabs = None, 0
        while self.partial:
            slab = self.partial.pop(0)  # remove_partial
            slab.on_node_partial = False
            if partial is None:
                partial = slab
                self.stat["alloc_from_partial"] += 1
                if self.shape.cpu_partial_slabs == 0:
                    break
            else:
                self.put_cpu_partial(c, slab, drain=False)
                self.stat["cpu_partial_node"] += 1
                partial_slabs += 1
                if partial_slabs > self.shape.cpu_partial_slabs // 2:
                    break
        return partial

    def new_slab(self) -> Slab | None:
        """allocate_slab: the preferred order, then the fallback order."""
        shape = self.shape
        limit = self.slub.max_order(self.slub.seq)
        if shape.order <= limit:
            order, objects = shape.order, shape.objects
        elif shape.min_order <= limit:
            order, objects = shape.min_order, shape.min_objects
            self.stat["order_fallback"] += 1
        else:
            return None
        number = (self.number << 32) | self.created
        free = self.slub.freelist_order(self.number, self.created, objects)
        slab = Slab(number, order, objects, list(free))
        self.created += 1
        self.slabs[number] = slab
        self.stat["alloc_slab"] += 1
        self.slub.page(self, slab, +1)
        return slab

    # --- free -------------------------------------------------------------------------------

    def free(self, cpu: int, what: Found) -> str:
        """do_slab_free, of one object: the path (R3.34)."""
        slab, index = what
        c = self.cpus.setdefault(cpu, Cpu())
        if slab is not c.slab:
            return self.slab_free(c, slab, index)
        c.freelist.insert(0, index)
        self.stat["free_fastpath"] += 1
        return "cpu_slab_push"

    def slab_free(self, c: Cpu, slab: Slab, index: int) -> str:
        """__slab_free, R3.35, with CONFIG_SLUB_CPU_PARTIAL."""
        self.stat["free_slowpath"] += 1
        self.stat["freelist_cmpxchg"] += 1
        prior, was_frozen = bool(slab.freelist), slab.frozen
        slab.freelist.insert(0, index)
        slab.inuse -= 1
        if was_frozen:
            self.stat["free_frozen"] += 1
            return "free_frozen"
        if not prior:
            drained = self.put_cpu_partial(c, slab, drain=True)
            self.stat["cpu_partial_free"] += 1
            return "cpu_partial_drain" if drained else "cpu_partial_put"
        if slab.inuse:
            return "slab_push"
        self.stat["list_lock"] += 1
        if not slab.on_node_partial or len(self.partial) < self.shape.min_partial:
            return "slab_push"
        self.partial.remove(slab)
        slab.on_node_partial = False
        self.stat["free_remove_partial"] += 1
        self.discard_slab(slab)
        return "slab_freed"

    def put_cpu_partial(self, c: Cpu, slab: Slab, *, drain: bool) -> bool:
        """R3.36; whether the old list was drained."""
        slab_to_put: list[Slab] = []
        slabs = 0
        if c.partial:
            if drain and c.partial[0].slabs >= self.shape.cpu_partial_slabs:
                slab_to_put, c.partial = c.partial, []
            else:
                slabs = c.partial[0].slabs
        slab.slabs = slabs + 1
        c.partial.insert(0, slab)
        if slab_to_put:
            self.put_partials(slab_to_put)
            self.stat["cpu_partial_drain"] += 1
        return bool(slab_to_put)

    def put_partials(self, slabs: list[Slab]) -> None:
        """__put_partials, R3.37."""
        self.stat["list_lock"] += 1
        to_discard: list[Slab] = []
        for slab in slabs:
            if not slab.inuse and len(self.partial) >= self.shape.min_partial:
                to_discard.insert(0, slab)
            else:
                self.partial.append(slab)
                slab.on_node_partial = True
                self.stat["free_add_partial"] += 1
        for slab in to_discard:
            self.stat["deactivate_empty"] += 1
            self.discard_slab(slab)

    def discard_slab(self, slab: Slab) -> None:
        self.stat["free_slab"] += 1
        del self.slabs[slab.number]
        self.slub.page(self, slab, -1)


class CpuSlabs:
    """Every cache of a machine.

    Args:
        shapes: the shape of each cache, by cache number.
        max_order: seq -> the largest order the page allocator can serve then; -1 for none.
        freelist_order: (cache, how many slabs before it, objects) -> allocation order of a slab.
        existing: handle -> (slab key, index) of objects live before the trace; keys are below -1.
        free_before: (cache, slab key, index, CPU) of free objects of slabs older than the trace,
            in list and free-list order, the CPU -1: the slab is on the node's partial list; else
            its first such slab is that CPU's slab, the others are on its cpu partial list, the
            next to be taken first. All their other objects are live.
    """

    def __init__(
        self,
        shapes: Sequence[CpuSlabShape],
        *,
        max_order: Callable[[int], int] = lambda _: 10,
        freelist_order: Callable[[int, int, int], Sequence[int]] = ascending,
        existing: Mapping[int, tuple[int, int]] | None = None,
        free_before: Iterable[tuple[int, int, int, int]] = (),
    ) -> None:
        self.caches = [Cache(self, number, shape) for number, shape in enumerate(shapes)]
        self.max_order = max_order
        self.freelist_order = freelist_order
        self.existing = existing or {}
        self.live: dict[int, Found | None] = {}
        self.pages: list[tuple[int, ...]] = []  # (seq, cpu, cache, slab, order, +1 or -1)
        self.seq = self.cpu = -1
        for number, key, index, cpu in free_before:
            self.free_at_start(self.caches[number], key, index, cpu)

    def free_at_start(self, cache: Cache, key: int, index: int, cpu: int) -> None:
        new = key not in cache.slabs
        slab = self.pre_trace_slab(cache, key)
        if new and cpu < 0:
            slab.on_node_partial = True
            cache.partial.append(slab)
        elif new:
            c = cache.cpus.setdefault(cpu, Cpu())
            if c.slab is None:
                c.slab, slab.frozen = slab, True
            else:
                c.partial.append(slab)
                for place, one in enumerate(reversed(c.partial)):
                    one.slabs = place + 1
        c = cache.cpus.setdefault(cpu, Cpu()) if cpu >= 0 else Cpu()
        if slab is c.slab:
            c.freelist.append(index)
            return
        slab.freelist.append(index)
        slab.inuse -= 1

    @staticmethod
    def pre_trace_slab(cache: Cache, key: int) -> Slab:
        """A slab older than the trace: full, but for what was said to be free."""
        if key not in cache.slabs:
            objects = cache.shape.objects
            cache.slabs[key] = Slab(key, cache.shape.order, objects, [], objects)
        return cache.slabs[key]

    def page(self, cache: Cache, slab: Slab, way: int) -> None:
        self.pages.append((self.seq, self.cpu, cache.number, slab.number, slab.order, way))

    def event(
        self, seq: int, cpu: int, number: int, op: int, handle: int, *_: int
    ) -> tuple[str, int, int]:
        """Replay one event: (path, slab, index).

        kfree_rcu's frees are taken one by one, as kfree's. Nothing is prefilled in 6.12.
        """
        self.seq, self.cpu = seq, cpu
        cache = self.caches[number]
        found: Found | None
        if op > 0:
            path, found = cache.alloc(cpu)
            self.live[handle] = found
        else:
            if handle in self.live:
                found = self.live.pop(handle)
            else:
                key, index = self.existing[handle]
                found = (self.pre_trace_slab(cache, key), index)
            if found is None:  # the model could not allocate it, so there is nothing to free
                return ("ignored", *NOTHING)
            path = cache.free(cpu, found)
        return (path, found[0].number, found[1]) if found else (path, *NOTHING)
