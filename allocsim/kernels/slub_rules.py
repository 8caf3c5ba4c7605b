"""SLUB's numbers of one kernel version, by generation, and what follows from them for a cache.

A generation is what a CPU allocates objects from (allocsim.kernels.release.Generation). Each has
the numbers it has and no others. 6.18 and 6.19 have both kinds, so their rules are of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from allocsim.kernels.release import Generation

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE_SIZE = 4096
MAX_OBJS_PER_PAGE = 32767  #: slab->objects has 15 bits (mm/slub.c, 7.2)
#: A grace period of RCU [ns], assumed: it takes a few ticks (kernel/rcu/tree.c:rcu_gp_fqs_loop
#: waits one to three jiffies before it forces one); about 20 ms fits SLUB_STATS, 0.5 s does not
#: (R8.1).
GRACE_NS = 20_000_000
#: mm/slab_common.c:KFREE_DRAIN_JIFFIES [ns], KVFREE_BULK_MAX_ENTR (7.2), R3.60.
KFREE_DRAIN_NS, KFREE_PAGE = 5_000_000_000, 507


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabRules:
    """Numbers that every generation has.

    Args:
        max_order: largest order chosen for waste's sake (slub_max_order).
        min_partial: smallest and largest number of slabs kept on the partial list (R3.5).
    """

    max_order: int
    min_partial: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SheafRules(SlabRules):
    """Numbers of a kernel all of whose caches have sheaves (R3.10 - R3.22).

    Args:
        sheaf_capacity: (smallest cache size in bytes, objects wanted in a sheaf), largest first
            (R3.10, before the sheaf is grown to fill its kmalloc size); empty: only caches that ask
            have sheaves, of the capacity they ask for (R3.45).
        sheaf_header: bytes of a sheaf in front of its pointers.
        max_full_sheaves: full sheaves a barn takes (R3.9, step 6 of R3.24).
        max_empty_sheaves: empty sheaves it takes from kfree_rcu (R3.20).
        grace_ns: from the last kfree_rcu into a sheaf until its objects may be used again.
        flush_batch: objects freed at a time when main itself is flushed (PCS_BATCH_MAX).
        no_sheaves: caches that have none (R3.11): SLAB_NO_SHEAVES, SLAB_NOLEAKTRACE.
        sheaf_requests: caches that ask for a capacity of their own, and which (R3.10).
    """

    generation: ClassVar[Generation] = Generation.SHEAVES

    sheaf_capacity: tuple[tuple[int, int], ...]
    sheaf_header: int
    max_full_sheaves: int
    max_empty_sheaves: int
    grace_ns: int
    flush_batch: int
    no_sheaves: tuple[str, ...]
    sheaf_requests: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSlabRules(SlabRules):
    """Numbers of a kernel whose CPUs allocate from a slab of their own (R3.30 - R3.40).

    Args:
        cpu_partial: (smallest cache size in bytes, objects wanted on a CPU's partial list),
            largest first (R3.30).
    """

    generation: ClassVar[Generation] = Generation.CPU_SLABS

    cpu_partial: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRules(SlabRules):
    """Numbers of a kernel with cpu slabs, and above them sheaves in caches that ask (R3.45).

    Args:
        sheaves: those of the sheaves; ``sheaf_requests`` alone says which caches have them.
        cpu_slabs: those of what is below.
    """

    generation: ClassVar[Generation] = Generation.SHEAVES_ASKED

    sheaves: SheafRules
    cpu_slabs: CpuSlabRules


SlubRules = SheafRules | CpuSlabRules | AskedRules


def sheaves_of(rules: SlubRules) -> SheafRules | None:
    """The rules of a kernel's sheaves; None: it has none."""
    match rules:
        case SheafRules():
            return rules
        case AskedRules():
            return rules.sheaves
        case CpuSlabRules():
            return None


def get_order(size: int) -> int:
    """The smallest order whose block holds ``size`` bytes."""
    return ((size - 1) // PAGE_SIZE).bit_length()


def slab_order(rules: SlabRules, size: int, cpus: int) -> int:
    """Order of a slab of objects of ``size`` bytes with ``cpus`` present (R3.4).

    mm/slub.c:calculate_order, calc_slab_order (7.2).
    """
    min_objects = min(4 * (cpus.bit_length() + 1), max((PAGE_SIZE << rules.max_order) // size, 1))
    start = get_order(min_objects * size)
    if (PAGE_SIZE << start) // size > MAX_OBJS_PER_PAGE:
        return get_order(size * MAX_OBJS_PER_PAGE) - 1
    for fraction in (16, 8, 4, 2):
        for order in range(start, rules.max_order + 1):
            slab = PAGE_SIZE << order
            if slab % size <= slab // fraction:
                return order
    return get_order(size)


def min_partial(rules: SlabRules, size: int) -> int:
    """Slabs kept on the partial list of a cache of ``size`` bytes (R3.5).

    mm/slub.c:do_kmem_cache_create (7.2).
    """
    low, high = rules.min_partial
    return min(max((size.bit_length() - 1) // 2, low), high)


def sheaf_capacity(rules: SheafRules, name: str, size: int) -> int:
    """Objects in a sheaf of a cache of ``size`` bytes (R3.10, R3.11); 0: it has none.

    mm/slub.c:calculate_sheaf_capacity (7.2): the sheaf is grown to fill its kmalloc size, and to
    what the cache asks for itself. A cache that asks is never merged (mm/slab_common.c:
    __kmem_cache_create_args), so its name is its own.
    """
    if name in rules.no_sheaves:
        return 0
    if not rules.sheaf_capacity:
        return rules.sheaf_requests.get(name, 0)
    wanted = next(objects for least, objects in rules.sheaf_capacity if size >= least)
    capacity = (kmalloc_size(rules.sheaf_header + 8 * wanted) - rules.sheaf_header) // 8
    return max(capacity, rules.sheaf_requests.get(name, 0))


def sheaf_bytes(rules: SheafRules, capacity: int) -> int:
    """Bytes a sheaf for so many objects asks kmalloc for (R3.10).

    mm/slub.c:__alloc_empty_sheaf (7.2).
    """
    return rules.sheaf_header + 8 * capacity


def kmalloc_size(size: int) -> int:
    """The size class a kmalloc of ``size`` bytes is served from (R3.1)."""
    if 64 < size <= 96:
        return 96
    if 128 < size <= 192:
        return 192
    return max(8, 1 << (size - 1).bit_length())


def cpu_partial(rules: CpuSlabRules, size: int) -> int:
    """Objects wanted on a CPU's partial list of a cache of ``size`` bytes (R3.30).

    mm/slub.c:set_cpu_partial (6.12).
    """
    return next(objects for least, objects in rules.cpu_partial if size >= least)
