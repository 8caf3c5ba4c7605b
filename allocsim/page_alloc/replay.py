"""The replay of page requests: windows of events in, where each page was placed out.

Per event: the path (page_paths.PagePath), the pfn, the pressure (page_paths.Pressure). At rows
asked for: counters, and free blocks per order and type (see fragmentation.unusable_index).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.allocator import PageAllocator, Request
from allocsim.page_alloc.batch import CROWDED, MAX_EVENTS, Stretch
from allocsim.page_alloc.paths import PAGE_COUNTERS, PagePath
from allocsim.page_alloc.pcp import list_order
from allocsim.page_alloc.window import UNKNOWN, Lives
from allocsim.page_alloc.zones import ORDERS, PAGEBLOCK, PAGEBLOCK_ORDER, PCP_LISTS, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from allocsim.page_alloc.pcp import Pcp
    from allocsim.page_alloc.window import Window
    from allocsim.page_alloc.zones import Machine

_SETUP = 100  #: events done one by one cost as much as setting up a stretch
_FEWEST, _MOST = 64, 4096  #: events done one by one where a stretch did not pay
_SHORTEST = 1024  #: events of the shortest stretch tried


@dataclass(frozen=True, slots=True)
class PageResults:
    """What a window of page events did, row for row.

    ``path`` (u1) is a PagePath, ``pfn`` (i8) the block's first page or -1, ``pressure`` (u1) a
    Pressure.
    """

    path: npt.NDArray[np.uint8]
    pfn: npt.NDArray[np.int64]
    pressure: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PageSample:
    """The allocator's state before row ``event`` of a window.

    ``free_blocks`` is (zones, orders, types) blocks, ``counters`` (zones, PAGE_COUNTERS) since the
    start, ``free_pages`` (zones) pages.
    """

    event: int
    free_blocks: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]
    free_pages: npt.NDArray[np.int64]


class PageReplay:
    """The page allocator's model, fed window by window.

    Args:
        machine: zones, their numbers and what is free at the start.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.allocator = PageAllocator(machine, self._movable_in, self._touch)
        self.lives = Lives(machine)
        self.active: Stretch | None = None
        self.impure = any(state.lists for state in machine.states)  # to be looked at
        self.list_table = np.array(self.allocator.lists, np.uint8)
        self.lanes = range(len(machine.zones) * machine.cpus * PCP_LISTS)
        self.lane_type = np.min_scalar_type(len(self.lanes))
        self.routes = np.full((ORDERS, len(machine.zones)), -1, np.int8)
        self._classes: list[tuple[int, int]] = []
        self._safe: list[tuple[int, int, int]] = []
        self._flags: list[bool] = []
        self._counted = 0  # rows of the window in _movable_pages
        self._at = 0
        blocks = max((zone.end_pfn for zone in machine.zones), default=0) >> PAGEBLOCK_ORDER
        self._movable_pages = np.zeros(blocks + 1, np.int64)
        self._window: Window
        self._samples: list[PageSample] = []
        self._wanted: list[int] = []
        self._length = MAX_EVENTS
        self._alone = 0

    @property
    def counters(self) -> dict[str, int]:
        """Counters over all zones since the start, by name (page_paths.PAGE_COUNTERS)."""
        totals = np.sum([buddy.counters for buddy in self.allocator.buddies], axis=0)
        return dict(zip(PAGE_COUNTERS, totals.tolist(), strict=True))

    def window(
        self, columns: Mapping[str, npt.NDArray[np.generic]], samples: Iterable[int] = ()
    ) -> tuple[PageResults, list[PageSample]]:
        """Replay one window of page events, in order of time.

        Args:
            columns: ``op`` (+1 allocation, -1 free, 0 the vmstat worker's turn on the CPU, R4.13),
                ``cpu``, ``page`` (a handle; those of allocations ascend), ``order``,
                ``migratetype`` of the request (R4.2), ``highest`` zone it may come from (index),
                ``flags`` (page_allocator.BULK, ATOMIC, NO_RECLAIM), ``offset`` in pages of a
                partial free (T10). All but the first three default to 0.
            samples: rows before which the state is to be sampled, ascending.

        Raises:
            ValueError: handles of allocations that do not ascend; a CPU, order, type or zone that
                does not exist.
        """
        window = self._window = self.lives.open(columns)
        n = len(window)
        self._counted = 0
        self._wanted = sorted(samples, reverse=True)
        self._samples = []
        requests = np.bincount(self.route_code(window, slice(None))[window.op > 0])
        zones = len(self.machine.zones)
        self._classes = [divmod(code, zones) for code in np.flatnonzero(requests).tolist()]
        at = 0
        while at < n:
            if self._alone:
                end = min(n, at + self._alone)
                for event in range(at, end):
                    self.sample_until(event)
                    self.single(window, event)
                at = end
                self._note_mixed()
            if at < n:
                stretch = Stretch(self, window, at, min(n, at + self._length))
                end = stretch.run()
                self._adapt(end - at, stretch.barriers)
                at = end
        self._count_movable(n)
        self.lives.close(window)
        del self._window  # so that a copy of the model is a copy of its state alone
        return PageResults(window.path, window.pfn, window.pressure), self._samples

    def _adapt(self, events: int, barriers: int) -> None:
        """Skip ahead where there is something to skip; the results do not depend on it.

        Where every few events is a barrier (a list emptied by free_high at each free, zones at
        their watermarks), each changes the buddy and is done by itself.
        """
        if events >= CROWDED * barriers + _SETUP:
            self._alone = 0
            self._length = min(2 * self._length, MAX_EVENTS)
        else:
            self._alone = min(max(2 * self._alone, _FEWEST), _MOST)
            self._length = _SHORTEST

    # -- one event

    @staticmethod
    def request(window: Window, event: int) -> Request:
        """What an allocation asks for."""
        return Request(
            int(window.cpu[event]),
            int(window.order[event]),
            int(window.migratetype[event]),
            int(window.highest[event]),
            int(window.flags[event]),
        )

    def single(self, window: Window, event: int) -> None:
        """Do one event by itself; nothing may be pending on the lists it uses."""
        self._at = event
        op = window.op[event]
        if op > 0:
            self.served(window, event, *self.allocator.allocate(self.request(window, event)))
        elif op < 0:
            pfn = int(window.pfn[event])
            if pfn == UNKNOWN:
                pfn = int(window.pfn[window.source[event]])
                pfn = pfn + int(window.offset[event]) if pfn >= 0 else -1
                window.pfn[event] = pfn
            if pfn < 0:
                window.path[event] = PagePath.UNPLACED
                return
            order = int(window.order[event])
            window.path[event] = self.allocator.free(int(window.cpu[event]), pfn, order)
        else:
            self.allocator.decay(int(window.cpu[event]))
            window.path[event] = PagePath.DECAY
            window.pfn[event] = -1

    @staticmethod
    def served(window: Window, event: int, path: int, pfn: int, pressure: int) -> None:
        """Write down what an allocation got."""
        window.path[event] = path
        window.pfn[event] = pfn
        window.pressure[event] = pressure

    def pcp_of(self, number: int) -> Pcp:
        """The lists of zone number // cpus on CPU number % cpus."""
        z, cpu = divmod(number, self.machine.cpus)
        return self.allocator.pcps[z][cpu]

    def _touch(self, z: int, cpu: int) -> None:
        if self.active is not None:
            self.active.touch(z, cpu)

    # -- what stretches may rely on

    def route_code(self, window: Window, rows: slice) -> npt.NDArray[np.int16]:
        """Index into the flat table of routes of the requests behind some rows."""
        code = window.first_order[rows].astype(np.int16)
        code *= np.int16(len(self.machine.zones))
        code += window.highest[rows]
        return code

    def list_code(self, window: Window, rows: slice) -> npt.NDArray[np.int8]:
        """Index into the flat table of lists, by a row's order and its request's type."""
        return window.order[rows] * np.int8(TYPES) + window.migratetype[rows]

    def plan_routes(self) -> None:
        """Work out where requests go now, and how far free pages may move until that changes."""
        for order, highest in self._classes:
            self.routes[order, highest] = self.allocator.route(order, highest)
        self._flags = self.allocator.below_high.copy()
        most = max((order for order, _ in self._classes), default=0)
        self._safe = []
        for z, buddy in enumerate(self.allocator.buddies):
            zone = buddy.zone
            marks = [
                mark + zone.protection[highest]
                for mark in (zone.wmark_low, zone.wmark_high)
                for highest in {highest for _, highest in self._classes}
                if highest >= z
            ]
            blurred = (1 << most) - 1
            free = buddy.usable_pages()
            low = max((mark + blurred for mark in marks if mark < free), default=-1)
            high = min((mark for mark in marks if mark >= free), default=1 << 60)
            self._safe.append((low, high, most))

    def moved(self) -> bool:
        """Has anything changed that the stretch relies on? Notes lists of mixed types."""
        if self._note_mixed() or self._flags != self.allocator.below_high:
            return True
        for buddy, (low, high, most) in zip(self.allocator.buddies, self._safe, strict=True):
            inside = low < buddy.usable_pages() <= high
            if not inside or (most and not self.allocator.has_block(buddy, most)):
                return any(
                    self.routes[order, highest] != self.allocator.route(order, highest)
                    for order, highest in self._classes
                )
        return False

    def _note_mixed(self) -> bool:
        mixed = False
        for buddy in self.allocator.buddies:
            mixed |= buddy.mixed
            buddy.mixed = False
        self.impure |= mixed
        return mixed

    def impure_lanes(self) -> npt.NDArray[np.bool_]:
        """Lists holding a block whose pageblock has another type than the list is for."""
        impure = np.zeros(len(self.lanes), np.bool_)
        lane = 0
        for pcps, buddy in zip(self.allocator.pcps, self.allocator.buddies, strict=True):
            for pcp in pcps:
                for index, pages in enumerate(pcp.lists):
                    if len(pages):
                        types = buddy.types_of(pages.buffer[pages.base : pages.top])
                        wanted = self.list_table[list_order(index), types]
                        impure[lane + index] = (wanted != index).any()
                lane += PCP_LISTS
            lane += (self.machine.cpus - len(pcps)) * PCP_LISTS
        self.impure = bool(impure.any())
        return impure

    # -- movable pages per pageblock (R4.26)

    def _movable_in(self, block: int) -> int:
        """Live movable pages of a pageblock before the event being worked on."""
        if self.active is not None:
            self.active.bring_up()
        self._count_movable(self._at if self.active is None else self.active.at)
        return int(self._movable_pages[block])

    def _count_movable(self, upto: int) -> None:
        """Count the window's events before row ``upto``, whose blocks are known."""
        window, rows = self._window, slice(self._counted, upto)
        self._counted = upto
        pfn = window.pfn[rows]
        at = np.flatnonzero(window.movable[rows] & (pfn >= 0))
        pfn, order, op = pfn.take(at), window.order[rows].take(at), window.op[rows].take(at)
        # The largest blocks are two pageblocks; each gets its half.
        split = np.flatnonzero(order > PAGEBLOCK_ORDER)
        pages = op * (np.int32(1) << np.minimum(order, PAGEBLOCK_ORDER))
        blocks = np.concatenate((pfn, pfn[split] + PAGEBLOCK)) >> PAGEBLOCK_ORDER
        self._movable_pages += np.bincount(
            blocks,
            weights=np.concatenate((pages, pages[split])),
            minlength=len(self._movable_pages),
        ).astype(np.int64)

    # -- samples

    def sample_until(self, event: int) -> None:
        """Take the samples wanted before rows up to ``event``."""
        while self._wanted and self._wanted[-1] <= event:
            self._samples.append(self.sample(self._wanted.pop()))

    def sample(self, event: int) -> PageSample:
        """The allocator's state now, as a sample before row ``event``."""
        buddies = self.allocator.buddies
        return PageSample(
            event,
            np.array([buddy.free_blocks() for buddy in buddies]).reshape(-1, ORDERS, TYPES),
            np.array([buddy.counters for buddy in buddies]),
            np.array([buddy.free_pages for buddy in buddies]),
        )
