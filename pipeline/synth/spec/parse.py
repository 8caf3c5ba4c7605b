"""From the text of a spec to a Spec."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from allocsim.recording.cache_names import LARGE_KMALLOC
from allocsim.toml_data.table import DataFileError
from pipeline.errors import InputError
from pipeline.synth.page_requests import PAGE_KINDS
from pipeline.synth.spec.model import (
    ARRIVALS,
    BEFORE,
    CACHE_FLAGS,
    KERNELS,
    KMALLOC_TYPES,
    LIFETIMES,
    ORDERS,
    PICKS,
    Arrival,
    Cache,
    Entry,
    Free,
    Life,
    Phase,
    Spec,
    Work,
    sheaves,
)
from pipeline.synth.spec.spec_table import SpecTable
from pipeline.synth.tables import BINS, LARGEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_CPUS = 1024
_DAY = 86400 * 10**9
_NS = 10**9
_GIB = 1 << 30
_RATE = (Decimal("0.001"), Decimal(10**9))
_FACTOR = (Decimal(0), Decimal(10**6))
_SHARE = (Decimal(0), Decimal(1))
_WEIGHT = (Decimal(0), Decimal(10**9))
_TEXTS = ("doc", "source", "kernel")
_NUMBERS = ("cpus", "memory", "used", "seed", "events")


#: Bytes of memory: the least and the most.
MEMORY = (64 << 20, 1 << 44)


def parse_spec(text: str, source: str) -> Spec:
    """Read a spec.

    Args:
        text: TOML.
        source: the file's name, for messages.

    Raises:
        InputError: one line with the key, its line and what is allowed there.
    """
    try:
        return _parsed(SpecTable.parse(text, source, *_TEXTS, *_NUMBERS, "cache", "phase", "work"))
    except DataFileError as error:
        raise InputError(str(error)) from None


def _parsed(top: SpecTable) -> Spec:
    count = top.whole("cpus", 1, MAX_CPUS, 2)
    caches = _caches(top)
    phases = _phases(top)
    spec = Spec(
        name=top.text("name"),
        doc=top.text("doc", ""),
        origin=top.text("source", ""),
        kernel=top.choice("kernel", KERNELS, "7.2"),
        cpus=count,
        memory=top.size("memory", *MEMORY, 4 * _GIB),
        used=top.number("used", Decimal(0), Decimal("0.9"), Decimal("0.25")),
        seed=top.whole("seed", 0, (1 << 63) - 1, 1),
        events=top.whole("events", 0, 10**12, 0),
        caches=caches,
        phases=phases,
        works=tuple(
            _work(work, count, {cache.name for cache in caches}, [phase.name for phase in phases])
            for work in top.tables("work", required=True)
        ),
        roles=count,
    )
    if not spec.allocates:
        top.refuse("work", "nothing is allocated but before the trace begins, if at all")
    return spec


def _caches(top: SpecTable) -> tuple[Cache, ...]:
    caches: dict[str, Cache] = {}
    for row in top.tables("cache"):
        row.only("name", "size", "flags")
        name = row.text("name")
        if name in caches:
            row.refuse("name", f"{name[:60]!r}: there is another cache of this name")
        if not name or any(c.isspace() for c in name) or "kmalloc" in name:
            row.refuse(
                "name",
                f"{name[:60]!r}: a word is wanted; kmalloc's caches are there without being named",
            )
        # R3.3: sizes are multiples of the word; above 4 MiB no page block holds an object.
        size = row.whole("size", 8, 4 << 20)
        if size % 8:
            row.refuse("size", f"{size}: a multiple of 8 is wanted")
        caches[name] = Cache(name, size, row.texts("flags", CACHE_FLAGS))
    return tuple(caches.values())


def _phases(top: SpecTable) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for row in top.tables("phase"):
        row.only("name", "length", "rate")
        name = row.text("name", f"phase-{len(phases)}")
        if name in [phase.name for phase in phases]:
            row.refuse("name", f"{name[:60]!r}: there is another phase of this name")
        phases.append(
            Phase(name, row.time("length", 1000, _DAY), row.number("rate", *_FACTOR, Decimal(1)))
        )
    return tuple(phases) or (Phase("all", _NS),)


def _work(row: SpecTable, cpus: int, caches: set[str], phases: Sequence[str]) -> Work:
    row.only(
        "name",
        "cpus",
        "weights",
        "phases",
        "arrival",
        "allocate",
        "pick",
        "step",
        "lifetime",
        "free",
    )
    wanted = row.texts("phases", phases) or tuple(phases)
    arrival = _arrival(row.table("arrival", required=True), len(phases))
    lives = _lives(row) if "lifetime" in row else None
    free = _free(row.table("free"), cpus) if "free" in row else Free()
    entries: list[Entry] = []
    for item in row.tables("allocate", required=True):
        entries += _entries(item, cpus, caches, lives, free)
    if arrival.kind != "before" and any(life.kind in BEFORE for e in entries for life in e.lives):
        row.refuse(
            "lifetime", f"{' and '.join(BEFORE)} are of what is allocated before the trace begins"
        )
    pick = row.choice("pick", PICKS, "all")
    if pick == "one" and not sum(entry.weight for entry in entries):
        row.refuse("allocate", "the weights are all 0")
    for lines in sheaves(entries, pick):
        if lines[0].prefilled and sum(entry.count for entry in lines) < 2:
            row.refuse("allocate", "of a prefilled sheaf a count of 2 or more is wanted")
    if arrival.kind == "closed" and pick == "one":
        row.refuse("pick", "'one': a closed loop allocates all; allowed: all")
    return Work(
        name=row.text("name", "work"),
        arrival=arrival,
        entries=tuple(entries),
        pick=pick,
        step=row.time("step", 0, _NS, 100),
        cpus=_cpus(row, cpus),
        phases=tuple(number for number, name in enumerate(phases) if name in wanted),
    )


def _cpus(row: SpecTable, cpus: int) -> tuple[int, ...]:
    """Weight of each CPU of the machine."""
    chosen = row.wholes("cpus", 0, cpus - 1) if "cpus" in row else tuple(range(cpus))
    weights = row.wholes("weights", 0, 10**9) if "weights" in row else (1,) * len(chosen)
    if len(weights) != len(chosen) or not sum(weights):
        row.refuse(
            "weights", f"{len(weights)} for {len(chosen)} CPUs, or all 0: one each is wanted"
        )
    total = [0] * cpus
    for cpu, weight in zip(chosen, weights, strict=True):
        total[cpu] += weight
    return tuple(total)


def _arrival(row: SpecTable, phases: int) -> Arrival:
    kind = row.choice("kind", ARRIVALS)
    if kind == "closed":
        row.only("kind", "hold", "think")
        return Arrival(kind, hold=row.time("hold", 0, _DAY, 0), think=row.time("think", 0, _DAY, 0))
    if kind == "before":
        row.only("kind", "count")
        return Arrival(kind, count=row.whole("count", 1, 10**9))
    size = row.whole("size", 1, 1 << 20, 1)
    gap = row.time("gap", 0, _NS, 1000)
    if kind == "spread":
        row.only("kind", "count", "since", "times", "at")
        times, at = _quantiles(row, "times")
        return Arrival(kind, count=row.whole("count", 1, 10**9), times=times, at=at)
    row.only("kind", "rate", *(("size", "gap") if kind == "bursts" else ()))
    rates = row.numbers("rate", Decimal(0), _RATE[1])
    if len(rates) not in (1, phases):
        row.refuse("rate", f"{len(rates)} rates for {phases} phases: one is wanted, or one a phase")
    for rate in rates:
        if 0 < rate < _RATE[0]:
            row.refuse("rate", f"{rate}: 0, or a number from {_RATE[0]} to {_RATE[1]}, is wanted")
    if kind == "poisson":
        return Arrival(kind, rates)
    return Arrival(kind, rates, size=size, gap=gap)


def _entries(
    row: SpecTable, cpus: int, caches: set[str], lives: tuple[Life, ...] | None, free: Free
) -> list[Entry]:
    row.only(
        "cache",
        "kmalloc",
        "pages",
        "order",
        "type",
        "count",
        "weight",
        "lifetime",
        "free",
        "prefilled",
        "traced",
    )
    what = [key for key in ("cache", "kmalloc", "pages") if key in row]
    if len(what) != 1:
        row.refuse(None, f"{' and '.join(what) or 'none'} of cache, kmalloc, pages: one is wanted")
    own = _lives(row) if "lifetime" in row else lives
    if own is None:
        row.refuse(None, "the key lifetime is missing, here and in the work")
    base = Entry(
        own,
        _free(row.table("free"), cpus) if "free" in row else free,
        count=row.whole("count", 1, 1 << 16, 1),
        weight=row.whole("weight", 0, 10**9, 1),
    )
    base = replace(base, traced=row.flag("traced", default=True))
    if what[0] == "cache":
        prefilled = row.flag("prefilled", default=False)
        if prefilled and not base.traced:
            row.refuse("traced", "false: a prefilled sheaf's objects have events")
        return [replace(base, cache=row.choice("cache", sorted(caches)), prefilled=prefilled)]
    if "prefilled" in row:
        row.refuse("prefilled", "only a cache has prefilled sheaves")
    if what[0] == "pages":
        if not base.traced:
            row.refuse("traced", "false: pages are not allocated without an event")
        kind = row.choice("pages", sorted(PAGE_KINDS))
        low, high = PAGE_KINDS[kind].orders
        return [replace(base, pages=kind, order=row.whole("order", low, high, low))]
    sizes = row.wholes("kmalloc", 1, 4 << 20)
    kind = row.choice("type", list(KMALLOC_TYPES), "normal")
    if not base.traced and max(sizes) > LARGE_KMALLOC:
        row.refuse("traced", f"false: no object above {LARGE_KMALLOC} bytes is allocated in bulk")
    return [replace(base, kmalloc=size, type=kind) for size in sizes]


def _lives(row: SpecTable) -> tuple[Life, ...]:
    lives = tuple(_life(item) for item in row.tables("lifetime", required=True))
    if not sum(life.share for life in lives):
        row.refuse("lifetime", "the shares are all 0")
    return lives


_TIMES: Mapping[str, str] = {
    "exponential": "mean",
    "lognormal": "median",
    "fixed": "after",
    "batch": "hold",
}


def _life(row: SpecTable) -> Life:
    kind = row.choice("kind", LIFETIMES)
    share = row.number("share", *_WEIGHT, Decimal(1))
    if kind in ("quantiles", "until"):
        row.only("kind", "share", *(("since",) if kind == "until" else ()), "values", "at")
        values, at = _quantiles(row, "values")
        return Life(kind, share, values, at=at)
    key = _TIMES.get(kind)
    keys = ("sigma",) if kind == "lognormal" else ()
    row.only("kind", "share", *((key,) if key else ()), *keys)
    if key is None:
        return Life(kind, share)
    # So that the longest draw of an exponential, 8.8 means, is still below LARGEST.
    least, most = (0, _DAY) if kind == "batch" else (1, LARGEST >> 4)
    time = row.time(key, least, most, *((0,) if kind == "batch" else ()))
    sigma = row.number("sigma", Decimal(0), Decimal(5)) if keys else Decimal(0)
    return Life(kind, share, (time,), sigma)


def _quantiles(row: SpecTable, key: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Quantiles, and their places: none where they are evenly spaced."""
    since = row.time("since", 0, LARGEST, 0)
    values = tuple(since + value for value in row.times(key, 0, LARGEST - since, 2))
    if list(values) != sorted(values):
        row.refuse(key, "quantiles must not fall from one to the next")
    if "at" not in row:
        return values, ()
    at = row.wholes("at", 0, BINS, 2)
    if len(at) != len(values) or at[0] or at[-1] != BINS or any(b <= a for a, b in pairwise(at)):
        row.refuse("at", f"{len(values)} whole numbers that rise from 0 to {BINS} are wanted")
    return values, at


def _free(row: SpecTable, cpus: int) -> Free:
    row.only("cpus", "weights", "remote", "matrix", "order", "step", "over", "grace", "traced")
    given = [key for key in ("cpus", "remote", "matrix") if key in row]
    if len(given) > 1:
        row.refuse(given[1], f"{' and '.join(given)} exclude each other")
    if "weights" in row and "cpus" not in row:
        row.refuse("weights", "they are of cpus, which is not here")
    return Free(
        cpus=_cpus(row, cpus) if "cpus" in row else (),
        remote=row.number("remote", *_SHARE, Decimal(0)),
        matrix=row.weights("matrix", cpus) if "matrix" in row else (),
        order=row.choice("order", ORDERS, "fifo"),
        step=row.time("step", 0, _NS, 100),
        over=row.time("over", 1, _DAY, 1_000_000),
        grace=row.time("grace", 1000, _DAY, 0),
        traced=row.flag("traced", default=True),
    )
