"""SLUB of 6.12 with cpu slabs, one event at a time (R3.29 - R3.41).

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

from allocsim.page_alloc.nodes import NO_NODE, Nodes
from allocsim.slub.requests import Op
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
    node: int = 0  # whose page it is


@dataclass
class Cpu:
    """struct kmem_cache_cpu."""

    slab: Slab | None = None
    freelist: list[int] = field(default_factory=list)  # head first
    partial: list[Slab] = field(default_factory=list)  # head first


Found = tuple[Slab, int]  # an object: its slab and its place in it


@dataclass
class Node:
    """struct kmem_cache_node, R3.41."""

    partial: list[Slab] = field(default_factory=list)  # head first


class Cache:
    """One cache; of `shape` its orders and objects, min_partial and cpu_partial_slabs matter."""

    def __init__(self, slub: CpuSlabs, number: int, shape: CpuSlabShape) -> None:
        self.slub = slub
        self.number = number
        self.shape = shape
        self.cpus: dict[int, Cpu] = {}
        self.nodes = [Node() for _ in range(slub.nodes.count)]
        self.slabs: dict[int, Slab] = {}  # every slab by number
        self.created = 0
        self.stat: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """Under the names of their files."""
        return self.stat

    # --- allocation -------------------------------------------------------------------------

    def alloc(self, cpu: int, node: int = NO_NODE) -> tuple[str, Found | None]:
        """__slab_alloc_node: the path, and the object if there is one (R3.31)."""
        c = self.cpus.setdefault(cpu, Cpu())
        if not c.freelist or c.slab is None or node not in (NO_NODE, c.slab.node):
            return self.slab_alloc(c, cpu, node)
        self.stat["alloc_fastpath"] += 1
        return "cpu_slab_hit", (c.slab, c.freelist.pop(0))

    def slab_alloc(self, c: Cpu, cpu: int, node: int) -> tuple[str, Found | None]:
        """___slab_alloc, R3.32, R3.41."""
        self.stat["alloc_slowpath"] += 1
        if node != NO_NODE and not self.slub.nodes.memory[node]:
            node = NO_NODE
        if c.slab is not None and node not in (NO_NODE, c.slab.node):
            self.stat["alloc_node_mismatch"] += 1
            slab, freelist, c.slab, c.freelist = c.slab, c.freelist, None, []
            self.deactivate_slab(slab, freelist)
        if c.slab is not None:
            if c.freelist:
                return "cpu_slab_hit", self.load_freelist(c, c.freelist)
            freelist = self.get_freelist(c.slab)
            if freelist:
                self.stat["alloc_refill"] += 1
                return "cpu_slab_refill", self.load_freelist(c, freelist)
            c.slab = None
            self.stat["deactivate_bypass"] += 1
        while c.partial:
            slab = c.partial.pop(0)
            if node not in (NO_NODE, slab.node):
                self.put_partials([slab])
                continue
            c.slab = slab
            freelist = self.get_freelist(c.slab)
            self.stat["cpu_partial_alloc"] += 1
            return "cpu_partial", self.load_freelist(c, freelist)
        partial, made = self.new_objects(c, self.slub.node_of(cpu), node)
        if partial is not None:
            slab, path, freelist = partial, "node_partial", self.freeze_slab(partial)
        elif made is None:
            return "failed", None
        else:
            slab = made
            path, freelist = "new_slab", slab.freelist
            slab.freelist, slab.inuse, slab.frozen = [], slab.objects, True
        c.slab = slab
        return path, self.load_freelist(c, freelist)

    def new_objects(self, c: Cpu, local: int, node: int) -> tuple[Slab | None, Slab | None]:
        """A slab of a partial list, or a new one: what follows new_objects in ___slab_alloc."""
        wanted = local if node == NO_NODE else node
        slab = self.get_partial_node(self.nodes[wanted], c)
        if slab is None and node == NO_NODE:
            slab = self.get_any_partial(c, local)
        if slab is not None:
            return slab, None
        # With a node asked for, only its own pages are tried first (__GFP_THISNODE).
        new = self.new_slab(wanted)
        if new is None and node != NO_NODE:
            slab = self.get_any_partial(c, local)
        return slab, new

    def get_any_partial(self, c: Cpu, local: int) -> Slab | None:
        """From lists that have more than min_partial slabs, nearest first."""
        for node in self.slub.nodes.near[local]:
            if len(self.nodes[node].partial) > self.shape.min_partial:
                return self.get_partial_node(self.nodes[node], c)
        return None

    def deactivate_slab(self, slab: Slab, freelist: list[int]) -> None:
        """R3.38."""
        node, tail = self.nodes[slab.node], bool(slab.freelist)
        if tail:
            self.stat["deactivate_remote_frees"] += 1
        self.stat["freelist_cmpxchg"] += 1
        slab.inuse -= len(freelist)
        slab.freelist, slab.frozen = freelist + slab.freelist, False
        if not slab.inuse and len(node.partial) >= self.shape.min_partial:
            self.stat["deactivate_empty"] += 1
            self.discard_slab(slab)
        elif slab.freelist:
            self.stat["list_lock"] += 1
            node.partial.insert(len(node.partial) if tail else 0, slab)
            slab.on_node_partial = True
            self.stat["deactivate_to_tail" if tail else "deactivate_to_head"] += 1
        else:
            self.stat["deactivate_full"] += 1

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

    def get_partial_node(self, node: Node, c: Cpu) -> Slab | None:
        """R3.33."""
        if not node.partial:
            return None
        self.stat["list_lock"] += 1
        partial, partial_slabs = None, 0
        while node.partial:
            slab = node.partial.pop(0)  # remove_partial
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

    def new_slab(self, node: int) -> Slab | None:
        """allocate_slab: the preferred order, then the fallback order; by the nearest node."""
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
        slab = Slab(number, order, objects, list(free), node=self.slub.nodes.near[node][0])
        self.created += 1
        self.slabs[number] = slab
        self.stat["alloc_slab"] += 1
        self.slub.page(self, slab, +1)
        return slab

    # --- free -------------------------------------------------------------------------------

    def free(self, cpu: int, what: Found) -> str:
        """slab_free, of one object: the path (R3.34)."""
        slab, index = what
        return self.do_slab_free(cpu, slab, [index])

    def do_slab_free(self, cpu: int, slab: Slab, chain: list[int]) -> str:
        """Objects of one slab, the head of the chain first."""
        c = self.cpus.setdefault(cpu, Cpu())
        if slab is not c.slab:
            return self.slab_free(c, slab, chain)
        c.freelist[:0] = chain
        self.stat["free_fastpath"] += len(chain)
        return "cpu_slab_push"

    def slab_free(self, c: Cpu, slab: Slab, chain: list[int]) -> str:
        """__slab_free, R3.35, with CONFIG_SLUB_CPU_PARTIAL."""
        self.stat["free_slowpath"] += 1
        self.stat["freelist_cmpxchg"] += 1
        prior, was_frozen = bool(slab.freelist), slab.frozen
        slab.freelist[:0] = chain
        slab.inuse -= len(chain)
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
        node = self.nodes[slab.node]
        if not slab.on_node_partial or len(node.partial) < self.shape.min_partial:
            return "slab_push"
        node.partial.remove(slab)
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
        to_discard: list[Slab] = []
        locked = None
        for slab in slabs:
            node = self.nodes[slab.node]
            if node is not locked:
                self.stat["list_lock"] += 1
                locked = node
            if not slab.inuse and len(node.partial) >= self.shape.min_partial:
                to_discard.insert(0, slab)
            else:
                node.partial.append(slab)
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
        nodes: the memory nodes; None: all CPUs are on one.
        older_node: node of slabs older than the trace, by key -2 downwards; 0 if not told.
    """

    def __init__(
        self,
        shapes: Sequence[CpuSlabShape],
        *,
        max_order: Callable[[int], int] = lambda _: 10,
        freelist_order: Callable[[int, int, int], Sequence[int]] = ascending,
        existing: Mapping[int, tuple[int, int]] | None = None,
        free_before: Iterable[tuple[int, int, int, int]] = (),
        nodes: Nodes | None = None,
        older_node: Sequence[int] = (),
    ) -> None:
        self.nodes, self.older_node = nodes or Nodes(()), older_node
        self.caches = [Cache(self, number, shape) for number, shape in enumerate(shapes)]
        self.max_order = max_order
        self.freelist_order = freelist_order
        self.existing = existing or {}
        self.live: dict[int, Found | None] = {}
        self.pages: list[tuple[int, ...]] = []  # (seq, cpu, cache, slab, order, +1 or -1, node)
        self.seq = self.cpu = -1
        for number, key, index, cpu in free_before:
            self.free_at_start(self.caches[number], key, index, cpu)

    def free_at_start(self, cache: Cache, key: int, index: int, cpu: int) -> None:
        new = key not in cache.slabs
        slab = self.pre_trace_slab(cache, key)
        if new and cpu < 0:
            slab.on_node_partial = True
            cache.nodes[slab.node].partial.append(slab)
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

    def node_of(self, cpu: int) -> int:
        """numa_node_id."""
        return self.nodes.of_cpu[cpu] if self.nodes.of_cpu else 0

    def pre_trace_slab(self, cache: Cache, key: int) -> Slab:
        """A slab older than the trace: full, but for what was said to be free."""
        if key not in cache.slabs:
            objects = cache.shape.objects
            told = -2 - key < len(self.older_node)
            node = self.older_node[-2 - key] if told else 0
            cache.slabs[key] = Slab(key, cache.shape.order, objects, [], objects, node=node)
        return cache.slabs[key]

    def page(self, cache: Cache, slab: Slab, way: int) -> None:
        self.pages.append(
            (self.seq, self.cpu, cache.number, slab.number, slab.order, way, slab.node)
        )

    def event(
        self, seq: int, cpu: int, number: int, op: int, handle: int, *rest: int
    ) -> tuple[str, int, int]:
        """Replay one event: (path, slab, index).

        kfree_rcu's frees are taken one by one, as kfree's. Nothing is prefilled in 6.12.
        """
        self.seq, self.cpu = seq, cpu
        cache = self.caches[number]
        found: Found | None
        if op == Op.ASK_SHEAF:
            return ("ignored", *NOTHING)
        if op > 0:
            path, found = cache.alloc(cpu, rest[4] if len(rest) > 4 else NO_NODE)
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
