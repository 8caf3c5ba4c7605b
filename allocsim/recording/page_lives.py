"""Lives of page blocks: from mm_page_alloc to the mm_page_free of the last of its pages.

Tracked per page frame, not per block (T10): a block of order k may come back as 2^k single
pages, or in the steps of a non-compound __free_pages. A segment, one stay of a frame in one life,
begins

* at an mm_page_alloc; over a frame believed live, the free was not seen (T6) and is counted;
* at any other event on a frame that is not live: the page is older than the recording, or came
  from an allocator without an event (bulk, contiguous, T8);

and ends at an mm_page_free. All segments an allocation begins belong to its life, and so do the
frames of an unknown block that its free reveals. Before 6.14 the count is set before
mm_page_alloc fires (T8), so there a set on a dead frame begins the life and the mm_page_alloc
that follows joins it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_extents import Extents, within
from allocsim.recording.page_frames import NEVER, Frames, PageOps, Segments
from allocsim.tables import I8, Bools, Columns, concat, empty, find, take
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from allocsim.trace.late_results import EventWindow

# Carried for each live life; see PAGE_RESULTS for the columns it ends in.
_LIFE = {
    "page": "i8",
    "pfn": "i8",
    "order": "i4",
    "alloc_seq": "i8",
    "alloc_ts": "i8",
    "alloc_cpu": "i2",
    "free_seq": "i8",
    "free_ts": "i8",
    "free_cpu": "i2",
    "gfp_flags": "i8",
    "stack": "i4",
    "cache": "i4",  # cache its objects are of; -1: not known
    "reported": "i2",  # kind and how as last given out; -1: never
    "reported_how": "i1",
}
# Those that begin at 0 and not at -1.
_COUNTERS = {
    "frees": "i4",
    "frames": "i8",  # page frames that have been seen to belong to it
    "pages_freed": "i8",
    "lost": "i8",  # frames allocated anew without a free in between
    "ref_plain": "i8",
    "ref_locked": "i8",
    "ref_use_plain": "i8",
    "ref_use_locked": "i8",
    "ref_takes": "i8",
    "peak_count": "i4",
    "seen": "i2",  # kind that evidence shows (allocsim.recording.page_owner); 0: none
    "near": "i1",  # its allocation follows what tmpfs does (allocsim.recording.shmem_hints)
}

ALLOCATED_LATER = -2


@dataclass(slots=True)
class PageWindow:
    """What a window did to pages.

    Args:
        lives: every life open at its start or begun in it, sorted by handle (``page``).
        closed: mask over ``lives``: ended in this window.
        rows: rows of the window that are mm_page_alloc, mm_page_free or page_ref events of a page.
        life: index into ``lives`` of each of these rows.
        plain: plain stores to the count by each.
        locked: locked instructions on it.
        segments: which life each touched cell belonged to, and when.
        cells: ``start`` and ``end`` of the touched cells, ascending.
        unknown_before: cells without a known life before their first event of this window:
            ``start`` and ``end``, the index of the ``life`` that event reveals (-1: it is an
            allocation), and its ``row``.
        missed_frees: frames that were allocated while believed live.
        unknown_frees: mm_page_free events of pages whose allocation was not seen.
        damaged: page events left out for an order or a frame number that no kernel has.
    """

    lives: Columns
    closed: Bools
    rows: I8
    life: I8
    plain: I8
    locked: I8
    segments: Segments
    cells: Columns
    unknown_before: Columns
    missed_frees: int
    unknown_frees: int
    damaged: int


@dataclass(slots=True)
class Place:
    """Whose frames some frames are at some rows.

    Args:
        pfn: the frames asked for; -1: an address outside the direct map.
        life: index into the window's lives of the one that holds the frame then; -1: none known.
        until: row at which it ceases to; NEVER: not in this window; -1: no life.
        later: index of the life of an older page that the next event on the frame reveals;
            ALLOCATED_LATER: that event is an allocation; -1: the window has no such event.
        reveal: row of the event that reveals it; -1: none.
        asked: which of these were looked up; the others lie where an earlier one of theirs lay.
    """

    pfn: I8
    life: I8
    until: I8
    later: I8
    reveal: I8
    asked: I8

    def spread(self, source: I8) -> Place:
        """Places of a longer list, of which each row lies where row ``source`` of this lies."""
        return Place(
            self.pfn[source],
            self.life[source],
            self.until[source],
            self.later[source],
            self.reveal[source],
            self.asked[:0],
        )

    def put(self, rows: I8, places: Place) -> None:
        """Set what was looked up for some rows."""
        for name in ("life", "until", "later", "reveal"):
            getattr(self, name)[rows] = getattr(places, name)


class Pages:
    """Live page blocks, carried from window to window.

    Args:
        set_before_alloc: the kernel sets the count before mm_page_alloc fires.
    """

    def __init__(self, *, set_before_alloc: bool) -> None:
        self._join_set = set_before_alloc
        self.lives = empty(_LIFE | _COUNTERS)
        self.extents = Extents()

    def window(self, window: EventWindow) -> PageWindow:
        """Follow one window of events: the lives touched or carried, and what was whose when."""
        ops = PageOps.of(window.columns)
        frames = Frames(ops, self.extents, join_set=self._join_set)
        ledger = _Ledger(window, ops, frames, self.lives, self.extents)
        ledger.count_frees()
        ledger.count_references()
        self._carry_frames(frames, ledger)
        return ledger.window()

    def carry(self, window: PageWindow) -> None:
        """Carry the open lives of a window, once everything about them is settled."""
        self.lives = take(window.lives, ~window.closed)

    def place(self, window: PageWindow, pfn: I8, row: I8) -> Place:
        """Which life holds a frame at a row of the window just followed.

        Args:
            window: result of :meth:`window` for the same window.
            pfn: page frames, any order (sorted ones are looked up faster).
            row: row of the window for each.
        """
        segments = window.segments
        if not len(segments.pfn):
            nothing = np.full(len(pfn), -1, np.int64)
            life = self._untouched(window, pfn)
            until = np.where(life < 0, -1, NEVER)
            return Place(pfn, life, until, nothing, nothing, np.arange(len(pfn)))
        cell = _cell_of(window.cells, pfn)
        # Frames stay below 2^36 and windows below 2^26 rows, so one word holds both.
        at = np.searchsorted((segments.pfn << 26) + segments.start + 1, (cell << 26) + row + 1)
        at -= 1
        held = (segments.pfn[at] == cell) & (at >= 0)
        after = np.minimum(at + 1, len(segments.pfn) - 1)
        ahead = (segments.pfn[after] == cell) & (after > at)
        alive = held & (row < segments.end[at])
        life = np.where(alive, segments.life[at], -1)
        until = np.where(alive, segments.end[at], -1)
        untouched = np.flatnonzero(~held & ~ahead)
        life[untouched] = self._untouched(window, pfn[untouched])
        until[untouched[life[untouched] >= 0]] = NEVER
        gap = ahead & (life < 0)
        reveals = gap & segments.revealed[after]
        later = np.where(reveals, segments.life[after], np.where(gap, ALLOCATED_LATER, -1))
        reveal = np.where(reveals, segments.start[after], -1)
        return Place(pfn, life, until, later, reveal, np.arange(len(pfn)))

    def _untouched(self, window: PageWindow, pfn: I8) -> I8:
        """Life of frames without an event in the window: the one that holds them after it."""
        return find(window.lives["page"], self.extents.page_of(pfn))

    def _carry_frames(self, frames: Frames, ledger: _Ledger) -> None:
        live = frames.live_rows
        self.extents.replace(
            frames.cells,
            {
                "start": frames.pfn[live],
                "end": frames.pfn[live] + frames.width[live],
                "page": ledger.lives["page"][ledger.row_life[live]],
                "history": frames.history(live),
            },
        )


class _Ledger:
    """The lives of one window, and what its events did to each.

    Args:
        window: the window.
        ops: its page events.
        frames: these, cell by cell.
        carried: lives open before the window.
        extents: the frames they hold.

    Attributes:
        lives: carried lives and those begun in the window, by handle.
        row_life: index of the life of each row of ``frames``.
        op_life: index of the life of each operation: that of its first frame.
    """

    def __init__(
        self, window: EventWindow, ops: PageOps, frames: Frames, carried: Columns, extents: Extents
    ) -> None:
        self._columns, self._seq = window.columns, window.seq
        self._ops, self._frames = ops, frames
        # The life that held the cell of each first row before the window.
        page = np.full(len(frames.op), -1, np.int64)
        held = frames.extent >= 0
        page[held] = extents.table["page"][frames.extent[held]]
        self._before = find(carried["page"], page)

        begins = frames.boundary & frames.is_head
        new = np.sort(frames.op[begins])
        self.lives = concat([carried, self._new_lives(new)])
        rank = np.full(len(ops.row), -1, np.int64)
        rank[new] = len(carried["page"]) + np.arange(len(new))
        self._seg_life = self._lives_of_segments(np.where(begins, rank[frames.op], -1))
        self.row_life = self._seg_life[frames.segment]
        self.op_life = self.row_life[frames.head]
        self._enter_allocations()

    def _new_lives(self, op: I8) -> Columns:
        """Lives that operations begin.

        A set on a dead frame is an allocation without mm_page_alloc (T8: the bulk allocator).
        """
        row = self._ops.row[op]
        lives = {name: np.full(len(op), -1, dtype) for name, dtype in _LIFE.items()}
        lives |= {name: np.zeros(len(op), dtype) for name, dtype in _COUNTERS.items()}
        lives["page"] = row + self._seq
        lives["pfn"] = self._ops.pfn[op]
        lives["order"] = self._ops.order[op].astype(np.int32)
        born = self._ops.code[op] == Ev.PAGE_REF_SET
        lives["alloc_ts"][born] = self._columns["ts"][row[born]]
        lives["alloc_cpu"][born] = self._columns["cpu"][row[born]]
        return lives

    def _lives_of_segments(self, begun: I8) -> I8:
        """I8 of the life of each segment, given those that rows begin (-1: none)."""
        frames = self._frames
        first = frames.first_row
        life = np.where(frames.boundary[first], begun[first], self._before[first])
        tail = np.flatnonzero(frames.boundary[first] & ~frames.is_head[first])
        head = frames.segment[frames.head[frames.op[first[tail]]]]
        # Twice: a block freed at once whose first frame was itself the tail of a larger one.
        for _ in range(2):
            life[tail] = life[head]
        return life

    def _enter_allocations(self) -> None:
        ops = self._ops
        alloc = np.flatnonzero(ops.code == Ev.MM_PAGE_ALLOC)
        row, at = ops.row[alloc], self.op_life[alloc]
        self.lives["alloc_seq"][at] = row + self._seq
        self.lives["order"][at] = ops.order[alloc]
        sources = {"alloc_ts": "ts", "alloc_cpu": "cpu", "gfp_flags": "gfp_flags", "stack": "stack"}
        for name, source in sources.items():
            if source in self._columns:
                self.lives[name][at] = self._columns[source][row]

    def count_frees(self) -> None:
        """Frames that joined and left each life, and where that ended it."""
        ops, frames, lives = self._ops, self._frames, self.lives
        lives["frames"] += self._sum(self.row_life, frames.width, frames.boundary)
        lives["pages_freed"] += self._sum(self.row_life, frames.width, frames.is_free)
        lost = np.flatnonzero(frames.overrun)
        before = np.where(
            frames.first[lost], self._before[lost], self._seg_life[frames.segment[lost] - 1]
        )
        lives["lost"] += np.bincount(
            before, weights=frames.width[lost], minlength=len(lives["page"])
        ).astype(np.int64)

        # One mm_page_free counts once for each life it touches: nearly always its own.
        freed = np.flatnonzero(frames.is_free)
        pairs = np.unique(frames.op[freed] * len(lives["page"]) + self.row_life[freed])
        touched = pairs % max(len(lives["page"]), 1)
        lives["frees"] += np.bincount(touched, minlength=len(lives["page"])).astype(np.int32)

        last = np.full(len(lives["page"]), -1, np.int64)
        np.maximum.at(last, self.row_life[freed], frames.op[freed])
        np.maximum.at(last, before, frames.op[lost])
        ended = np.flatnonzero(_ended(lives) & (last >= 0))
        seen = ops.code[last[ended]] == Ev.MM_PAGE_FREE
        row = ops.row[last[ended]]
        lives["free_seq"][ended] = np.where(seen, row + self._seq, -1)
        lives["free_ts"][ended] = self._columns["ts"][row]
        lives["free_cpu"][ended] = np.where(seen, self._columns["cpu"][row], -1)
        # A block of unknown size is as large as its free says.
        free = np.flatnonzero(ops.code == Ev.MM_PAGE_FREE)
        free = free[lives["alloc_seq"][self.op_life[free]] < 0]
        lives["order"][self.op_life[free]] = ops.order[free]

    def count_references(self) -> None:
        """Add recorded operations to lives, those of the use stage apart.

        The first set of a frame belongs to the allocation, the operation that takes the count to
        zero right before mm_page_free to the free; all else is use.
        """
        ops, frames, lives = self._ops, self._frames, self.lives
        begins = frames.is_set & ~frames.ref_before()
        ends = frames.is_free & frames.dropped_before()
        one = np.ones(len(frames.op), np.int64)
        for name, operations, bound in (("plain", ops.plain, begins), ("locked", ops.locked, ends)):
            total = self._sum(self.op_life, operations, operations > 0)
            lives[f"ref_{name}"] += total
            lives[f"ref_use_{name}"] += total - self._sum(self.row_life, one, bound)
        lives["ref_takes"] += np.bincount(self.op_life[ops.takes], minlength=len(lives["page"]))
        np.maximum.at(lives["peak_count"], self.op_life, ops.count)

    def window(self) -> PageWindow:
        """What :meth:`Pages.window` returns."""
        ops, frames, lives = self._ops, self._frames, self.lives
        segments = frames.segments(ops, self._seg_life)
        fresh = np.flatnonzero(frames.first[frames.first_row])
        fresh = fresh[(segments.start[fresh] >= 0) & (frames.extent[frames.first_row[fresh]] < 0)]
        unknown = (ops.code == Ev.MM_PAGE_FREE) & (lives["alloc_seq"][self.op_life] < 0)
        return PageWindow(
            lives,
            _ended(lives),
            ops.row,
            self.op_life,
            ops.plain,
            ops.locked,
            self._with_overrun(segments),
            frames.cells,
            {
                "start": segments.pfn[fresh],
                "end": segments.pfn[fresh] + frames.width[frames.first_row[fresh]],
                "life": np.where(segments.revealed[fresh], segments.life[fresh], -1),
                "row": segments.start[fresh],
            },
            int(frames.width[frames.overrun].sum()),
            int(unknown.sum()),
            ops.damaged,
        )

    def _with_overrun(self, segments: Segments) -> Segments:
        """Add the stays that ended before the window's first event on their cell: at it."""
        frames = self._frames
        row = np.flatnonzero(frames.first & frames.overrun)
        at = frames.segment[row]
        return Segments(
            np.insert(segments.pfn, at, frames.pfn[row]),
            np.insert(segments.start, at, -1),
            np.insert(segments.end, at, self._ops.row[frames.op[row]]),
            np.insert(segments.life, at, self._before[row]),
            np.insert(segments.revealed, at, False),
        )

    def _sum(self, life: I8, values: I8, mask: Bools) -> I8:
        """Sum of the values of masked rows, by life (i8)."""
        count = len(self.lives["page"])
        return np.bincount(life[mask], weights=values[mask], minlength=count).astype(np.int64)


def _ended(lives: Columns) -> Bools:
    """Lives that hold no frame any more."""
    ended: Bools = lives["pages_freed"] + lives["lost"] == lives["frames"]
    return ended


def _cell_of(cells: Columns, pfn: I8) -> I8:
    """First frame of the cell each frame lies in, or the frame itself where it lies in none."""
    wide = take(cells, cells["end"] - cells["start"] > 1)
    at = within(wide, pfn)
    return pfn if not len(wide["start"]) else np.where(at >= 0, wide["start"][at], pfn)
