"""A window's page events, frame by frame: sorted, and cut into segments.

A segment is one stay of a frame in one life; :mod:`allocsim.recording.page_lives` says where it
begins and ends. Frames of a large block between which no event of the window tells a difference are
one *cell*, so that a huge page costs one row and not 512.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocsim.recording.page_extents import DROPPED, REF_SEEN, SET_BORN, Extents
from allocsim.recording.page_ref import drops_to_zero, event_costs, takes_reference
from allocsim.tables import I1, I4, I8, U1, Bools, Columns, column, stable_order
from allocsim.trace.events import Ev

# Blocks up to this order (PAGE_ALLOC_COSTLY_ORDER) are taken apart frame by frame.
_SMALL_ORDER = 3
# Above what any architecture configures (arm64 with 64 KiB pages: 13), an order is damage.
_MAX_ORDER = 16
MAX_PFN = 1 << 36  #: 256 TiB of 4 KiB pages: beyond any machine, a frame number is damage
_CHUNK = 9  # frames are looked up by pageblocks of 2^9
NEVER = np.iinfo(np.int64).max


@dataclass(slots=True)
class PageOps:
    """The events of a window that act on known page frames, in time order.

    Args:
        row: row of the window.
        code: event code.
        pfn: first frame.
        order: 2^order frames; 0 for page_ref events.
        plain: plain stores to the count.
        locked: locked instructions on it.
        drops: takes the count to zero.
        takes: takes a reference beyond the first.
        count: the count as the event shows it; 0 for events without one.
        damaged: events left out, with an order or a frame number that no kernel has.
    """

    row: I8
    code: U1
    pfn: I8
    order: I8
    plain: I8
    locked: I8
    drops: Bools
    takes: Bools
    count: I4
    damaged: int

    @classmethod
    def of(cls, columns: Columns) -> PageOps:
        """The page events of a window; failed allocations (pfn -1, T8) are none."""
        event = columns["event"]
        acts = (event == Ev.MM_PAGE_ALLOC) | (event == Ev.MM_PAGE_FREE)
        acts |= (event >= Ev.PAGE_REF_SET) & (event <= Ev.PAGE_REF_UNFREEZE)
        row = np.flatnonzero(acts) if "pfn" in columns else np.empty(0, np.int64)
        row = row[columns["pfn"][row] >= 0] if len(row) else row
        order = column(columns, "order", row).astype(np.int64)
        order[event[row] > Ev.MM_PAGE_FREE] = 0
        sound = (order >= 0) & (order <= _MAX_ORDER) & (column(columns, "pfn", row) < MAX_PFN)
        damaged = int((~sound).sum())
        if damaged:
            row, order = row[sound], order[sound]
        code = event[row]
        ret = column(columns, "ret", row)
        plain, locked = event_costs(code, ret)
        return cls(
            row,
            code,
            column(columns, "pfn", row),
            order,
            plain,
            locked,
            drops_to_zero(code, ret),
            takes_reference(code, column(columns, "val", row), ret),
            column(columns, "count", row).astype(np.int32),
            damaged,
        )


@dataclass(slots=True)
class Segments:
    """The segments of a window, sorted by (frame, time); rows are rows of the window.

    Args:
        pfn: first frame of the cell.
        start: row that began it; -1: before this window.
        end: row that ended it; NEVER: open.
        life: index of its life in the window's table of lives.
        revealed: it was begun by an event that shows an older page, not by an allocation.
    """

    pfn: I8
    start: I8
    end: I8
    life: I8
    revealed: Bools


class Frames:
    """Rows (operation, cell) sorted by (cell, time), and where segments begin.

    Args:
        ops: the window's page events.
        extents: frames that were live before the window.
        join_set: mm_page_alloc joins the life that a set right before it began (T8).

    Attributes:
        op: operation of each row.
        pfn: first frame of its cell.
        width: frames in its cell.
        is_head: the cell is the first of the operation's block.
        is_free: the operation is mm_page_free; likewise is_ref, is_set, drops.
        first: no other row of this cell comes before it.
        extent: of first rows, the run of ``extents`` that holds the cell; else -1.
        live_before: the cell was live right before the row.
        boundary: a segment begins here.
        overrun: an allocation of a cell believed live.
        segment: number of the segment the row belongs to.
        first_row: first row of each segment; one that is no boundary goes on from before.
        head: row of the first cell of each operation.
    """

    def __init__(self, ops: PageOps, extents: Extents, *, join_set: bool) -> None:
        op, pfn, width = _expand(ops, extents)
        order = stable_order(pfn.astype(np.uint64))
        self.op, self.pfn, self.width = op[order], pfn[order], width[order]
        self.is_head = self.pfn == ops.pfn[self.op]
        code = ops.code[self.op]
        self.is_free = code == Ev.MM_PAGE_FREE
        self.is_ref = code > Ev.MM_PAGE_FREE
        self.is_set = code == Ev.PAGE_REF_SET
        self.drops = ops.drops[self.op]
        self.first = np.ones(len(self.pfn), bool)
        self.first[1:] = self.pfn[1:] != self.pfn[:-1]

        self.extent = np.full(len(self.pfn), -1, np.int64)
        self.extent[self.first] = extents.holding(self.pfn[self.first])
        held = self.extent >= 0
        self._carried = np.zeros(len(self.pfn), np.int8)
        self._carried[held] = extents.table["history"][self.extent[held]]

        self.live_before = np.where(self.first, held, ~_previous(self.is_free))
        allocates = code == Ev.MM_PAGE_ALLOC
        self._set_born = self.is_set & ~self.live_before
        if join_set:
            born = np.where(self.first, (self._carried & SET_BORN) > 0, _previous(self._set_born))
            allocates &= ~(born & self.is_head)
        self.boundary = ~self.live_before | allocates
        self.overrun = self.boundary & self.live_before
        self.segment = np.cumsum(self.boundary | self.first) - 1
        self.first_row = np.flatnonzero(self.boundary | self.first)
        self.head = np.empty(len(ops.row), np.int64)
        self.head[self.op[self.is_head]] = np.flatnonzero(self.is_head)

    @property
    def cells(self) -> Columns:
        """``start`` and ``end`` of every cell of the window, ascending."""
        start = self.pfn[self.first]
        return {"start": start, "end": start + self.width[self.first]}

    @property
    def live_rows(self) -> I8:
        """The last row of each cell that is live at the window's end."""
        last = np.append(self.first[1:], True)[: len(self.first)]
        return np.flatnonzero(last & ~self.is_free)

    def segments(self, ops: PageOps, seg_life: I8) -> Segments:
        """The window's segments, given their lives; see :class:`Segments`."""
        first = self.first_row
        row = ops.row[self.op]
        start = np.where(self.boundary[first], row[first], -1)
        end = np.full(len(first), NEVER)
        following = first[1:]
        cut = self.boundary[following] & ~self.first[following]
        end[:-1][cut] = row[following[cut]]
        last = np.append(following, len(row))[: len(first)] - 1
        freed = self.is_free[last]
        end[freed] = row[last[freed]]
        code = ops.code[self.op[first]]
        revealed = (start >= 0) & (code != Ev.MM_PAGE_ALLOC) & (code != Ev.PAGE_REF_SET)
        return Segments(self.pfn[first], start, end, seg_life, revealed)

    def ref_before(self) -> Bools:
        """Whether the segment of each row had a page_ref event before that row."""
        before: I8 = np.cumsum(self.is_ref) - self.is_ref
        carried = ((self._carried & REF_SEEN) > 0) & ~self.boundary
        first = self.first_row
        seen: Bools = (before > before[first][self.segment]) | carried[first][self.segment]
        return seen

    def dropped_before(self) -> Bools:
        """Whether the event before each row, on the same frame and life, dropped the count."""
        carried = (self._carried & DROPPED) > 0
        dropped: Bools = np.where(self.first, carried, _previous(self.drops)) & ~self.boundary
        return dropped

    def history(self, rows: I8) -> I1:
        """What the live cells at these rows, each the last of its cell, have been through."""
        seen = (self.ref_before() | self.is_ref)[rows]
        history = seen * REF_SEEN + self.drops[rows] * DROPPED + self._set_born[rows] * SET_BORN
        narrow: I1 = history.astype(np.int8)
        return narrow


def ramp(lengths: I8) -> I8:
    """0, 1, .., n-1 for each length n, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


def _expand(ops: PageOps, extents: Extents) -> tuple[I8, I8, I8]:
    """Operation, first frame and width of every cell of every operation, in time order."""
    if not ops.order.any():
        return np.arange(len(ops.row)), ops.pfn, np.ones(len(ops.row), np.int64)
    small = np.flatnonzero(ops.order <= _SMALL_ORDER)
    frames = np.left_shift(1, ops.order[small])
    op = np.repeat(small, frames)
    pfn = ops.pfn[op] + ramp(frames)
    width = np.ones(len(op), np.int64)
    if len(small) == len(ops.row):
        return op, pfn, width
    large = np.flatnonzero(ops.order > _SMALL_ORDER)
    cuts = _cuts(ops, large, pfn, extents)
    begin = np.searchsorted(cuts, ops.pfn[large])
    count = np.searchsorted(cuts, ops.pfn[large] + (1 << ops.order[large])) - begin
    cell = np.repeat(begin, count) + ramp(count)
    op = np.concatenate([op, np.repeat(large, count)])
    pfn = np.concatenate([pfn, cuts[cell]])
    width = np.concatenate([width, cuts[cell + 1] - cuts[cell]])
    time = np.argsort(op, kind="stable")
    return op[time], pfn[time], width[time]


def _cuts(ops: PageOps, large: I8, frames: I8, extents: Extents) -> I8:
    """Where cells begin and end within and around large blocks, ascending.

    Args:
        ops: the window's page events.
        large: which of them are large blocks.
        frames: single frames that other events act on.
        extents: runs of live frames, which cells must not straddle.
    """
    start = ops.pfn[large]
    end = start + (1 << ops.order[large])
    chunks = ((end - 1) >> _CHUNK) - (start >> _CHUNK) + 1
    chunk = np.repeat(start >> _CHUNK, chunks) + ramp(chunks)
    touched = np.zeros(int(chunk.max()) + 2, bool)
    touched[chunk] = True
    within = frames[touched[np.minimum(frames >> _CHUNK, len(touched) - 1)]]
    table = extents.table
    begins, ends = (
        values[touched[np.minimum(values >> _CHUNK, len(touched) - 1)]]
        for values in (table["start"], table["end"])
    )
    return np.unique(np.concatenate([start, end, within, within + 1, begins, ends]))


def _previous(mask: Bools) -> Bools:
    previous = np.zeros(len(mask), bool)
    previous[1:] = mask[:-1]
    return previous
