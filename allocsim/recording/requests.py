"""The requests of a recording: what was asked of the allocators, whatever they did with it.

Object requests are its object events less the allocator's own metadata (sheaves, T7), large
kmallocs, which are page requests, and frees of nothing (T4). What must be left out of them is
counted, by reason (LEFT_OUT). An allocation of an address believed
live shows that a free went untraced (T6, I2); such frees, and prefilled sheaves, are told by
``Untraced``. Page
requests are everyone's but slab's, whose pages the model asks for itself.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.gfp import highest_zones, migratetypes, urgency
from allocsim.page_alloc.nodes import NO_NODE
from allocsim.page_alloc.zones import zone_classes
from allocsim.recording.untraced import NOTHING_UNTRACED, UntracedMerger, sheaf_calls
from allocsim.slub.requests import ObjectRequests, Op
from allocsim.tables import column, concat, empty, find, take
from allocsim.trace.events import Ev, Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import Zone
    from allocsim.recording.rcu_sheaves import SheavesDue
    from allocsim.recording.untraced import Untraced
    from allocsim.tables import Bools, Columns, Int8, Int16, Int32, Int64, UInt8

#: Event columns that are read, as far as the trace has them.
COLUMNS = ("ts", "cpu", "event", "pfn", "order", "gfp_flags", "node", "probe", "metadata")

#: A page's handle is ``alloc_seq << HANDLE_SHIFT``; the slab pages that one event asks for have the
#: numbers behind its own. Object requests and page requests come from different events.
HANDLE_SHIFT = 11
#: Handle of pages allocated before the trace, or in a way it does not show.
UNKNOWN_PAGE = -1

# Instead of the number of a cache, why there is none that a request could be for.
UNKNOWN_CACHE = -1  #: nothing tells of which cache the object is
WHOLE_PAGES = -2  #: it is a large kmalloc
UNSIZED_CACHE = -3  #: the slot size of its cache is not known
_METADATA = -4  # it is the allocator's own
_UNSEEN = -5  # its allocation was not seen, nor did it lie on a slab older than the trace
_NO_LIFE = -6  # there is no such object

#: Counts of requests that are left out: of objects that have none to be for, seen allocated and
#: not; and frees of objects that lay on no slab older than the trace, nor were seen allocated.
LEFT_OUT = (
    "allocations_left_out",
    "frees_left_out",
    "frees_of_unknown_cache",
    "frees_of_unsized_cache",
    "frees_of_unseen_allocations",
)


class PageEvents(NamedTuple):
    """Page requests of everyone but slab, in time order; arrays of one length.

    Args:
        seq: number of the event (i8).
        cpu: its CPU (i2).
        op: +1 allocation, -1 free (i1).
        page: handle of the block, UNKNOWN_PAGE where its allocation was not seen (i8).
        order: order of the block allocated or freed (i1).
        migratetype: of an allocation (i1).
        highest: index of the highest zone an allocation may come from, of the node that the page
            it got lies on (i1).
        flags: page_allocator.ATOMIC where it may use the atomic reserve (u1).
        offset: of a free: pages from the block's first (i8).
    """

    seq: Int64
    cpu: Int16
    op: Int8
    page: Int64
    order: Int8
    migratetype: Int8
    highest: Int8
    flags: UInt8
    offset: Int64


class RequestWindow(NamedTuple):
    """The requests of a window.

    Args:
        objects: object requests; a free that no event shows has the ``seq`` of the object event
            it stands before.
        shown: which object requests are events of the trace (bool).
        pages: page requests.
        end: number of the event behind the window.
    """

    objects: ObjectRequests
    shown: Bools
    pages: PageEvents
    end: int


class RecordedObjects(NamedTuple):
    """What a replay of the recording said of each event of a window.

    Args:
        cache: its cache, or UNKNOWN_CACHE, WHOLE_PAGES, UNSIZED_CACHE (i4).
        life: number of the event that allocated its object, or of the free itself where the
            allocation was not seen; -1: it is no event of an object (i8).
    """

    cache: Int32
    life: Int64


class RecordedPages(NamedTuple):
    """What a replay of the recording said of the page events of a window.

    Args:
        seq: rising numbers of its mm_page_alloc and mm_page_free events that belong to a page
            (i8).
        alloc_seq: number of the event that allocated the page; -1: none seen (i8).
        first: first page frame of that page (i8).
        slab: it is a slab's (bool).
        block: order of the block that a free gives back whole, of which the events before it freed
            the other pages one by one (R4.31); -1: one of those events; else 0 (i1).
    """

    seq: Int64
    alloc_seq: Int64
    first: Int64
    slab: Bools
    block: Int8


class RecordedRequests:
    """Makes requests of events, window by window.

    Args:
        zones: the zones page requests are for.
        pre_trace: rising handles of objects live before the trace, which are those of the frees
            that end them; frees of other unknown objects are left out.
        due: when sheaves of kfree_rcu came back; None: it was not recorded.
        prefilled_cache: number of the cache that prefilled sheaves are of; -1: it is not modelled.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        pre_trace: Int64,
        due: SheavesDue | None = None,
        prefilled_cache: int = UNKNOWN_CACHE,
    ) -> None:
        self._zones = zones
        classes = zone_classes(zones)
        used = [z for z, zone in enumerate(zones) if zone.managed]
        self._starts = None
        if len(zones) > classes:
            self._starts = np.array([zones[z].start_pfn for z in used])
        self._firsts = np.array([z // classes * classes for z in used], np.int8)
        self._due = due
        self._pre_trace = pre_trace
        #: Allocations that a free is still to come of, and their caches or why there is none.
        self._live: Columns = empty({"object": "i8", "cache": "i4"})
        self._merger = UntracedMerger(prefilled_cache)
        #: Of requests, those recorded and those left out; of pages and events, what is told apart.
        self.counts: Counter[str] = Counter(dict.fromkeys(LEFT_OUT, 0))

    def window(
        self,
        columns: Columns,
        seq: int,
        of_objects: RecordedObjects,
        pages: RecordedPages,
        untraced: Untraced = NOTHING_UNTRACED,
    ) -> RequestWindow:
        """The requests of the next events.

        Args:
            columns: event columns, of COLUMNS those the trace has.
            seq: row of the first event in the trace.
            of_objects: what is known of the object events.
            pages: what is known of the page events.
            untraced: what the events do not say themselves.
        """
        cpu = columns["cpu"]
        shown = self._objects(columns, seq, cpu, of_objects)
        ts = columns["ts"][shown.seq - seq]
        calls = sheaf_calls(columns, seq, untraced.runs)
        objects, is_event, frees = self._merger.window(shown, ts, untraced, calls)
        self.counts["inferred_frees"] += frees
        gone = find(self._live["object"], untraced.frees.object)
        self._live = {name: np.delete(kept, gone[gone >= 0]) for name, kept in self._live.items()}
        end = seq + len(cpu)
        return RequestWindow(objects, is_event, self._pages(columns, seq, cpu, pages), end)

    def _objects(
        self, columns: Columns, seq: int, cpu: Int16, known: RecordedObjects
    ) -> ObjectRequests:
        rows = np.flatnonzero(known.life >= 0)
        code, handle, own = columns["event"][rows], known.life[rows], known.cache[rows]
        metadata = columns["metadata"][rows]
        own[metadata] = _METADATA
        self.counts["metadata_events"] += int(np.count_nonzero(metadata))
        allocates = (code == Ev.KMALLOC) | (code == Ev.KMEM_CACHE_ALLOC)
        # Of a life, its allocation's cache counts: a free may lack it, or be of a sheaf.
        frees = np.flatnonzero(~allocates)
        self._name_frees(rows, seq, handle, own, frees)

        unknown = frees[handle[frees] == rows[frees] + seq]
        named = unknown[own[unknown] >= 0]
        own[named[find(self._pre_trace, handle[named]) < 0]] = _UNSEEN
        self._count_left_out(own, allocates, unknown)
        keep = np.flatnonzero(own >= 0)
        rows, handle = rows[keep], handle[keep]
        op = np.where(allocates[keep], np.int8(Op.ALLOC), np.int8(Op.FREE))
        op[column(columns, "probe", rows) == Probe.KFREE_RCU_SHEAF] = Op.FREE_RCU
        node = column(columns, "node", rows).astype(np.int16)
        named = (node >= 0) & (op == Op.ALLOC) if "node" in columns else np.zeros(0, np.bool_)
        asked = np.where(named, node, np.int16(NO_NODE)) if named.any() else None
        found = ObjectRequests(rows + seq, cpu[rows], own[keep], op, handle, node=asked)
        return found if self._due is None else found._replace(due=self._due.of(found.seq))

    def _count_left_out(self, own: Int32, allocates: Bools, unknown: Int64) -> None:
        """Count what is left out, of objects whose allocation was seen and of the others."""
        no_cache = (own == UNKNOWN_CACHE) | (own == UNSIZED_CACHE)
        at_free = own[unknown]
        counts = {
            "allocations_left_out": np.count_nonzero(no_cache & allocates),
            "frees_left_out": np.count_nonzero(no_cache & ~allocates)
            - np.count_nonzero(no_cache[unknown]),
            "frees_of_unknown_cache": np.count_nonzero(at_free == UNKNOWN_CACHE),
            "frees_of_unsized_cache": np.count_nonzero(at_free == UNSIZED_CACHE),
            "frees_of_unseen_allocations": np.count_nonzero(at_free == _UNSEEN),
        }
        counts["recorded_requests"] = np.count_nonzero(own >= 0) + sum(counts.values())
        self.counts.update({name: int(count) for name, count in counts.items()})

    def _name_frees(self, rows: Int64, seq: int, handle: Int64, own: Int32, frees: Int64) -> None:
        """Give frees the cache of the allocation they end, and carry those still to be freed."""
        ended = handle[frees]
        here, before = np.flatnonzero(ended >= seq), np.flatnonzero(ended < seq)
        # Caches of this window's allocations, by row; an unknown free is its own.
        named = np.full(int(rows[-1]) + 1 if len(rows) else 0, _NO_LIFE, np.int32)
        named[rows] = own
        own[frees[here]] = named[ended[here] - seq]
        at = find(self._live["object"], ended[before])
        own[frees[before]] = np.append(self._live["cache"], np.int32(UNKNOWN_CACHE))[at]
        named[rows[frees]] = named[ended[here] - seq] = _NO_LIFE
        born = np.flatnonzero(named != _NO_LIFE)
        rest = np.ones(len(self._live["object"]), np.bool_)
        rest[at[at >= 0]] = False
        new: Columns = {"object": born + seq, "cache": named[born]}
        self._live = concat([take(self._live, rest), new])

    def _first_zone(self, pfn: Int64) -> Int8:
        """Index of the first zone of the node that each page lies on."""
        if self._starts is None:
            return np.zeros(1, np.int8)
        found: Int8 = self._firsts[
            np.maximum(np.searchsorted(self._starts, pfn, side="right") - 1, 0)
        ]
        return found

    def _pages(self, columns: Columns, seq: int, cpu: Int16, pages: RecordedPages) -> PageEvents:
        event = columns["event"]
        rows = np.flatnonzero((event == Ev.MM_PAGE_ALLOC) | (event == Ev.MM_PAGE_FREE))
        known = find(pages.seq, rows + seq)
        allocates = event[rows] == Ev.MM_PAGE_ALLOC
        failed = allocates & (columns["pfn"][rows] < 0) if len(rows) else allocates
        self.counts["failed_page_allocations_left_out"] += int(np.count_nonzero(failed))
        # One more place, for events that belong to no page: -1 finds it.
        slab = np.append(pages.slab, False)[known]
        # R4.31, mm/page_alloc.c:free_prepared_contig_range (7.2): vfree prepares every page, which
        # is what the events tell, and frees the block.
        block = np.append(pages.block, np.int8(0))[known]
        self.counts["page_frees_joined"] += int(np.count_nonzero(block < 0))
        keep = ~slab & ~failed & (block >= 0)
        rows, known, allocates, block = rows[keep], known[keep], allocates[keep], block[keep]
        alloc_seq = np.where(allocates, rows + seq, np.append(pages.alloc_seq, -1)[known])
        page = np.where(alloc_seq >= 0, alloc_seq << HANDLE_SHIFT, UNKNOWN_PAGE)
        unseen = page == UNKNOWN_PAGE
        self.counts["unknown_page_frees"] += int(np.count_nonzero(unseen))
        gfp = column(columns, "gfp_flags", rows).astype(np.uint64)
        pfn = columns["pfn"][rows] if len(rows) else np.empty(0, np.int64)
        return PageEvents(
            rows + seq,
            cpu[rows],
            np.where(allocates, np.int8(1), np.int8(-1)),
            page,
            np.where(block > 0, block, columns["order"][rows] if len(rows) else rows).astype(
                np.int8
            ),
            migratetypes(gfp),
            highest_zones(gfp, self._zones) + self._first_zone(pfn),
            urgency(gfp),
            np.where(allocates | unseen | (block > 0), 0, pfn - np.append(pages.first, 0)[known]),
        )
