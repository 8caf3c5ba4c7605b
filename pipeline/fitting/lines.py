"""From observed lives to the lines of a spec: how many when, how long, on which CPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from allocsim.caches import KMALLOC_CLASSES
from allocsim.page_kinds import Kind
from allocsim.profile import PAGE_SIZE
from pipeline.synth.births import NEVER
from pipeline.synth.page_requests import PAGE_KINDS
from pipeline.synth.units import write_time

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.fitting.observed import Lives, Older

    Ints = npt.NDArray[np.int64]

PERIODS = 8  #: periods of as many births each, for a line that has enough
PERIOD_BIRTHS = 200  #: births that each of these has at least
SWING = 0.05  #: a turn of the number alive counts if it is so large a part of the most alive,
LEAST_SWING = 16  #: and this many at least
MOST_TURNS = 128  #: turns of a line that are looked at
SHORT = 8  #: what lives for less than this part of its period dies at once
FEW = 32  #: births of a period below which one work has them all
QUANTILES = 33  #: values of a quantile table
IN_ORDER = 0.5  #: rank correlation from which frees are in order
CLOSE = 0.05  #: how far deciles may be off for a distribution by formula
_DECILES = np.arange(1, 10) / 10
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
    lifetime: list[dict[str, Any]]
    free: dict[str, Any]
    cpus: list[int]


def period_limits(lives: Lives, moves: Ints) -> Ints:
    """Where a line's periods begin, but for the first: ns since the trace's first event (i8).

    Where the number alive turns from rising to falling or back, so that what lives beyond a period
    was allocated before any of it is freed; and between, so that there are enough periods.

    Args:
        lives: the line's.
        moves: move_limits of its cache.
    """
    births = np.sort(lives.birth)
    count = int(np.clip(len(births) // PERIOD_BIRTHS, 1, PERIODS))
    even = births[np.arange(1, count) * len(births) // count]
    limits: Ints = np.unique(np.concatenate((even, _turns(lives), moves)))
    inside: Ints = limits[(limits > births[0]) & (limits <= births[-1])]
    return inside


def _turns(lives: Lives) -> Ints:
    """Times at which the number alive turns, by more than a swing (i8)."""
    ends = lives.death[lives.death != NEVER]
    order = np.argsort(np.concatenate((lives.birth, ends)), kind="stable")
    time = np.concatenate((lives.birth, ends))[order]
    alive = np.cumsum(np.where(order < len(lives.birth), 1, -1))
    return time[_swings(alive, int(alive.max()))]


def move_limits(lives: Lives, cpus: int) -> Ints:
    """Times at which a CPU turns from gaining to losing objects of a cache, or back (i8).

    What is freed elsewhere than it was allocated moves from CPU to CPU, through sheaves and slabs.
    Which way it goes changes in time, as tasks move, and how far it gets makes slabs.
    """
    away = np.flatnonzero((lives.cpu != lives.free_cpu) & (lives.death != NEVER))
    away = away[np.argsort(lives.death[away], kind="stable")]
    found = [np.empty(0, np.int64)]
    for cpu in range(cpus):
        way = (lives.free_cpu[away] == cpu) * 1 - (lives.cpu[away] == cpu)
        moved = np.flatnonzero(way)
        if len(moved) > LEAST_SWING:
            gained = np.cumsum(way[moved])
            turns = [row for row in _swings(gained, int(np.ptp(gained))) if row]
            found.append(lives.death[away[moved[turns]]])
    return np.unique(np.concatenate(found))


def _swings(values: Ints, largest: int) -> list[int]:
    """Rows at which values turn by more than a swing, at most MOST_TURNS of them."""
    swing = max(LEAST_SWING, SWING * largest)
    turns = _extremes(values, swing)
    while len(turns) > MOST_TURNS:
        swing *= 2
        turns = _extremes(values, swing)
    return turns


def _extremes(alive: Ints, swing: float) -> list[int]:
    """Rows of the highest and lowest values between which more than a swing lies."""
    # A row a run of one direction is enough to look at.
    turns = np.flatnonzero(np.diff(np.diff(alive)) != 0) + 1
    found: list[int] = []
    up, extreme, at = True, int(alive[0]), 0
    for row in [*turns.tolist(), len(alive) - 1]:
        value = int(alive[row])
        if value > extreme if up else value < extreme:
            extreme, at = value, row
        elif abs(extreme - value) > swing:
            found.append(at)
            up, extreme, at = not up, value, row
    return found


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
    kind, order = Kind(what >> 8), what & 255
    if kind == Kind.LARGE_KMALLOC and order >= 2:
        return {"kmalloc": PAGE_SIZE << order}
    names = [name for name, known in PAGE_KINDS.items() if known.kind == kind]
    for name in names:
        low, high = PAGE_KINDS[name].orders
        if low <= order <= high:
            return {"pages": name} | ({"order": order} if order != low else {})
    return {"pages": "other"} | ({"order": order} if order else {})


def works_of(line: dict[str, Any], lives: Lives, cpus: int) -> list[FittedWork]:
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
    line: dict[str, Any], lives: Lives, moves: Ints, cpus: int
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
                if len(rows):
                    works.append(_work(line, lives.of(rows), end, cpus, traced=traced))
    return works


def _whole_runs(run: Ints, period: Ints, fate: Ints) -> tuple[Ints, Ints]:
    """Periods and fates in which all that one prefilled sheaf gave goes with its first."""
    if run[0] < 0:
        return period, fate
    _, first, of = np.unique(run, return_index=True, return_inverse=True)
    return period[first][of], fate[first][of]


def _prefilled_works(line: dict[str, Any], lives: Lives, end: int, cpus: int) -> list[FittedWork]:
    """Works of as many prefilled sheaves, which give as many objects, each about as many."""
    runs, first = np.unique(lives.run, return_index=True)
    traced = 2 * np.count_nonzero(lives.traced) > len(lives.run)
    base = _work(line, lives, end, cpus, traced=bool(traced))
    size, larger = divmod(len(lives.run), len(runs))
    works = []
    for count, batches in ((size, len(runs) - larger), (size + 1, larger)):
        if batches:
            times = quantiles(np.sort(lives.birth[first]))
            arrival = {"kind": "spread", "count": batches, "times": times}
            # A run may be cut where its task moved to another CPU; one of one is none.
            asked = line | ({"count": count, "prefilled": True} if count > 1 else {})
            works.append(replace(base, arrival=arrival, allocate=[asked]))
    return works


def _work(line: dict[str, Any], lives: Lives, end: int, cpus: int, *, traced: bool) -> FittedWork:
    """The work of one period that ends at ``end``."""
    ended = lives.death != NEVER
    births = np.sort(lives.birth)
    return FittedWork(
        # A name is a call site: a replay tells by it what dies without an event.
        name=f"{next(iter(line.values()))}{'' if traced else '-untraced'}",
        arrival={"kind": "spread", "count": len(births), "times": quantiles(births)},
        allocate=[line],
        lifetime=lifetimes(lives, end),
        free=_free(lives.of(ended), cpus)
        | _order(lives.of(ended & (lives.death >= end)))
        | ({} if traced else {"traced": False}),
        cpus=np.bincount(lives.cpu, minlength=cpus).tolist(),
    )


def lifetimes(lives: Lives, end: int) -> list[dict[str, Any]]:
    """A mixture: what dies within the period, behind it, and never.

    The first by its lifetimes. What lives longer dies with something else, a task or a file, so it
    is told by the time of death, which is behind all births of the period.

    Args:
        lives: lives that began in the period.
        end: the ns behind the period.
    """
    ended = lives.death != NEVER
    lived = lives.death - lives.birth
    late = ended & ((lives.death >= end) | _in_turn(lives))
    soon = ended & ~late
    parts = []
    for rows, make in (
        (soon, lambda rows: distribution(np.sort(lived[rows]))),
        (late, lambda rows: {"kind": "until", "values": quantiles(np.sort(lives.death[rows]))}),
        (~ended, lambda _: {"kind": "forever"}),
    ):
        count = int(np.count_nonzero(rows))
        if count:
            parts.append(make(rows) | {"share": count})
    if len(parts) == 1:
        del parts[0]["share"]
    return parts


def distribution(lived: Ints) -> dict[str, Any]:
    """The simplest distribution whose deciles are close to those of a sorted sample."""
    median = int(np.median(lived))
    if lived[0] == lived[-1]:
        return {"kind": "fixed", "after": write_time(max(median, 1))}
    if len(lived) >= PERIOD_BIRTHS:
        deciles = np.quantile(lived, _DECILES)
        mean = int(lived.mean())
        if _close(deciles, -np.log1p(-_DECILES) * mean):
            return {"kind": "exponential", "mean": write_time(mean)}
        normal = special.ndtri(_DECILES)
        sigma = np.polyfit(normal, np.log(np.maximum(deciles, 1)), 1)[0]
        if median > 0 and 0 < sigma < 5 and _close(deciles, np.exp(sigma * normal) * median):
            return {
                "kind": "lognormal",
                "median": write_time(median),
                "sigma": round(float(sigma), 3),
            }
    return {"kind": "quantiles", "values": quantiles(lived)}


def quantiles(values: Ints) -> list[str]:
    """Evenly spaced quantiles of sorted times, as a spec has them."""
    count = min(QUANTILES, max(len(values), 2))
    at = np.round(np.arange(count) * (len(values) - 1) / (count - 1)).astype(np.int64)
    return [write_time(value) for value in values[at].tolist()]


def _close(found: npt.NDArray[np.float64], by_formula: npt.NDArray[np.float64]) -> bool:
    return bool(np.all(np.abs(by_formula - found) <= CLOSE * np.maximum(found, 1)))


def _in_turn(lives: Lives) -> bool:
    """Whether all lives end in the order in which they began, none of them soon after.

    Quantiles over a period do not tell lives that are short beside it.
    """
    if len(lives.birth) < FEW or np.any(lives.death == NEVER):
        return False
    span = int(np.ptp(lives.birth))
    if int(np.min(lives.death - lives.birth)) * SHORT < span:
        return False
    return _correlation(lives) > IN_ORDER


def _correlation(lives: Lives) -> float:
    """Rank correlation of birth and death; 1 where there is none."""
    for times in (lives.birth, lives.death):
        if len(times) < 2 or np.all(times == times[0]):
            return 1.0
    return float(stats.spearmanr(lives.birth, lives.death).statistic)


def _order(late: Lives) -> dict[str, Any]:
    """In which order what outlives a period is freed: by rank correlation of birth and death."""
    found = _correlation(late)
    if found > IN_ORDER:
        return {}
    return {"order": "lifo" if found < -IN_ORDER else "shuffled"}


def _free(lives: Lives, cpus: int) -> dict[str, Any]:
    """Who freed what whom allocated; nothing where all was freed by the CPU that allocated it."""
    if not np.any(lives.cpu != lives.free_cpu):
        return {}
    pairs = np.bincount(lives.cpu * cpus + lives.free_cpu, minlength=cpus * cpus)
    matrix = pairs.reshape(cpus, cpus)
    # Who is never seen to allocate what is freed, frees it himself.
    matrix[np.arange(cpus), np.arange(cpus)] += matrix.sum(axis=1) == 0
    return {"matrix": matrix.tolist()}


def older_works(line: dict[str, Any], older: Older, cpus: int) -> list[FittedWork]:
    """What was allocated before the trace and is freed in it."""
    if not len(older.death):
        return []
    work = FittedWork(
        name=f"older-{next(iter(line.values()))}",
        arrival={"kind": "before", "count": len(older.death)},
        allocate=[line],
        lifetime=[distribution(np.sort(older.death))],
        free={},
        cpus=np.bincount(older.free_cpu, minlength=cpus).tolist(),
    )
    return [work]
