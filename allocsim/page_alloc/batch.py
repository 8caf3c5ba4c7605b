"""A batch of page events at once: everything between refills and drains, in numpy.

Most events push a block onto the top of a page list or pop it off: they change nothing that any
other CPU can see. For a batch of events the list each one uses is known beforehand (the zone by
its watermarks, the list by request or pageblock), so the depth of every list is a running sum, and
the next *slow event*, the event that finds its list empty or its CPU's lists full, is a search.
Slow events of all CPUs are taken in time order, since they share the buddy. Pushes and pops stay
pending until somebody needs the blocks: see page_pending.

A batch ends early, "cut", behind an event that changes what was known beforehand: a watermark
crossed, blocks of another type stolen, a request served by another zone. Where batches end never
shows in the results.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.allocator import BULK
from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.pcp import NO_LIST
from allocsim.page_alloc.pcp_views import NEVER, CpuEvents, CpuView, ListView
from allocsim.page_alloc.pending_blocks import Pending
from allocsim.page_alloc.window import UNKNOWN
from allocsim.page_alloc.zones import COSTLY_ORDER, PCP_LISTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocsim.page_alloc.routes import Routes
    from allocsim.page_alloc.window import PageEventWindow
    from allocsim.tables import I1, I4, I8, U1, Bools

MAX_EVENTS = 1 << 16  #: keys of a batch (page_pending) must fit 16 bits, for the radix sort
CROWDED = 25  #: events a slow event below which doing them one by one is cheaper
CROWD = 16  #: slow events that tell


class EventBatch:
    """Events [first, end) of a window, run at once.

    Args:
        routes: the ways to the allocator, whose state is advanced.
        window: the window; results are written into it.
        first: first event.
        end: event behind the last; may be moved forward to what can be known beforehand.
        sample_until: takes the samples wanted before rows up to an event.
    """

    def __init__(
        self,
        routes: Routes,
        window: PageEventWindow,
        first: int,
        end: int,
        sample_until: Callable[[int], None],
    ) -> None:
        self.routes, self.window = routes, window
        self.allocator = routes.allocator
        self._sample_until = sample_until
        self.first, self.end = first, end
        self.at = first  #: the event being worked on
        self.slow_events = 0  #: events done by themselves so far
        self._expected: tuple[int, int] | None = None
        self._expected_free_count = -1  # before the event looked at it
        self._cut = False
        self._settled = False
        self._cpus: dict[int, CpuView] = {}
        self._rows = self._pcp_list = np.empty(0, np.int32)  # of the listed events
        self._pending: Pending | None = None
        self._heap: list[tuple[int, int]] = []
        self._explicit: list[int] = []
        self._plan()

    # -- what is known beforehand

    def _plan(self) -> None:
        window, routes = self.window, self.routes
        routes.plan_routes()
        rows = slice(self.first, self.end)
        op = window.op[rows]
        zone = routes.routes.ravel().take(routes.route_code(window, rows))
        index = routes.list_table.ravel().take(routes.list_code(window, rows))
        free = op < 0
        self._place_known(rows, free, zone, index)
        pcp_list = zone * np.int32(self.allocator.machine.cpus)
        pcp_list += window.cpu[rows]
        pcp_list *= PCP_LISTS
        pcp_list += index
        gone = window.pfn[rows] == -1
        listed = (index != NO_LIST) & (zone >= 0) & (op != 0) & ~gone
        window.path[rows][gone] = PagePath.UNPLACED
        if routes.impure:
            end = self._first_unsure(rows, pcp_list, listed, free)
            self.end = self.first + end
            listed, gone, pcp_list = listed[:end], gone[:end], pcp_list[:end]
        if listed.all():
            self._split(None, pcp_list)
            return
        self._explicit = (self.first + np.flatnonzero(~listed & ~gone)).tolist()
        at = np.flatnonzero(listed)
        self._split(at.astype(np.int32), pcp_list[at])

    def _place_known(self, rows: slice, free: Bools, zone: I1, index: U1) -> None:
        """Zone and list of the frees whose page is known: by the page, not by its request."""
        window = self.window
        pfn, source = window.pfn[rows], window.source[rows]
        before = np.flatnonzero(source.view(np.uint32) < self.first)
        before = before[pfn[before] == UNKNOWN]
        found = window.pfn[source[before]]
        pfn[before] = np.where(found < 0, -1, found + window.offset[rows][before])
        known = np.flatnonzero(free & (pfn >= 0))
        pages, order = pfn[known], window.order[rows][known]
        for z, buddy in enumerate(self.allocator.buddies):
            spec = buddy.zone
            inside = (pages >= spec.start_pfn) & (pages < spec.end_pfn)
            if inside.all():
                here, mine, sized = known, pages, order
            else:
                here, mine, sized = known[inside], pages[inside], order[inside]
            zone[here] = z
            index[here] = self.routes.list_table[sized, buddy.types_of(mine)]

    def _first_unsure(self, rows: slice, pcp_list: I4, listed: Bools, free: Bools) -> int:
        """The first free of a page out of a list that holds pages of several types."""
        impure = self.routes.impure_pcp_lists()
        unknown = np.flatnonzero(free & listed & (self.window.pfn[rows] == UNKNOWN))
        source = self.window.source[rows][unknown] - self.first
        unsure = unknown[impure[np.where(listed, pcp_list, 0)[source]] & listed[source]]
        return int(unsure[0]) if len(unsure) else self.end - self.first

    def _split(self, at: I4 | None, pcp_list: I4) -> None:
        """Give each list and each CPU its events; ``at`` None means all of the batch."""
        if not len(pcp_list):
            return
        window, routes = self.window, self.routes
        if at is None:
            at = np.arange(len(pcp_list), dtype=np.int32)
        rows = at + np.int32(self.first)
        self._rows, self._pcp_list = rows, pcp_list
        op = window.op.take(rows)
        counts = np.bincount(pcp_list, minlength=len(routes.pcp_lists))
        by_cpu = np.argsort((pcp_list // PCP_LISTS).astype(routes.pcp_list_type), kind="stable")
        self._split_cpus(rows.take(by_cpu), counts.reshape(-1, PCP_LISTS).sum(axis=1))
        by_pcp_list = np.argsort(pcp_list.astype(routes.pcp_list_type), kind="stable")
        events = rows.take(by_pcp_list)
        depth = np.cumsum(np.negative(op.take(by_pcp_list)), dtype=np.int32)
        views = []
        end = 0
        for number in np.flatnonzero(counts).tolist():
            start, end = end, end + int(counts[number])
            cpu, index = divmod(number, PCP_LISTS)
            of_cpu = self._cpus[cpu]
            pages = of_cpu.pcp.lists[index]
            pages.compact()
            before = int(depth[start - 1]) if start else 0
            part = slice(start, end)
            view = ListView(pages, events[part], by_pcp_list[part], depth[part], before)
            of_cpu.lists[index] = view
            of_cpu.empty_at[index] = view.next_empty(0)
            views.append(view)
            pages.need = self._need(view)
        self._pending = Pending(window, rows, views, depth)
        for number, of_cpu in self._cpus.items():
            self._schedule(number, of_cpu, 0)

    def _split_cpus(self, events: I4, counts: I8) -> None:
        """Give each CPU of each zone its events, which stand CPU by CPU."""
        window = self.window
        op, order = window.op.take(events), window.order.take(events)
        free = op < 0
        sized = np.int32(1) << order
        pages = sized * free
        halves = ~free
        if window.has_flags:
            halves &= window.flags.take(events) & BULK == 0
        count = np.cumsum(np.negative(op) * sized, dtype=np.int32)
        numbers = np.flatnonzero(counts).tolist()
        flushes = self._may_flush(numbers, order, pages, halves)
        every = CpuEvents(events, free, order, pages, halves, count)
        end = 0
        for number in numbers:
            start, end = end, end + int(counts[number])
            mine = every.part(start, end)
            before = int(count[start - 1]) if start else 0
            pcp = self.routes.pcp_of(number)
            self._cpus[number] = CpuView(pcp, mine, before, flushes=flushes)

    def _may_flush(self, numbers: list[int], order: I1, pages: I4, halves: Bools) -> bool:
        """Can free_high (R4.7) strike anywhere in the batch?

        f -> (f + freed) / 2 never exceeds the larger of f and the most freed in one go.
        """
        if not ((order >= 1) & (order <= COSTLY_ORDER) & (pages > 0)).any():
            return False
        freed = np.cumsum(pages)
        at_halvings = freed[halves]
        runs = np.diff(at_halvings, prepend=0, append=freed[-1])
        pcps = [self.routes.pcp_of(number) for number in numbers]
        longest = int(runs.max())
        most = longest + max(longest, *(pcp.free_count for pcp in pcps))
        return most >= min(pcp.free_high_threshold for pcp in pcps)

    def _need(self, view: ListView) -> Callable[[int], None]:
        def need(cells: int) -> None:
            if self._pending is not None and cells > view.complete(self._pending.resolved):
                self._pending.resolve(self.at + 1)

        return need

    def _schedule(self, number: int, view: CpuView, position: int) -> None:
        """Find a CPU's next slow event from a position on."""
        z = number // self.allocator.machine.cpus
        below = self.allocator.below_high[z]
        following = min(view.next_full(position, below_high=below), *view.empty_at.values())
        if following < NEVER:
            heapq.heappush(self._heap, (following, number))

    # -- slow events in time order

    def run(self) -> int:
        """Advance the allocator to the end of the batch; the event behind its last."""
        explicit = iter(self._explicit)
        next_explicit = next(explicit, NEVER)
        while True:
            heap = self._heap
            event = min(heap[0][0] if heap else NEVER, next_explicit)
            self._sample_until(min(event, self.end - 1))
            if event >= self.end:
                break
            self.at = event
            self.slow_events += 1
            if event == next_explicit:
                next_explicit = next(explicit, NEVER)
                self._one(event)
            else:
                number = heapq.heappop(heap)[1]
                self._slow_event(event, number)
            crowded = self.slow_events >= CROWD and event - self.first < CROWDED * self.slow_events
            if self.routes.moved() or self._cut or self._settled or crowded:
                self.end = event + 1
                break
        if not self._settled:
            self._resolve(self.end)
            self._leave(self.end)
        return self.end

    def _one(self, event: int) -> None:
        """An event outside the lists, or one whose zone is not known: done by itself."""
        window = self.window
        order = int(window.order[event])
        alone = window.op[event] != 0 and self.routes.list_table[order, 0] == NO_LIST
        if not alone:
            self._settle(event)
        elif (
            window.op[event] < 0
            and window.pfn[event] == UNKNOWN
            and window.pfn[window.source[event]] == UNKNOWN
        ):
            self._resolve(event)
        self.routes.single(window, event)
        if alone and window.op[event] > 0:
            # Frees of parts of this block were taken to come home to the zone expected.
            pfn = int(window.pfn[event])
            expected = self.routes.routes[order, window.highest[event]]
            self._cut = pfn < 0 or self.allocator.zone_of(pfn) != expected

    def _slow_event(self, event: int, number: int) -> None:
        view = self._cpus[number]
        position = view.position(event)
        if view.free[position]:
            self._drain(event, number, view, position)
        else:
            self._refill(event, number, view, position)
        if not self._settled:
            self._schedule(number, view, position + 1)

    def _refill(self, event: int, number: int, view: CpuView, position: int) -> None:
        """An allocation that finds its list empty."""
        window, pcp = self.window, view.pcp
        request = self.routes.request(window, event)
        index = int(self.routes.list_table[request.order, request.migratetype])
        part = view.lists[index]
        part.move_to(event)
        old = part.pages.buffer
        pcp.count = view.count_before(position)
        view.factor(position)
        remembered = pcp.free_count
        self._expected_free_count = -1
        self._expected = divmod(number, self.allocator.machine.cpus)
        path, pfn, pressure = self.allocator.allocate(request)
        if not self._settled and not PagePath.REFILL <= path <= PagePath.REFILL_STEAL:
            self._leave_expected(event)
        self._expected = None
        self.routes.served(window, event, path, pfn, pressure)
        if self._settled or self._pending is None:
            return
        pcp.free_count = remembered  # the halving is found again among the events
        view.refilled_at(position)
        part.refilled()
        self._pending.refilled(part, old)
        view.empty_at[index] = part.next_empty(part.upto)

    def _drain(self, event: int, number: int, view: CpuView, position: int) -> None:
        """A free that fills the lists up to their limit, or may."""
        window, pcp = self.window, view.pcp
        view.remember(position)
        pcp.count = view.count_before(position + 1)
        bases = {index: part.pages.base for index, part in view.lists.items()}
        for part in view.lists.values():
            part.move_to(event + 1)
        z, cpu = divmod(number, self.allocator.machine.cpus)
        order = int(window.order[event])
        index = int(self._pcp_list[int(self._rows.searchsorted(np.int32(event)))]) % PCP_LISTS
        window.path[event] = self.allocator.freed(z, cpu, order, index)
        view.freed_at(position)
        for index, part in view.lists.items():
            if part.pages.base != bases[index]:
                view.empty_at[index] = part.next_empty(part.upto)

    # -- pending pushes and pops

    def touch(self, z: int, cpu: int) -> None:
        """A pcp list is about to be looked at for one event alone."""
        if self._settled:
            return
        if self._expected == (z, cpu) and self._expected_free_count < 0:
            self._expected_free_count = self.allocator.pcps[z][cpu].free_count
        else:
            self._leave_expected(self.at)

    def bring_up(self) -> None:
        """Find the blocks of everything before the event being worked on."""
        if not self._settled:
            self._resolve(self.at)

    def _leave_expected(self, event: int) -> None:
        """The event cannot be served where it was expected: bring everything up to date."""
        expected = self._expected
        self._expected = None
        if expected is None:
            self._settle(event)
            return
        # The list expected to serve has been looked at once: free_count has been halved for that.
        pcp = self.allocator.pcps[expected[0]][expected[1]]
        pcp.free_count = self._expected_free_count
        self._settle(event)
        if not self.window.flags[event] & BULK:
            pcp.free_count >>= 1

    def _settle(self, event: int) -> None:
        """Write pending events before ``event`` into the lists, and leave the batch there."""
        self._resolve(event)
        self._leave(event)
        self._settled = True

    def _leave(self, event: int) -> None:
        """Bring the CPUs' numbers and the lists' tops to before ``event``."""
        for view in self._cpus.values():
            position = view.position(event)
            view.remember(position)
            view.pcp.count = view.count_before(position)
            for part in view.lists.values():
                part.move_to(event)
                part.pages.need = None

    def _resolve(self, event: int) -> None:
        """Find the blocks of all pending pushes and pops before ``event``."""
        if self._pending is not None:
            self._pending.resolve(event)
