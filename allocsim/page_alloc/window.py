"""Page events of one window: which allocation each free ends, and whose pages are older.

Frees whose allocation lies in the window point at it; frees of pages live before it find their pfn
in the table carried along; frees of pages from before the trace are given used pages of the start
state (assumed places, R4 knows nothing of them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.zones import ORDERS, PCP_TYPES, PRIOR_CHUNK, Mt

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from allocsim.page_alloc.zones import MachineZones
    from allocsim.tables import I1, I2, I4, I8, U1, Bools

UNKNOWN = -2  #: pfn not known yet

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(slots=True)
class PageEventWindow:
    """A window's columns, the source of each free, and the results being filled in.

    ``source`` is the row of the allocation a free ends, or -1. Frees with a source repeat its
    migratetype, highest zone and order (``first_order``). ``pfn`` is UNKNOWN until known;
    ``movable`` says whether the page was asked for as movable; ``rank`` is scratch space.
    """

    cpu: I2
    op: I1
    page: I8
    order: I1
    first_order: I1
    migratetype: I1
    highest: I1
    flags: U1
    offset: I8
    source: I4
    movable: Bools
    rank: I4
    pfn: I8
    path: U1
    pressure: U1
    has_offsets: bool
    has_flags: bool

    def __len__(self) -> int:
        return len(self.op)


@dataclass(slots=True)
class LivePages:
    """Live pages carried from window to window, and the used pages of the start state.

    Handles of allocations must ascend in event order (allocsim.trace.results: pages are numbered in
    order of allocation), so the table stays sorted by appending.
    """

    machine: MachineZones
    page: I8 = field(default_factory=lambda: np.empty(0, np.int64))
    pfn: I8 = field(default_factory=lambda: np.empty(0, np.int64))
    left: I8 = field(default_factory=lambda: np.empty(0, np.int64))
    movable: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    last_page: int = -1
    _chunks: list[int] = field(default_factory=list)
    _slots: I8 = field(default_factory=lambda: np.zeros((ORDERS, 2), np.int64))
    _old_freed: I8 = field(default_factory=lambda: np.empty(0, np.int64))
    _new_left: I8 = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        """List the chunks that pages from before the trace come from, the highest zone first."""
        for state in reversed(self.machine.states):
            self._chunks += state.prior
        self._chunks.reverse()  # taken from the end

    def open(self, columns: Mapping[str, npt.NDArray[np.generic]]) -> PageEventWindow:
        """A window of events with the source of every free.

        Raises:
            ValueError: a handle of an allocation does not ascend; a CPU, order, type or zone that
                does not exist.
        """
        window = self._columns(columns)
        self._check(window)
        allocs = np.flatnonzero(window.op > 0)
        handles = window.page[allocs]
        if len(handles):
            if handles[0] <= self.last_page or (handles[1:] <= handles[:-1]).any():
                raise ValueError("page handles of allocations must ascend in event order")
            self.last_page = int(handles[-1])
        frees = np.flatnonzero(window.op < 0)
        slot = _find(handles, window.page[frees])
        if len(allocs):
            slot[(slot >= 0) & (allocs[slot] > frees)] = -1
        sizes = np.int64(1) << window.order[allocs].astype(np.int64)
        self._new_left = sizes - _spend(slot, window.order[frees], sizes)
        inside = slot >= 0
        source = allocs[slot[inside]]
        rows = frees[inside]
        window.source[rows] = source
        window.movable[rows] = window.movable[source]
        window.migratetype[rows] = window.migratetype[source]
        window.highest[rows] = window.highest[source]
        window.first_order[rows] = window.order[source]
        self._pre_trace(window, frees[~inside])
        return window

    def _check(self, window: PageEventWindow) -> None:
        zones, cpus = len(self.machine.zones), self.machine.cpus
        for name, column, limit in (
            ("cpu", window.cpu, cpus),
            ("order", window.order, ORDERS),
            ("migratetype", window.migratetype, PCP_TYPES),
            ("highest", window.highest, zones),
        ):
            if len(column) and not 0 <= column.min() <= column.max() < limit:
                wrong = int(np.flatnonzero((column < 0) | (column >= limit))[0])
                raise ValueError(
                    f"page event {wrong}: {name} {column[wrong]} is not in 0 to {limit - 1}"
                )

    def _pre_trace(self, window: PageEventWindow, frees: npt.NDArray[np.intp]) -> None:
        """Frees of pages allocated before the window, or before the trace."""
        slot = _find(self.page, window.page[frees])
        self._old_freed = _spend(slot, window.order[frees], self.left)
        known = slot >= 0
        slot, rows = slot[known], frees[known]
        pfn = self.pfn[slot]
        window.pfn[rows] = np.where(pfn < 0, -1, pfn + window.offset[rows])
        window.movable[rows] = self.movable[slot]
        window.pfn[frees[~known]] = self._prior(window.order[frees[~known]])

    @staticmethod
    def _columns(columns: Mapping[str, npt.NDArray[np.generic]]) -> PageEventWindow:
        n = len(columns["op"])
        op = columns["op"].astype(np.int8, copy=False)

        def column(name: str, dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
            found = columns.get(name)
            return np.zeros(n, dtype) if found is None else found.astype(dtype, copy=False)

        order, migratetype = column("order", np.int8), column("migratetype", np.int8)
        alloc = op > 0
        return PageEventWindow(
            cpu=column("cpu", np.int16),
            op=op,
            page=column("page", np.int64),
            order=order,
            first_order=order.copy(),
            migratetype=migratetype * alloc,
            highest=column("highest", np.int8) * alloc,
            flags=column("flags", np.uint8),
            offset=column("offset", np.int64),
            source=np.full(n, -1, np.int32),
            movable=(migratetype == Mt.MOVABLE) & alloc,
            rank=np.empty(n, np.int32),
            pfn=np.full(n, UNKNOWN, np.int64),
            path=np.where(alloc, np.uint8(PagePath.HIT), np.uint8(PagePath.PUSH)),
            pressure=np.zeros(n, np.uint8),
            has_offsets="offset" in columns and bool(columns["offset"].any()),
            has_flags="flags" in columns and bool(columns["flags"].any()),
        )

    def close(self, window: PageEventWindow) -> None:
        """Carry the pages live at the end of the window."""
        self.left -= self._old_freed
        stay = self.left > 0
        allocs = np.flatnonzero(window.op > 0)
        fresh = self._new_left > 0
        live = allocs[fresh]
        self.page = np.concatenate((self.page[stay], window.page[live]))
        self.pfn = np.concatenate((self.pfn[stay], window.pfn[live]))
        self.left = np.concatenate((self.left[stay], self._new_left[fresh]))
        self.movable = np.concatenate((self.movable[stay], window.movable[live]))

    def _prior(self, orders: I1) -> I8:
        """Used pages for frees of pages from before the trace, -1 where none is left.

        Each order takes ascending blocks out of chunks of its own; chunks go to the orders in the
        order they run out.
        """
        pfn = np.full(len(orders), -1, np.int64)
        wants = []  # (row of the free that needs a new chunk, order)
        rows_of, ranks_of = {}, {}
        for order in np.flatnonzero(np.bincount(orders)).tolist():
            rows = np.flatnonzero(orders == order)
            first, end = self._slots[order].tolist()
            rank = np.arange(len(rows)) - ((end - first) >> order)
            mine = rank < 0
            pfn[rows[mine]] = end + (rank[mine] << order)
            self._slots[order, 0] = min(first + (len(rows) << order), end)
            rows_of[order], ranks_of[order] = rows[~mine], rank[~mine]
            wants += [(row, order) for row in rows[~mine][:: PRIOR_CHUNK >> order].tolist()]
        chunks: dict[int, list[int]] = {order: [] for order in rows_of}
        for _, order in sorted(wants):
            if self._chunks:
                chunks[order].append(self._chunks.pop())
        for order, got in chunks.items():
            if got:
                served = min(len(rows_of[order]), len(got) * (PRIOR_CHUNK >> order))
                start = np.array(got)[ranks_of[order][:served] >> (10 - order)]
                pfn[rows_of[order][:served]] = start + (
                    (ranks_of[order][:served] & ((PRIOR_CHUNK >> order) - 1)) << order
                )
                used = served - (len(got) - 1) * (PRIOR_CHUNK >> order)
                self._slots[order] = got[-1] + (used << order), got[-1] + PRIOR_CHUNK
        return pfn


def _find(keys: I8, wanted: I8) -> I4:
    """Position of each wanted value in ascending ``keys``, or -1."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int32)
    low, span = int(keys[0]), int(keys[-1] - keys[0]) + 1
    if span == len(keys):
        at = wanted - low
        at[(at < 0) | (at >= span)] = -1
        return at.astype(np.int32)
    if span <= 4 * len(keys):
        table = np.full(span + 1, -1, np.int32)
        table[keys - low] = np.arange(len(keys), dtype=np.int32)
        at = wanted - low
        at[(at < 0) | (at >= span)] = span
        return table[at]
    at = np.searchsorted(keys, wanted).astype(np.int32)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, at, np.int32(-1))


def _spend(slot: I4, order: I1, sizes: I8) -> I8:
    """Pages freed of each life; the slots of frees beyond a life's size are set to -1.

    ``slot`` is the life of each free (-1: none), in event order.
    """
    mine = np.flatnonzero(slot >= 0)
    pages = np.int64(1) << order.take(mine).astype(np.int64)
    freed = np.zeros(len(sizes), np.int64)
    np.add.at(freed, slot.take(mine), pages)
    if (freed > sizes).any():
        # Freed again without an allocation between: from before the trace, as far as we know.
        too_often = (freed > sizes)[slot[mine]]
        rows, pages = mine[too_often], pages[too_often]
        by_life = np.argsort(slot[rows], kind="stable")
        rows, pages = rows[by_life], pages[by_life]
        spent = np.cumsum(pages) - pages
        first = np.flatnonzero(np.diff(slot[rows], prepend=-1))
        spent -= np.repeat(spent[first], np.diff(first, append=len(rows)))
        slot[rows[spent >= sizes[slot[rows]]]] = -1
    return freed
