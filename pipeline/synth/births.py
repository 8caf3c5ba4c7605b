"""What a work allocates in a window of time: born when and where, and freed when and where.

Rows are made window by window, each window's from random bits of its own, so that what a window
holds depends on nothing before it.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.mixtures import (
    BATCH,
    CPU_BITS,
    FOREVER,
    GONE,
    PHASE_END,
    SHARE_BITS,
    UNTIL,
    FreeTables,
    LifeTables,
)
from pipeline.synth.random_bits import Use, choices, even_bits, random_bits
from pipeline.synth.tables import (
    DRAW_BITS,
    UNIT_BITS,
    draw,
    exponential_unit,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.synth.spec import Spec

    Ints = npt.NDArray[np.int64]
    Bits = npt.NDArray[np.uint64]

NEVER = 1 << 62  #: time of death of what outlives the trace
_CPU_MASK = np.uint64((1 << CPU_BITS) - 1)
_SHARE_MASK = np.uint64((1 << SHARE_BITS) - 1)
# Places in a random number of 64: a draw, then a choice of 16 bits, then one of 12.
_CHOICE_AT = np.uint64(DRAW_BITS)
_CPU_AT = np.uint64(DRAW_BITS + SHARE_BITS)
_FINE = 10  # bits behind the point of a gap in ns, where gaps are short
_BEFORE = 1 << 30  # ns before the trace in which what is older is allocated
_SECOND = 10**9
_PLACE_BITS = 16
_PLACE_MASK = np.uint64((1 << _PLACE_BITS) - 1)
_GOING = 1 << 20  # ns at the end of that in which what is gone by then is freed


class Births(NamedTuple):
    """Objects and pages, in no order; arrays of one length.

    Args:
        birth: when it is allocated, ns (i8).
        death: when it is freed, ns, behind ``birth``; NEVER: not in the trace (i8).
        entry: number of the spec's line, counted through all works (i4).
        cpu: CPU that allocates (i2).
        free_cpu: CPU that frees (i2).
    """

    birth: Ints
    death: Ints
    entry: npt.NDArray[np.int32]
    cpu: npt.NDArray[np.int16]
    free_cpu: npt.NDArray[np.int16]


class Span(NamedTuple):
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


class _Batches(NamedTuple):
    """Batches that begin in a window: time, CPU, and sixteen random bits to pick a line by.

    ``first`` is the number of the first in the whole trace where it is known, else -1.
    """

    start: Ints
    cpu: npt.NDArray[np.int16]
    pick: Bits
    first: int = -1


_NO_BATCHES = _Batches(np.empty(0, np.int64), np.empty(0, np.int16), np.empty(0, np.uint64))


class Worker:
    """Makes the births of one work.

    Args:
        spec: the spec.
        number: the work's number.
        first_entry: number of its first line.
    """

    def __init__(self, spec: Spec, number: int, first_entry: int) -> None:
        self._spec = spec
        self._work = work = spec.works[number]
        self._number = number
        self._first = first_entry
        self._cpus = choices(work.cpus, CPU_BITS).astype(np.int16)
        self._loops = np.repeat(np.arange(spec.cpus), work.cpus).astype(np.int16)
        counts = [entry.count for entry in work.entries]
        self._counts = np.array(counts)
        self._template = np.repeat(np.arange(len(counts)), counts)
        self._picks = (
            choices(tuple(entry.weight for entry in work.entries), SHARE_BITS)
            if work.pick == "one"
            else None
        )
        self._lives = LifeTables(work.entries)
        self._frees = FreeTables(work.entries, spec.cpus)

    def window(self, span: Span) -> Births | None:
        """What is allocated by the batches that begin in a window; None: nothing ever is then."""
        if span.phase not in self._work.phases:
            return None
        batches = self._batches(span)
        if not len(batches.start):
            return None
        return self._expand(batches, span)

    def before(self) -> Births | None:
        """What is allocated before the trace begins."""
        if self._work.arrival.kind != "before":
            return None
        count = self._work.arrival.count
        bits = self._bits(Use.ARRIVALS, (0,), count)
        start = np.arange(count) * (_BEFORE - 2 * _GOING) // count - _BEFORE
        pick = (bits >> _CHOICE_AT) & _SHARE_MASK
        births = self._expand(
            _Batches(start, self._cpus[_cpu_bits(bits)], pick, 0),
            Span(-_BEFORE, 0, -1, 0, self._spec.phases[0].length, (0,)),
        )
        # Lifetimes count from the beginning of the trace; what is gone has one below 0.
        death = np.where(births.death == NEVER, NEVER, births.death - births.birth)
        return births._replace(death=death)

    def _bits(self, use: Use, key: tuple[int, ...], count: int) -> Bits:
        return random_bits(self._spec.seed, use, (self._number, *key), count)

    # -- when

    def _batches(self, span: Span) -> _Batches:
        kind = self._work.arrival.kind
        if kind == "closed":
            return self._closed(span)
        if kind == "before":
            return _NO_BATCHES
        if kind == "spread":
            return self._spread(span)
        start, bits = self._poisson(span)
        cpu = self._cpus[_cpu_bits(bits)]
        size, gap = self._work.arrival.size, self._work.arrival.gap
        if size == 1:
            return _Batches(start, cpu, (bits >> _CHOICE_AT) & _SHARE_MASK)
        start = np.repeat(start, size) + np.tile(np.arange(size) * gap, len(start))
        pick = self._bits(Use.CHOICES, span.key, len(start)) & _SHARE_MASK
        return _Batches(start, np.repeat(cpu, size), pick)

    def _poisson(self, span: Span) -> tuple[Ints, Bits]:
        """Times at random, and the random number of each."""
        rate = self._work.arrival.rate(span.phase) * self._spec.phases[span.phase].rate
        if not rate:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        mean = _SECOND * self._work.arrival.size / rate
        fine = _FINE if mean < 1 << 30 else 0
        scaled = int(mean * (1 << fine))
        length = (span.end - span.begin) << fine
        likely = length // scaled
        starts: list[Ints] = []
        numbers: list[Bits] = []
        passed = 0
        while passed < length:
            count = likely + 6 * isqrt(likely) + 16
            bits = self._bits(Use.ARRIVALS, (*span.key, len(starts)), count)
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

    def _spread(self, span: Span) -> _Batches:
        """Batches whose times have given quantiles: the n-th of N lies in the n-th part of N."""
        arrival = self._work.arrival
        count = int(arrival.count * self._spec.phases[0].rate)
        values = np.array(arrival.times) + span.cycle
        first, end = (_rank(values, at, count) for at in (span.begin, span.end))
        first, end = max(first - 1, 0), min(end + 2, count)
        number = np.arange(first, max(end, first))
        turn = span.key[0] * count + first
        *_, cpu = self._even(turn, len(number))
        # In units of 2^-16 of a part, then of the stretch between two quantiles.
        place = (number << _PLACE_BITS) + (cpu & _PLACE_MASK).view(np.int64)
        place = place * (len(values) - 1) // max(count, 1)
        at, within = place >> _PLACE_BITS, place & int(_PLACE_MASK)
        start = values[at] + ((values[at + 1] - values[at]) * within >> _PLACE_BITS)
        inside = slice(*np.searchsorted(start, (span.begin, span.end)).tolist())
        pick = self._bits(Use.CHOICES, span.key, len(number)) & _SHARE_MASK
        chosen = self._cpus[(cpu >> np.uint64(64 - CPU_BITS)).view(np.int64)]
        return _Batches(start[inside], chosen[inside], pick[inside], turn + inside.start)

    def _even(self, first: int, count: int) -> list[Bits]:
        return even_bits(self._spec.seed, Use.OBJECTS, (self._number,), first, count)

    def _object_bits(self, batches: _Batches, span: Span, count: int) -> Bits:
        """Random bits of each object: how long it lives, which component, who frees it.

        By chance; but evenly where so many are wanted with such quantiles, so that they have them.
        """
        if batches.first < 0:
            return self._bits(Use.OBJECTS, span.key, count)
        life, component, cpu, _ = self._even(batches.first * len(self._template), count)
        life >>= np.uint64(64 - DRAW_BITS)
        component >>= np.uint64(64 - SHARE_BITS)
        cpu >>= np.uint64(64 - CPU_BITS)
        bits: Bits = life | component << _CHOICE_AT | cpu << _CPU_AT
        return bits

    def _closed(self, span: Span) -> _Batches:
        """Every CPU's batches follow one another from the phase's beginning on."""
        work, arrival = self._work, self._work.arrival
        objects = len(self._template)
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
        return _Batches(starts, cpus, np.zeros(len(starts), np.uint64))

    # -- what, how long, and who frees it

    def _expand(self, batches: _Batches, span: Span) -> Births:
        """The members of batches: a row an object."""
        work = self._work
        if self._picks is None:
            sizes = np.full(len(batches.start), len(self._template))
            entry = np.tile(self._template, len(batches.start))
        else:
            picked = self._picks[batches.pick.view(np.int64)]
            sizes = self._counts[picked]
            entry = np.repeat(picked, sizes)
        if len(entry) == len(batches.start):
            batch, place, start, cpu = None, np.zeros(1, np.int64), batches.start, batches.cpu
        else:
            batch = np.repeat(np.arange(len(sizes)), sizes)
            place = np.arange(len(entry)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            start, cpu = batches.start[batch], batches.cpu[batch]
        birth = start + place * work.step
        bits = self._object_bits(batches, span, len(entry))
        lives = self._lives.draw(entry, bits, (bits >> _CHOICE_AT) & _SHARE_MASK)
        death = birth + np.maximum(lives.time, 1)
        kinds = lives.kind
        if kinds is not None:
            self._with_batch(death, kinds, entry, lives.time, batch, place, start, sizes, span)
            self._with_phase(death, kinds, entry, birth, bits, span)
            death[kinds == FOREVER] = NEVER
            self._with_before(death, kinds, birth, bits)
            self._with_time(death, kinds, entry, birth, bits, batches, span)
        self._wait_for_grace(death, entry)
        free_cpu = self._frees.choose(entry, cpu, _cpu_bits(bits))
        return Births(birth, death, (entry + self._first).astype(np.int32), cpu, free_cpu)

    def _with_batch(  # noqa: PLR0913 - the columns of the rows
        self,
        death: Ints,
        kinds: npt.NDArray[np.uint8],
        entry: Ints,
        hold: Ints,
        batch: Ints | None,
        place: Ints,
        start: Ints,
        sizes: Ints,
        span: Span,
    ) -> None:
        """Deaths of what is freed with its batch: one after the other, in the wanted order."""
        rows = np.flatnonzero(kinds == BATCH)
        if not len(rows):
            return
        number = np.arange(len(death)) if batch is None else batch
        size = sizes[number[rows]]
        rank = np.broadcast_to(place, death.shape)[rows]
        order = self._frees.order[entry[rows]]
        rank = np.where(order == 1, size - 1 - rank, rank)
        shuffled = np.flatnonzero(order == 2)
        if len(shuffled):
            chance = self._bits(Use.ORDER, span.key, len(shuffled)) & np.uint64((1 << 32) - 1)
            of = number[rows[shuffled]]
            turn = np.lexsort((chance, of))
            # Batches are whole and in a row, so the n-th of a batch stays within it.
            rank[shuffled] = _ranks(turn, of)
        held = hold[rows] + self._work.arrival.hold
        death[rows] = (
            start[rows] + size * self._work.step + held + rank * self._frees.step[entry[rows]] + 1
        )

    def _with_phase(  # noqa: PLR0913 - likewise
        self,
        death: Ints,
        kinds: npt.NDArray[np.uint8],
        entry: Ints,
        birth: Ints,
        bits: Bits,
        span: Span,
    ) -> None:
        """Deaths at the phase's end, spread over a while, in the wanted order."""
        rows = np.flatnonzero(kinds == PHASE_END)
        if not len(rows):
            return
        over = self._frees.over[entry[rows]]
        order = self._frees.order[entry[rows]]
        length = span.phase_end - span.phase_begin
        # Where in the phase, and by chance, in units of 2^-16.
        passed = np.clip(birth[rows] - span.phase_begin, 0, length) * (1 << 16) // length
        passed = np.where(order == 1, (1 << 16) - passed, passed)
        chance = ((bits[rows] >> np.uint64(8)) & _SHARE_MASK).view(np.int64)
        passed = np.where(order == 2, chance, passed)
        end = span.phase_end + (over * passed >> 16)
        death[rows] = np.maximum(end, birth[rows] + 1)

    def _with_time(  # noqa: PLR0913 - likewise
        self,
        death: Ints,
        kinds: npt.NDArray[np.uint8],
        entry: Ints,
        birth: Ints,
        bits: Bits,
        batches: _Batches,
        span: Span,
    ) -> None:
        """Deaths at times that were given, by chance or in the order of births."""
        rows = np.flatnonzero(kinds == UNTIL)
        if not len(rows):
            return
        bits = bits[rows]
        order = self._frees.order[entry[rows]]
        if batches.first >= 0 and np.any(order < 2):
            # The part of all that was born before, in as many bits as a draw takes.
            each = len(self._template)
            count = max(int(self._work.arrival.count * self._spec.phases[0].rate) * each, 1)
            number = (batches.first * each + rows) % count
            rank = (number << DRAW_BITS) // count
            rank = np.where(order == 1, (1 << DRAW_BITS) - 1 - rank, rank).view(np.uint64)
            others = bits >> _CHOICE_AT << _CHOICE_AT
            bits = np.where(order < 2, others | rank, bits)
        chance = (bits >> _CHOICE_AT) & _SHARE_MASK
        time = self._lives.draw(entry[rows], bits, chance).time
        death[rows] = np.maximum(span.cycle + time, birth[rows] + 1)

    @staticmethod
    def _with_before(death: Ints, kinds: npt.NDArray[np.uint8], birth: Ints, bits: Bits) -> None:
        """Deaths right before the trace begins, in an order by chance."""
        rows = np.flatnonzero(kinds == GONE)
        chance = ((bits[rows] >> np.uint64(8)) & _SHARE_MASK).view(np.int64)
        death[rows] = birth[rows] - _GOING + chance * (_GOING >> SHARE_BITS)

    def _wait_for_grace(self, death: Ints, entry: Ints) -> None:
        """Frees after a grace period: all of one come together, 64 times as dense."""
        if not self._frees.grace.any():
            return
        grace = self._frees.grace[entry]
        rows = np.flatnonzero((grace > 0) & (death != NEVER))
        period = grace[rows]
        passed = death[rows] % period
        death[rows] += period - passed + (passed >> 6)


def _rank(values: Ints, time: int, count: int) -> int:
    """How many of ``count``, spread by quantiles, come before a time: the least it can be."""
    at = int(np.searchsorted(values, time))
    if at == 0:
        return 0
    if at == len(values):
        return count
    low, high = int(values[at - 1]), int(values[at])
    span = max(high - low, 1)
    return ((at - 1) * span + time - low) * count // ((len(values) - 1) * span)


def _cpu_bits(bits: Bits) -> Ints:
    return ((bits >> _CPU_AT) & _CPU_MASK).view(np.int64)


def _ranks(turn: Ints, of: Ints) -> Ints:
    """Rank of each row within its group, where ``turn`` sorts by group and chance."""
    place = np.empty(len(turn), np.int64)
    place[turn] = np.arange(len(turn))
    first = np.searchsorted(of, of)
    return place - first
