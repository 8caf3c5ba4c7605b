"""A window of one cache's sheaves, planned: main and spare of every CPU, and the barn (7.2).

``plan`` says which sheaf and cell every event of a window touches, and when sheaves are refilled or
flushed, without knowing a single object: that needs only the directions of the events (pcs_stack).
Where the barn comes in, a loop walks the barn's life, a step for each such event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.slub.paths import AllocPath
from allocsim.slub.sheaves.pcs_stack import walk
from allocsim.slub.sheaves.state import NO_SHEAF

if TYPE_CHECKING:
    from allocsim.slub.sheaves.pcs_stack import StackWalk
    from allocsim.slub.sheaves.state import Sheaves
    from allocsim.tables import Bools, Int8, Int64, Ints, UInt8

#: A sheaf refilled or flushed: the event that did it, the sheaf, and what had become of it before
#: in this window. Of a flush, the refill that had filled it, as a place in the plan's refills (-1:
#: none); of a refill, 1 if it had been flushed.
Batch = tuple[int, int, int]

_GOT, _REFILLED = int(AllocPath.BARN_GET), int(AllocPath.REFILL_PARTIAL)
_SWAPPED, _FLUSHED = int(AllocPath.SPARE_SWAP), int(AllocPath.FLUSH)
_INSTALLED, _PUT = int(AllocPath.INSTALL_EMPTY), int(AllocPath.BARN_PUT)


@dataclass(slots=True)
class Plan:
    """What a window does to the sheaves of one cache.

    Args:
        after: the sheaves behind the window.
        cell: sheaf x capacity + position each event touches, in time order.
        special: events not served by the main sheaf as it stood (i8), ascending within a stack.
        path: Path of each of those (u1); a refill stands as REFILL_PARTIAL.
        refills: sheaves refilled, in time order; every one is for the event at its time.
        flushes: sheaves flushed, in time order.
        last_refill: sheaf -> its last refill in this window.
        stat: the kernel's counters, those of the sheaves.
        made: sheaves allocated, in time order: event and sheaf.
    """

    after: Sheaves
    cell: Int64
    special: Int64
    path: UInt8
    refills: list[Batch]
    flushes: list[Batch]
    last_refill: dict[int, int]
    stat: Counter[str]
    made: list[tuple[int, int]]


class _MainRuns(NamedTuple):
    """Runs of events of a pcs stack on one main sheaf. The first of a stack always begins one.

    ``up``: its first event is a free; ``turned``: it began by swapping main and spare; ``barn``: it
    began by asking the barn, or by a swap if the stack has come by a spare; ``anchor``: the last
    run of the stack not ``turned``; ``odd``: swaps since are odd; ``spare``: the spare is full
    (1), empty or missing (-1), or missing as it came (0).
    """

    start: Int64
    stack: Int64
    up: Bools
    turned: Bools
    barn: Bools
    anchor: Int64
    odd: Bools
    spare: Int8


def _main_runs(walked: StackWalk, op: Int8, before: Sheaves) -> _MainRuns:
    starts, entered = walked.starts, walked.entered
    begins = entered.copy()
    begins[starts] = True
    start = np.flatnonzero(begins)
    first = np.zeros(len(start), np.bool_)
    first[np.searchsorted(start, starts)] = True
    stack = walked.stacks[np.cumsum(first) - 1]
    enters = entered[start]
    up = op[walked.order[start]] < 0
    # The spare: 1 full, -1 empty, 0 none.
    none = np.array(before.spare) == NO_SHEAF
    carried = np.where(none, 0, np.where(before.spare_full, 1, -1)).astype(np.int8)[stack]
    spare = np.where(enters, np.where(up, 1, -1), carried).astype(np.int8)
    was = np.where(first, carried, np.roll(spare, 1))
    turned = enters & (was == -spare) & (was != 0)
    # A stack without a spare still has none after full sheaves from the barn; whether its first
    # upward change is a swap is for the barn to say.
    rises = enters & up
    risen = np.cumsum(rises)
    before_stack: Int64 = (risen - rises)[first][np.cumsum(first) - 1]
    turned &= ~(rises & (risen == before_stack + 1) & (carried == 0))
    barn = enters & ~turned
    anchors = np.where(first | barn, np.arange(len(start)), 0)
    anchor = np.maximum.accumulate(anchors)
    swaps = np.cumsum(turned)
    odd = ((swaps - (swaps - turned)[anchor]) & 1).astype(np.bool_)
    return _MainRuns(start, stack, up, turned, barn, anchor, odd, spare)


def plan(before: Sheaves, cpu: Ints, op: Int8, refused: Bools | None) -> Plan | None:
    """Plan one window of events of one cache; None if it needs a sheaf where none is to be had.

    Args:
        before: the sheaves before it; not changed.
        cpu: CPU of each event, in time order.
        op: +1 allocation, -1 free.
        refused: events at which no new sheaf is to be had; None: at no event.
    """
    capacity = before.capacity
    walked = walk(cpu, op, np.array(before.size), capacity)
    runs = _main_runs(walked, op, before)
    main = np.array(before.main)[runs.stack]
    spare = np.array(before.spare)[runs.stack]
    barn = _PlannedBarn(before.copy(), refused)
    asked = np.flatnonzero(runs.barn)
    time = walked.order[runs.start[asked]]
    asked = asked[np.argsort(time)]
    if not barn.replay(runs, walked.order[runs.start[asked]], asked):
        return None
    main[asked] = barn.main
    spare[asked] = barn.spare
    at_anchor = main[runs.anchor], spare[runs.anchor]
    main = np.where(runs.odd, at_anchor[1], at_anchor[0])
    spare = np.where(runs.odd, at_anchor[0], at_anchor[1])

    length = np.diff(runs.start, append=len(op))
    cell = np.empty(len(op), np.int64)
    cell[walked.order] = np.repeat(main * capacity, length) + walked.cell

    _leave(barn.sheaves, walked, runs, main, spare)
    path = np.full(len(runs.start), _SWAPPED, np.uint8)
    path[asked] = barn.path
    special = runs.turned | runs.barn
    return Plan(
        after=barn.sheaves,
        cell=cell,
        special=walked.order[runs.start[special]],
        path=path[special],
        refills=barn.refills,
        flushes=barn.flushes,
        last_refill=barn.last_refill,
        stat=barn.stat,
        made=barn.made,
    )


def _leave(after: Sheaves, walked: StackWalk, runs: _MainRuns, main: Int64, spare: Int64) -> None:
    """Write down each stack's sheaves as its last event leaves them."""
    last = np.append(np.searchsorted(runs.start, walked.starts[1:]), len(runs.start)) - 1
    for at, (stack, run) in enumerate(zip(walked.stacks.tolist(), last.tolist(), strict=True)):
        after.main[stack] = int(main[run])
        after.spare[stack] = int(spare[run])
        after.size[stack] = int(walked.depth[at])
        after.spare_full[stack] = bool(runs.spare[run] > 0)


class _PlannedBarn:
    """The barn through a window: what each run that asks it is given (R3.23, R3.24).

    Where a sheaf cannot be had, nothing is planned: main and spare come into a state that no plan
    has.

    Args:
        sheaves: the sheaves before the window, which are carried on.
        refused: as in plan.
    """

    def __init__(self, sheaves: Sheaves, refused: Bools | None) -> None:
        self.sheaves = sheaves
        self.refused = refused
        self.main: list[int] = []
        self.spare: list[int] = []
        self.path: list[int] = []
        self.refills: list[Batch] = []
        self.flushes: list[Batch] = []
        self.last_refill: dict[int, int] = {}
        self.made: list[tuple[int, int]] = []

    @property
    def stat(self) -> Counter[str]:
        """The kernel's counters, those of the barn."""
        return Counter(
            barn_get=self.path.count(_GOT),
            barn_get_fail=self.path.count(_REFILLED),
            barn_put=self.path.count(_PUT),
            barn_put_fail=self.path.count(_FLUSHED),
            sheaf_alloc=len(self.made),
        )

    def replay(self, runs: _MainRuns, times: Int64, asked: Int64) -> bool:
        """Go through the runs that ask the barn, in time order; False where a sheaf is refused."""
        mains, spares, full, empty = (
            getattr(self.sheaves, name) for name in ("main", "spare", "full", "empty")
        )
        max_full = self.sheaves.max_full
        refills, flushes, last_refill = self.refills, self.flushes, self.last_refill
        flushed = set[int]()
        # Swaps of the stack since it last asked: the run before says whether they are odd. A
        # stack's first run has none.
        before = np.maximum(asked - 1, 0)
        same = (runs.stack[before] == runs.stack[asked]) & (asked > 0)
        odd = runs.odd[before] & same
        turns = runs.up[asked] & same & (runs.spare[before] < 0)
        for time, stack, up, swapped, turned in zip(
            times.tolist(),
            runs.stack[asked].tolist(),
            runs.up[asked].tolist(),
            odd.tolist(),
            turns.tolist(),
            strict=True,
        ):
            main, spare = mains[stack], spares[stack]
            if swapped:
                main, spare = spare, main
            if not up:
                # mm/slub.c:__pcs_replace_empty_main (7.2), of which the spare has no objects either
                if full:
                    empty.append(main)
                    main = full.pop()
                    path = _GOT
                else:
                    # It comes to be full, since pages are not refused.
                    refilled = self._empty_sheaf(time) if spare == NO_SHEAF else spare
                    if refilled == NO_SHEAF:
                        return False
                    last_refill[refilled] = len(refills)
                    refills.append((time, refilled, refilled in flushed))
                    main, spare = refilled, main
                    path = _REFILLED
            # mm/slub.c:__pcs_replace_full_main (7.2)
            elif spare != NO_SHEAF and turned:
                main, spare = spare, main
                path = _SWAPPED
            elif spare != NO_SHEAF and len(full) >= max_full:
                flushed.add(spare)
                flushes.append((time, spare, last_refill.get(spare, -1)))
                main, spare = spare, main
                path = _FLUSHED
            else:
                found = empty.pop() if empty else self._empty_sheaf(time)
                if found == NO_SHEAF:
                    return False
                if spare == NO_SHEAF:
                    spare = main
                    path = _INSTALLED
                else:
                    full.append(main)
                    path = _PUT
                main = found
            mains[stack], spares[stack] = main, spare
            self.main.append(main)
            self.spare.append(spare)
            self.path.append(path)
        return True

    def _empty_sheaf(self, time: int) -> int:
        """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2); NO_SHEAF: refused."""
        if self.sheaves.empty:
            return self.sheaves.empty.pop()
        if self.refused is not None and self.refused[time]:
            return NO_SHEAF
        number = self.sheaves.new_sheaf()
        self.made.append((time, number))
        return number
