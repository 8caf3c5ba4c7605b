"""What a work allocates in a window of time: born when and where, and freed when and where.

Rows are made window by window, each window's from random bits of its own, so that what a window
holds depends on nothing before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.synth.arrivals import (
    BEFORE,
    CHOICE_AT,
    CPU_AT,
    GOING,
    SHARE_MASK,
    Arrivals,
    PhaseSpan,
)
from pipeline.synth.mixtures import (
    BATCH,
    FOREVER,
    GONE,
    PHASE_END,
    SHARE_BITS,
    UNTIL,
    UNUSED,
    FreeTables,
    LifeTables,
    free_bits,
)
from pipeline.synth.random_bits import BitsUse, choices
from pipeline.synth.spec.model import sheaves
from pipeline.synth.tables import DRAW_BITS

if TYPE_CHECKING:
    from allocsim.tables import I2, I4, I8, U1, U8
    from pipeline.synth.arrivals import Batches
    from pipeline.synth.mixtures import Drawn
    from pipeline.synth.random_bits import Strata
    from pipeline.synth.spec.model import Spec, Work


NEVER = 1 << 62  #: time of death of what outlives the trace


class Births(NamedTuple):
    """Objects and pages, in no order; arrays of one length.

    Args:
        birth: when it is allocated, ns (i8).
        death: when it is freed, ns, behind ``birth``; NEVER: not in the trace (i8).
        entry: number of the spec's line, counted through all works (i4).
        cpu: CPU that allocates (i2).
        free_cpu: CPU that frees (i2).
    """

    birth: I8
    death: I8
    entry: I4
    cpu: I2
    free_cpu: I2


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
        self._first = first_entry
        counts = [entry.count for entry in work.entries]
        self._counts = np.array(counts)
        self._template = np.repeat(np.arange(len(counts)), counts)
        self._arrivals = Arrivals(spec, number, len(self._template))
        self._picks = (
            choices(tuple(entry.weight for entry in work.entries), SHARE_BITS)
            if work.pick == "one"
            else None
        )
        self._lives = LifeTables(work.entries)
        self._frees = FreeTables(work.entries, spec.cpus, spec.roles)
        # What comes out of one prefilled sheaf does so at one time.
        self._prefilled = np.array([entry.prefilled for entry in work.entries], np.bool_)
        self._strata: Strata | None = None
        self._alone = sum(weight > 0 for weight in work.cpus) == 1
        self._first_place = _first_places(work)

    def window(self, span: PhaseSpan) -> Births | None:
        """What is allocated by the batches that begin in a window; None: nothing ever is then."""
        if span.phase not in self._work.phases:
            return None
        batches = self._arrivals.batches(span)
        if not len(batches.start):
            return None
        return self._expand(batches, span)

    def before(self) -> Births | None:
        """What is allocated before the trace begins."""
        if self._work.arrival.kind != "before":
            return None
        births = self._expand(
            self._arrivals.before(),
            PhaseSpan(-BEFORE, 0, -1, 0, self._spec.phases[0].length, (0,)),
        )
        # Lifetimes count from the beginning of the trace; what is gone has one below 0.
        death = np.where(births.death == NEVER, NEVER, births.death - births.birth)
        # One after the other, batch after batch.
        birth = np.arange(len(death)) * (BEFORE - 2 * GOING) // len(death) - BEFORE
        return births._replace(birth=birth, death=death)

    def _lives_of(self, entry: I8, batches: Batches, span: PhaseSpan) -> tuple[Drawn, U8]:
        """How long each object lives, and its random bits: a draw, and who frees it.

        By chance; but in equal slices where so many are wanted with such quantiles, so that they
        have them.
        """
        if batches.first < 0:
            bits = self._arrivals.bits(BitsUse.OBJECTS, span.key, len(entry))
            return self._lives.draw(entry, bits, (bits >> CHOICE_AT) & SHARE_MASK), bits
        each = len(self._template)
        if self._strata is None:
            self._strata = self._arrivals.strata(BitsUse.OBJECTS, self._arrivals.count * each)
        first = batches.first * each
        place = self._strata.places(0, first, len(entry))
        if self._alone:
            # Objects go from CPU to CPU all the time, not by chance in one direction for a while.
            cpu = self._strata.places(1, first, len(entry), steps=True)
        else:
            # Dimension 1 says which CPU allocates: who frees must not follow from that.
            cpu = self._strata.places(2, first, len(entry))
        lives, bits = self._lives.draw_at(entry, place)
        # Where a choice of components was, there is nothing; above it the numbers of who frees.
        bits |= free_bits(cpu) << CPU_AT
        return lives, bits

    # -- what, how long, and who frees it

    def _expand(self, batches: Batches, span: PhaseSpan) -> Births:
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
        if self._prefilled.any():
            place = np.where(self._prefilled[entry], self._first_place[entry], place)
        birth = start + place * work.step
        lives, bits = self._lives_of(entry, batches, span)
        death = birth + np.maximum(lives.time, 1)
        kinds = lives.kind
        if kinds is not None:
            self._with_batch(death, kinds, entry, lives.time, batch, place, start, sizes, span)
            self._with_phase(death, kinds, entry, birth, bits, span)
            death[kinds == FOREVER] = NEVER
            self._with_before(death, kinds, birth, bits)
            self._with_time(death, lives, entry, birth, batches, span)
        self._wait_for_grace(death, entry)
        free_cpu = self._frees.choose(entry, cpu, bits >> CPU_AT)
        return Births(birth, death, (entry + self._first).astype(np.int32), cpu, free_cpu)

    def _with_batch(  # noqa: PLR0913 - the columns of the rows
        self,
        death: I8,
        kinds: U1,
        entry: I8,
        hold: I8,
        batch: I8 | None,
        place: I8,
        start: I8,
        sizes: I8,
        span: PhaseSpan,
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
            chance = self._arrivals.bits(BitsUse.ORDER, span.key, len(shuffled)) & np.uint64(
                (1 << 32) - 1
            )
            of = number[rows[shuffled]]
            turn = np.lexsort((chance, of))
            # Batches are whole and in a row, so the n-th of a batch stays within it.
            rank[shuffled] = _ranks(turn, of)
        held = hold[rows] + self._work.arrival.hold
        death[rows] = (
            start[rows] + size * self._work.step + held + rank * self._frees.step[entry[rows]] + 1
        )

    def _with_phase(  # noqa: PLR0913 - likewise
        self, death: I8, kinds: U1, entry: I8, birth: I8, bits: U8, span: PhaseSpan
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
        chance = ((bits[rows] >> np.uint64(8)) & SHARE_MASK).view(np.int64)
        passed = np.where(order == 2, chance, passed)
        end = span.phase_end + (over * passed >> 16)
        death[rows] = np.maximum(end, birth[rows] + 1)

    def _with_time(  # noqa: PLR0913 - likewise
        self, death: I8, lives: Drawn, entry: I8, birth: I8, batches: Batches, span: PhaseSpan
    ) -> None:
        """Deaths at times that were given, by chance or in the order of births."""
        rows = np.flatnonzero(lives.kind == UNTIL)
        if not len(rows):
            return
        time = lives.time[rows]
        order = self._frees.order[entry[rows]]
        if batches.first >= 0 and np.any(order < 2):
            # The part of all that was born before, in as many bits as a draw takes.
            each = len(self._template)
            count = self._arrivals.count * each
            number = (batches.first * each + rows) % count
            rank = ((2 * number + 1) << DRAW_BITS) // (2 * count)
            rank = np.where(order == 1, (1 << DRAW_BITS) - 1 - rank, rank)
            again = self._lives.again(lives.at[rows], rank.astype(np.uint64))
            time = np.where(order < 2, again, time)
        death[rows] = np.maximum(span.cycle + time, birth[rows] + 1)

    @staticmethod
    def _with_before(death: I8, kinds: U1, birth: I8, bits: U8) -> None:
        """Deaths right before the trace begins, in an order by chance."""
        rows = np.flatnonzero(kinds == GONE)
        chance = ((bits[rows] >> np.uint64(8)) & SHARE_MASK).view(np.int64)
        death[rows] = birth[rows] - GOING + chance * (GOING >> SHARE_BITS)
        rows = np.flatnonzero(kinds == UNUSED)
        death[rows] = birth[rows] - GOING - 1

    def _wait_for_grace(self, death: I8, entry: I8) -> None:
        """Frees after a grace period: all of one come together, 64 times as dense."""
        if not self._frees.grace.any():
            return
        grace = self._frees.grace[entry]
        rows = np.flatnonzero((grace > 0) & (death != NEVER))
        period = grace[rows]
        passed = death[rows] % period
        death[rows] += period - passed + (passed >> 6)


def _first_places(work: Work) -> I8:
    """Place in a batch of each line's first, and of those that share its prefilled sheaf (i8)."""
    places: list[int] = []
    passed = 0
    for lines in sheaves(work.entries, work.pick):
        places += [passed] * len(lines)
        passed += sum(entry.count for entry in lines) * (work.pick == "all")
    return np.array(places, np.int64)


def _ranks(turn: I8, of: I8) -> I8:
    """Rank of each row within its group, where ``turn`` sorts by group and chance."""
    place = np.empty(len(turn), np.int64)
    place[turn] = np.arange(len(turn))
    first = np.searchsorted(of, of)
    return place - first
