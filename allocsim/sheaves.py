"""The sheaves of one cache: main and spare of every CPU, and the barn they share (7.2).

``plan`` says which sheaf and cell every event of a window touches, and when sheaves are refilled or
flushed, without knowing a single object: that needs only the directions of the events (lanes).
Where the barn comes in, a loop walks the barn's life, a step for each such event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.lanes import walk
from allocsim.paths import Path

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.lanes import Ints, Walk

NO_SHEAF = -1


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

    def new_sheaf(self) -> int:
        """The number of a sheaf just allocated."""
        if self.unused:
            return self.unused.pop()
        self.count += 1
        return self.count - 1


class Batch(NamedTuple):
    """A sheaf refilled or flushed by the event at ``time``.

    ``refilled``: the refill of this window that had filled the sheaf before, as a place in the
    plan's list of refills; -1: none in this window.
    """

    time: int
    sheaf: int
    refilled: int


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
    stopped: int


class _Visits(NamedTuple):
    """A visit: a run of events of a lane on one main sheaf. The first of a lane always begins one.

    ``up``: its first event is a free; ``turned``: it began by swapping main and spare; ``barn``: it
    began by asking the barn, or by a swap if the lane has come by a spare; ``anchor``: the last
    visit of the lane not ``turned``; ``odd``: swaps since are odd; ``spare``: the spare is full (1),
    empty or missing (-1), or missing as it came (0).
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
    before_lane = (risen - rises)[first][np.cumsum(first) - 1]
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
    barn = _Barn(before)
    asked = np.flatnonzero(visits.barn)
    time = walked.order[visits.start[asked]]
    asked = asked[np.argsort(time)]
    barn.live(visits, walked.order[visits.start[asked]], asked, refused)
    main[asked] = barn.main
    spare[asked] = barn.spare
    at_anchor = main[visits.anchor], spare[visits.anchor]
    main = np.where(visits.odd, at_anchor[1], at_anchor[0])
    spare = np.where(visits.odd, at_anchor[0], at_anchor[1])

    length = np.diff(visits.start, append=len(op))
    cell = np.empty(len(op), np.int64)
    cell[walked.order] = np.repeat(main * capacity, length) + walked.cell

    _leave(barn.sheaves, walked, visits, op, main, spare)
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
        stat=barn.stat,
        stopped=barn.stopped,
    )


def _leave(
    after: Sheaves,
    walked: Walk,
    visits: _Visits,
    op: npt.NDArray[np.int8],
    main: npt.NDArray[np.int64],
    spare: npt.NDArray[np.int64],
) -> None:
    """Write down each lane's sheaves as its last event leaves them."""
    last_place = np.append(walked.starts[1:], len(op)) - 1
    last_visit = np.searchsorted(visits.start, last_place, side="right") - 1
    size = walked.cell[last_place] + (op[walked.order[last_place]] < 0)
    for lane, visit, objects in zip(
        walked.lanes.tolist(), last_visit.tolist(), size.tolist(), strict=True
    ):
        after.main[lane] = int(main[visit])
        after.spare[lane] = int(spare[visit])
        after.size[lane] = objects
        after.spare_full[lane] = bool(visits.spare[visit] > 0)


class _Barn:
    """The barn through a window: what each visit that asks it is given."""

    def __init__(self, before: Sheaves) -> None:
        self.sheaves = Sheaves(
            capacity=before.capacity,
            max_full=before.max_full,
            main=list(before.main),
            spare=list(before.spare),
            size=list(before.size),
            spare_full=list(before.spare_full),
            full=list(before.full),
            empty=list(before.empty),
            count=before.count,
            unused=list(before.unused),
        )
        self.main: list[int] = []
        self.spare: list[int] = []
        self.path: list[int] = []
        self.refills: list[Batch] = []
        self.flushes: list[Batch] = []
        self.last_refill: dict[int, int] = {}
        self.stat: Counter[str] = Counter()
        self.stopped = -1

    def live(
        self,
        visits: _Visits,
        times: npt.NDArray[np.int64],
        asked: npt.NDArray[np.int64],
        refused: npt.NDArray[np.bool_] | None,
    ) -> None:
        """Go through the visits that ask the barn, in time order."""
        mains, spares = self.sheaves.main, self.sheaves.spare
        # Swaps of the lane since it last asked: the visit before says whether they are odd. A
        # lane's first visit has none.
        before = np.maximum(asked - 1, 0)
        same = visits.lane[before] == visits.lane[asked]
        odd = visits.odd[before] & same & (asked > 0)
        back = visits.up[asked] & same & (visits.spare[before] < 0) & (asked > 0)
        for time, lane, up, swapped, turns in zip(
            times.tolist(),
            visits.lane[asked].tolist(),
            visits.up[asked].tolist(),
            odd.tolist(),
            back.tolist(),
            strict=True,
        ):
            main, spare = mains[lane], spares[lane]
            if swapped:
                main, spare = spare, main
            if turns and spare != NO_SHEAF:
                main, spare, path = spare, main, int(Path.SPARE_SWAP)
            else:
                if refused is not None and refused[time] and self._needs_sheaf(spare, up=up):
                    self.stopped = time
                    # The plan is thrown away; what follows only has to be well-formed.
                    refused = None
                step = self._full_main if up else self._empty_main
                main, spare, path = step(main, spare, time)
            mains[lane], spares[lane] = main, spare
            self.main.append(main)
            self.spare.append(spare)
            self.path.append(path)

    def _needs_sheaf(self, spare: int, *, up: bool) -> bool:
        """Whether the step now to be taken allocates a sheaf."""
        sheaves = self.sheaves
        if sheaves.empty:
            return False
        if up:
            return spare == NO_SHEAF or len(sheaves.full) < sheaves.max_full
        return spare == NO_SHEAF and not sheaves.full

    def _empty_sheaf(self) -> int:
        """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2)."""
        if self.sheaves.empty:
            return self.sheaves.empty.pop()
        self.stat["sheaf_alloc"] += 1
        return self.sheaves.new_sheaf()

    def _empty_main(self, main: int, spare: int, time: int) -> tuple[int, int, int]:
        """An allocation found main and spare empty: mm/slub.c:__pcs_replace_empty_main (7.2)."""
        sheaves, stat = self.sheaves, self.stat
        if sheaves.full:
            stat["barn_get"] += 1
            sheaves.empty.append(main)
            return sheaves.full.pop(), spare, Path.BARN_GET
        stat["barn_get_fail"] += 1
        refilled = self._empty_sheaf() if spare == NO_SHEAF else spare
        self.last_refill[refilled] = len(self.refills)
        self.refills.append(Batch(time, refilled, len(self.refills)))
        return refilled, main, Path.REFILL_PARTIAL

    def _full_main(self, main: int, spare: int, time: int) -> tuple[int, int, int]:
        """A free found main and spare full: mm/slub.c:__pcs_replace_full_main (7.2)."""
        sheaves, stat = self.sheaves, self.stat
        if spare == NO_SHEAF:
            return self._empty_sheaf(), main, Path.INSTALL_EMPTY
        if len(sheaves.full) >= sheaves.max_full:
            stat["barn_put_fail"] += 1
            self.flushes.append(Batch(time, spare, self.last_refill.get(spare, -1)))
            return spare, main, Path.FLUSH
        stat["barn_put"] += 1
        empty = self._empty_sheaf()
        sheaves.full.append(main)
        return empty, spare, Path.BARN_PUT
