"""SLUB of 6.18: sheaves in caches that ask, above cpu slabs in all, one event at a time (R3.45).

Put together of the two plain models: tests/oracle/slub.py has the sheaves, and
tests/oracle/cpu_slabs.py what is below them. What stands here is where 6.18 differs from both.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.oracle import cpu_slabs, slub
from tests.oracle.slub import NO_NODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import AskedShape
    from tests.oracle.slub import Pcs, Sheaf

_OF_SHEAVES = {"alloc_fastpath": "alloc_cpu_sheaf", "free_fastpath": "free_cpu_sheaf"}


class Cache(slub.Cache):
    """One cache: the sheaves of tests.oracle.slub.Cache, and `below` its cpu slabs."""

    def __init__(self, machine: AskedSheaves, number: int, shape: AskedShape) -> None:
        super().__init__(machine, number, shape)
        self.below = machine.below.caches[number]

    @property
    def counters(self) -> Counter[str]:
        """Of both layers, under the names of their files."""
        return Counter(self.below.stat) + Counter(
            {_OF_SHEAVES.get(name, name): value for name, value in self.stat.items()}
        )

    def alloc_from_pcs(self, cpu: int, node: int = NO_NODE) -> tuple[str, Any] | None:
        """The sheaves of 6.18 count no mismatch of nodes; the cpu slab, which is next, does."""
        found = super().alloc_from_pcs(cpu, node)
        del self.stat["alloc_node_mismatch"]
        return found

    def slab_alloc(self, cpu: int, node: int = NO_NODE) -> tuple[str, Any]:
        """__slab_alloc_node, where the sheaves have nothing."""
        return self.below.alloc(cpu, node)

    def has_barn(self, cpu: int) -> bool:
        """Only nodes with memory have one; what barn() gives for others stays empty."""
        return self.slub.nodes.memory[self.slub.node_of(cpu)]

    def replace_empty_main(self, cpu: int, pcs: Pcs) -> str | None:
        """__pcs_replace_empty_main of 6.18, of a request that may block."""
        if pcs.spare is not None and pcs.spare.objects:
            pcs.main, pcs.spare = pcs.spare, pcs.main
            return "spare_swap"
        if not self.shape.capacity or not self.has_barn(cpu):
            return None
        barn = self.barn(cpu)
        if barn.full:
            self.stat["barn_get"] += 1
            barn.empty.append(pcs.main)
            pcs.main = barn.full.pop()
            return "barn_get"
        self.stat["barn_get_fail"] += 1
        if pcs.spare is not None:
            empty, pcs.spare = pcs.spare, None
        else:
            empty = barn.empty.pop() if barn.empty else self.alloc_empty_sheaf()
        if empty is None:
            return None
        new_slabs = self.below.stat["alloc_slab"]
        if not self.refill_sheaf(cpu, empty):
            self.free_empty_sheaf(empty)
            return None
        barn.empty.append(pcs.main)
        pcs.main = empty
        return "refill_new" if self.below.stat["alloc_slab"] > new_slabs else "refill_partial"

    def refill_objects(self, cpu: int, want: int) -> list[Any]:
        """__kmem_cache_alloc_bulk: all or nothing."""
        got: list[Any] = []
        while len(got) < want:
            _, found = self.below.alloc(cpu)
            if found is None:
                self.free_bulk(got)
                return []
            got.append(found)
        return got

    def slab_free(self, slab: Any, chain: list[int]) -> None:
        self.below.do_slab_free(self.slub.cpu, slab, chain)

    def return_sheaf(self, cpu: int, sheaf: Sheaf) -> None:
        if self.has_barn(cpu) or self.pcs[cpu].spare is None:
            super().return_sheaf(cpu, sheaf)
            return
        self.stat["sheaf_return_slow"] += 1
        self.flush_unused(sheaf)
        self.free_empty_sheaf(sheaf)

    def free(self, cpu: int, what: Any) -> str:
        """slab_free: the path."""
        local = what[0].node == self.slub.node_of(cpu)
        return (self.free_to_pcs(cpu, what) if local else None) or self.below.free(cpu, what)

    def kfree_bulk(self, what: Any) -> str:
        """Without a sheaf here at once, of another node's object when its batch is due."""
        return self.below.free(self.slub.cpu, what)

    def kfree_rcu(self, cpu: int, what: Any, due: int) -> str:
        """Caches without sheaves do not ask for one."""
        if not self.shape.capacity:
            return self.kfree_bulk(what)
        return super().kfree_rcu(cpu, what, due)


class AskedSheaves(slub.Slub):
    """Every cache of a machine; arguments as tests.oracle.slub.Slub and cpu_slabs.CpuSlabs."""

    caches: Sequence[Cache]  # type: ignore[assignment]

    def __init__(
        self,
        shapes: Sequence[AskedShape],
        *,
        kmalloc_caches: Sequence[int] = (),
        flush_batch: int = slub.PCS_BATCH_MAX,
        **below: Any,
    ) -> None:
        self.below = cpu_slabs.CpuSlabs([shape.cpu_slabs for shape in shapes], **below)
        super().__init__(
            shapes,
            max_order=self.below.max_order,
            existing=self.below.existing,
            kmalloc_caches=kmalloc_caches,
            flush_batch=flush_batch,
            nodes=self.below.nodes,
        )
        self.caches = [Cache(self, number, shape) for number, shape in enumerate(shapes)]

    def pre_trace_slab(self, cache: slub.Cache, key: int) -> Any:
        return self.below.pre_trace_slab(self.caches[cache.number].below, key)

    @property
    def pages(self) -> list[tuple[int, ...]]:
        return self.below.pages

    @pages.setter
    def pages(self, pages: list[tuple[int, ...]]) -> None:
        self.below.pages = pages

    @property
    def cpu(self) -> int:
        return self.below.cpu

    @cpu.setter
    def cpu(self, cpu: int) -> None:
        self.below.cpu = cpu

    @property
    def seq(self) -> int:
        return self.below.seq

    @seq.setter
    def seq(self, seq: int) -> None:
        self.below.seq = seq
