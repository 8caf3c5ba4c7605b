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
from allocsim.slub.sheaves.barn import Barn
from allocsim.slub.sheaves.pcs_stack import walk
from allocsim.slub.sheaves.state import NO_SHEAF

if TYPE_CHECKING:
    from allocsim.slub.sheaves.pcs_stack import StackWalk
    from allocsim.slub.sheaves.state import Sheaves
    from allocsim.tables import I1, I8, U1, Bools, Ints

#: A sheaf refilled or flushed: the event that did it, the sheaf, and what had become of it before
#: in this window. Of a flush, the refill that had filled it, as a place in the plan's refills (-1:
#: none); of a refill, 1 if it had been flushed.
Batch = tuple[int, int, int]

#: Ways on that lead past the plan, where no sheaf could be had.
_REFUSED = (AllocPath.FAILED, AllocPath.FLUSH_MAIN)


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
    cell: I8
    special: I8
    path: U1
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

    start: I8
    stack: I8
    up: Bools
    turned: Bools
    barn: Bools
    anchor: I8
    odd: Bools
    spare: I1


def _main_runs(walked: StackWalk, op: I1, before: Sheaves) -> _MainRuns:
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
    before_stack: I8 = (risen - rises)[first][np.cumsum(first) - 1]
    turned &= ~(rises & (risen == before_stack + 1) & (carried == 0))
    barn = enters & ~turned
    anchors = np.where(first | barn, np.arange(len(start)), 0)
    anchor = np.maximum.accumulate(anchors)
    swaps = np.cumsum(turned)
    odd = ((swaps - (swaps - turned)[anchor]) & 1).astype(np.bool_)
    return _MainRuns(start, stack, up, turned, barn, anchor, odd, spare)


def plan(before: Sheaves, cpu: Ints, op: I1, refused: Bools | None) -> Plan | None:
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
    path = np.full(len(runs.start), AllocPath.SPARE_SWAP, np.uint8)
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


def _leave(after: Sheaves, walked: StackWalk, runs: _MainRuns, main: I8, spare: I8) -> None:
    """Write down each stack's sheaves as its last event leaves them."""
    last = np.append(np.searchsorted(runs.start, walked.starts[1:]), len(runs.start)) - 1
    for at, (stack, run) in enumerate(zip(walked.stacks.tolist(), last.tolist(), strict=True)):
        after.main[stack] = int(main[run])
        after.spare[stack] = int(spare[run])
        after.size[stack] = int(walked.depth[at])
        after.spare_full[stack] = bool(runs.spare[run] > 0)


class _PlannedBarn(Barn[int]):
    """The barn through a window: what each run that asks it is given.

    Args:
        sheaves: the sheaves before the window, which are carried on.
        refused: as in plan.
    """

    def __init__(self, sheaves: Sheaves, refused: Bools | None) -> None:
        super().__init__(sheaves.full, sheaves.empty, sheaves.max_full, Counter())
        self.sheaves = sheaves
        self.refused = refused
        self.time = 0
        self.main: list[int] = []
        self.spare: list[int] = []
        self.path: list[int] = []
        self.refills: list[Batch] = []
        self.flushes: list[Batch] = []
        self.last_refill: dict[int, int] = {}
        self.flushed: set[int] = set()
        self.made: list[tuple[int, int]] = []

    def replay(self, runs: _MainRuns, times: I8, asked: I8) -> bool:
        """Go through the runs that ask the barn, in time order; False where a sheaf is refused.

        A sheaf that is refused leaves main and spare in a state that no plan has.
        """
        mains, spares = self.sheaves.main, self.sheaves.spare
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
            self.time = time
            main, second = mains[stack], spares[stack]
            if swapped:
                main, second = second, main
            spare = None if second == NO_SHEAF else second
            if up:
                main, spare, path = self.replace_full_main(main, spare, spare_has_room=turned)
            else:
                main, spare, path = self.replace_empty_main(main, spare, spare_holds=False)
            if path in _REFUSED:
                return False
            second = NO_SHEAF if spare is None else spare
            mains[stack], spares[stack] = main, second
            self.main.append(main)
            self.spare.append(second)
            self.path.append(path)
        return True

    def new_sheaf(self) -> int | None:
        """A sheaf's number, noted as made."""
        if self.refused is not None and self.refused[self.time]:
            return None
        self.stat["sheaf_alloc"] += 1
        number = self.sheaves.new_sheaf()
        self.made.append((self.time, number))
        return number

    def refill(self, sheaf: int) -> bool:
        """Note a refill, which is full: a window in which pages are refused is not planned."""
        self.last_refill[sheaf] = len(self.refills)
        self.refills.append((self.time, sheaf, sheaf in self.flushed))
        return True

    def flush(self, sheaf: int) -> None:
        """Note a flush."""
        self.flushed.add(sheaf)
        self.flushes.append((self.time, sheaf, self.last_refill.get(sheaf, -1)))

    def flush_main(self, main: int) -> None:
        """Not planned: there was no empty sheaf to be had."""

    def free_sheaf(self, sheaf: int) -> None:
        """Not planned: sheaves are freed where a refill comes back short."""
