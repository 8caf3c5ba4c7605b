"""A work's mixtures of lifetimes and its choices of CPUs, as tables to draw from."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.random_bits import PLACE_BITS, choices
from pipeline.synth.tables import DRAW_BITS, draw, exponential, fixed, from_quantiles, lognormal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I2, I8, U1, U8
    from pipeline.synth.spec.model import Entry, Free, Life


CPU_BITS = 12  #: random bits that choose a CPU
_SPARE_BITS = 10  # that choose among those that do alike
FREE_BITS = CPU_BITS + _SPARE_BITS  #: random bits that choose the CPU that frees
SHARE_BITS = 16  #: random bits that choose a component, or a line
_CPU_MASK = np.uint64((1 << CPU_BITS) - 1)
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
    """Lifetimes drawn; arrays of one length.

    Args:
        time: ns (i8).
        kind: what they count from (u1); None: all from the birth.
        at: which component they are of (i8).
    """

    time: I8
    kind: U1 | None
    at: I8


class LifeTables:
    """The mixtures of a work's lines: for each the limits of its components and their tables."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        tables: dict[Life, int] = {}
        most = max(len(entry.lives) for entry in entries)
        self._limits = np.full((most - 1, len(entries)), 1 << SHARE_BITS, np.int64)
        self._base = np.zeros((most, len(entries)), np.int64)
        self._kind = np.zeros((most, len(entries)), np.uint8)
        parts: list[I8] = []
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

    def draw(self, entry: I8, bits: U8, chance: U8) -> Drawn:
        """A lifetime for each row."""
        which = np.zeros(len(entry), np.int64)
        for limits in self._limits:
            which += chance.view(np.int64) >= limits[entry]
        return self._drawn(which * self._base.shape[1] + entry, bits)

    def draw_at(self, entry: I8, place: U8) -> tuple[Drawn, U8]:
        """A lifetime for each row by one number in 2^PLACE_BITS, and the bits it was drawn by.

        The number chooses the component, and by where it lies in the component's part of all, the
        lifetime: numbers that are spread evenly give every component its quantiles.
        """
        place = place >> np.uint64(PLACE_BITS - SHARE_BITS - DRAW_BITS)
        chance = (place >> np.uint64(DRAW_BITS)).view(np.int64)
        which = np.zeros(len(entry), np.int64)
        low = np.zeros(len(entry), np.int64)
        high = np.full(len(entry), 1 << SHARE_BITS)
        for limits in self._limits:
            limit = limits[entry]
            above = chance >= limit
            which += above
            low = np.where(above, np.maximum(low, limit), low)
            high = np.where(above, high, np.minimum(high, limit))
        within = place.view(np.int64) - (low << DRAW_BITS)
        bits: U8 = (within // (high - low)).view(np.uint64)
        return self._drawn(which * self._base.shape[1] + entry, bits), bits

    def _drawn(self, at: I8, bits: U8) -> Drawn:
        time = draw(self._table, self._base.ravel()[at], bits)
        return Drawn(time, None if self._plain else self._kind.ravel()[at], at)

    def again(self, at: I8, bits: U8) -> I8:
        """Lifetimes of given components by other bits."""
        return draw(self._table, self._base.ravel()[at], bits)


def _table(life: Life) -> I8:
    if life.kind == "exponential":
        return exponential(life.times[0])
    if life.kind == "lognormal":
        return lognormal(life.times[0], life.sigma)
    if life.kind in ("quantiles", "until"):
        return from_quantiles(life.times, life.at, lives=life.kind == "quantiles")
    return fixed(life.times[0] if life.times else 0)


class FreeTables:
    """Who frees what the lines of a work allocate, and the numbers of how.

    Args:
        entries: the lines.
        cpus: CPUs of the machine.
        roles: CPUs that the spec speaks of: CPU c does as number c modulo this.
    """

    def __init__(self, entries: Sequence[Entry], cpus: int, roles: int) -> None:
        frees = [entry.free for entry in entries]
        kinds = list(dict.fromkeys(frees))
        self.order = np.array([("fifo", "lifo", "shuffled").index(free.order) for free in frees])
        self.step = np.array([free.step for free in frees])
        self.over = np.array([free.over for free in frees])
        self.grace = np.array([free.grace for free in frees])
        self._same = not any(free.cpus or free.remote or free.matrix for free in kinds)
        self._of = np.array([kinds.index(free) for free in frees])
        self._cpus, self._roles = cpus, roles
        self._stay = np.array([round((1 - free.remote) * (1 << CPU_BITS)) for free in frees])
        if not self._same:
            self._table = np.concatenate(
                [
                    choices(_weights(free, role, roles), CPU_BITS).astype(np.int16)
                    for free in kinds
                    for role in range(roles)
                ]
            )

    def choose(self, entry: I8, cpu: I2, bits: U8) -> I2:
        """The CPU that frees each row, by FREE_BITS random bits."""
        if self._same:
            return cpu
        chance = (bits & _CPU_MASK).view(np.int64)
        roles = self._roles
        role = cpu % roles
        row = self._of[entry] * roles + role
        chosen: I2 = self._table[(row << CPU_BITS) + chance]
        if roles == self._cpus:
            return chosen
        # Of the CPUs of a role each alike, but for what a CPU does not give away.
        alike = (self._cpus - 1 - chosen.astype(np.int64)) // roles + 1
        other = (bits >> np.uint64(CPU_BITS)).view(np.int64) & ((1 << _SPARE_BITS) - 1)
        away = chosen + roles * (other * alike >> _SPARE_BITS)
        found = np.where(chosen == role, cpu, away)
        stay = self._stay[entry]
        if np.any(stay < 1 << CPU_BITS):
            any_other = (cpu + 1 + (other * (self._cpus - 1) >> _SPARE_BITS)) % self._cpus
            by_share = np.where(chance < stay, cpu, any_other)
            found = np.where(stay < 1 << CPU_BITS, by_share, found)
        return found.astype(np.int16)


def free_bits(place: U8) -> U8:
    """FREE_BITS that choose who frees, of numbers in 2^PLACE_BITS: their highest the role (u8)."""
    place = place >> np.uint64(PLACE_BITS - FREE_BITS)
    spare = place & np.uint64((1 << _SPARE_BITS) - 1)
    return place >> np.uint64(_SPARE_BITS) | spare << np.uint64(CPU_BITS)


def _weights(free: Free, cpu: int, cpus: int) -> tuple[int, ...]:
    """Weight of each CPU that a spec speaks of as the one that frees what ``cpu`` allocated."""
    if free.matrix:
        return free.matrix[cpu]
    if free.cpus:
        return free.cpus
    if cpus == 1:
        return (1,)
    away = int(free.remote * 10**6)
    others = cpus - 1
    return tuple((10**6 - away) * others if other == cpu else away for other in range(cpus))
