"""A stretch of page events at once: everything between refills and drains, in numpy.

Most events push a block onto the top of a page list or pop it off: they change nothing that any
other CPU can see. For a stretch of events the list each one uses is known beforehand (the zone by
its watermarks, the list by request or pageblock), so the depth of every list is a running sum, and
the next *barrier*, the event that finds its list empty or its CPU's lists full, is a search.
Barriers of all CPUs are taken in time order, since they share the buddy. Pushes and pops stay
pending until somebody needs the blocks: then a sort by (list, cell), stable in time, puts each pop
behind its push, and pointer jumping follows a page from life to life (design: a pop gets what the
matching push put there).

A stretch ends early, "cut", behind an event that changes what was known beforehand: a watermark
crossed, blocks of another type stolen, a request served by another zone. Where stretches end never
shows in the results.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from allocsim.free_count import free_count_after, free_count_bound
from allocsim.page_allocator import BULK
from allocsim.page_lists import NO_LIST
from allocsim.page_paths import PagePath
from allocsim.page_window import UNKNOWN
from allocsim.zones import COSTLY_ORDER, PCP_LISTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from allocsim.page_lists import PageList, Pcp
    from allocsim.page_replay import PageReplay
    from allocsim.page_window import Window

MAX_EVENTS = 49_152  #: list cells of a stretch must fit 16 bits, for the radix sort
CROWDED = 25  #: events a barrier below which doing them one by one is cheaper
CROWD = 16  #: barriers that tell
_NEVER = 1 << 30
_NO_FREE = -(1 << 30)


class _List:
    """One page list's events of the stretch.

    ``depth`` is its running sum; cell numbers (PageList.base, .top) are depth + shift. Events from
    ``done`` on are pending; ``closed`` holds those of before the last refill, with the buffer that
    was current then.
    """

    __slots__ = ("closed", "depth", "done", "events", "level", "pages", "shift", "start", "upto")

    def __init__(
        self, pages: PageList, events: npt.NDArray[np.int32], depth: npt.NDArray[np.int32], at: int
    ) -> None:
        self.pages = pages
        self.events, self.depth = events, depth
        self.start = at  # running sum before the first event
        self.shift = pages.top - at
        self.done = 0
        self.upto = 0  # events before the barrier being worked on
        self.level = pages.top  # top when the buffer was last complete
        self.closed: list[tuple[int, int, int, npt.NDArray[np.int64]]] = []

    def move_to(self, event: int) -> None:
        """Let ``upto`` and the list's top be those before ``event``."""
        self.upto = int(self.events.searchsorted(np.int32(event)))
        last = self.depth[self.upto - 1] if self.upto else self.start
        self.pages.top = int(last) + self.shift

    def next_empty(self, at: int) -> int:
        """The first event from ``at`` on that finds the list empty."""
        found = _first_below(self.depth, at, self.pages.base - self.shift)
        return int(self.events[found]) if found < len(self.events) else _NEVER

    def complete(self) -> int:
        """How many cells of the buffer hold what the list holds now."""
        if self.upto == self.done:
            return self.level
        lowest = int(self.depth[self.done : self.upto].min()) + self.shift
        return min(self.level, lowest)

    def refilled(self, old: npt.NDArray[np.int64]) -> None:
        """The event at ``upto`` refilled the list and took its block."""
        if self.upto > self.done:
            self.closed.append((self.done, self.upto, self.shift, old))
        self.shift = self.pages.top - int(self.depth[self.upto])
        self.level = self.pages.top
        self.upto += 1
        self.done = self.upto


class _Cpu:
    """One CPU's events in one zone: page counts, and where free_high may strike."""

    __slots__ = (
        "count",
        "counted",
        "empty_at",
        "events",
        "factored",
        "free",
        "full",
        "halves",
        "lists",
        "may_flush",
        "next",
        "order",
        "pages",
        "pcp",
        "remembered",
        "shift",
    )

    def __init__(self, pcp: Pcp, window: Window, events: npt.NDArray[np.int32]) -> None:
        self.pcp = pcp
        self.events = events
        op = window.op[events]
        self.free = op < 0
        self.order = window.order[events]
        sized = np.int32(1) << self.order
        self.pages = sized * self.free
        self.halves = ~self.free
        if window.flags.any():
            self.halves &= window.flags[events] & BULK == 0
        self.count = np.cumsum(np.negative(op) * sized, dtype=np.int32)
        self.full = np.where(self.free, self.count, np.int32(_NO_FREE))
        self.shift = pcp.count
        self.counted = 0  # free_count is that before this position
        self.factored = 0  # alloc_factor likewise
        self.remembered = pcp.prev_free_high
        self.may_flush = self._may_flush()
        self.lists: dict[int, _List] = {}
        self.empty_at: dict[int, int] = {}
        self.next = _NEVER

    def _may_flush(self) -> npt.NDArray[np.intp]:
        """Positions of frees at which free_high (R4.7) cannot be ruled out."""
        high_order = (self.order >= 1) & (self.order <= COSTLY_ORDER) & self.free
        if not high_order.any():
            return np.empty(0, np.intp)
        freed = np.cumsum(self.pages)
        runs = np.diff(freed[self.halves], prepend=0, append=freed[-1])
        most = int(runs.max())
        if max(self.pcp.free_count, most) + most < self.pcp.free_high_threshold:
            return np.empty(0, np.intp)  # f -> (f + run) / 2 never gets there
        frees = np.flatnonzero(self.free)
        high = high_order[frees]
        again = high & np.concatenate(([self.remembered], high[:-1]))
        bound = free_count_bound(
            self.pcp.free_count, self.pages, self.halves, self.pcp.free_count_cap
        )
        return frees[again & (bound[frees] >= self.pcp.free_high_threshold)]

    def position(self, event: int) -> int:
        """How many of this CPU's events come before ``event``."""
        return int(self.events.searchsorted(np.int32(event)))

    def remember(self, position: int) -> None:
        """Bring free_count, alloc_factor and the previous-free flag to before ``position``."""
        pcp = self.pcp
        at = slice(self.counted, position)
        pcp.free_count = free_count_after(
            pcp.free_count, self.pages[at], self.halves[at], pcp.free_count_cap
        )
        self.counted = position
        self.factor(position)
        frees = np.flatnonzero(self.free[at])
        if len(frees):
            pcp.prev_free_high = bool(1 <= self.order[at][frees[-1]] <= COSTLY_ORDER)

    def factor(self, position: int) -> None:
        """Bring alloc_factor to before ``position``: each free halves it (R4.6)."""
        pcp = self.pcp
        if pcp.alloc_factor:
            freed = np.count_nonzero(self.free[self.factored : position])
            pcp.alloc_factor >>= min(int(freed), 31)
        self.factored = position

    def count_before(self, position: int) -> int:
        """Pages on the lists before a position."""
        return self.shift + (int(self.count[position - 1]) if position else 0)

    def next_full(self, position: int, *, below_high: bool) -> int:
        """The first free from ``position`` on that may do more than push."""
        pcp, numbers = self.pcp, self.pcp.numbers
        limit = pcp.high
        if below_high and numbers.high_min != numbers.high_max:
            # R4.8: every free lowers high until it is high_min, and drains from there on.
            limit = numbers.high_min if pcp.high == numbers.high_min else _NO_FREE + 1 + self.shift
        found = _first_at_least(self.full, position, limit - self.shift)
        if len(self.may_flush):
            at = int(np.searchsorted(self.may_flush, position))
            if at < len(self.may_flush):
                found = min(found, int(self.may_flush[at]))
        return int(self.events[found]) if found < len(self.events) else _NEVER


class Stretch:
    """Events [first, end) of a window, run at once.

    Args:
        replay: the replay whose allocator state is advanced.
        window: the window; results are written into it.
        first: first event.
        end: event behind the last; may be moved forward to what can be known beforehand.
    """

    def __init__(self, replay: PageReplay, window: Window, first: int, end: int) -> None:
        self.replay, self.window = replay, window
        self.allocator = replay.allocator
        self.first, self.end = first, end
        self._at = first
        self._home: tuple[int, int] | None = None
        self._home_count = -1  # free_count of the home list before the event looked at it
        self._cut = False
        self.barriers = 0
        self._settled = False
        self._cpus: dict[int, _Cpu] = {}
        self._lists: list[_List] = []
        self._heap: list[tuple[int, int]] = []
        self._explicit: list[int] = []
        self._plan()

    # -- what is known beforehand

    def _plan(self) -> None:
        window, replay = self.window, self.replay
        replay.plan_routes()
        rows = slice(self.first, self.end)
        op = window.op[rows]
        zone = replay.routes.ravel().take(replay.route_code(window, rows))
        index = replay.list_table.ravel().take(replay.list_code(window, rows))
        free = op < 0
        self._place_known(rows, free, zone, index)
        lane = zone * np.int32(self.allocator.machine.cpus)
        lane += window.cpu[rows]
        lane *= PCP_LISTS
        lane += index
        gone = window.pfn[rows] == -1
        listed = (index != NO_LIST) & (zone >= 0) & (op != 0) & ~gone
        window.path[rows][gone] = PagePath.UNPLACED
        if replay.impure:
            end = self._first_unsure(rows, lane, listed, free)
            self.end = self.first + end
            listed, gone, lane = listed[:end], gone[:end], lane[:end]
        if listed.all():
            self._split(None, lane)
            return
        self._explicit = (self.first + np.flatnonzero(~listed & ~gone)).tolist()
        at = np.flatnonzero(listed)
        self._split(at.astype(np.int32), lane[at])

    def _place_known(
        self,
        rows: slice,
        free: npt.NDArray[np.bool_],
        zone: npt.NDArray[np.int8],
        index: npt.NDArray[np.uint8],
    ) -> None:
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
            index[here] = self.replay.list_table[sized, buddy.types_of(mine)]

    def _first_unsure(
        self,
        rows: slice,
        lane: npt.NDArray[np.int32],
        listed: npt.NDArray[np.bool_],
        free: npt.NDArray[np.bool_],
    ) -> int:
        """The first free of a page out of a list that holds pages of several types."""
        impure = self.replay.impure_lanes()
        unknown = np.flatnonzero(free & listed & (self.window.pfn[rows] == UNKNOWN))
        source = self.window.source[rows][unknown] - self.first
        unsure = unknown[impure[np.where(listed, lane, 0)[source]] & listed[source]]
        return int(unsure[0]) if len(unsure) else self.end - self.first

    def _split(self, at: npt.NDArray[np.int32] | None, lane: npt.NDArray[np.int32]) -> None:
        """Give each list and each CPU its events; ``at`` None means all of the stretch."""
        window, replay = self.window, self.replay
        if not len(lane):
            return
        counts = np.bincount(lane, minlength=len(replay.lanes))
        by_lane = np.argsort(lane.astype(replay.lane_type), kind="stable")
        events = (by_lane.astype(np.int32) if at is None else at[by_lane]) + np.int32(self.first)
        depth = np.cumsum(np.negative(window.op[events]), dtype=np.int32)
        by_cpu = np.argsort((lane // PCP_LISTS).astype(replay.lane_type), kind="stable")
        cpu_events = (by_cpu.astype(np.int32) if at is None else at[by_cpu]) + np.int32(self.first)
        cpu_counts = counts.reshape(-1, PCP_LISTS).sum(axis=1)
        end = 0
        for number in np.flatnonzero(cpu_counts).tolist():
            start, end = end, end + int(cpu_counts[number])
            self._cpus[number] = _Cpu(replay.pcp_of(number), window, cpu_events[start:end])
        end = 0
        for number in np.flatnonzero(counts).tolist():
            start, end = end, end + int(counts[number])
            cpu, index = divmod(number, PCP_LISTS)
            view = self._cpus[cpu]
            before = int(depth[start - 1]) if start else 0
            pages = view.pcp.lists[index]
            pages.compact()
            part = _List(pages, events[start:end], depth[start:end], before)
            view.lists[index] = part
            view.empty_at[index] = part.next_empty(0)
            self._lists.append(part)
            pages.need = self._need(part)
        for number, view in self._cpus.items():
            self._schedule(number, view, 0)

    def _need(self, part: _List) -> Callable[[int], None]:
        def need(cells: int) -> None:
            if cells > part.complete():
                self._resolve(self._at + 1)

        return need

    def _schedule(self, number: int, view: _Cpu, position: int) -> None:
        """Find a CPU's next barrier from a position on."""
        z = number // self.allocator.machine.cpus
        below = self.allocator.below_high[z]
        view.next = min(view.next_full(position, below_high=below), *view.empty_at.values())
        if view.next < _NEVER:
            heapq.heappush(self._heap, (view.next, number))

    # -- barriers in time order

    def run(self) -> int:
        """Advance the allocator to the end of the stretch; the event behind its last."""
        self.replay.active = self
        explicit = iter(self._explicit)
        next_explicit = next(explicit, _NEVER)
        while True:
            heap = self._heap
            event = min(heap[0][0] if heap else _NEVER, next_explicit)
            self.replay.sample_until(min(event, self.end - 1))
            if event >= self.end:
                break
            self._at = event
            self.barriers += 1
            if event == next_explicit:
                next_explicit = next(explicit, _NEVER)
                self._one(event)
            else:
                number = heapq.heappop(heap)[1]
                self._barrier(event, number)
            crowded = self.barriers >= CROWD and event - self.first < CROWDED * self.barriers
            if self.replay.moved() or self._cut or self._settled or crowded:
                self.end = event + 1
                break
        if not self._settled:
            self._resolve(self.end)
            self._leave(self.end)
        self.replay.active = None
        return self.end

    def _one(self, event: int) -> None:
        """An event outside the lists, or one whose zone is not known: done by itself."""
        window = self.window
        order = int(window.order[event])
        alone = window.op[event] != 0 and self.replay.list_table[order, 0] == NO_LIST
        if not alone:
            self._settle(event)
        elif (
            window.op[event] < 0
            and window.pfn[event] == UNKNOWN
            and window.pfn[window.source[event]] == UNKNOWN
        ):
            self._resolve(event)
        self.replay.single(window, event)
        if alone and window.op[event] > 0:
            # Frees of parts of this block were taken to come home to the zone expected.
            pfn = int(window.pfn[event])
            expected = self.replay.routes[order, window.highest[event]]
            self._cut = pfn < 0 or self.allocator.zone_of(pfn) != expected

    def _barrier(self, event: int, number: int) -> None:
        view = self._cpus[number]
        position = view.position(event)
        if view.free[position]:
            self._drain(event, number, view, position)
        else:
            self._refill(event, number, view, position)
        if not self._settled:
            self._schedule(number, view, position + 1)

    def _refill(self, event: int, number: int, view: _Cpu, position: int) -> None:
        """An allocation that finds its list empty."""
        window, pcp = self.window, view.pcp
        request = self.replay.request(window, event)
        index = int(self.replay.list_table[request.order, request.migratetype])
        part = view.lists[index]
        part.move_to(event)
        old = part.pages.buffer
        pcp.count = view.count_before(position)
        view.factor(position)
        view.factored = position + 1
        remembered = pcp.free_count
        self._home_count = -1
        self._home = divmod(number, self.allocator.machine.cpus)
        path, pfn, pressure = self.allocator.allocate(request)
        if not self._settled and not PagePath.REFILL <= path <= PagePath.REFILL_STEAL:
            self._leave_home(event)
        self._home = None
        self.replay.served(window, event, path, pfn, pressure)
        if self._settled:
            return
        pcp.free_count = remembered  # the halving is found again among the events
        part.refilled(old)
        view.shift = pcp.count - int(view.count[position])
        view.empty_at[index] = part.next_empty(part.upto)

    def _drain(self, event: int, number: int, view: _Cpu, position: int) -> None:
        """A free that fills the lists up to their limit, or may."""
        window, pcp = self.window, view.pcp
        view.remember(position)
        pcp.count = view.count_before(position + 1)
        bases = {index: part.pages.base for index, part in view.lists.items()}
        for part in view.lists.values():
            part.move_to(event + 1)
        z, cpu = divmod(number, self.allocator.machine.cpus)
        order = int(window.order[event])
        index = self._list_of(event, view)
        window.path[event] = self.allocator.freed(z, cpu, order, index)
        view.counted = view.factored = position + 1
        view.shift = pcp.count - int(view.count[position])
        for index, part in view.lists.items():
            if part.pages.base != bases[index]:
                view.empty_at[index] = part.next_empty(part.upto)
        if len(view.may_flush):
            self._skip_flushes(view, position)

    @staticmethod
    def _list_of(event: int, view: _Cpu) -> int:
        """The list an event of this CPU is on; its lists stand behind the event."""
        for index, part in view.lists.items():
            if part.upto and part.events[part.upto - 1] == event:
                return index
        raise AssertionError(f"event {event} is on no list")

    @staticmethod
    def _skip_flushes(view: _Cpu, position: int) -> None:
        """Leave out frees before which free_count cannot have reached the threshold again."""
        missing = view.pcp.free_high_threshold - view.pcp.free_count
        if missing > 0:
            freed = np.cumsum(view.pages[position + 1 :])
            reached = position + 2 + int(np.searchsorted(freed, missing))
            view.may_flush = view.may_flush[view.may_flush >= reached]

    # -- pending pushes and pops

    def touch(self, z: int, cpu: int) -> None:
        """A pcp list is about to be looked at for one event alone."""
        if self._settled:
            return
        if self._home == (z, cpu) and self._home_count < 0:
            self._home_count = self.allocator.pcps[z][cpu].free_count
        else:
            self._leave_home(self._at)

    def bring_up(self) -> None:
        """Find the blocks of everything before the event being worked on."""
        if not self._settled:
            self._resolve(self._at)

    def _leave_home(self, event: int) -> None:
        """The event cannot be served where it was expected: bring everything up to date."""
        home = self._home
        self._home = None
        if home is None:
            self._settle(event)
            return
        # The list expected to serve has been looked at once: free_count has been halved for that.
        pcp = self.allocator.pcps[home[0]][home[1]]
        pcp.free_count = self._home_count
        self._settle(event)
        if not self.window.flags[event] & BULK:
            pcp.free_count >>= 1

    def _settle(self, event: int) -> None:
        """Write pending events before ``event`` into the lists, and leave the stretch there."""
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
        for view in self._cpus.values():
            for part in view.lists.values():
                part.upto = int(part.events.searchsorted(np.int32(event)))
        Pending(self._lists, self.window, self.replay).settle()


class Pending:
    """Pushes and pops of several lists whose blocks are to be found."""

    def __init__(self, lists: list[_List], window: Window, replay: PageReplay) -> None:
        self.window, self.replay = window, replay
        self.open: list[tuple[_List, int]] = []  # list, number of its last segment
        events, cells, buffers = [], [], []
        for part in lists:
            for first, end, shift, buffer in part.closed:
                events.append(part.events[first:end])
                cells.append(part.depth[first:end] + np.int32(shift))
                buffers.append(buffer)
            part.closed = []
            if part.upto > part.done:
                events.append(part.events[part.done : part.upto])
                cells.append(part.depth[part.done : part.upto] + np.int32(part.shift))
                buffers.append(part.pages.buffer)
                self.open.append((part, len(events) - 1))
        self.buffers = buffers
        self.lengths = np.array([len(part) for part in events], np.int32)
        if events:
            self.events = np.concatenate(events)
            self.cells = np.concatenate(cells)
            self.push = window.op[self.events] < 0
            self.cells -= self.push  # a push fills the cell below the new top, a pop the new top's
            self.segment = np.repeat(np.arange(len(events), dtype=np.int32), self.lengths)

    def settle(self) -> None:
        """Write pfns of the events, and the blocks left over into the lists' buffers."""
        if not self.buffers:
            return
        window, push, cells = self.window, self.push, self.cells
        starts = np.cumsum(self.lengths) - self.lengths
        lowest = np.minimum.reduceat(cells, starts)
        widths = np.maximum.reduceat(cells, starts) - lowest + 1
        bases = np.cumsum(widths) - widths
        # A list's cells are visited one next to the other, so there are no more than events.
        key = (cells + np.repeat(bases - lowest, self.lengths)).astype(np.uint16)
        by_cell = np.argsort(key, kind="stable")
        key = key[by_cell]
        first = np.empty(len(key), np.bool_)
        first[0] = True
        np.not_equal(key[1:], key[:-1], out=first[1:])
        popped = ~push[by_cell]
        later = np.flatnonzero(popped & ~first)
        self._serve(by_cell[popped & first], by_cell[later], by_cell[later - 1])
        last = np.empty(len(key), np.bool_)
        last[-1] = True
        last[:-1] = first[1:]
        self._keep(by_cell[last & ~popped])
        moved = self.events[window.movable[self.events]]
        self.replay.count_movable(window.pfn[moved], window.order[moved], window.op[moved])

    def _serve(
        self,
        old: npt.NDArray[np.intp],
        pops: npt.NDArray[np.intp],
        pushes: npt.NDArray[np.intp],
    ) -> None:
        """The block of every pop: one that lay on the list (``old``), or the matching push's.

        A push's page is that of its allocation, which may be a pop further back, whose block is
        that of a push, ...: pointer jumping finds the start of every such chain.
        """
        window, pfn, rank = self.window, self.window.pfn, self.replay.rank
        gives = self.events[pushes]
        source = window.source[gives]
        given = pfn[gives]
        fresh = given == UNKNOWN
        given[fresh] = pfn[source[fresh]]
        waits = given == UNKNOWN
        if window.has_offsets:
            given[fresh & ~waits] += window.offset[gives[fresh & ~waits]]
        # Pops in this order: those with a block of their own, then those that wait.
        sizes = np.array([len(buffer) for buffer in self.buffers])
        starts = np.cumsum(sizes) - sizes
        flat = np.concatenate(self.buffers)
        blocks = np.concatenate((flat[starts[self.segment[old]] + self.cells[old]], given))
        takes = np.concatenate((self.events[old], self.events[pops]))
        origin = np.arange(len(takes), dtype=np.int32)
        rank[takes] = origin
        origin[len(old) :][waits] = rank[source[waits]]
        beyond = np.zeros(len(takes), np.int64)  # pages from the origin's block to this one
        if window.has_offsets:
            beyond[len(old) :][waits] = window.offset[gives[waits]]
        while True:
            further = origin[origin]
            if np.array_equal(further, origin):
                break
            if window.has_offsets:
                beyond += beyond[origin]
            origin = further
        pfn[takes] = blocks[origin] + beyond
        rows = self.events[self.push]
        rows = rows[pfn[rows] == UNKNOWN]
        pfn[rows] = pfn[window.source[rows]] + window.offset[rows]

    def _keep(self, pushes: npt.NDArray[np.intp]) -> None:
        """Pushes that stay: their blocks are now in the lists' buffers."""
        which = self.segment[pushes]  # ascending: cells were sorted segment by segment
        cells = self.cells[pushes]
        blocks = self.window.pfn[self.events[pushes]]
        numbers = np.array([number for _, number in self.open], np.int32)
        firsts = np.searchsorted(which, numbers).tolist()
        ends = np.searchsorted(which, numbers, side="right").tolist()
        for (part, _), first, end in zip(self.open, firsts, ends, strict=True):
            if end > first:
                part.pages.room(int(cells[end - 1]) + 1)
                part.pages.buffer[cells[first:end]] = blocks[first:end]
            part.done = part.upto
            part.level = int(part.depth[part.upto - 1]) + part.shift


def _first_below(values: npt.NDArray[np.int32], at: int, limit: int) -> int:
    """Position of the first value below ``limit`` from ``at`` on, or the length."""
    step, n = 256, len(values)
    while at < n:
        hit = values[at : at + step] < limit
        found = int(hit.argmax())
        if hit[found]:
            return at + found
        at += step
        step *= 4
    return n


def _first_at_least(values: npt.NDArray[np.int32], at: int, limit: int) -> int:
    """Position of the first value of at least ``limit`` from ``at`` on, or the length."""
    step, n = 256, len(values)
    while at < n:
        hit = values[at : at + step] >= limit
        found = int(hit.argmax())
        if hit[found]:
            return at + found
        at += step
        step *= 4
    return n
