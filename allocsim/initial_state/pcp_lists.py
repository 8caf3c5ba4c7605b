"""What the per-CPU page lists held when a recording began: inferred from how it goes on.

A list is empty at its first refill (R4.4), so it held at the start as many blocks as were taken
from it until then, less those freed to it. mm_page_alloc_zone_locked tells the refill (T12).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.pcp import NO_LIST, list_index, list_order, list_type
from allocsim.page_alloc.zones import (
    ORDERS,
    PAGEBLOCK,
    PCP_LISTS,
    PRIOR_CHUNK,
    TYPES,
    Mt,
    block_index,
)
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from allocsim.page_alloc.zones import Zone, ZoneState
    from allocsim.tables import I1, I8, Bools, Columns, Ints

_BELOW = (Mt.MOVABLE, Mt.UNMOVABLE, Mt.RECLAIMABLE)  #: lists of order 0, likeliest first
LIST_PAGES = 1 << np.array([list_order(index) for index in range(PCP_LISTS)])  #: of its blocks
#: Event columns that are looked at.
COLUMNS = ("cpu", "event", "pfn", "order", "migratetype")
_CODES = (Ev.MM_PAGE_ALLOC, Ev.MM_PAGE_FREE, Ev.MM_PAGE_ALLOC_ZONE_LOCKED)
_WAYS = np.zeros(len(Ev), np.int64)  #: op of ListDepths.add, by event code; a refill has 0
_WAYS[Ev.MM_PAGE_ALLOC], _WAYS[Ev.MM_PAGE_FREE] = +1, -1
_PAGES_AT_ONCE = 1 << 22


class ListDepths:
    """How many blocks each list held before the first event, followed event by event.

    Args:
        pcp_lists: number of lists.

    Attributes:
        held: (pcp_lists) blocks (i8). Where a refill was seen, they make the list empty then
            (inferred); else they are the least that serves every allocation.
        refilled: (pcp_lists) whether a refill was seen.
    """

    def __init__(self, pcp_lists: int) -> None:
        self.held = np.zeros(pcp_lists, np.int64)
        self.refilled = np.zeros(pcp_lists, np.bool_)
        self._taken = np.zeros(pcp_lists, np.int64)  # blocks allocated less freed until now

    def add(self, pcp_list: Ints, op: Ints) -> None:
        """Add events that follow those before.

        Args:
            pcp_list: list of each event, below ``pcp_lists``; events of a list in order of time.
            op: +1 a block was allocated, -1 freed, 0 the list was refilled (before the allocation
                that found it empty).
        """
        waiting = np.flatnonzero(~self.refilled[pcp_list])  # what follows a refill says nothing
        pcp_list, op = pcp_list[waiting], op[waiting]
        by_pcp_list = np.argsort(pcp_list, kind="stable")
        pcp_list, op = pcp_list[by_pcp_list], op[by_pcp_list]
        starts = np.flatnonzero(np.diff(pcp_list, prepend=-1))
        for number, mine in zip(pcp_list[starts].tolist(), np.split(op, starts[1:]), strict=False):
            refills = np.flatnonzero(mine == 0)
            depth = self._taken[number] + np.cumsum(mine[: refills[0]] if len(refills) else mine)
            # Frees to the list of another pageblock type can make the sum smaller than its least.
            self.held[number] = max(self.held[number], int(depth.max(initial=0)))
            self._taken[number] = depth[-1] if len(depth) else self._taken[number]
            self.refilled[number] = len(refills) > 0


class ListsAtStart:
    """What a recording's own events say of every CPU's lists when it began.

    A free goes to the list of its pageblock's type (R4.2), which no event says. It is taken to be
    that of the request, or of the refill, its page last came by; of pages older than the trace,
    movable (inferred, assumed).

    Args:
        zones: the machine's zones.
        cpus: CPUs of the recording.
        thp: order-9 lists exist.

    Attributes:
        taken: (zones) pages allocated in each zone less those freed, by all events so far (i8).
    """

    def __init__(self, zones: Sequence[Zone], cpus: int, *, thp: bool) -> None:
        self._cpus = cpus
        self._starts = np.array([zone.start_pfn for zone in zones if zone.managed])
        self._managed = np.array([z for z, zone in enumerate(zones) if zone.managed])
        self._shape = len(zones), cpus, PCP_LISTS
        self._depths = ListDepths(len(zones) * cpus * PCP_LISTS)
        table = [
            [list_index(order, kind, thp=thp) for kind in range(TYPES)] for order in range(ORDERS)
        ]
        self._table = np.array(table, np.int64)
        self.taken = np.zeros(len(zones), np.int64)
        self._kinds = np.empty(0, np.int8)  # by page

    @property
    def held(self) -> I8:
        """(zones, CPUs, PCP_LISTS) ListDepths.held."""
        return self._depths.held.reshape(self._shape)

    @property
    def refilled(self) -> Bools:
        """(zones, CPUs, PCP_LISTS) ListDepths.refilled."""
        return self._depths.refilled.reshape(self._shape)

    def add(self, columns: Columns) -> None:
        """Add the next events.

        Args:
            columns: those named by COLUMNS.
        """
        event, pfn = columns["event"], columns["pfn"]
        wanted = np.isin(event, _CODES) & (pfn >= 0) & (columns["order"] < ORDERS)
        # No lists are above the highest zone's last page, and none below the lowest's first.
        rows = np.flatnonzero(wanted & (pfn >= self._starts[0]))
        pages = np.int64(1) << columns["order"][rows].astype(np.int64)
        # A few huge blocks at a time, since each of their pages is looked at.
        part = np.cumsum(pages) // _PAGES_AT_ONCE
        for some in np.split(rows, np.flatnonzero(np.diff(part)) + 1):
            if len(some):
                self._add({name: columns[name][some] for name in COLUMNS})

    def _add(self, columns: Columns) -> None:
        event, pfn, order = (columns[name] for name in ("event", "pfn", "order"))
        pfn, order = pfn.astype(np.int64), order.astype(np.int64)
        frees = event == Ev.MM_PAGE_FREE
        kind = np.clip(columns["migratetype"], 0, TYPES - 1).astype(np.int8)
        self._kinds_of_frees(np.flatnonzero(frees), np.flatnonzero(~frees), event, pfn, order, kind)
        zone = self._managed[np.searchsorted(self._starts, pfn, side="right") - 1]
        np.add.at(self.taken, zone, _WAYS[event] << order)
        index = self._table[order, kind]
        listed = np.flatnonzero(index != NO_LIST)
        pcp_list = (zone[listed] * self._cpus + columns["cpu"][listed]) * PCP_LISTS + index[listed]
        self._depths.add(pcp_list, _WAYS[event[listed]])

    def _kinds_of_frees(  # noqa: PLR0913 - columns of one table
        self,
        frees: npt.NDArray[np.intp],
        others: npt.NDArray[np.intp],
        event: Ints,
        pfn: I8,
        order: I8,
        kind: I1,
    ) -> None:
        """Fill in ``kind`` of frees, and remember those of pages allocated or fetched."""
        highest = int((pfn + (1 << order)).max())
        if highest > len(self._kinds):
            grown = np.full(highest, Mt.MOVABLE, np.int8)
            grown[: len(self._kinds)] = self._kinds
            self._kinds = grown
        # Of a block taken from the buddy, the first page is enough: the allocation names all.
        pages = np.where(event[others] == Ev.MM_PAGE_ALLOC, 1 << order[others], 1)
        row = np.repeat(others, pages)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(pages) - pages, pages)
        page, count = pfn[row] + offset, np.int64(len(event))
        key = page * count + row
        in_order = np.argsort(key)
        key, page, row = key[in_order], page[in_order], row[in_order]
        found = self._kinds[pfn[frees]]
        last = np.searchsorted(key, pfn[frees] * count + frees) - 1
        here = np.flatnonzero(last >= 0)
        here = here[page[last[here]] == pfn[frees[here]]]
        found[here] = kind[row[last[here]]]
        kind[frees] = found
        newest = np.flatnonzero(np.diff(page, append=-1))
        self._kinds[page[newest]] = kind[row[newest]]


def with_pages(held: I8, refilled: Bools, pages: Ints) -> I8:
    """Blocks held, and single pages below them up to the number each CPU's lists had.

    Args:
        held: (CPUs, PCP_LISTS) blocks, of one zone of ListsAtStart.held.
        refilled: (CPUs, PCP_LISTS) lists known to have held no more.
        pages: (CPUs) pages on all lists together (zoneinfo.parse_list_pages: observed).

    Returns:
        (CPUs, PCP_LISTS) blocks. What is missing is put on the movable list of order 0, or on
        another of order 0 where that one is known (assumed).
    """
    found = held.copy()
    for cpu, missing in enumerate((pages - (held * LIST_PAGES).sum(axis=1)).tolist()):
        unknown = [index for index in _BELOW if not refilled[cpu, index]]
        if missing > 0 and unknown:
            found[cpu, unknown[0]] += missing
    return found


def with_lists(zone: Zone, state: ZoneState, held: I8) -> ZoneState:
    """The state with blocks on the lists, out of used pages of pageblocks of their type (assumed).

    Args:
        zone: the zone.
        state: what it holds; chunks are taken from the end of ``prior``.
        held: (CPUs, PCP_LISTS) blocks; where ``prior`` runs out, lists stay shorter.
    """
    types = bytearray(state.block_types)
    chunks = list(state.prior)
    room: dict[int, tuple[int, int]] = {}  # migratetype -> next pfn and end in its chunk
    lists = []
    # Large blocks first: each is aligned where the one before it ends.
    for index in sorted(range(PCP_LISTS), key=lambda index: -list_order(index)):
        order, kind = list_order(index), list_type(index)
        for cpu in range(held.shape[0]):
            blocks: list[int] = []
            while len(blocks) < held[cpu, index]:
                at, end = room.get(kind, (0, 0))
                if at + (1 << order) > end:
                    if not chunks:
                        break
                    at = chunks.pop()
                    end = at + PRIOR_CHUNK
                    first = block_index(zone, at)
                    types[first : first + PRIOR_CHUNK // PAGEBLOCK] = bytes([kind]) * 2
                blocks.append(at)
                room[kind] = at + (1 << order), end
            if blocks:
                lists.append((cpu, index, tuple(blocks)))
    return replace(state, block_types=bytes(types), prior=tuple(chunks), lists=tuple(lists))


def for_cpus(held: I8, cpus: int) -> I8:
    """The same blocks on the lists of another number of CPUs; axis 1 is the CPU.

    CPUs that there are no more give theirs to those that take their events' turns; further CPUs
    begin with empty lists.
    """
    found = np.zeros((len(held), cpus, PCP_LISTS), np.int64)
    for cpu in range(held.shape[1]):
        found[:, cpu % cpus] += held[:, cpu]
    return found
