"""A work's mixtures of lifetimes and its choices of CPUs, as tables to draw from."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.random_bits import choices
from pipeline.synth.tables import draw, exponential, fixed, from_quantiles, lognormal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.synth.spec import Entry, Free, Life

    Ints = npt.NDArray[np.int64]
    Bits = npt.NDArray[np.uint64]

CPU_BITS = 12  #: random bits that choose a CPU
SHARE_BITS = 16  #: random bits that choose a component, or a line
DRAWN, BATCH, PHASE_END, FOREVER, GONE, UNTIL, UNUSED = range(7)
KIND = {
    "batch": BATCH,
    "phase-end": PHASE_END,
    "forever": FOREVER,
    "gone": GONE,
    "until": UNTIL,
    "unused": UNUSED,
}


class Drawn(NamedTuple):
    """Lifetimes drawn: ns, and what they count from (None: all from the birth)."""

    time: Ints
    kind: npt.NDArray[np.uint8] | None


class LifeTables:
    """The mixtures of a work's lines: for each the limits of its components and their tables."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        tables: dict[Life, int] = {}
        most = max(len(entry.lives) for entry in entries)
        self._limits = np.full((most - 1, len(entries)), 1 << SHARE_BITS, np.int64)
        self._base = np.zeros((most, len(entries)), np.int64)
        self._kind = np.zeros((most, len(entries)), np.uint8)
        parts: list[Ints] = []
        for number, entry in enumerate(entries):
            total, passed = sum(life.share for life in entry.lives), Decimal(0)
            for at, life in enumerate(entry.lives):
                passed += life.share
                if at < most - 1:
                    self._limits[at, number] = round(passed * (1 << SHARE_BITS) / total)
                if life not in tables:
                    tables[life] = sum(len(part) for part in parts)
                    parts.append(_table(life))
                self._base[at, number] = tables[life]
                self._kind[at, number] = KIND.get(life.kind, DRAWN)
        self._table = np.concatenate(parts)
        self._plain = not self._kind.any()

    def draw(self, entry: Ints, bits: Bits, chance: Bits) -> Drawn:
        """A lifetime for each row."""
        which = np.zeros(len(entry), np.int64)
        for limits in self._limits:
            which += chance.view(np.int64) >= limits[entry]
        at = which * self._base.shape[1] + entry
        time = draw(self._table, self._base.ravel()[at], bits)
        return Drawn(time, None if self._plain else self._kind.ravel()[at])


def _table(life: Life) -> Ints:
    if life.kind == "exponential":
        return exponential(life.times[0])
    if life.kind == "lognormal":
        return lognormal(life.times[0], life.sigma)
    if life.kind in ("quantiles", "until"):
        return from_quantiles(life.times, lives=life.kind == "quantiles")
    return fixed(life.times[0] if life.times else 0)


class FreeTables:
    """Who frees what the lines of a work allocate, and the numbers of how."""

    def __init__(self, entries: Sequence[Entry], cpus: int) -> None:
        frees = [entry.free for entry in entries]
        kinds = list(dict.fromkeys(frees))
        self.order = np.array([("fifo", "lifo", "shuffled").index(free.order) for free in frees])
        self.step = np.array([free.step for free in frees])
        self.over = np.array([free.over for free in frees])
        self.grace = np.array([free.grace for free in frees])
        self._same = not any(free.cpus or free.remote or free.matrix for free in kinds)
        self._of = np.array([kinds.index(free) for free in frees])
        self._cpus = cpus
        if not self._same:
            self._table = np.concatenate(
                [
                    choices(_weights(free, cpu, cpus), CPU_BITS).astype(np.int16)
                    for free in kinds
                    for cpu in range(cpus)
                ]
            )

    def choose(
        self, entry: Ints, cpu: npt.NDArray[np.int16], chance: Ints
    ) -> npt.NDArray[np.int16]:
        """The CPU that frees each row."""
        if self._same:
            return cpu
        row = self._of[entry] * self._cpus + cpu
        chosen: npt.NDArray[np.int16] = self._table[(row << CPU_BITS) + chance]
        return chosen


def _weights(free: Free, cpu: int, cpus: int) -> tuple[int, ...]:
    """Weight of each CPU as the one that frees what ``cpu`` allocated."""
    if free.matrix:
        return free.matrix[cpu]
    if free.cpus:
        return tuple(free.cpus.count(other) for other in range(cpus))
    if cpus == 1:
        return (1,)
    away = int(free.remote * 10**6)
    others = cpus - 1
    return tuple((10**6 - away) * others if other == cpu else away for other in range(cpus))
