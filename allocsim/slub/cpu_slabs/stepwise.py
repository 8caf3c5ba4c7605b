"""A window of a cache of 6.12 that arrays would be slower for: one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.profile import MAX_PAGE_ORDER
from allocsim.slub.cpu_slabs.tenures import NOWHERE, OF_CPU, Slab
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import Path
from allocsim.slub.slabs import CACHE_BITS

if TYPE_CHECKING:
    from allocsim.slub.cpu_slabs.cache import CpuSlabs
    from allocsim.slub.sheaves.cache import CacheEvents

FAILED = -1  #: object of an allocation that failed
_PLACE = (1 << INDEX_BITS) - 1
_NUMBER = (1 << CACHE_BITS) - 1


def replay(cache: CpuSlabs, events: CacheEvents) -> None:
    """Replay a window's events on a cache; objects and paths are filled in."""
    objects, parents = events.objects.tolist(), events.parent.tolist()
    orders = None if events.max_order is None else events.max_order.tolist()
    paths = []
    for at, (cpu, op) in enumerate(zip(events.cpu.tolist(), events.op.tolist(), strict=True)):
        if op > 0:
            max_order = MAX_PAGE_ORDER if orders is None else orders[at]
            objects[at], path = _alloc(cache, cpu, at, max_order)
        else:
            found = objects[at] = objects[parents[at]] if parents[at] >= 0 else objects[at]
            path = Path.IGNORED if found == FAILED else _free(cache, cpu, found, at)
        paths.append(path)
    events.objects[:] = objects
    events.path[:] = paths


def _alloc(cache: CpuSlabs, number: int, time: int, max_order: int) -> tuple[int, Path]:
    """mm/slub.c:__slab_alloc_node, ___slab_alloc (6.12), R3.31, R3.32."""
    cpu, stat = cache.cpus[number], cache.stat
    slab = cpu.slab
    if slab is not None and cpu.freelist:
        stat["alloc_fastpath"] += 1
        return _pop(cache, number, slab), Path.CPU_SLAB_HIT
    stat["alloc_slowpath"] += 1
    if slab is not None:
        stat["freelist_cmpxchg"] += 1
        if slab.free:
            stat["alloc_refill"] += 1
            cpu.freelist, slab.free = slab.free, []
            return _pop(cache, number, slab), Path.CPU_SLAB_REFILL
        stat["deactivate_bypass"] += 1
        slab.where = NOWHERE
    cpu.slab, path = cache.next_slab(number, time, max_order)
    if cpu.slab is None:
        return FAILED, path
    if path == Path.NEW_SLAB:
        order, objects = cache.freelist_order, cpu.slab.objects
        number_of_it = cpu.slab.key & _NUMBER
        places = range(objects) if order is None else order(cache.number, number_of_it, objects)
        cpu.freelist = list(places)[::-1]
    else:
        cpu.freelist, cpu.slab.free = cpu.slab.free, []
    return _pop(cache, number, cpu.slab), path


def _pop(cache: CpuSlabs, number: int, slab: Slab) -> int:
    slab.live += 1
    return slab.key << INDEX_BITS | cache.cpus[number].freelist.pop()


def _free(cache: CpuSlabs, number: int, found: int, time: int) -> Path:
    """mm/slub.c:do_slab_free, __slab_free (6.12), R3.34, R3.35."""
    cpu, stat, slab = cache.cpus[number], cache.stat, cache.slab(found >> INDEX_BITS)
    slab.live -= 1
    if slab is cpu.slab:
        cpu.freelist.append(found & _PLACE)
        stat["free_fastpath"] += 1
        return Path.CPU_SLAB_PUSH
    stat["free_slowpath"] += 1
    stat["freelist_cmpxchg"] += 1
    slab.free.append(found & _PLACE)
    if slab.where == OF_CPU:
        stat["free_frozen"] += 1
        return Path.FREE_FROZEN
    if slab.where == NOWHERE:
        return cache.put_cpu_partial(slab, number, time)
    return Path.SLAB_PUSH if slab.live else cache.emptied(slab, time)
