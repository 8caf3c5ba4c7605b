"""One event of a cache with sheaves when pages are refused: the ways out of the fast path (7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.paths import Path
from allocsim.slub.sheaves.plan import NO_SHEAF

if TYPE_CHECKING:
    from allocsim.slub.sheaves.cache import CacheReplay


def alloc(
    cache: CacheReplay, cpu: int, time: int, max_order: int, *, no_sheaf: bool
) -> tuple[int, int]:
    """Allocate when no full sheaf is left and none can be made full: object and path.

    mm/slub.c:__pcs_replace_empty_main (7.2): the sheaf that came back short is flushed and freed,
    then the slow path is tried (R3.13, R3.15). ``no_sheaf``: none can be allocated.
    """
    sheaves, stat = cache.sheaves, cache.stat
    stat["barn_get_fail"] += 1
    refilled = sheaves.spare[cpu]
    sheaves.spare[cpu] = NO_SHEAF
    if refilled == NO_SHEAF and sheaves.empty:
        refilled = sheaves.empty.pop()
    if refilled == NO_SHEAF and not no_sheaf:
        refilled = sheaves.new_sheaf()
        cache.sheaf_memory.append((time, cpu, refilled, +1, cache.slabs.requests()))
        stat["sheaf_alloc"] += 1
        cache.contents = cache.contents_for(sheaves.count)
    if refilled != NO_SHEAF:
        got, _ = cache.slabs.refill(cache.shape.capacity, time, max_order)
        stat["sheaf_refill"] += len(got)
        stat["sheaf_flush"] += len(got)
        cache.slabs.free_bulk(got, time)
        stat["sheaf_free"] += 1
        sheaves.unused.append(refilled)
        cache.sheaf_memory.append((time, cpu, refilled, -1, cache.slabs.requests()))
    return cache.slow_alloc(time, max_order)


def free(cache: CacheReplay, cpu: int, found: int, time: int) -> int:
    """Free when main and spare are full and no empty sheaf is to be had: the path.

    mm/slub.c:__pcs_replace_full_main, sheaf_try_flush_main (7.2): main is flushed from its top, a
    batch at a time; the object then goes onto it.
    """
    sheaves, stat = cache.sheaves, cache.stat
    if sheaves.spare[cpu] != NO_SHEAF:
        stat["barn_put_fail"] += 1
    capacity = cache.shape.capacity
    first = sheaves.main[cpu] * capacity
    held = cache.contents[first : first + capacity].tolist()
    while held:
        batch = held[-cache.flush_batch :]
        del held[-cache.flush_batch :]
        stat["sheaf_flush"] += len(batch)
        cache.slabs.free_bulk(batch, time)
    cache.contents[first] = found
    sheaves.size[cpu] = 1
    stat["free_fastpath"] += 1
    return Path.FLUSH_MAIN
