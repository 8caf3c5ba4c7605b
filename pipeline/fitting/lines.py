"""From observed lives to the lines of a spec: how many when, how long, on which CPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from allocsim.caches import KMALLOC_CLASSES
from allocsim.page_kinds import Kind
from allocsim.profile import PAGE_SIZE
from pipeline.synth.births import NEVER
from pipeline.synth.page_requests import PAGE_KINDS
from pipeline.synth.units import write_time

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.fitting.observed import Lives, Observed, Older

    Ints = npt.NDArray[np.int64]

PHASES = 64  #: stretches of the trace with as many births each
PERIODS = 8  #: most stretches in which a line has lifetimes and CPUs of its own
PERIOD_BIRTHS = 200  #: births that a period has at least
QUANTILES = 33  #: values of a quantile table
CLOSE = 0.05  #: how far deciles may be off for a distribution by formula
_SHORTEST = 1000  # ns: of a phase
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
        phases: names of its phases; none: it is before the trace.
    """

    name: str
    arrival: dict[str, Any]
    allocate: list[dict[str, Any]]
    lifetime: list[dict[str, Any]]
    free: dict[str, Any]
    cpus: list[int]
    phases: list[str]


def phase_limits(observed: Observed) -> Ints:
    """Where phases begin and, last, where the trace ends: as many births in each, about (i8)."""
    births = np.sort(np.concatenate((observed.objects.birth, observed.pages.birth)))
    count = min(PHASES, max(len(births) // 16, 1))
    limits = births[np.arange(1, count) * len(births) // count]
    kept = [0]
    for limit in limits.tolist():
        if limit - kept[-1] >= _SHORTEST and observed.length - limit >= _SHORTEST:
            kept.append(limit)
    return np.array([*kept, observed.length], np.int64)


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


def works_of(line: dict[str, Any], lives: Lives, limits: Ints, cpus: int) -> list[FittedWork]:
    """The works that make lives like these: one for each period, traced ends and others apart."""
    works = []
    for traced in (True, False):
        of_line = lives.of(lives.traced == traced)
        phase = np.searchsorted(limits, of_line.birth, side="right") - 1
        periods = int(np.clip(len(phase) // PERIOD_BIRTHS, 1, PERIODS))
        ends = np.searchsorted(phase, phase[np.arange(1, periods) * len(phase) // periods])
        for rows in np.split(np.arange(len(phase)), ends):
            if len(rows):
                work = _work(line, of_line.of(rows), phase[rows], limits, cpus, traced=traced)
                works.append(work)
    return works


def _work(  # noqa: PLR0913 - a line, its lives, and where they are
    line: dict[str, Any], lives: Lives, phase: Ints, limits: Ints, cpus: int, *, traced: bool
) -> FittedWork:
    numbers, counts = np.unique(phase, return_counts=True)
    ended = lives.death != NEVER
    period = int(limits[numbers[-1] + 1] - limits[numbers[0]])
    return FittedWork(
        name=str(next(iter(line.values()))),
        arrival={"kind": "counts", "counts": counts.tolist()},
        allocate=[line],
        lifetime=lifetimes(lives, period),
        free=_free(lives.of(ended), cpus) | ({} if traced else {"traced": False}),
        cpus=np.bincount(lives.cpu, minlength=cpus).tolist(),
        phases=[f"p{number}" for number in numbers.tolist()],
    )


def lifetimes(lives: Lives, period: int) -> list[dict[str, Any]]:
    """A mixture: what dies within a period's length, later, and never.

    The first by its lifetimes. What lives longer dies with something else, a task or a file, so it
    is told by the time of death, which is behind the period for all of it.

    Args:
        lives: lives that began in the period.
        period: its length, ns.
    """
    ended = lives.death != NEVER
    lived = lives.death - lives.birth
    soon, late = ended & (lived < period), ended & (lived >= period)
    parts = []
    for rows, make in (
        (soon, lambda rows: distribution(np.sort(lived[rows]))),
        (late, lambda rows: _quantiles("until", np.sort(lives.death[rows]))),
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
    return _quantiles("quantiles", lived)


def _quantiles(kind: str, lived: Ints) -> dict[str, Any]:
    count = min(QUANTILES, max(len(lived), 2))
    at = np.round(np.arange(count) * (len(lived) - 1) / (count - 1)).astype(np.int64)
    return {"kind": kind, "values": [write_time(value) for value in lived[at].tolist()]}


def _close(found: npt.NDArray[np.float64], by_formula: npt.NDArray[np.float64]) -> bool:
    return bool(np.all(np.abs(by_formula - found) <= CLOSE * np.maximum(found, 1)))


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
        phases=[],
    )
    return [work]


def free_place_works(
    line: dict[str, Any], places: int, objects: int, cpus: int
) -> list[FittedWork]:
    """Slabs older than the trace with free places: on each one object that stays (assumed).

    Args:
        line: the line of the cache.
        places: free places.
        objects: objects in a slab.
        cpus: CPUs.
    """
    if objects < 2 or not places:
        return []
    slabs, rest = divmod(places, objects - 1)
    works = []
    for number, count in ((slabs, objects - 1), (1, rest)):
        if number and count:
            stays = line | {"lifetime": {"kind": "forever"}}
            gone = line | {"count": count, "lifetime": {"kind": "gone"}}
            base = FittedWork(
                name=f"free-{next(iter(line.values()))}",
                arrival={"kind": "before", "count": number},
                allocate=[stays, gone],
                lifetime=[],
                free={},
                cpus=[1] * cpus,
                phases=[],
            )
            works.append(replace(base))
    return works
