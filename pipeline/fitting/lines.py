"""From observed lives to the lines of a spec: how many when, how long, on which CPUs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.recording.cache_names import KMALLOC_CLASSES
from allocsim.recording.page_kinds import PageKind
from pipeline.fitting.lifetime_quantiles import (
    SHORT,
    distribution,
    in_parts,
    lifetimes,
    order_of,
    outlives,
    times,
)
from pipeline.fitting.periods import FEW, PERIOD_BIRTHS, move_limits, period_limits
from pipeline.replay.untraced_frees import TRACED_SHARE
from pipeline.synth.births import NEVER
from pipeline.synth.page_requests import PAGE_KINDS

if TYPE_CHECKING:
    from allocsim.tables import I8
    from pipeline.fitting.lives import PreTraceLives, TracedLives


_TYPES = {"kmalloc-": "normal", "kmalloc-cg-": "cg", "kmalloc-rcl-": "rcl", "dma-kmalloc-": "dma"}


@dataclass(frozen=True, slots=True)
class FittedWork:
    """One work of a fitted spec, ready to be written.

    Args:
        name: its name.
        arrival: the table ``arrival``.
        allocate: the tables ``allocate``.
        lifetime: the tables ``lifetime``; none: they stand in ``allocate``.
        free: the table ``free``; empty: freed by the CPU that allocated.
        cpus: weight of each CPU.
    """

    name: str
    arrival: dict[str, Any]
    allocate: list[dict[str, Any]]
    cpus: list[int]
    lifetime: list[dict[str, Any]] = field(default_factory=list)
    free: dict[str, Any] = field(default_factory=dict)


def object_line(name: str) -> dict[str, Any]:
    """The line of a spec that allocates from a cache of this name."""
    for prefix, kind in _TYPES.items():
        size = name.removeprefix(prefix)
        known = {f"{n // 1024}k" if n >= 1024 else str(n): n for n in KMALLOC_CLASSES}
        if size != name and size in known:
            line: dict[str, Any] = {"kmalloc": known[size]}
            return line | ({} if kind == "normal" else {"type": kind})
    return {"cache": name}


def page_line(what: int) -> dict[str, Any]:
    """The line of a spec that allocates pages of this kind and order."""
    kind, order = PageKind(what >> 8), what & 255
    if kind == PageKind.LARGE_KMALLOC and order >= 2:
        return {"kmalloc": PAGE_SIZE << order}
    names = [name for name, known in PAGE_KINDS.items() if known.kind == kind]
    for name in names:
        low, high = PAGE_KINDS[name].orders
        if low <= order <= high:
            return {"pages": name} | ({"order": order} if order != low else {})
    return {"pages": "other"} | ({"order": order} if order else {})


def works_of(line: dict[str, Any], lives: TracedLives, cpus: int) -> list[FittedWork]:
    """Works that make lives like these: of each caller and CPU with enough, and of the rest."""
    key = lives.site * np.uint64(cpus) + lives.cpu.astype(np.uint64)
    key = key * np.uint64(2) + (lives.run >= 0)
    _, caller, births = np.unique(key, return_inverse=True, return_counts=True)
    moves = move_limits(lives, cpus)
    # The rest shares works: -1, and -2 what comes out of prefilled sheaves.
    caller = np.where((births >= PERIOD_BIRTHS)[caller], caller, -1 - (lives.run >= 0))
    return [
        work
        for number in np.unique(caller).tolist()
        for work in _works_of_caller(line, lives.of(caller == number), moves, cpus)
    ]


def _works_of_caller(
    line: dict[str, Any], lives: TracedLives, moves: I8, cpus: int
) -> list[FittedWork]:
    """One work for each period, traced ends and others apart."""
    if not len(lives.birth):
        return []
    limits = period_limits(lives, moves)
    period = np.searchsorted(limits, lives.birth, side="right")
    ends = np.append(limits, NEVER)
    works = []
    begins = np.concatenate(([np.min(lives.birth)], limits))
    short = (np.minimum(ends, np.max(lives.birth)) - begins)[period] // SHORT
    # 0: dies at once, 1: within its period, 2: behind it, 3: never.
    fate = (lives.death - lives.birth > short) + 1 * (lives.death >= ends[period])
    fate[lives.death == NEVER] = 3
    period, fate = _whole_runs(lives.run, period, fate)
    for number in np.unique(period).tolist():
        here = period == number
        # Few births share a work whatever becomes of them; of many each fate has its own times.
        fates = fate if np.count_nonzero(here) >= FEW else np.zeros(len(fate), np.int64)
        for number_of_fate in np.unique(fates[here]).tolist():
            mine = here & (fates == number_of_fate)
            end = int(ends[number])
            if lives.run[0] >= 0:
                works += _prefilled_works(line, lives.of(mine), end, cpus)
                continue
            for traced in (True, False):
                rows = np.flatnonzero(mine & (lives.traced == traced))
                for part in in_parts(lives.of(rows), end) if len(rows) else ():
                    works.append(_work(line, part, end, cpus, traced=traced))
    return works


def _whole_runs(run: I8, period: I8, fate: I8) -> tuple[I8, I8]:
    """Periods and fates in which all that one prefilled sheaf gave goes with its first."""
    if run[0] < 0:
        return period, fate
    _, first, of = np.unique(run, return_index=True, return_inverse=True)
    return period[first][of], fate[first][of]


def _prefilled_works(
    line: dict[str, Any], lives: TracedLives, end: int, cpus: int
) -> list[FittedWork]:
    """Works of as many prefilled sheaves, which give as many objects, each about as many.

    So many of each as were seen to be freed have a line of their own, beside those whose frees have
    no event.
    """
    runs, first = np.unique(lives.run, return_index=True)
    base = _work(line, lives, end, cpus, traced=True)
    when = times(lives.birth[first], np.empty(0, np.int64), "times")
    shown = np.count_nonzero(lives.traced) / len(lives.run)
    works = []
    for count, sheaves in _shared(len(lives.run), len(runs)):
        for traced, batches in _shared(round(shown * count * sheaves), sheaves):
            asked = []
            for rows, here in ((lives.traced, traced), (~lives.traced, count - traced)):
                if here:
                    own = _work(line, lives.of(rows), end, cpus, traced=rows is lives.traced)
                    # A run may be cut where its task moved to another CPU; one of one is none.
                    several = {"count": here, "prefilled": True} if count > 1 else {}
                    free = {"free": own.free} if own.free else {}
                    asked.append(line | several | {"lifetime": own.lifetime} | free)
            arrival = {"kind": "spread", "count": batches} | when
            name = _name(line, traced=bool(shown >= TRACED_SHARE))
            made = replace(base, name=name, arrival=arrival, allocate=asked, lifetime=[], free={})
            works.append(made)
    return works


def _name(line: dict[str, Any], *, traced: bool) -> str:
    """The name of a work, which is a call site: by it a replay tells what dies without an event."""
    return f"{next(iter(line.values()))}{'' if traced else '-untraced'}"


def _shared(total: int, among: int) -> list[tuple[int, int]]:
    """How many get how many, if all get about as many: (each, so many of them)."""
    each, more = divmod(total, among)
    return [(n, times) for n, times in ((each, among - more), (each + 1, more)) if times]


def _work(
    line: dict[str, Any], lives: TracedLives, end: int, cpus: int, *, traced: bool
) -> FittedWork:
    """The work of one period that ends at ``end``."""
    late = outlives(lives, end)
    lived = (lives.death - lives.birth)[late]
    order = order_of(lives.of(late))
    return FittedWork(
        name=_name(line, traced=traced),
        arrival={"kind": "spread", "count": len(late)} | times(lives.birth, lived, "times"),
        allocate=[line],
        lifetime=lifetimes(lives, end),
        free=_free(lives.of(lives.death != NEVER), cpus)
        | ({} if order == "fifo" else {"order": order})
        | ({} if traced else {"traced": False}),
        cpus=np.bincount(lives.cpu, minlength=cpus).tolist(),
    )


def _free(lives: TracedLives, cpus: int) -> dict[str, Any]:
    """Who freed what whom allocated; nothing where all was freed by the CPU that allocated it."""
    if not np.any(lives.cpu != lives.free_cpu):
        return {}
    pairs = np.bincount(lives.cpu * cpus + lives.free_cpu, minlength=cpus * cpus)
    matrix = pairs.reshape(cpus, cpus)
    if len(np.unique(lives.cpu)) == 1:
        [weights] = matrix[matrix.any(axis=1)]
        return weighted_cpus(weights)
    # Who is never seen to allocate what is freed, frees it himself.
    matrix[np.arange(cpus), np.arange(cpus)] += matrix.sum(axis=1) == 0
    return {"matrix": matrix.tolist()}


def weighted_cpus(weights: I8) -> dict[str, Any]:
    """The keys of a spec that say which CPUs, by how often each was seen."""
    used = np.flatnonzero(weights)
    more = {"weights": weights[used].tolist()} if len(used) > 1 else {}
    return {"cpus": used.tolist()} | more


def pre_trace_works(line: dict[str, Any], pre_trace: PreTraceLives, cpus: int) -> list[FittedWork]:
    """What was allocated before the trace and is freed in it."""
    if not len(pre_trace.death):
        return []
    work = FittedWork(
        name=f"older-{next(iter(line.values()))}",
        arrival={"kind": "before", "count": len(pre_trace.death)},
        allocate=[line],
        lifetime=[distribution(np.sort(pre_trace.death))],
        cpus=np.bincount(pre_trace.free_cpu, minlength=cpus).tolist(),
    )
    return [work]
