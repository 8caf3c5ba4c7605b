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
from allocsim.page_allocator import BULK, Request
from allocsim.page_lists import NO_LIST
from allocsim.page_window import UNKNOWN
from allocsim.zones import COSTLY_ORDER, PCP_LISTS, Path

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from allocsim.page_lists import PageList, Pcp
    from allocsim.page_replay import PageReplay
    from allocsim.page_window import Window

MAX_EVENTS = 49_152  #: list cells of a stretch must fit 16 bits, for the radix sort
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
        self.upto = int(np.searchsorted(self.events, event))
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
        self.free = window.op[events] < 0
        self.order = window.order[events]
        self.pages = np.where(self.free, np.int64(1) << self.order.astype(np.int64), 0)
        self.halves = ~self.free & (window.flags[events] & BULK == 0)
        sized = np.int32(1) << self.order.astype(np.int32)
        self.count = np.cumsum(np.where(self.free, sized, -sized), dtype=np.int32)
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
        frees = np.flatnonzero(self.free)
        high = (self.order[frees] >= 1) & (self.order[frees] <= COSTLY_ORDER)
        if not high.any():
            return np.empty(0, np.intp)
        again = high & np.concatenate(([self.remembered], high[:-1]))
        bound = free_count_bound(
            self.pcp.free_count, self.pages, self.halves, self.pcp.free_count_cap
        )
        return frees[again & (bound[frees] >= self.pcp.free_high_threshold)]

    def position(self, event: int) -> int:
        """How many of this CPU's events come before ``event``."""
        return int(np.searchsorted(self.events, event))

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
        self._settled = False
        self._cpus: dict[int, _Cpu] = {}
        self._lists: list[_List] = []
        self._heap: list[tuple[int, int]] = []
        self._explicit: list[int] = []
        self._plan()

    # -- what is known beforehand

    def _plan(self) -> None:
        window, allocator = self.window, self.allocator
        self.replay.plan_routes()
        rows = slice(self.first, self.end)
        order, op = window.order[rows], window.op[rows]
        zone = self.replay.routes[order, window.highest[rows]]
        index = self.replay.list_table[order, window.migratetype[rows]]
        free = op < 0
        self._place_frees(rows, free, zone, index)
        lane = (zone.astype(np.int32) * allocator.machine.cpus + window.cpu[rows]) * PCP_LISTS
        lane += index
        gone = free & (window.pfn[rows] == -1)
        window.path[self.first : self.end][gone] = Path.UNPLACED
        listed = (index != NO_LIST) & (zone >= 0) & (op != 0) & ~gone
        if self.replay.impure:
            end = self._first_unsure(rows, lane, listed, free)
            self.end = self.first + end
            listed, gone, lane = listed[:end], gone[:end], lane[:end]
        self._explicit = (self.first + np.flatnonzero(~listed & ~gone)).tolist()
        at = np.flatnonzero(listed).astype(np.int32)
        self._split(at, lane[at])

    def _place_frees(
        self,
        rows: slice,
        free: npt.NDArray[np.bool_],
        zone: npt.NDArray[np.int8],
        index: npt.NDArray[np.uint8],
    ) -> None:
        """Zone and list of every free: by its page where that is known, else by its request."""
        window, allocator = self.window, self.allocator
        pfn = window.pfn[rows]
        frees = np.flatnonzero(free)
        source = window.source[rows][frees]
        before = frees[(source >= 0) & (source < self.first) & (pfn[frees] == UNKNOWN)]
        if len(before):
            found = window.pfn[window.source[rows][before]]
            pfn[before] = np.where(found < 0, -1, found + window.offset[rows][before])
        unknown = frees[pfn[frees] == UNKNOWN]
        source = window.source[rows][unknown]
        zone[unknown] = self.replay.routes[window.order[source], window.highest[source]]
        index[unknown] = self.replay.list_table[
            window.order[rows][unknown], window.migratetype[source]
        ]
        known = frees[pfn[frees] >= 0]
        pages = pfn[known]
        for z, buddy in enumerate(allocator.buddies):
            spec = buddy.zone
            here = known[(pages >= spec.start_pfn) & (pages < spec.end_pfn)]
            zone[here] = z
            types = buddy.types_of(pfn[here])
            index[here] = self.replay.list_table[window.order[rows][here], types]

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

    def _split(self, at: npt.NDArray[np.int32], lane: npt.NDArray[np.int32]) -> None:
        """Give each list and each CPU its events."""
        window, allocator = self.window, self.allocator
        if not len(at):
            return
        small = np.uint16 if len(self.replay.lanes) < 1 << 16 else np.int32
        by_lane = np.argsort(lane.astype(small), kind="stable")
        events = at[by_lane] + np.int32(self.first)
        sign = np.where(window.op[events] < 0, np.int8(1), np.int8(-1))
        depth = np.cumsum(sign, dtype=np.int32)
        sorted_lane = lane[by_lane]
        starts = np.flatnonzero(np.diff(sorted_lane, prepend=-1))
        ends = np.append(starts[1:], len(events)).tolist()
        by_cpu = np.argsort((lane // PCP_LISTS).astype(small), kind="stable")
        cpu_events = at[by_cpu] + np.int32(self.first)
        cpus = lane[by_cpu] // PCP_LISTS
        cpu_starts = np.flatnonzero(np.diff(cpus, prepend=-1))
        cpu_ends = np.append(cpu_starts[1:], len(cpu_events)).tolist()
        for start, end in zip(cpu_starts.tolist(), cpu_ends, strict=True):
            number = int(cpus[start])
            pcp = self.replay.pcp_of(number)
            self._cpus[number] = _Cpu(pcp, window, cpu_events[start:end])
        for start, end in zip(starts.tolist(), ends, strict=True):
            number, index = divmod(int(sorted_lane[start]), PCP_LISTS)
            view = self._cpus[number]
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
            if event == next_explicit:
                next_explicit = next(explicit, _NEVER)
                self._one(event)
            else:
                number = heapq.heappop(heap)[1]
                self._barrier(event, number)
            if self._cut or self._settled or self.replay.moved():
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
        elif window.op[event] < 0 and window.pfn[event] == UNKNOWN:
            if window.pfn[window.source[event]] == UNKNOWN:
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
        if not self._settled and not Path.REFILL <= path <= Path.REFILL_STEAL:
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
                part.upto = int(np.searchsorted(part.events, event))
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
                cells.append(part.depth[first:end] + shift)
                buffers.append(buffer)
            part.closed = []
            if part.upto > part.done:
                events.append(part.events[part.done : part.upto])
                cells.append(part.depth[part.done : part.upto] + part.shift)
                buffers.append(part.pages.buffer)
                self.open.append((part, len(events) - 1))
        self.buffers = buffers
        self.lengths = np.array([len(part) for part in events], np.int64)
        if events:
            self.events = np.concatenate(events)
            self.cells = np.concatenate(cells)

    def settle(self) -> None:
        """Write pfns of the events, and the blocks left over into the lists' buffers."""
        if not self.buffers:
            return
        window = self.window
        push = window.op[self.events] < 0
        cells = self.cells - push  # a push fills the cell below the new top, a pop the new top's
        segment = np.repeat(np.arange(len(self.lengths)), self.lengths)
        starts = np.cumsum(self.lengths) - self.lengths
        lowest = np.minimum.reduceat(cells, starts)
        widths = np.maximum.reduceat(cells, starts) - lowest + 1
        bases = np.cumsum(widths) - widths
        key = cells + np.repeat(bases - lowest, self.lengths)
        by_cell = np.argsort(key.astype(np.uint16), kind="stable")
        key = key[by_cell]
        first = np.empty(len(key), np.bool_)
        first[0] = True
        np.not_equal(key[1:], key[:-1], out=first[1:])
        popped = ~push[by_cell]
        self._from_buffers(by_cell[popped & first], cells, segment)
        later = np.flatnonzero(popped & ~first)
        self._from_pushes(by_cell[later], by_cell[later - 1], push)
        last = np.empty(len(key), np.bool_)
        last[-1] = True
        last[:-1] = first[1:]
        self._to_buffers(by_cell[last & ~popped], cells, segment)
        moved = self.events[window.movable[self.events]]
        self.replay.count_movable(window.pfn[moved], window.order[moved], window.op[moved])

    def _from_buffers(
        self,
        pops: npt.NDArray[np.intp],
        cells: npt.NDArray[np.int64],
        segment: npt.NDArray[np.int64],
    ) -> None:
        """Pops of blocks that lay on the list before."""
        sizes = [len(buffer) for buffer in self.buffers]
        starts = np.cumsum(sizes) - sizes
        flat = np.concatenate(self.buffers)
        self.window.pfn[self.events[pops]] = flat[starts[segment[pops]] + cells[pops]]

    def _from_pushes(
        self,
        pops: npt.NDArray[np.intp],
        pushes: npt.NDArray[np.intp],
        push: npt.NDArray[np.bool_],
    ) -> None:
        """Pops of blocks pushed meanwhile: follow each page back to where its pfn is known.

        A push's page is that of its allocation, which may be a pop further back, and so on.
        """
        window = self.window
        pfn = window.pfn
        takes = self.events[pops]
        gives = self.events[pushes]
        # Where the page of a row comes from: the push for a pop, the allocation for a push.
        origin = self.replay.origin
        add = self.replay.extra if window.has_offsets else None
        rows = self.events[push]
        rows = rows[pfn[rows] == UNKNOWN]
        origin[rows] = window.source[rows]
        origin[takes] = gives
        if add is not None:
            add[rows] = window.offset[rows]
            add[takes] = 0
        waiting = np.concatenate((takes, rows))
        while len(waiting):
            target = origin[waiting]
            found = pfn[target]
            known = found != UNKNOWN
            if add is not None:
                found = found + add[waiting]
            pfn[waiting[known]] = found[known]
            waiting = waiting[~known]
            target = target[~known]
            # Both read before either is written: every row jumps over the same distance.
            further = origin[target]
            if add is not None:
                add[waiting] += add[target]
            origin[waiting] = further

    def _to_buffers(
        self,
        pushes: npt.NDArray[np.intp],
        cells: npt.NDArray[np.int64],
        segment: npt.NDArray[np.int64],
    ) -> None:
        """Pushes that stay: the blocks now in the lists' buffers."""
        which = segment[pushes]
        order = np.argsort(which, kind="stable")
        pushes, which = pushes[order], which[order]
        for part, number in self.open:
            first, end = np.searchsorted(which, [number, number + 1])
            mine = pushes[first:end]
            if len(mine):
                part.pages.room(int(cells[mine].max()) + 1)
                part.pages.buffer[cells[mine]] = self.window.pfn[self.events[mine]]
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
