"""Where page requests go: the zone by its watermarks, the list by request or pageblock.

For a batch of events (allocsim.page_alloc.batch) the way of each is worked out beforehand; it holds
until free pages have moved so far that a watermark is crossed, or a list got blocks of another
type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.allocator import Request
from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.pcp import list_order
from allocsim.page_alloc.window import UNKNOWN
from allocsim.page_alloc.zones import ORDERS, PCP_LISTS, TYPES

if TYPE_CHECKING:
    from allocsim.page_alloc.allocator import PageAllocator
    from allocsim.page_alloc.pcp import Pcp
    from allocsim.page_alloc.window import PageEventWindow
    from allocsim.page_alloc.zones import MachineZones
    from allocsim.tables import Bools, Int8, Int16


class Routes:
    """The ways of page requests through an allocator, and a single event done on it.

    Args:
        machine: zones and their numbers.
        allocator: the allocator, which single events change.

    Attributes:
        classes: (order, highest zone) of the requests of a window.
        routes: zone that serves each order and highest zone now, -1: none (i1).
        list_table: page list of each order and type (u1).
        pcp_lists: numbers of the lists of all zones and CPUs; ``pcp_list_type`` holds one.
        impure: a list may hold a block whose pageblock has another type than the list is for.
        at: the event that was last done by itself.
    """

    def __init__(self, machine: MachineZones, allocator: PageAllocator) -> None:
        self.machine, self.allocator = machine, allocator
        self.impure = any(state.lists for state in machine.states)  # to be looked at
        self.list_table = np.array(allocator.lists, np.uint8)
        self.pcp_lists = range(len(machine.zones) * machine.cpus * PCP_LISTS)
        self.pcp_list_type = np.min_scalar_type(len(self.pcp_lists))
        self.routes = np.full((ORDERS, len(machine.zones)), -1, np.int8)
        self.classes: list[tuple[int, int]] = []
        self.at = 0
        self._safe: list[tuple[int, int, int]] = []
        self._flags: list[bool] = []

    def pcp_of(self, number: int) -> Pcp:
        """The lists of zone number // cpus on CPU number % cpus."""
        z, cpu = divmod(number, self.machine.cpus)
        return self.allocator.pcps[z][cpu]

    def route_code(self, window: PageEventWindow, rows: slice) -> Int16:
        """Route of the requests behind some rows of a window.

        Returns:
            Index into the flat (order, highest zone) table of routes, one value a row (i2).
        """
        code = window.first_order[rows].astype(np.int16)
        code *= np.int16(len(self.machine.zones))
        code += window.highest[rows]
        return code

    def list_code(self, window: PageEventWindow, rows: slice) -> Int8:
        """Per-CPU list that some rows of a window are for (R4.1, R4.2).

        Returns:
            Index into the flat (order, migratetype) table of lists, one value a row (i1).
        """
        return window.order[rows] * np.int8(TYPES) + window.migratetype[rows]

    def plan_routes(self) -> None:
        """Work out where requests go now, and how far free pages may move until that changes."""
        for order, highest in self.classes:
            self.routes[order, highest] = self.allocator.route(order, highest)
        self._flags = self.allocator.below_high.copy()
        most = max((order for order, _ in self.classes), default=0)
        self._safe = []
        for z, buddy in enumerate(self.allocator.buddies):
            zone = buddy.zone
            marks = [
                mark + zone.protection[highest % self.machine.classes]
                for mark in (zone.wmark_low, zone.wmark_high)
                for highest in {highest for _, highest in self.classes}
                if zone.managed and highest % self.machine.classes >= z % self.machine.classes
            ]
            blurred = (1 << most) - 1
            free = buddy.usable_pages()
            low = max((mark + blurred for mark in marks if mark < free), default=-1)
            high = min((mark for mark in marks if mark >= free), default=1 << 60)
            self._safe.append((low, high, most))

    def moved(self) -> bool:
        """Has anything changed that the batch relies on? Notes lists of mixed types."""
        if self.note_mixed() or self._flags != self.allocator.below_high:
            return True
        for buddy, (low, high, most) in zip(self.allocator.buddies, self._safe, strict=True):
            inside = low < buddy.usable_pages() <= high
            if not inside or (most and not self.allocator.has_block(buddy, most)):
                return any(
                    self.routes[order, highest] != self.allocator.route(order, highest)
                    for order, highest in self.classes
                )
        return False

    def note_mixed(self) -> bool:
        """Whether a list got a block of another type since this was last asked."""
        mixed = False
        for buddy in self.allocator.buddies:
            mixed |= buddy.mixed
            buddy.mixed = False
        self.impure |= mixed
        return mixed

    def impure_pcp_lists(self) -> Bools:
        """Lists holding a block whose pageblock has another type than the list is for (R4.2).

        Returns:
            One value a list, those of a zone's CPUs one after the other (bool).
        """
        impure = np.zeros(len(self.pcp_lists), np.bool_)
        pcp_list = 0
        for pcps, buddy in zip(self.allocator.pcps, self.allocator.buddies, strict=True):
            for pcp in pcps:
                for index, pages in enumerate(pcp.lists):
                    if len(pages):
                        types = buddy.types_of(pages.buffer[pages.base : pages.top])
                        wanted = self.list_table[list_order(index), types]
                        impure[pcp_list + index] = (wanted != index).any()
                pcp_list += PCP_LISTS
            pcp_list += (self.machine.cpus - len(pcps)) * PCP_LISTS
        self.impure = bool(impure.any())
        return impure

    # -- one event

    @staticmethod
    def request(window: PageEventWindow, event: int) -> Request:
        """What an allocation asks for."""
        return Request(
            int(window.cpu[event]),
            int(window.order[event]),
            int(window.migratetype[event]),
            int(window.highest[event]),
            int(window.flags[event]),
        )

    def single(self, window: PageEventWindow, event: int) -> None:
        """Do one event by itself; nothing may be pending on the lists it uses."""
        self.at = event
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
    def served(window: PageEventWindow, event: int, path: int, pfn: int, pressure: int) -> None:
        """Write down what an allocation got."""
        window.path[event] = path
        window.pfn[event] = pfn
        window.pressure[event] = pressure
