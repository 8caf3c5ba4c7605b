"""When a work's batches begin, and on which CPUs."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.mixtures import CPU_BITS, SHARE_BITS
from pipeline.synth.random_bits import PLACE_BITS, BitsUse, Strata, choices, random_bits
from pipeline.synth.tables import (
    DRAW_BITS,
    UNIT_BITS,
    draw,
    exponential_unit,
    places,
    spread,
)

if TYPE_CHECKING:
    from allocsim.tables import I2, I8, U8
    from pipeline.synth.spec.model import Spec


BEFORE = 1 << 30  #: ns before the trace in which what is older is allocated
GOING = 1 << 20  #: ns at the end of that in which what is gone by then is freed, unless unused
SHARE_MASK = np.uint64((1 << SHARE_BITS) - 1)
#: Places in a random number of 64: a draw, then a choice of 16 bits, then one of 12.
CHOICE_AT = np.uint64(DRAW_BITS)
CPU_AT = np.uint64(DRAW_BITS + SHARE_BITS)
_CPU_MASK = np.uint64((1 << CPU_BITS) - 1)
_FINE = 10  # bits behind the point of a gap in ns, where gaps are short
_SECOND = 10**9
_PLACE_BITS = 16


class PhaseSpan(NamedTuple):
    """A window of time: of which phase, and the numbers that its random bits come from.

    Args:
        begin: its first ns.
        end: the ns behind it.
        phase: number of the phase.
        phase_begin: the phase's first ns.
        phase_end: the ns behind the phase.
        key: (cycle, phase, window).
        parts: windows of the phase.
        cycle: the first ns of the first phase.
    """

    begin: int
    end: int
    phase: int
    phase_begin: int
    phase_end: int
    key: tuple[int, ...]
    parts: int = 1
    cycle: int = 0


class Batches(NamedTuple):
    """Batches that begin in a window: time, CPU, and sixteen random bits to pick a line by.

    ``first`` is the number of the first in the whole trace where it is known, else -1.
    """

    start: I8
    cpu: I2
    pick: U8
    first: int = -1


NO_BATCHES = Batches(np.empty(0, np.int64), np.empty(0, np.int16), np.empty(0, np.uint64))


class Arrivals:
    """Makes the batches of one work.

    Args:
        spec: the spec.
        number: the work's number.
        objects: objects of a batch, where they are all lines.
    """

    def __init__(self, spec: Spec, number: int, objects: int) -> None:
        self._spec = spec
        self._work = work = spec.works[number]
        self._number = number
        self._objects = objects
        self._cpus = choices(work.cpus, CPU_BITS).astype(np.int16)
        self._times = np.array(work.arrival.times, np.int64)
        self._ends = (
            places(work.arrival.times, work.arrival.at) if len(self._times) else self._times
        )
        self._strata: Strata | None = None
        self._loops = np.repeat(np.arange(spec.cpus), work.cpus).astype(np.int16)

    def bits(self, use: BitsUse, key: tuple[int, ...], count: int) -> U8:
        """Random numbers of the work."""
        return random_bits(self._spec.seed, use, (self._number, *key), count)

    def strata(self, use: BitsUse, total: int) -> Strata:
        """Numbers with the quantiles of all, for the batches or objects of the work."""
        return Strata(self._spec.seed, (self._number, int(use)), total)

    def before(self) -> Batches:
        """Batches before the trace begins."""
        count = self._work.arrival.count
        bits = self.bits(BitsUse.ARRIVALS, (0,), count)
        start = np.arange(count) * (BEFORE - 2 * GOING) // count - BEFORE
        pick = (bits >> CHOICE_AT) & SHARE_MASK
        return Batches(start, self._cpus[cpu_bits(bits)], pick, 0)

    def batches(self, span: PhaseSpan) -> Batches:
        """The batches that begin in a window."""
        kind = self._work.arrival.kind
        if kind == "closed":
            return self._closed(span)
        if kind == "before":
            return NO_BATCHES
        if kind == "spread":
            return self._spread(span)
        start, bits = self._poisson(span)
        cpu = self._cpus[cpu_bits(bits)]
        size, gap = self._work.arrival.size, self._work.arrival.gap
        if size == 1:
            return Batches(start, cpu, (bits >> CHOICE_AT) & SHARE_MASK)
        start = np.repeat(start, size) + np.tile(np.arange(size) * gap, len(start))
        pick = self.bits(BitsUse.CHOICES, span.key, len(start)) & SHARE_MASK
        return Batches(start, np.repeat(cpu, size), pick)

    def _poisson(self, span: PhaseSpan) -> tuple[I8, U8]:
        """Times at random, and the random number of each."""
        rate = self._work.arrival.rate(span.phase) * self._spec.phases[span.phase].rate
        if not rate:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        mean = _SECOND * self._work.arrival.size / rate
        fine = _FINE if mean < 1 << 30 else 0
        scaled = int(mean * (1 << fine))
        length = (span.end - span.begin) << fine
        likely = length // scaled
        starts: list[I8] = []
        numbers: list[U8] = []
        passed = 0
        while passed < length:
            count = likely + 6 * isqrt(likely) + 16
            bits = self.bits(BitsUse.ARRIVALS, (*span.key, len(starts)), count)
            gaps = draw(exponential_unit(), 0, bits)
            gaps *= scaled
            gaps >>= UNIT_BITS
            times = np.cumsum(gaps) + passed
            passed = int(times[-1])
            starts.append(times)
            numbers.append(bits)
            likely //= 8
        times = np.concatenate(starts)
        inside = int(np.searchsorted(times, length))
        return (times[:inside] >> fine) + span.begin, np.concatenate(numbers)[:inside]

    @property
    def count(self) -> int:
        """Batches of a cycle, or before it, where that is given."""
        arrival = self._work.arrival
        if arrival.kind == "before":
            return arrival.count
        return round(arrival.count * self._spec.phases[0].rate)

    def _spread(self, span: PhaseSpan) -> Batches:
        """Batches whose times have given quantiles: the n-th of N lies in the n-th part of N."""
        count = self.count
        begin, end = span.begin - span.cycle, span.end - span.cycle
        if begin > self._times[-1] or end < self._times[0]:
            return NO_BATCHES
        first = max(self._rank(begin) - 1, 0)
        number = np.arange(first, max(min(self._rank(end) + 2, count), first))
        turn = span.key[0] * count + first
        if self._strata is None:
            self._strata = self.strata(BitsUse.ARRIVALS, count)
        place = self._strata.places(0, turn, len(number))
        cpu = self._strata.places(1, turn, len(number), steps=True)
        jitter = (place >> np.uint64(PLACE_BITS - _PLACE_BITS)).view(np.int64)
        start = spread(self._times, self._ends, number, jitter, count) + span.cycle
        inside = slice(*np.searchsorted(start, (span.begin, span.end)).tolist())
        pick = self.bits(BitsUse.CHOICES, span.key, len(number)) & SHARE_MASK
        chosen = self._cpus[(cpu >> np.uint64(PLACE_BITS - CPU_BITS)).view(np.int64)]
        return Batches(start[inside], chosen[inside], pick[inside], turn + inside.start)

    def _rank(self, time: int) -> int:
        """How many of all come before a time since the cycle began: the least it can be."""
        values, ends = self._times, self._ends
        at = int(np.searchsorted(values, time))
        if at == 0:
            return 0
        if at == len(values):
            return self.count
        low, high = int(values[at - 1]), int(values[at])
        begin, end = int(ends[at - 1]), int(ends[at])
        passed = begin * (high - low) + (end - begin) * (time - low)
        return (passed * self.count // max(high - low, 1)) >> DRAW_BITS

    def _closed(self, span: PhaseSpan) -> Batches:
        """Every CPU's batches follow one another from the phase's beginning on."""
        work, arrival = self._work, self._work.arrival
        objects = self._objects
        step = max(entry.free.step for entry in work.entries)
        cycle = objects * (work.step + step) + arrival.hold + arrival.think + 1
        first = -(-(span.begin - span.phase_begin) // cycle)
        end = -(-(span.end - span.phase_begin) // cycle)
        start = np.arange(first, end) * cycle + span.phase_begin
        loops = len(self._loops)
        # CPUs begin one after the other, so that they do not work in step.
        late = np.arange(loops) * (cycle // max(loops, 1))
        starts = (start[:, None] + late).ravel()
        cpus = np.tile(self._loops, len(start))
        return Batches(starts, cpus, np.zeros(len(starts), np.uint64))


def cpu_bits(bits: U8) -> I8:
    """The bits of random numbers that choose a CPU."""
    return ((bits >> CPU_AT) & _CPU_MASK).view(np.int64)
