"""Many objects at once from and to cpu slabs (R3.39): in 6.18 refills and flushes of sheaves.

Plain loops over columns of numbers (steps), which can be compiled as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.cache_model import FAILED
from allocsim.slub.cpu_slabs.steps import (
    ALLOC_FASTPATH,
    CPU_PARTIAL_SLABS,
    CREATED,
    FREE,
    FREE_FASTPATH,
    FREELIST,
    INUSE,
    KEY,
    LINKS,
    NEXT,
    NODE,
    NONE,
    ORDERED,
    PAGE_SIZE,
    PAGES,
    PARTIAL,
    SLAB,
    SLABS,
    UNUSED,
    older_slab,
    slow_alloc,
    slow_free,
)
from allocsim.slub.node_partial import INDEX_BITS, NUMBER
from allocsim.slub.paths import AllocPath

if TYPE_CHECKING:
    from allocsim.slub.columns import Column
    from allocsim.slub.cpu_slabs.steps import CpuSlabState

_HIT, _PUSH = int(AllocPath.CPU_SLAB_HIT), int(AllocPath.CPU_SLAB_PUSH)
_PLACE = (1 << INDEX_BITS) - 1
LOOKAHEAD = 3  #: mm/slub.c:build_detached_freelist (6.18)


def lacks_bulk_room(c: CpuSlabState, cpu: int, objects: int) -> bool:
    """Whether so many allocations and as many frees may need more than there is."""
    n, first = c.numbers, c.cpus[cpu + PARTIAL]
    listed = c.slabs[first + SLABS] if first != NONE else 0
    pages = listed + n[CPU_PARTIAL_SLABS] + 3 * objects + 4
    if n[CREATED] + objects + 1 > n[ORDERED] or n[PAGES] + PAGE_SIZE * pages > len(c.pages):
        return True
    slab = n[UNUSED]
    for _ in range(2 * objects + 2):
        if slab == NONE:
            return True
        slab = c.slabs[slab + NEXT]
    return False


def alloc_one(c: CpuSlabState, cpu: int, node: int, time: int, max_order: int) -> tuple[int, int]:
    """mm/slub.c:__slab_alloc_node (6.18): an object, of a node or of any (NONE), and the path."""
    place, slab = c.cpus[cpu + FREELIST], c.cpus[cpu + SLAB]
    if place == NONE or (node != NONE and c.slabs[slab + NODE] != node):
        return slow_alloc(c, cpu, node, time, max_order)
    c.cpus[cpu + FREELIST] = c.slabs[slab + LINKS + place]
    c.numbers[ALLOC_FASTPATH] += 1
    return c.slabs[slab + KEY] << INDEX_BITS | place, _HIT


def alloc_bulk(  # noqa: PLR0913 - the cache, what is wanted, and what is refused
    c: CpuSlabState, cells: Column, first: int, end: int, cpu: int, time: int, max_order: int
) -> bool:
    """Fill cells with objects, or none: mm/slub.c:__kmem_cache_alloc_bulk (6.18)."""
    for at in range(first, end):
        found, _ = alloc_one(c, cpu, NONE, time, max_order)
        if found == FAILED:
            free_bulk(c, cells, first, at, cpu, time)
            return False
        cells[at] = found
    return True


def free_one(c: CpuSlabState, found: int, cpu: int, time: int) -> int:
    """mm/slub.c:do_slab_free (6.18) of one object; the path."""
    slab = c.cpus[cpu + SLAB]
    if slab == NONE or c.slabs[slab + KEY] != found >> INDEX_BITS:
        return slow_free(c, cpu, found, time)
    own_free(c, slab, found & _PLACE, cpu)
    return _PUSH


def own_free(c: CpuSlabState, slab: int, place: int, cpu: int) -> None:
    """Push an object of the CPU's own slab (R3.34)."""
    c.slabs[slab + LINKS + place] = c.cpus[cpu + FREELIST]
    c.cpus[cpu + FREELIST] = place
    c.numbers[FREE_FASTPATH] += 1


def free_bulk(  # noqa: PLR0913 - the cache, the objects, and where they are freed
    c: CpuSlabState, cells: Column, first: int, end: int, cpu: int, time: int
) -> None:
    """Give objects back, grouped by slab (R3.18); they lie in cells from ``first`` on.

    mm/slub.c:__kmem_cache_free_bulk, build_detached_freelist (6.18).
    """
    while end > first:
        same = at = end - 1
        key = cells[same] >> INDEX_BITS
        misses = 0
        while at > first:
            at -= 1
            if cells[at] >> INDEX_BITS != key:
                misses += 1
                if misses == LOOKAHEAD:
                    break
                continue
            same -= 1
            if misses:
                cells[at], cells[same] = cells[same], cells[at]
        free_chain(c, cells, same, end, cpu, time)
        end = same


def free_chain(  # noqa: PLR0913 - the cache, the objects, and where they are freed
    c: CpuSlabState, cells: Column, first: int, end: int, cpu: int, time: int
) -> None:
    """Push a chain of one slab's objects, tail first: mm/slub.c:do_slab_free (6.18).

    The slab's lists are asked for once: all but the head are put on its free list before.
    """
    slab, key = c.cpus[cpu + SLAB], cells[first] >> INDEX_BITS
    if slab != NONE and c.slabs[slab + KEY] == key:
        for at in range(end - 1, first - 1, -1):
            own_free(c, slab, cells[at] & _PLACE, cpu)
        return
    slab = c.struct_of[key & NUMBER] if key >= 0 else older_slab(c, key)
    for at in range(end - 1, first, -1):
        place = cells[at] & _PLACE
        c.slabs[slab + LINKS + place] = c.slabs[slab + FREE]
        c.slabs[slab + FREE] = place
        c.slabs[slab + INUSE] -= 1
    slow_free(c, cpu, cells[first], time)
