"""Works of a fitted spec that are older than the trace: slabs as they were when it began.

Of each slab that the trace touches, it is known how many of its objects die in the trace, and how
many of its places were free; all others lived on. Slabs alike in that share a work, whose batches
fill a slab each.

The free places that a trace takes are the least there were: a CPU's sheaf holds just as many as it
took of it at most. Another trace of the same kind takes one more here and there, and each would be
a slab made. So where the model made no slab of a cache, there was more than was taken; how much is
not known. A refill for each CPU is assumed, which is the unit in which sheaves take from slabs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.page_alloc.zones import ORDERS, PRIOR_CHUNK
from pipeline.fitting.lifetime_quantiles import distribution, times
from pipeline.fitting.lines import FittedWork, weighted_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I8
    from pipeline.fitting.lives import PreTraceLives, PreTraceSlabs


_NO_SLAB = -1


def pre_trace_object_works(
    line: dict[str, Any], pre_trace: PreTraceLives, slabs: PreTraceSlabs, cpus: int
) -> list[FittedWork]:
    """What was on slabs before the trace: what dies in it, what was free, and what stays.

    Args:
        line: the line of the cache.
        pre_trace: ends of objects that were live.
        slabs: the slabs they lie on, row for row, and what is free.
        cpus: CPUs.
    """
    # What is on a slab's list comes behind a full sheaf of some CPU.
    held = Counter(slabs.free_cpu.tolist())
    full = next((cpu for cpu in range(cpus) if held[cpu] >= slabs.capacity), 0)
    dying: dict[int, list[int]] = defaultdict(list)
    free: dict[int, Counter[int]] = defaultdict(Counter)
    for row, slab in enumerate(slabs.slab.tolist()):
        if slab != _NO_SLAB:
            dying[slab].append(row)
    for slab, cpu in zip(slabs.free_slab.tolist(), slabs.free_cpu.tolist(), strict=True):
        free[slab][cpu if cpu >= 0 else full] += 1
    alike = defaultdict(list)
    for slab in dict.fromkeys([*dying, *free]):
        alike[len(dying[slab]), tuple(sorted(free[slab].items()))].append(slab)
    works = []
    for (dies, places), of in sorted(alike.items()):
        rows = np.array([row for slab in of for row in dying[slab]], np.int64)
        allocate = []
        if dies:
            frees = (
                {}
                if cpus == 1
                else {"free": weighted_cpus(np.bincount(pre_trace.free_cpu[rows], minlength=cpus))}
            )
            lives = distribution(np.sort(pre_trace.death[rows]))
            allocate.append(line | {"count": dies, "lifetime": lives} | frees)
        for cpu, count in places:
            allocate.append(_gone(line, count, cpu))
        stay = slabs.objects - dies - sum(count for _, count in places)
        if stay > 0:
            allocate.append(_stays(line, stay))
        works.append(_work(line, len(of), allocate, cpus))
    return works


def pages_in_use(slabs: Sequence[PreTraceSlabs], orders: I8, cpus: int) -> int:
    """Pages that must be in use before the trace, at most.

    Args:
        slabs: of each cache.
        orders: order of each older block of pages that is freed.
        cpus: CPUs.
    """
    pages = int((1 << orders).sum())
    for each in slabs:
        known = np.union1d(each.slab, each.free_slab)
        spare = 0 if each.made else -(-each.capacity * cpus // max(each.objects - 1, 1))
        pages += (int(np.count_nonzero(known != _NO_SLAB)) + spare) * each.pages
    # Of each order, and of slabs, the last chunk is not used up.
    return pages + (ORDERS + 1) * PRIOR_CHUNK


def unseen_works(
    line: dict[str, Any], pre_trace: PreTraceLives, slabs: PreTraceSlabs, cpus: int
) -> list[FittedWork]:
    """What is freed on slabs of the trace without having been allocated by an event (T6).

    When that was is not known: right before (assumed).
    """
    rows = np.flatnonzero(slabs.slab == _NO_SLAB)
    if not len(rows):
        return []
    when = times(pre_trace.death[rows], np.empty(0, np.int64), "times")
    work = FittedWork(
        name=f"unseen-{next(iter(line.values()))}",
        arrival={"kind": "spread", "count": len(rows)} | when,
        allocate=[line | {"traced": False}],
        lifetime=[{"kind": "fixed", "after": "1 us"}],
        cpus=np.bincount(pre_trace.free_cpu[rows], minlength=cpus).tolist(),
    )
    return [work]


def spare_works(line: dict[str, Any], slabs: PreTraceSlabs, cpus: int) -> list[FittedWork]:
    """Free places that were not needed, if none was missed: on each slab one object stays."""
    if slabs.made or slabs.objects < 2 or not slabs.capacity:
        return []
    count, rest = divmod(slabs.capacity * cpus, slabs.objects - 1)
    return [
        _work(
            line,
            number,
            [
                _stays(line, 1),
                line | {"count": places, "lifetime": {"kind": "unused"}},
            ],
            cpus,
        )
        for number, places in ((count, slabs.objects - 1), (1, rest))
        if number and places
    ]


def _work(
    line: dict[str, Any], count: int, allocate: list[dict[str, Any]], cpus: int
) -> FittedWork:
    return FittedWork(
        name=f"older-{next(iter(line.values()))}",
        arrival={"kind": "before", "count": count},
        allocate=allocate,
        cpus=[1] * cpus,
    )


def _stays(line: dict[str, Any], count: int) -> dict[str, Any]:
    return line | {"count": count, "lifetime": {"kind": "forever"}}


def _gone(line: dict[str, Any], count: int, cpu: int) -> dict[str, Any]:
    return line | {"count": count, "lifetime": {"kind": "gone"}, "free": {"cpus": [cpu]}}
