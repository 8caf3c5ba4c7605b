"""The sheaves of one cache: main and spare of every CPU, and the barn they share (7.2).

``plan`` says which sheaf and cell every event of a window touches, and when sheaves are refilled or
flushed, without knowing a single object: that needs only the directions of the events (lanes).
Where the barn comes in, a loop walks the barn's life, a step for each such event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from allocsim.slub.paths import Path
from allocsim.slub.sheaves.pcs_stack import walk

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.slub.sheaves.pcs_stack import Walk
    from allocsim.tables import Ints

NO_SHEAF = -1


class Sheaf:
    """A sheaf: its number, its size, and its objects, the next to be taken last.

    Within a window that is not gone through event by event, ``objects`` are not kept up, and
    ``cell`` is the place of its first object in the window's table of cells.
    """

    __slots__ = ("cell", "number", "objects", "size")

    def __init__(self, number: int, objects: list[int]) -> None:
        self.number = number
        self.objects = objects
        self.size = len(objects)
        self.cell = -1


@dataclass(slots=True)
class Sheaves:
    """The sheaves between two windows, by number; contents are kept beside (cache).

    Args:
        capacity: objects in a sheaf, at least 1.
        max_full: full sheaves the barn takes.
        main: main sheaf of every CPU.
        spare: spare sheaf of every CPU, NO_SHEAF where there is none.
        size: objects in every CPU's main sheaf.
        spare_full: whether every CPU's spare is full; a spare that is not full is empty.
        full: full sheaves of the barn, the next to be taken last.
        empty: empty sheaves of the barn, the next to be taken last.
        count: numbers given so far.
        unused: numbers of sheaves that were freed.
    """

    capacity: int
    max_full: int
    main: list[int]
    spare: list[int]
    size: list[int]
    spare_full: list[bool]
    full: list[int]
    empty: list[int]
    count: int
    unused: list[int]

    @classmethod
    def cold(cls, cpus: int, capacity: int, max_full: int) -> Sheaves:
        """A new cache: an empty main sheaf for every CPU (R3.12), no spare, an empty barn."""
        return cls(
            capacity=capacity,
            max_full=max_full,
            main=list(range(cpus)),
            spare=[NO_SHEAF] * cpus,
            size=[0] * cpus,
            spare_full=[False] * cpus,
            full=[],
            empty=[],
            count=cpus,
            unused=[],
        )

    def copy(self) -> Sheaves:
        """An independent copy."""
        return replace(
            self,
            main=list(self.main),
            spare=list(self.spare),
            size=list(self.size),
            spare_full=list(self.spare_full),
            full=list(self.full),
            empty=list(self.empty),
            unused=list(self.unused),
        )

    def __deepcopy__(self, _: dict[int, Any]) -> Sheaves:
        """As deepcopy gives it, but quicker."""
        return self.copy()

    def new_sheaf(self) -> int:
        """The number of a sheaf just allocated."""
        if self.unused:
            return self.unused.pop()
        self.count += 1
        return self.count - 1


#: A sheaf refilled or flushed: the event that did it, the sheaf, and what had become of it before
#: in this window. Of a flush, the refill that had filled it, as a place in the plan's refills (-1:
#: none); of a refill, 1 if it had been flushed.
Batch = tuple[int, int, int]

# The steps of the barn, as plain numbers for its loop.
_BARN_GET = int(Path.BARN_GET)
_REFILL = int(Path.REFILL_PARTIAL)
_SPARE_SWAP = int(Path.SPARE_SWAP)
_INSTALL_EMPTY = int(Path.INSTALL_EMPTY)
_BARN_PUT = int(Path.BARN_PUT)
_FLUSH = int(Path.FLUSH)


@dataclass(slots=True)
class Plan:
    """What a window does to the sheaves of one cache.

    Args:
        after: the sheaves behind the window.
        cell: sheaf x capacity + position each event touches, in time order.
        special: events not served by the main sheaf as it stood (i8), ascending within a lane.
        path: Path of each of those (u1); a refill stands as REFILL_PARTIAL.
        refills: sheaves refilled, in time order; every one is for the event at its time.
        flushes: sheaves flushed, in time order.
        last_refill: sheaf -> its last refill in this window.
        stat: the kernel's counters, those of the sheaves.
        made: sheaves allocated, in time order: event and sheaf.
        stopped: the event that needed a new sheaf when none could be had; -1: none did. The rest
            of the plan ends before it only if it is planned again for that many events.
    """

    after: Sheaves
    cell: npt.NDArray[np.int64]
    special: npt.NDArray[np.int64]
    path: npt.NDArray[np.uint8]
    refills: list[Batch]
    flushes: list[Batch]
    last_refill: dict[int, int]
    stat: Counter[str]
    made: list[tuple[int, int]]
    stopped: int


class _Visits(NamedTuple):
    """A visit: a run of events of a lane on one main sheaf. The first of a lane always begins one.

    ``up``: its first event is a free; ``turned``: it began by swapping main and spare; ``barn``: it
    began by asking the barn, or by a swap if the lane has come by a spare; ``anchor``: the last
    visit of the lane not ``turned``; ``odd``: swaps since are odd; ``spare``: the spare is full
    (1), empty or missing (-1), or missing as it came (0).
    """

    start: npt.NDArray[np.int64]
    lane: npt.NDArray[np.int64]
    up: npt.NDArray[np.bool_]
    turned: npt.NDArray[np.bool_]
    barn: npt.NDArray[np.bool_]
    anchor: npt.NDArray[np.int64]
    odd: npt.NDArray[np.bool_]
    spare: npt.NDArray[np.int8]


def _visits(walked: Walk, op: npt.NDArray[np.int8], before: Sheaves) -> _Visits:
    starts, entered = walked.starts, walked.entered
    begins = entered.copy()
    begins[starts] = True
    start = np.flatnonzero(begins)
    first = np.zeros(len(start), np.bool_)
    first[np.searchsorted(start, starts)] = True
    lane = walked.lanes[np.cumsum(first) - 1]
    enters = entered[start]
    up = op[walked.order[start]] < 0
    # The spare: 1 full, -1 empty, 0 none.
    none = np.array(before.spare) == NO_SHEAF
    carried = np.where(none, 0, np.where(before.spare_full, 1, -1)).astype(np.int8)[lane]
    spare = np.where(enters, np.where(up, 1, -1), carried).astype(np.int8)
    was = np.where(first, carried, np.roll(spare, 1))
    turned = enters & (was == -spare) & (was != 0)
    # A lane without a spare still has none after full sheaves from the barn; whether its first
    # upward change is a swap is for the barn to say.
    rises = enters & up
    risen = np.cumsum(rises)
    before_lane: npt.NDArray[np.int64] = (risen - rises)[first][np.cumsum(first) - 1]
    turned &= ~(rises & (risen == before_lane + 1) & (carried == 0))
    barn = enters & ~turned
    anchors = np.where(first | barn, np.arange(len(start)), 0)
    anchor = np.maximum.accumulate(anchors)
    swaps = np.cumsum(turned)
    odd = ((swaps - (swaps - turned)[anchor]) & 1).astype(np.bool_)
    return _Visits(start, lane, up, turned, barn, anchor, odd, spare)


def plan(
    before: Sheaves, cpu: Ints, op: npt.NDArray[np.int8], refused: npt.NDArray[np.bool_] | None
) -> Plan:
    """Plan one window of events of one cache.

    Args:
        before: the sheaves before it; not changed.
        cpu: CPU of each event, in time order.
        op: +1 allocation, -1 free.
        refused: events at which no new sheaf is to be had; None: at no event.
    """
    capacity = before.capacity
    walked = walk(cpu, op, np.array(before.size), capacity)
    visits = _visits(walked, op, before)
    main = np.array(before.main)[visits.lane]
    spare = np.array(before.spare)[visits.lane]
    barn = _Barn(before, refused)
    asked = np.flatnonzero(visits.barn)
    time = walked.order[visits.start[asked]]
    asked = asked[np.argsort(time)]
    barn.live(visits, walked.order[visits.start[asked]], asked)
    main[asked] = barn.main
    spare[asked] = barn.spare
    at_anchor = main[visits.anchor], spare[visits.anchor]
    main = np.where(visits.odd, at_anchor[1], at_anchor[0])
    spare = np.where(visits.odd, at_anchor[0], at_anchor[1])

    length = np.diff(visits.start, append=len(op))
    cell = np.empty(len(op), np.int64)
    cell[walked.order] = np.repeat(main * capacity, length) + walked.cell

    _leave(barn.sheaves, walked, visits, main, spare)
    path = np.full(len(visits.start), Path.SPARE_SWAP, np.uint8)
    path[asked] = barn.path
    special = visits.turned | visits.barn
    return Plan(
        after=barn.sheaves,
        cell=cell,
        special=walked.order[visits.start[special]],
        path=path[special],
        refills=barn.refills,
        flushes=barn.flushes,
        last_refill=barn.last_refill,
        stat=barn.stat(),
        made=barn.made,
        stopped=barn.stopped,
    )


def _leave(
    after: Sheaves,
    walked: Walk,
    visits: _Visits,
    main: npt.NDArray[np.int64],
    spare: npt.NDArray[np.int64],
) -> None:
    """Write down each lane's sheaves as its last event leaves them."""
    last = np.append(np.searchsorted(visits.start, walked.starts[1:]), len(visits.start)) - 1
    for at, (lane, visit) in enumerate(zip(walked.lanes.tolist(), last.tolist(), strict=True)):
        after.main[lane] = int(main[visit])
        after.spare[lane] = int(spare[visit])
        after.size[lane] = int(walked.depth[at])
        after.spare_full[lane] = bool(visits.spare[visit] > 0)


class _Barn:
    """The barn through a window: what each visit that asks it is given."""

    def __init__(self, before: Sheaves, refused: npt.NDArray[np.bool_] | None) -> None:
        self.sheaves = before.copy()
        self.refused = refused
        self.main: list[int] = []
        self.spare: list[int] = []
        self.path: list[int] = []
        self.refills: list[Batch] = []
        self.flushes: list[Batch] = []
        self.last_refill: dict[int, int] = {}
        self.flushed: set[int] = set()
        self.made: list[tuple[int, int]] = []
        self.stopped = -1

    def live(
        self, visits: _Visits, times: npt.NDArray[np.int64], asked: npt.NDArray[np.int64]
    ) -> None:
        """Go through the visits that ask the barn, in time order."""
        sheaves = self.sheaves
        full, empty, mains, spares = sheaves.full, sheaves.empty, sheaves.main, sheaves.spare
        # Swaps of the lane since it last asked: the visit before says whether they are odd. A
        # lane's first visit has none.
        before = np.maximum(asked - 1, 0)
        same = (visits.lane[before] == visits.lane[asked]) & (asked > 0)
        odd = visits.odd[before] & same
        turns = visits.up[asked] & same & (visits.spare[before] < 0)
        for time, lane, up, swapped, turned in zip(
            times.tolist(),
            visits.lane[asked].tolist(),
            visits.up[asked].tolist(),
            odd.tolist(),
            turns.tolist(),
            strict=True,
        ):
            main, spare = mains[lane], spares[lane]
            if swapped:
                main, spare = spare, main
            if up:
                main, spare, path = self._full_main(main, spare, time, turned=turned)
            elif full:
                # mm/slub.c:barn_replace_empty_sheaf (7.2)
                empty.append(main)
                main, path = full.pop(), _BARN_GET
            else:
                # mm/slub.c:__pcs_replace_empty_main (7.2): the spare, being empty, is refilled
                refilled = self._empty_sheaf(time) if spare == NO_SHEAF else spare
                self.last_refill[refilled] = len(self.refills)
                self.refills.append((time, refilled, refilled in self.flushed))
                main, spare, path = refilled, main, _REFILL
            mains[lane], spares[lane] = main, spare
            self.main.append(main)
            self.spare.append(spare)
            self.path.append(path)

    def _full_main(self, main: int, spare: int, time: int, *, turned: bool) -> tuple[int, int, int]:
        """A free found main full: mm/slub.c:__pcs_replace_full_main (7.2).

        ``turned``: the spare, if there is one, is empty.
        """
        if spare == NO_SHEAF:
            return self._empty_sheaf(time), main, _INSTALL_EMPTY
        if turned:
            return spare, main, _SPARE_SWAP
        full = self.sheaves.full
        if len(full) >= self.sheaves.max_full:
            self.flushed.add(spare)
            self.flushes.append((time, spare, self.last_refill.get(spare, -1)))
            return spare, main, _FLUSH
        emptied = self._empty_sheaf(time)
        full.append(main)
        return emptied, spare, _BARN_PUT

    def _empty_sheaf(self, time: int) -> int:
        """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2)."""
        if self.sheaves.empty:
            return self.sheaves.empty.pop()
        if self.refused is not None and self.refused[time] and self.stopped < 0:
            # The plan is thrown away; what follows only has to be well-formed.
            self.stopped = time
        number = self.sheaves.new_sheaf()
        self.made.append((time, number))
        return number

    def stat(self) -> Counter[str]:
        """The kernel's counters of what happened."""
        took = Counter(self.path)
        return Counter(
            barn_get=took[_BARN_GET],
            barn_get_fail=took[_REFILL],
            barn_put=took[_BARN_PUT],
            barn_put_fail=took[_FLUSH],
            sheaf_alloc=len(self.made),
        )
