"""A window of a cache that kfree_rcu or prefilled sheaves use, a step for each barrier.

Which events ask for a prefilled sheaf or give it back, begin or fill a sheaf for kfree_rcu, and
before which events such a sheaf's grace period is over, is known beforehand: it depends on no sheaf
but the event's own. Only where a CPU's main sheaf is empty or full depends on what it was replaced
by last; from there to the next such event is a search in a running sum. So a loop takes the
barriers in order of time and knows sheaves by their sizes (``Steps``); from one barrier of a sheaf
to its next, its events touch one cell after the other.

Then every object taken is the last one put into its cell before: by a free, by a refill, or before
the window. Chains of these are followed for all events at once (``reuse``), refills and flushes
done in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.object_chains import follow
from allocsim.slub.paths import Path
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.main_sheaves import (
    BEFORE,
    BEHIND,
    LAND,
    MOMENTS,
    NO_CELL,
    TOUCH,
    MainSheaves,
    first_of_each,
)
from allocsim.tables import stable_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.slub.sheaves.cache import CacheEvents
    from allocsim.slub.sheaves.plan import Sheaf
    from allocsim.slub.sheaves.stepwise import Steps
    from allocsim.tables import Bools, Index

_PREFILL, _TOP_UP, _GIVE_BACK, _RCU_SHEAF, _DETACH, _CALLBACKS = range(6)

# What is done with slabs and sheaves in its turn.
_REFILL, _FLUSH, _SLOW, NOTE = range(4)

_PATHS = {
    Op.ALLOC: Path.MAIN_HIT,
    Op.FREE: Path.MAIN_PUSH,
    Op.FROM_SHEAF: Path.FROM_SHEAF,
    Op.FREE_RCU: Path.RCU_FREE,
}


class _Uses:
    """Events on sheaves beside main and spare, sheaf by sheaf, cut into stretches.

    Args:
        row: the events.
        begins: where a stretch begins.
        way: +1 they put objects, -1 they take them.
    """

    def __init__(self, row: Index, begins: Bools, way: int) -> None:
        self.row, self.way = row, way
        self.start = np.flatnonzero(begins)
        self.stretch = np.cumsum(begins) - 1
        self.rank = np.arange(len(row)) - self.start[self.stretch]
        self.length = np.diff(self.start, append=len(row)).tolist()
        #: First cell of each stretch's sheaf, and the objects in it before.
        self.first, self.size = [0] * len(self.start), [0] * len(self.start)

    def begin(self, stretch: int, sheaf: Sheaf) -> None:
        """A stretch goes to a sheaf, which is left as it is behind the stretch."""
        self.first[stretch], self.size[stretch] = sheaf.cell, sheaf.size
        sheaf.size += self.way * self.length[stretch]

    def cells(self) -> Index:
        """The cell of each event."""
        first, size = np.array(self.first, np.int64), np.array(self.size, np.int64)
        place = size[self.stretch] + self.way * self.rank - (self.way < 0)
        cells: Index = first[self.stretch] + place
        return cells


class Stretches:
    """A window of one cache.

    Args:
        steps: the sheaves, which are carried on; what they hold is known again behind ``replay``.
        events: the window; objects and paths are filled in.
    """

    def __init__(self, steps: Steps, events: CacheEvents) -> None:
        self.steps, self.events = steps, events
        self.capacity = steps.cache.shape.capacity
        none = np.zeros(len(events.op), np.int64)
        self._ts = none if events.ts is None else events.ts
        self._run = none if events.run is None else events.run
        self._left = none if events.left is None else events.left
        self._span = MOMENTS * (len(events.op) + 2)
        self._cpus = events.cpu.tolist()
        self._moment = 0
        self._sheaves = 0
        self._slots = 0
        self._out = 0  # objects flushed
        #: What is to be done with the slabs, and how: whole numbers, which hold up no collector.
        self._later: list[int] = []
        self._how: list[tuple[int, ...]] = []
        #: Slots of the table that refills fill: first and count.
        self._brought: list[tuple[int, int]] = []
        #: Refills and flushes: moment, first cell, cells.
        self._refills: list[tuple[int, int, int]] = []
        self._flushes: list[tuple[int, int, int]] = []
        self._cell = np.full(len(events.op), NO_CELL, np.int64)
        self._table: list[int] = []
        self._flushed: list[int] = []  # places in the table
        self._slow: list[int] = []
        self._own_slot: list[int] = []
        before = steps.sheaves()
        for sheaf in before:
            self.adopt(sheaf)
        #: Cells that hold an object before the window, and the objects.
        self._held_cell = _cells([(sheaf.cell, sheaf.size) for sheaf in before])
        self._held = [found for sheaf in before for found in sheaf.objects]

    # --- what Steps tells

    def adopt(self, sheaf: Sheaf) -> None:
        """Give a sheaf its cells."""
        sheaf.cell = self._sheaves * self.capacity
        self._sheaves += 1

    def later(self, what: int, *how: int) -> None:
        """Have something done in its turn between refills and flushes."""
        self._later.append(what)
        self._how.append(how)

    def refill(self, sheaf: Sheaf, want: int) -> None:
        """A sheaf is filled up by so many objects."""
        self.later(_REFILL, self.steps.time, self._slots, want)
        self._refills.append((self._moment, sheaf.cell + sheaf.size, want))
        self._brought.append((self._slots, want))
        self._slots += want

    def flush(self, sheaf: Sheaf, callback: int) -> None:
        """A sheaf's objects go back to their slabs; ``callback`` as in Steps."""
        self.later(_FLUSH, self.steps.time, self._out, sheaf.size, callback)
        self._flushes.append((self._moment, sheaf.cell, sheaf.size))
        self._out += sheaf.size

    # --- the window

    def replay(self) -> None:
        """Replay the window."""
        events, stat = self.events, self.steps.cache.stat
        for op, path in _PATHS.items():
            events.path[events.op == op] = path
        stat["free_rcu_sheaf"] += int(np.count_nonzero(events.op == Op.FREE_RCU))
        stat["free_fastpath"] += int(np.count_nonzero(events.op == Op.FREE))
        self._barriers()
        allocs = int(np.count_nonzero(events.op == Op.ALLOC))
        stat["alloc_fastpath"] += allocs - len(self._slow)
        self._objects()

    def _barriers(self) -> None:
        """Go through all barriers in order of time, and give every event its cell."""
        events = self.events
        known: list[tuple[Index, int, Index]] = []  # moments, what, which
        self._from_sheaves = self._runs(known)
        self._rcu_frees = self._rcu(known)
        moment = np.concatenate([moments for moments, _, _ in known])
        what = np.repeat([kind for _, kind, _ in known], [len(each) for each, _, _ in known])
        which = np.concatenate([numbers for _, _, numbers in known])
        order = np.argsort(moment)
        steps, cpus, lanes = self.steps, self._cpus, MainSheaves(self, events)
        barriers = (
            self._prefill,
            self._top_up,
            self._give_back,
            self._rcu_sheaf,
            self._detach,
            self._callbacks,
        )
        for at, kind, number in zip(
            moment[order].tolist(), what[order].tolist(), which[order].tolist(), strict=True
        ):
            if lanes.next and lanes.next[0][0] < at:
                lanes.go_on(at)
            self._moment = at
            steps.time = at // MOMENTS
            steps.cpu = cpus[steps.time]
            barriers[kind](number)
        lanes.go_on(self._span)
        for each in (lanes, self._from_sheaves, self._rcu_frees):
            self._cell[each.row] = each.cells()

    def at(self, moment: int) -> None:
        """Let it be a moment of an event."""
        self._moment = moment
        event = moment // MOMENTS
        self.steps.time, self.steps.cpu = event, self._cpus[event]

    # Barriers known beforehand; ``stretch`` begins there.

    def _prefill(self, stretch: int) -> None:
        steps = self.steps
        sheaf = steps.prefill(steps.cpu, self._wanted[stretch])
        if sheaf is not None:
            steps.held[self._run_of[stretch]] = sheaf
            self._from_sheaves.begin(stretch, sheaf)

    def _top_up(self, stretch: int) -> None:
        sheaf = self.steps.held[self._run_of[stretch]]
        self.steps.refill(sheaf)
        self._from_sheaves.begin(stretch, sheaf)

    def _give_back(self, run: int) -> None:
        self.steps.give_back(self.steps.cpu, self.steps.held.pop(run))

    def _rcu_sheaf(self, stretch: int) -> None:
        sheaf = self.steps.rcu_sheaf(self.steps.cpu)
        if sheaf is not None:
            self._rcu_frees.begin(stretch, sheaf)

    def _detach(self, ts: int) -> None:
        self.steps.detach(self.steps.cpu, ts)

    def _callbacks(self, ts: int) -> None:
        self.steps.land(ts)

    def _runs(self, known: list[tuple[Index, int, Index]]) -> _Uses:
        """Allocations out of prefilled sheaves, and their barriers."""
        events, held, capacity = self.events, self.steps.held, self.capacity
        row = np.flatnonzero(events.op == Op.FROM_SHEAF)
        row = row[stable_order(self._run[row])]
        run, left = self._run[row], self._left[row]
        first = first_of_each(run)
        start = np.flatnonzero(first)
        group = np.cumsum(first) - 1
        # A sheaf has what is to come out of it or is full: it runs out only when it was full.
        carried = [held[each].size if each in held else -1 for each in run[start].tolist()]
        had = np.array(carried, np.int64)[group]
        used = np.arange(len(row)) - start[group] - np.where(had >= 0, had, capacity)
        tops_up = (used >= 0) & (used % capacity == 0)
        uses = _Uses(row, first | tops_up, -1)
        begins = row[uses.start]
        new, again = (had < 0)[uses.start] & first[uses.start], tops_up[uses.start]
        known.append(_barriers(begins, BEFORE, _PREFILL, np.flatnonzero(new)))
        known.append(_barriers(begins, BEFORE, _TOP_UP, np.flatnonzero(again)))
        last = row[left <= 1]
        known.append((last * MOMENTS + BEHIND, _GIVE_BACK, self._run[last]))
        self._run_of = run[uses.start].tolist()
        self._wanted = np.minimum(left[uses.start], capacity).tolist()
        for stretch in np.flatnonzero(~new & ~again).tolist():
            uses.begin(stretch, held[self._run_of[stretch]])
        return uses

    def _rcu(self, known: list[tuple[Index, int, Index]]) -> _Uses:
        """What kfree_rcu frees, and its barriers."""
        events, steps, capacity = self.events, self.steps, self.capacity
        row = np.flatnonzero(events.op == Op.FREE_RCU)
        row = row[stable_order(events.cpu[row])]
        cpu = events.cpu[row]
        first = first_of_each(cpu)
        start = np.flatnonzero(first)
        sizes = np.array([0 if sheaf is None else sheaf.size for sheaf in steps.rcu_free])
        had = np.arange(len(row)) - start[np.cumsum(first) - 1] + sizes[cpu]
        takes, fills = had % capacity == 0, had % capacity == capacity - 1
        uses = _Uses(row, first | takes, +1)
        new = takes[uses.start]
        known.append(_barriers(row[uses.start], BEFORE, _RCU_SHEAF, np.flatnonzero(new)))
        full = np.sort(row[fills])
        known.append((full * MOMENTS + BEHIND, _DETACH, self._ts[full]))
        for stretch in np.flatnonzero(~new).tolist():
            sheaf = steps.rcu_free[cpu[uses.start[stretch]]]
            if sheaf is not None:
                uses.begin(stretch, sheaf)
        due = np.array([due for due, _, _ in steps.waiting], np.int64)
        over = np.searchsorted(self._ts, self._ts[full] + steps.cache.grace_ns)
        over = np.concatenate((np.searchsorted(self._ts, due), np.maximum(over, full + 1)))
        at = np.unique(over[over < len(events.op)])
        known.append((at * MOMENTS + LAND, _CALLBACKS, self._ts[at]))
        return uses

    # --- objects

    def _objects(self) -> None:
        """Find every object, and do refills and flushes in their order."""
        events, cell, count = self.events, self._cell, len(self.events.op)
        carried = np.flatnonzero((events.op < 0) & (events.parent < 0))
        ends = self._slots + len(self._held)
        self._table = [0] * self._slots + self._held + events.objects[carried].tolist()
        refill_moment, refill_cell = _spread(self._refills)
        frees, allocs = np.flatnonzero(events.op < 0), np.flatnonzero((events.op > 0) & (cell >= 0))
        put_cell = np.concatenate((self._held_cell, refill_cell, cell[frees]))
        put_moment = np.concatenate(
            (np.full(len(self._held), -1), refill_moment, frees * MOMENTS + TOUCH)
        )
        put = np.concatenate(
            (
                count + self._slots + np.arange(len(self._held)),
                count + _cells(self._brought),
                frees,
            )
        )
        key = put_cell * self._span + put_moment + 1
        order = np.argsort(key)
        key, put = key[order], put[order]

        def last_put(cells: Index, moment: Index) -> Index:
            return put[np.searchsorted(key, cells * self._span + moment + 1) - 1]

        source = events.parent.astype(np.int64)
        source[carried] = count + ends + np.arange(len(carried))
        source[allocs] = last_put(cell[allocs], allocs * MOMENTS + TOUCH)
        source[self._slow] = count + np.array(self._own_slot, np.int64)
        follow(source, events.op)
        flush_moment, flush_cell = _spread(self._flushes)
        after = self.steps.sheaves()
        end_cell = _cells([(sheaf.cell, sheaf.size) for sheaf in after])
        taken = last_put(
            np.concatenate((flush_cell, end_cell)),
            np.concatenate((flush_moment, np.full(len(end_cell), self._span - 2))),
        )
        inside = taken < count
        taken[inside] = source[taken[inside]]
        taken -= count
        self._flushed = taken[: len(flush_cell)].tolist()
        turns = (self._refill, self._flush, self._take_one, self.steps.note)
        for what, how in zip(self._later, self._how, strict=True):
            turns[what](*how)
        table = np.array(self._table, np.int64)
        events.objects[:] = table[source - count]
        held, first = table[taken[len(flush_cell) :]].tolist(), 0
        for sheaf in after:
            sheaf.objects = held[first : first + sheaf.size]
            first += sheaf.size

    def _refill(self, event: int, slot: int, want: int) -> None:
        cache, path = self.steps.cache, self.events.path
        got, new = cache.slabs.refill(want, event, self.steps.max_order)
        self._table[slot : slot + want] = got
        if new and path[event] == Path.REFILL_PARTIAL:
            path[event] = Path.REFILL_NEW

    def _flush(self, event: int, first: int, size: int, callback: int) -> None:
        table = self._table
        objects = [table[place] for place in self._flushed[first : first + size]]
        self.steps.flush_objects(objects, event, callback)

    def slow(self, event: int) -> None:
        """An allocation goes past the sheaves."""
        self._slow.append(event)
        self._own_slot.append(self._slots)
        self.later(_SLOW, event, self._slots)
        self._slots += 1

    def _take_one(self, event: int, slot: int) -> None:
        steps = self.steps
        self._table[slot], self.events.path[event] = steps.cache.slow_alloc(event, steps.max_order)


def _barriers(begins: Index, moment: int, what: int, which: Index) -> tuple[Index, int, Index]:
    """Barriers at a moment of the events at which some stretches begin."""
    return begins[which] * MOMENTS + moment, what, which


def _cells(sheaves: Sequence[tuple[int, int]]) -> Index:
    """The cells from the first of each on, as many as it has."""
    first, count = np.array(sheaves, np.int64).reshape(-1, 2).T
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within


def _spread(batches: Sequence[tuple[int, int, int]]) -> tuple[Index, Index]:
    """Moment and cell of each object of refills or flushes."""
    moment = np.array([moment for moment, _, _ in batches], np.int64)
    count = [count for _, _, count in batches]
    return np.repeat(moment, count), _cells([(first, count) for _, first, count in batches])
