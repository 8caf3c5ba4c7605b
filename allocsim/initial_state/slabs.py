"""What was there before the recording: slabs, and which of their objects were live (I2).

An object freed but never allocated in the trace was live when it began; one whose first event is
an allocation, on a page that was not allocated in the trace, was free. Together they say which
slabs there were, as far as the trace touches them. Where in a sheaf or
on which list the free ones lay is not recorded. What a CPU takes of them first is put into its main
sheaf, as much as that holds, and it has an empty spare, as every CPU that has refilled; the rest is
put on the slabs' free lists, in the order the trace takes it (all assumed). Barns start empty.
Where CPUs have slabs instead, the first slab that a CPU takes a free object of was its own, the
next ones, as many as it may hold, lay on its partial list, others on the node's (assumed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.cache_shapes import AskedShape, CpuSlabShape, SheafShape
from allocsim.kernels.release import Generation
from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.slub.requests import FreeBefore, PreTraceObjects
from allocsim.tables import Columns, concat, empty, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.tables import Int16, Int64, Ints

FIRST_KEY = -2  #: key of the first older slab; those of the others follow downwards


class FirstSeen:
    """The first event at each address that a slab older than the trace holds.

    Bounded by the slots of these slabs.
    """

    def __init__(self) -> None:
        self.table: Columns = empty(
            {"ptr": "u8", "seq": "i8", "cache": "i4", "cpu": "i2", "live": "?"}
        )

    def add(self, events: Columns) -> None:
        """Add events in time order, all behind those added before.

        Args:
            events: ``ptr``, addresses; ``seq``, numbers of the events; their ``cache`` and ``cpu``;
                ``live``: the event is a free of an object whose allocation was not seen, else it
                is an allocation. Both on pages older than the trace. ``cpu`` -1: what is free is
                in no CPU's sheaf, nor on its slabs.
        """
        both = concat([self.table, {name: events[name] for name in self.table}])
        _, first = np.unique(both["ptr"], return_index=True)
        self.table = take(both, first)


def rebuild(  # noqa: PLR0913 - what was seen, and the world it was seen in
    seen: Columns,
    shapes: Sequence[CacheShape],
    recorded_order: Int64,
    cpus: int,
    generation: Generation,
    node: Int64 | None = None,
) -> tuple[PreTraceObjects, FreeBefore, dict[str, int], Int64]:
    """The slabs older than the trace.

    Args:
        seen: FirstSeen.table.
        shapes: the caches as modelled, by number.
        recorded_order: order of each cache's slabs in the recorded kernel. Where the model has
            another, the objects are put on slabs of that order, in address order.
        cpus: CPUs of the model; others take turns on them.
        generation: what the model's CPUs allocate from.
        node: memory node that each row of ``seen`` lies on (i8); None: 0.

    Returns:
        The live objects, by rising handle; the free ones; counts of slabs and objects, with those
        left out because the address is none of an object of its cache (KFENCE, or a wrong size);
        and the node of each slab, by its key, FIRST_KEY downwards (i8).
    """
    cache = seen["cache"]
    size = np.array([shape.size for shape in shapes], np.int64)[cache]
    objects = np.array([shape.objects for shape in shapes], np.int64)[cache]
    modelled = np.array([shape.order for shape in shapes], np.int64)[cache]
    order = recorded_order[cache]
    ptr = seen["ptr"].astype(np.int64)  # only differences count
    slab_bytes = PAGE_SIZE << order
    base = ptr & -slab_bytes
    place, rest = np.divmod(ptr - base, size)
    good = (rest == 0) & (place < slab_bytes // size)
    # Slabs of a larger order take in their neighbours, those of a smaller one are cut up.
    block = ptr & -(PAGE_SIZE << np.maximum(order, modelled))
    place += (base - block) // slab_bytes * (slab_bytes // size)
    part, index = np.divmod(place, objects)

    rows = np.flatnonzero(good)
    rows = rows[np.argsort(seen["seq"][rows], kind="stable")]
    number, slabs = slab_numbers(cache[rows].astype(np.int64), block[rows], part[rows])
    key = FIRST_KEY - number
    live = seen["live"][rows]
    pre_trace = PreTraceObjects(
        seen["seq"][rows[live]], key[live], index[rows[live]].astype(np.int32)
    )
    free = rows[~live]
    taker = seen["cpu"][free].astype(np.int64)
    on = np.where(taker < 0, -1, taker % cpus)
    held, holder = _HOLDERS[generation]
    cpu = holder(cache[free], on, number[~live], shapes)
    listed = np.argsort(np.where(cpu < 0, number[~live], slabs), kind="stable")
    free_before = FreeBefore(
        cache[free[listed]], key[~live][listed], index[free[listed]].astype(np.int32), cpu[listed]
    )
    counts = {
        "older_slabs": slabs,
        "older_live_objects": int(np.count_nonzero(live)),
        "older_free_objects": len(free),
        held: int(np.count_nonzero(cpu >= 0)),
        "older_objects_left_out": len(good) - len(rows),
    }
    of_slab = np.zeros(slabs, np.int64)
    if node is not None:
        of_slab[number] = node[rows]
    return pre_trace, free_before, counts, of_slab


def slab_numbers(*name: Int64) -> tuple[Int64, int]:
    """Number of each row's slab, and how many slabs there are.

    Slabs are numbered, and listed, in the order the rows touch them: the key of number n is
    FIRST_KEY - n.

    Args:
        name: columns that together tell one slab from another.
    """
    _, first, slab = np.unique(np.stack(name), axis=1, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[slab.reshape(-1)], len(first)


def _in_sheaves(cache: Ints, cpu: Int64, _: Int64, shapes: Sequence[CacheShape]) -> Int16:
    """Whose main sheaf free objects lie in, in the order the trace takes them; -1: on their slab.

    A CPU's first ones, up to a sheaf full.
    """
    holds = [shape.capacity if isinstance(shape, SheafShape) else 0 for shape in shapes]
    capacity = np.array(holds, np.int64)[cache]
    cache_cpu = cache.astype(np.int64) * (int(cpu.max(initial=0)) + 2) + cpu
    order = np.argsort(cache_cpu, kind="stable")
    rank = np.empty(len(cache_cpu), np.int64)
    rank[order] = np.arange(len(cache_cpu)) - np.searchsorted(cache_cpu[order], cache_cpu[order])
    return np.where(rank < capacity, cpu, -1).astype(np.int16)


def _of_cpus(cache: Ints, cpu: Int64, slab: Int64, shapes: Sequence[CacheShape]) -> Int16:
    """Whose slab, or on whose partial list, the slabs of free objects are; -1: on the node's list.

    Objects stand in the order the trace takes them; a slab is the CPU's that takes of it first, if
    it is among the first such slabs of that CPU.
    """
    slabs, first, of = np.unique(slab, return_index=True, return_inverse=True)
    holds = [
        1 + below.cpu_partial_slabs if isinstance(below, CpuSlabShape) else 0
        for shape in shapes
        for below in [shape.cpu_slabs if isinstance(shape, AskedShape) else shape]
    ]
    held = np.array(holds, np.int64)[cache[first]]
    cache_cpu = cache[first].astype(np.int64) * (int(cpu.max(initial=0)) + 2) + cpu[first]
    order = np.lexsort((first, cache_cpu))
    rank = np.empty(len(slabs), np.int64)
    rank[order] = np.arange(len(slabs)) - np.searchsorted(cache_cpu[order], cache_cpu[order])
    owner = np.where(rank < held, cpu[first], -1)
    return owner[of.reshape(-1)].astype(np.int16)


#: What counts of free objects that a CPU holds are called, and who holds each, by generation.
_HOLDERS = {
    Generation.SHEAVES: ("older_free_in_sheaves", _in_sheaves),
    Generation.CPU_SLABS: ("older_free_of_cpus", _of_cpus),
    Generation.SHEAVES_ASKED: ("older_free_of_cpus", _of_cpus),
}


def pre_trace_in(pre_trace: PreTraceObjects, first: int, end: int) -> PreTraceObjects:
    """Those whose handles lie in [first, end): the frees of a window."""
    begin, stop = np.searchsorted(pre_trace.object, [first, end])
    return PreTraceObjects(
        pre_trace.object[begin:stop], pre_trace.slab[begin:stop], pre_trace.index[begin:stop]
    )
