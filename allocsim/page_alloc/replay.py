"""The replay of page requests: windows of events in, where each page was placed out.

Per event: the path (page_paths.PagePath), the pfn, the pressure (page_paths.Pressure). At rows
asked for: counters, and free blocks per order and type (see fragmentation.unusable_index).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.allocator import PageAllocator
from allocsim.page_alloc.batch import CROWDED, MAX_EVENTS, EventBatch
from allocsim.page_alloc.paths import PAGE_COUNTERS
from allocsim.page_alloc.routes import Routes
from allocsim.page_alloc.window import LivePages
from allocsim.page_alloc.zones import ORDERS, PAGEBLOCK, PAGEBLOCK_ORDER, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from allocsim.page_alloc.window import PageEventWindow
    from allocsim.page_alloc.zones import MachineZones
    from allocsim.tables import Int64, UInt8

_SETUP = 100  #: events done one by one cost as much as setting up a batch
_FEWEST, _MOST = 64, 4096  #: events done one by one where a batch did not pay
_ALL = 1 << 62
_SHORTEST = 1024  #: events of the shortest batch tried


class PageResults(NamedTuple):
    """What a window of page events did, row for row.

    ``path`` (u1) is a PagePath, ``pfn`` (i8) the block's first page or -1, ``pressure`` (u1) a
    Pressure.
    """

    path: UInt8
    pfn: Int64
    pressure: UInt8


@dataclass(frozen=True, slots=True)
class PageSample:
    """The allocator's state before row ``event`` of a window.

    ``free_blocks`` is (zones, orders, types) blocks, ``counters`` (zones, PAGE_COUNTERS) since the
    start, ``free_pages`` (zones) pages.
    """

    event: int
    free_blocks: Int64
    counters: Int64
    free_pages: Int64


class PageReplay:
    """The page allocator's model, fed window by window.

    Args:
        machine: zones, their numbers and what is free at the start.
    """

    def __init__(self, machine: MachineZones) -> None:
        self.machine = machine
        self.allocator = PageAllocator(machine, self._movable_in, self._touch)
        self.routes = Routes(machine, self.allocator)
        self.lives = LivePages(machine)
        self.active: EventBatch | None = None
        self._counted = 0  # rows of the window in _movable_pages
        blocks = max((zone.end_pfn for zone in machine.zones), default=0) >> PAGEBLOCK_ORDER
        self._movable_pages = np.zeros(blocks + 1, np.int64)
        self._window: PageEventWindow
        self._samples: list[PageSample] = []
        self._wanted: list[int] = []
        self._length = MAX_EVENTS
        # Lists that own page blocks have no batches: a proposal is asked small questions.
        self._alone = _ALL if machine.rules.own_blocks else 0

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
        requests = np.bincount(self.routes.route_code(window, slice(None))[window.op > 0])
        zones = len(self.machine.zones)
        self.routes.classes = [divmod(code, zones) for code in np.flatnonzero(requests).tolist()]
        at = 0
        while at < n:
            if self._alone:
                end = min(n, at + self._alone)
                for event in range(at, end):
                    self.sample_until(event)
                    self.routes.single(window, event)
                at = end
                self.routes.note_mixed()
            if at < n:
                batch = EventBatch(
                    self.routes, window, at, min(n, at + self._length), self.sample_until
                )
                self.active = batch
                end = batch.run()
                self.active = None
                self._adapt(end - at, batch.slow_events)
                at = end
        self._count_movable(n)
        self.lives.close(window)
        del self._window  # so that a copy of the model is a copy of its state alone
        return PageResults(window.path, window.pfn, window.pressure), self._samples

    def _adapt(self, events: int, slow_events: int) -> None:
        """Skip ahead where there is something to skip; the results do not depend on it.

        Where every few events is a slow one (a list emptied by free_high at each free, zones at
        their watermarks), each changes the buddy and is done by itself.
        """
        if events >= CROWDED * slow_events + _SETUP:
            self._alone = 0
            self._length = min(2 * self._length, MAX_EVENTS)
        else:
            self._alone = min(max(2 * self._alone, _FEWEST), _MOST)
            self._length = _SHORTEST

    def _touch(self, z: int, cpu: int) -> None:
        if self.active is not None:
            self.active.touch(z, cpu)

    # -- movable pages per pageblock (R4.26)

    def _movable_in(self, block: int) -> int:
        """Live movable pages of a pageblock before the event being worked on."""
        if self.active is not None:
            self.active.bring_up()
        self._count_movable(self.routes.at if self.active is None else self.active.at)
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
