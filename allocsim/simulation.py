"""The simulated placement: requests through SLUB, and all page requests through the page allocator.

The two layers meet at the slab pages. SLUB runs first and takes for granted that it gets what it
asks for; the page allocator then serves everyone in time order. Where it refuses a slab page (of
the order the cache prefers, below the min watermark; of its fallback order, without a block), both
are put back to before the window and the event is done by itself: for one order after the other,
largest first, until all the slabs that this event asks for can be had (R3.7; all of one event's new
slabs are taken to be limited alike). So what one layer does to the other is exact, event by event,
and does not depend on the windows.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.initial_state.slabs import pre_trace_in
from allocsim.page_alloc.allocator import NO_RECLAIM
from allocsim.page_alloc.paths import PagePath, Pressure
from allocsim.page_alloc.replay import PageReplay, PageSample
from allocsim.recording.requests import HANDLE_SHIFT, UNKNOWN_PAGE, PageEvents
from allocsim.simulated_window import (
    NO_PAGES,
    NO_PLACEMENT,
    NO_SHEAVES,
    NOTHING,
    SLAB_LIFE,
    SimulatedWindow,
    joined_windows,
)
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.requests import (
    ObjectRequests,
    PageRequests,
    Refusals,
)
from allocsim.slub.slub import Slub
from allocsim.tables import Columns, concat, empty, find, rows_of, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.zones import MachineZones
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.slub.requests import FreeBefore, PreTraceObjects
    from allocsim.tables import Int8, Int64

KEPT = 1 << 20  #: requests kept since the state was last put aside: of each 43 bytes
FIRST_CHUNK = 64  #: requests tried at once behind a refused slab page

_PRESSURE = {
    "page_requests_below_low": Pressure.KSWAPD,
    "page_requests_below_min": Pressure.RECLAIM,
}
_END = 1 << 62
_CPU_LIMIT = np.iinfo(np.int16).max


class SlabPages(NamedTuple):
    """What each cache asks the page allocator with; arrays by cache number.

    Args:
        migratetype: of its slab pages (R3.7).
        highest: index of the highest zone they may come from.
    """

    migratetype: Int8
    highest: Int8


class _WindowPart(NamedTuple):
    """Requests of a window, or of a part of it, and the events that samples and turns precede."""

    objects: ObjectRequests
    pages: PageEvents
    samples: Int64
    turns: Int64

    def between(self, first: int, end: int) -> _WindowPart:
        """The requests of events from ``first`` up to ``end``."""
        objects = _places(self.objects.seq, first, end)
        pages = _places(self.pages.seq, first, end)
        return _WindowPart(
            self.objects.part(objects),
            rows_of(self.pages, pages),
            self.samples[_places(self.samples, first, end)],
            self.turns[_places(self.turns, first, end)],
        )


class _Refused(NamedTuple):
    """A slab page the page allocator did not have: the event that wanted it, and its order."""

    seq: int
    order: int


_State = tuple[Slub, PageReplay, Columns, list[int]]


class Simulation:
    """SLUB above the page allocator, fed window by window.

    Args:
        profile: the kernel version.
        shapes: the caches.
        slab_pages: how they ask for pages.
        machine: zones, CPUs and what is free at the start.
        pre_trace: objects live before the trace, by rising handle.
        free_before: free objects of slabs older than the trace.
        freelist_order, changes, fast, older_nodes: as Slub has them.
        own_nodes: page requests go to the node of their CPU, not to the one they name: the machine
            has other nodes than the recorded one.
    """

    def __init__(  # noqa: PLR0913 - two models' worlds
        self,
        profile: Profile,
        shapes: Sequence[CacheShape],
        slab_pages: SlabPages,
        machine: MachineZones,
        pre_trace: PreTraceObjects,
        free_before: FreeBefore,
        freelist_order: FreelistOrder | None = None,
        changes: Sequence[tuple[int, Sequence[CacheShape]]] = (),
        *,
        fast: bool = False,
        older_nodes: Int64 | None = None,
        own_nodes: bool = False,
    ) -> None:
        nodes, several = machine.memory_nodes, machine.memory_nodes.count > 1
        self.slub = Slub(
            *(profile, shapes, machine.cpus, free_before, freelist_order, changes),
            fast=fast,
            nodes=nodes if several else None,
            older_nodes=older_nodes,
        )
        self._classes = machine.classes
        self._own_zones: Int8 | None = None  # by CPU, the first zone of its node
        if own_nodes:
            self._own_zones = np.array(nodes.of_cpu, np.int8) * np.int8(self._classes)
        self.pages = PageReplay(machine)
        self.slab_pages = slab_pages
        self._min_order = np.array([shape.min_order for shape in shapes], np.int8)
        self._pre_trace = pre_trace
        self._slabs = empty({**SLAB_LIFE, "page": "i8"})  # by slab
        # What never changes need not be copied with the state.
        self._fixed = (machine, machine.rules, *machine.zones, *machine.states, *shapes)
        self._waiting: list[int] = []  # samples that no page event has come for yet
        self.counts = dict.fromkeys(("refused_slab_events", "refused_pages", *_PRESSURE), 0)
        self._aside: _State | None = None  # a state to go back to
        self._since: list[_WindowPart] = []  # what has been done since, without a refusal
        self._since_rows = 0

    def adopt(self, pre_trace: PreTraceObjects) -> None:
        """Let objects live before the trace have handles below those of all requests to come.

        Before the first window, for those whose handles are not the numbers of their frees.
        """
        self.slub.live_objects.add(pre_trace.object, pre_trace.slab << INDEX_BITS | pre_trace.index)

    def window(
        self,
        objects: ObjectRequests,
        pages: PageEvents,
        samples: Sequence[int] = (),
        turns: Sequence[int] = (),
    ) -> SimulatedWindow:
        """Place the next requests.

        Args:
            objects: object requests. CPUs the machine does not have take turns on those it has.
            pages: page requests of everyone else, likewise.
            samples: events before which the page allocator is to be sampled, rising; those behind
                the last page request are taken before the next one, or by finish().
            turns: events before which the vmstat worker has its turn on every CPU (R4.13),
                rising, as often as it has one.
        """
        cpus = self.slub.cpus
        rest = _WindowPart(
            objects._replace(cpu=objects.cpu % cpus),
            self._on_machine(pages._replace(cpu=pages.cpu % np.int16(min(cpus, _CPU_LIMIT)))),
            np.array(samples, np.int64),
            np.array(turns, np.int64),
        )
        done: list[SimulatedWindow] = []
        chunk = -1
        while True:
            part = rest if chunk < 0 else _first(rest, chunk)
            self._put_aside()
            result, refused = self._run(part, None)
            if refused is None:
                done.append(result)
                self._since.append(part)
                self._since_rows += len(part.objects.seq) + len(part.pages.seq)
                last = _last_seq(part)
                if part is rest or last < 0:
                    break
                rest = rest.between(last + 1, _END)
                chunk *= 2
                continue
            self._go_back()
            event = refused.seq
            done.append(self._run(part.between(0, event), None)[0])
            done.append(self._alone(part.between(event, event + 1), refused))
            rest = rest.between(event + 1, _END)
            chunk = FIRST_CHUNK
        return done[0] if len(done) == 1 else joined_windows(done)

    def _on_machine(self, pages: PageEvents) -> PageEvents:
        """Requests that prefer the node of their CPU, where that is what the machine is for."""
        if self._own_zones is None:
            return pages
        highest = pages.highest % np.int8(self._classes) + self._own_zones[pages.cpu]
        return pages._replace(highest=highest)

    def finish(self) -> tuple[Columns, list[tuple[int, PageSample]]]:
        """Lives of the slabs still there, and samples that were still waiting."""
        sample = self.pages.sample(0)
        return _lives(self._slabs), [(seq, sample) for seq in self._waiting]

    def _put_aside(self) -> None:
        """See to it that the state before the next part can be had again.

        To copy it costs as much as many requests do, so it is done once in a while; from there the
        requests that were served since lead back to any later one.
        """
        if self._aside is None or self._since_rows >= KEPT:
            self._aside, self._since, self._since_rows = self._state(), [], 0

    def _go_back(self) -> None:
        """The state before the part that could not be done."""
        if self._aside is None:
            raise RuntimeError("no state was put aside")
        counts = self.counts.copy()
        self.slub, self.pages, self._slabs, self._waiting = self._aside
        for part in self._since:
            self._run(part, None)
        self.counts = counts
        self._aside = None

    def _state(self) -> _State:
        """A copy of what a window changes, to go back to."""
        fixed = {id(thing): thing for thing in self._fixed}
        return deepcopy((self.slub, self.pages, self._slabs, self._waiting), fixed)

    def _alone(self, part: _WindowPart, refused: _Refused | None) -> SimulatedWindow:
        """One event whose slabs cannot all be had at the order they are wanted."""
        self.counts["refused_slab_events"] += 1
        result = NOTHING
        while refused is not None:
            limit = np.array([refused.order - 1], np.int8)
            before = self._state()
            result, refused = self._run(part, Refusals(part.objects.seq[:1], limit))
            if refused is not None:
                self.slub, self.pages, self._slabs, self._waiting = before
        return result

    def _run(
        self, part: _WindowPart, refusals: Refusals | None
    ) -> tuple[SimulatedWindow, _Refused | None]:
        """Run a part; also the first slab page that was refused, None if none was.

        Where one was, what became of the part is of no use.
        """
        objects, pages = part.objects, part.pages
        if len(objects.seq):
            first, end = int(objects.seq[0]), int(objects.seq[-1]) + 1
            pre_trace = pre_trace_in(self._pre_trace, first, end)
            placement, wanted = self.slub.window(objects, pre_trace, refusals)
            sheaves = self.slub.sheaf_objects
        else:
            placement, wanted, sheaves = NO_PLACEMENT, NO_PAGES, NO_SHEAVES
        columns, slab_rows, other_rows = self._merge(wanted, pages, part.turns)
        samples = np.concatenate((np.array(self._waiting, np.int64), part.samples))
        at = np.searchsorted(columns["seq"], samples)
        ready = at < len(columns["seq"])
        self._waiting = samples[~ready].tolist()
        results, sampled = self.pages.window(columns, at[ready].tolist())
        path = results.path[slab_rows]
        failed = np.flatnonzero((wanted.way > 0) & (path == PagePath.NO_BLOCK))
        if len(failed):
            first_failed = int(failed[0])
            return NOTHING, _Refused(int(wanted.seq[first_failed]), int(wanted.order[first_failed]))
        slabs = self._slab_lives(wanted, columns["page"][slab_rows], results.pfn[slab_rows])
        others = rows_of(results, other_rows)
        for name, pressure in _PRESSURE.items():
            self.counts[name] += int(np.count_nonzero(results.pressure == pressure))
        self.counts["refused_pages"] += int(np.count_nonzero(others.path == PagePath.NO_BLOCK))
        named = list(zip(samples[ready].tolist(), sampled, strict=True))
        pfns = results.pfn[slab_rows]
        return SimulatedWindow(placement, others, slabs, wanted, pfns, path, sheaves, named), None

    def _merge(
        self, wanted: PageRequests, pages: PageEvents, turns: Int64
    ) -> tuple[Columns, Int64, Int64]:
        """Slab pages, others' pages and the workers' turns as one window; the rows of the first."""
        slab_rows = np.searchsorted(pages.seq, wanted.seq) + np.arange(len(wanted.seq))
        other_rows = np.searchsorted(wanted.seq, pages.seq) + np.arange(len(pages.seq))
        allocates = wanted.way > 0
        page = np.empty(len(wanted.seq), np.int64)
        page[allocates] = _handles(wanted.seq[allocates])
        slabs = np.concatenate((self._slabs["slab"], wanted.slab[allocates]))
        handles = np.concatenate((self._slabs["page"], page[allocates]))
        order = np.argsort(slabs)
        found = find(slabs[order], wanted.slab[~allocates])
        # The page of a slab older than the trace is none of the model's.
        page[~allocates] = np.append(handles[order], UNKNOWN_PAGE)[found]
        kind, highest = self.slab_pages
        preferred = wanted.order > self._min_order[wanted.cache]
        of_slab = {
            "seq": wanted.seq,
            "cpu": wanted.cpu,
            "op": wanted.way,
            "page": page,
            "order": wanted.order,
            "migratetype": kind[wanted.cache],
            "highest": highest[wanted.cache] + wanted.node.astype(np.int8) * np.int8(self._classes),
            "flags": np.where(preferred, np.uint8(NO_RECLAIM), np.uint8(0)),
            "offset": np.zeros(len(page), np.int64),
        }
        columns: Columns = {}
        for name, theirs in pages._asdict().items():
            merged = np.empty(len(page) + len(theirs), theirs.dtype)
            merged[slab_rows] = of_slab[name]
            merged[other_rows] = theirs
            columns[name] = merged
        if not len(turns):
            return columns, slab_rows, other_rows
        at = np.repeat(np.searchsorted(columns["seq"], turns), self.slub.cpus)
        cpu = np.tile(np.arange(self.slub.cpus), len(turns))
        theirs = {"seq": np.repeat(turns, self.slub.cpus), "cpu": cpu, "page": UNKNOWN_PAGE}
        columns = {
            name: np.insert(column, at, theirs.get(name, 0)) for name, column in columns.items()
        }
        slab_rows, other_rows = (
            rows + np.searchsorted(at, rows, side="right") for rows in (slab_rows, other_rows)
        )
        return columns, slab_rows, other_rows

    def _slab_lives(self, wanted: PageRequests, page: Int64, pfn: Int64) -> Columns:
        """Carry the slabs that live on; the lives of those that ended."""
        gone = np.flatnonzero(wanted.way < 0)
        ended = wanted.slab[gone]
        # Slabs made, and those older than the trace that end: of these no more is known.
        rows = np.concatenate((np.flatnonzero(wanted.way > 0), gone[ended < 0]))
        made = wanted.way[rows] > 0
        unseen = np.full(len(rows), -1, np.int64)
        new: Columns = {
            "slab": wanted.slab[rows],
            "cache": wanted.cache[rows],
            "order": wanted.order[rows],
            "pfn": pfn[rows],
            "alloc_seq": np.where(made, wanted.seq[rows], -1),
            "alloc_cpu": np.where(made, wanted.cpu[rows], np.int16(-1)),
            "free_seq": unseen,
            "free_cpu": unseen.astype(np.int16),
            "page": np.where(made, page[rows], -1),
        }
        lives = concat([self._slabs, new])
        lives = take(lives, np.argsort(lives["slab"]))
        at = find(lives["slab"], ended)
        lives["free_seq"][at] = wanted.seq[gone]
        lives["free_cpu"][at] = wanted.cpu[gone]
        over = lives["free_seq"] >= 0
        self._slabs = take(lives, ~over)
        return _lives(take(lives, over))


def _places(seq: Int64, first: int, end: int) -> slice:
    begin, stop = np.searchsorted(seq, [first, end])
    return slice(int(begin), int(stop))


def _last_seq(part: _WindowPart) -> int:
    """The last event of a part; -1 if it has none."""
    return max((int(t.seq[-1]) for t in (part.objects, part.pages) if len(t.seq)), default=-1)


def _first(part: _WindowPart, count: int) -> _WindowPart:
    """About the first ``count`` requests."""
    ends = [int(t.seq[count - 1]) for t in (part.objects, part.pages) if len(t.seq) >= count]
    return part.between(0, min(ends) + 1) if ends else part


def _handles(seq: Int64) -> Int64:
    """Page handles of slabs allocated by events, several by one event: rising."""
    rank = np.arange(len(seq)) - np.searchsorted(seq, seq)
    return (seq << HANDLE_SHIFT) + rank


def _lives(slabs: Columns) -> Columns:
    return {name: slabs[name] for name in SLAB_LIFE}
