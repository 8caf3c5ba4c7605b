"""Which object an allocation gets: the one the matching free put there, and so on back in time.

A cell of a sheaf is a place for one object. In the events of a cell, in time order, an
allocation takes what the event before it put there, unless the sheaf was refilled or came into
the window full. The object a free puts back is that of its allocation, which took the object of an
earlier free, ...: a chain that ends at a refill, at what a sheaf held when the window began, or at
an object that was allocated before it. ``ObjectChains`` follows all chains at once by pointer
jumping; no object need be known yet, so refills and flushes can be worked out afterwards, in order.

A source is a number: 0 to n - 1 an event of the window, from n on an end of a chain, namely refill
x capacity + position, then the cells held at the start, then frees of objects allocated before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import stable_order

if TYPE_CHECKING:
    from allocsim.slub.sheaves.plan import Plan
    from allocsim.tables import I1, I8


class ObjectChains:
    """Sources of every object that events, flushes and the cells at the end hold.

    Args:
        plan: what the window does to the sheaves.
        op: +1 allocation, -1 free.
        parent: for a free, the event that allocated its object, -1 if that was before the window.

    Attributes:
        source: the end of each event's chain, counted from 0 (i8).
        flushed: the same for the objects of each flush, in sheaf order (flushes x capacity).
        carried: frees whose object was allocated before the window.
    """

    def __init__(self, plan: Plan, op: I1, parent: I8) -> None:
        events = len(op)
        cells = plan.after.count * plan.after.capacity
        self.slots = len(plan.refills) * plan.after.capacity
        self._op = op
        self._order = stable_order(plan.cell)
        self._cell = plan.cell.take(self._order)
        self._refill_time = np.array([time for time, _, _ in plan.refills], np.int64)
        self._refill_sheaf = np.array([sheaf for _, sheaf, _ in plan.refills], np.int64)
        self._first = np.empty(events, np.bool_)  # of the events of a cell
        self._first[0] = True
        np.not_equal(self._cell[1:], self._cell[:-1], out=self._first[1:])

        source = parent.copy()
        self._take_before(plan, source)
        self._take_refills(plan, source)
        self.carried = np.flatnonzero((op < 0) & (parent < 0))
        source[self.carried] = events + self.slots + cells + np.arange(len(self.carried))
        flushed = self._held_at_flush(plan, events)
        follow(source, op)
        inside = flushed < events
        flushed[inside] = source[flushed[inside]]
        self.flushed = flushed - events
        source -= events
        self.source = source

    def _take_before(self, plan: Plan, source: I8) -> None:
        """Allocations take what the event before them in their cell put there.

        Where that is none or an allocation, the sheaf came with an object: it is that of the last
        refill before, or what the sheaf held when the window began.
        """
        capacity, events = plan.after.capacity, len(source)
        takes = self._op.take(self._order) > 0
        place = np.flatnonzero(takes)
        source[self._order.take(place)] = self._order.take(place - 1, mode="wrap")
        orphan = self._first & takes
        orphan[1:] |= takes[1:] & takes[:-1]
        place = np.flatnonzero(orphan)
        event, cell = self._order[place], self._cell[place]
        held = events + self.slots + cell
        if plan.refills:
            sheaf = cell // capacity
            fill = self._refill_sheaf * events + self._refill_time
            by_sheaf = np.argsort(fill)
            last = np.searchsorted(fill[by_sheaf], sheaf * events + event, side="right") - 1
            refill = by_sheaf[last]
            filled = (last >= 0) & (self._refill_sheaf[refill] == sheaf)
            slot = events + refill * capacity + (cell - sheaf * capacity)
            held = np.where(filled, slot, held)
        source[event] = held

    def _find(self, time: I8, sheaf: I8, capacity: int) -> tuple[I8, I8]:
        """In every cell of a sheaf, the place of its first event from ``time`` on; and the cell."""
        events = np.int64(len(self._op))
        cell = sheaf[:, None] * capacity + np.arange(capacity)
        place = np.searchsorted(self._cell * events + self._order, cell * events + time[:, None])
        return place, cell

    def _take_refills(self, plan: Plan, source: I8) -> None:
        """Allocations from a sheaf flushed and then refilled take what the refill brought.

        A flush empties cells without an event of theirs, so the free before is not what they hold.
        """
        again = np.flatnonzero([refilled for _, _, refilled in plan.refills])
        if not len(again):
            return
        capacity, events = plan.after.capacity, len(source)
        time = self._refill_time[again]
        place, cell = self._find(time, self._refill_sheaf[again], capacity)
        place = np.minimum(place, events - 1)
        taker = self._order[place]
        takes = (self._cell[place] == cell) & (self._op[taker] > 0)
        takes &= taker >= time[:, None]
        slot = events + again[:, None] * capacity + np.arange(capacity)
        # A sheaf flushed before all its cells were touched leaves its refill an event that
        # belongs to a later refill; that one stands later here and wins.
        source[taker[takes]] = slot[takes]

    def _held_at_flush(self, plan: Plan, events: int) -> I8:
        """Sources of the objects in every sheaf that is flushed, not followed yet."""
        capacity = plan.after.capacity
        if not plan.flushes:
            return np.empty((0, capacity), np.int64)
        time, sheaf, refilled = (np.array(column) for column in zip(*plan.flushes, strict=True))
        place, cell = self._find(time, sheaf, capacity)
        place -= 1
        last = self._order[place]
        pushed = (place >= 0) & (self._cell[place] == cell) & (self._op[last] < 0)
        slot = refilled[:, None] * capacity + np.arange(capacity)
        held = events + np.where(refilled[:, None] >= 0, slot, self.slots + cell)
        if plan.refills:
            since = np.where(refilled >= 0, self._refill_time[refilled], -1)
            pushed &= last > since[:, None]
        return np.where(pushed, last, held)

    def held_at_end(self, plan: Plan) -> tuple[I8, I8]:
        """Cells whose content the window changed, and the source of what is in them now.

        Cells above a sheaf's size hold no object; their source means nothing.
        """
        capacity = plan.after.capacity
        last = np.append(np.flatnonzero(self._first[1:]), len(self._first) - 1)
        cell, event = self._cell[last], self._order[last]
        since = np.full(plan.after.count, -1)
        refilled = np.array(list(plan.last_refill), np.int64)
        refills = np.array(list(plan.last_refill.values()), np.int64)
        since[refilled] = self._refill_time[refills]
        pushed = (self._op[event] < 0) & (event > since[cell // capacity])
        position = np.arange(capacity)
        slots = (refills[:, None] * capacity + position).ravel()
        slot_cells = (refilled[:, None] * capacity + position).ravel()
        # Pushes stand behind the refills: where both name a cell, they are the later ones.
        return (
            np.concatenate((slot_cells, cell[pushed])),
            np.concatenate((slots, self.source[event[pushed]])),
        )


def follow(source: I8, op: I1) -> None:
    """Replace every source by the end of its chain, in place; chains lead back in time.

    The source of an allocation is a free or an end, that of a free an allocation or an end. So
    chains are shortened to allocations first, doubled until they end, and given to the frees.
    """
    events = len(source)
    active = np.flatnonzero((op > 0) & (source < events))
    reached = source.take(source.take(active))
    while len(active):
        source[active] = reached
        going_on = np.flatnonzero(reached < events)
        active = active.take(going_on)
        reached = source.take(reached.take(going_on))
    freed = np.flatnonzero(source < events)
    source[freed] = source.take(source.take(freed))
