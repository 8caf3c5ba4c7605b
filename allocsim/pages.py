"""Lives of page blocks: from mm_page_alloc to the mm_page_free of the last of its pages.

Tracked per page frame, not per block (T10): a block of order k may come back as 2^k single
pages, or in the steps of a non-compound __free_pages. A window's events are expanded to page
frames, sorted by (frame, time) and cut into *segments*: one stay of one frame in one life. A
segment begins

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

import numpy as np
import numpy.typing as npt

from allocsim.columns import Bools, Columns, Index, concat, empty, find, merge_sorted, stable_order
from allocsim.columns import take
from allocsim.events import Ev
from allocsim.refcounts import drops_to_zero, event_costs

# Carried for each live life; see PAGE_RESULTS for the columns it ends in.
LIFE = {
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
    "frees": "i4",
    "ref_plain": "i8",
    "ref_locked": "i8",
    "ref_use_plain": "i8",
    "ref_use_locked": "i8",
    "frames": "i8",  # page frames that have been seen to belong to it
    "pages_freed": "i8",
    "lost": "i8",  # frames allocated anew without a free in between
    "seen": "i2",  # kind that evidence shows (allocsim.ownership); 0: none
    "cache": "i4",  # cache its objects are of; -1: not known
    "told": "i2",  # kind and how as last given out; -1: never
    "told_how": "i1",
}
# Runs of neighbouring live frames of one life and one history.
EXTENT = {"start": "i8", "frames": "i8", "page": "i8", "history": "i1"}
# What a live frame has been through, as far as the next event on it needs to know.
REF_SEEN = 1  # a page_ref event
DROPPED = 2  # its last event took the count to zero
SET_BORN = 4  # its only event is the set that began it

ALLOCATED_LATER = -2
_NEVER = np.iinfo(np.int64).max


@dataclass(slots=True)
class Segments:
    """The segments of a window's frames, sorted by (frame, time); rows are rows of the window.

    Args:
        pfn: page frame.
        start: row that began it; -1: before this window.
        end: row that ended it; beyond all rows: open.
        life: index of its life in the window's table of lives.
        revealed: it was begun by an event that shows an older page, not by an allocation.
    """

    pfn: Index
    start: Index
    end: Index
    life: Index
    revealed: Bools


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
        segments: what each touched frame belonged to, and when.
        untold: frames without a known life before their first event of this window, ascending.
        untold_life: index of the life that event reveals; -1: it is an allocation.
        untold_row: row of that event.
        missed_frees: frames that were allocated while believed live.
        unknown_frees: mm_page_free events of pages whose allocation was not seen.
    """

    lives: Columns
    closed: Bools
    rows: Index
    life: Index
    plain: Index
    locked: Index
    segments: Segments
    untold: Index
    untold_life: Index
    untold_row: Index
    missed_frees: int
    unknown_frees: int


@dataclass(slots=True)
class Place:
    """Whose frames some frames are at some rows.

    Args:
        pfn: the frames asked for; -1: an address outside the direct map.
        life: index into the window's lives of the one that holds the frame then; -1: none known.
        until: row at which it ceases to; beyond all rows: not in this window; -1: no life.
        later: index of the life of an older page that the next event on the frame reveals;
            ALLOCATED_LATER: that event is an allocation; -1: the window has no such event.
        reveal: row of the event that reveals it; -1: none.
    """

    pfn: Index
    life: Index
    until: Index
    later: Index
    reveal: Index


class Pages:
    """Live page blocks, carried from window to window.

    Args:
        set_before_alloc: the kernel sets the count before mm_page_alloc fires (allocsim.kernel).
    """

    def __init__(self, *, set_before_alloc: bool) -> None:
        self._join_set = set_before_alloc
        self.lives = empty(LIFE)
        self.extents = empty(EXTENT)

    def window(self, columns: Columns, seq: int) -> PageWindow:
        """Follow one window of events.

        Args:
            columns: event columns, row for row (``event``, ``ts``, ``cpu`` and, where the trace
                has them, ``pfn``, ``order``, ``gfp_flags``, ``stack``, ``val``, ``ret``).
            seq: row of the window's first event in the trace.

        Returns:
            The lives touched or carried, and where each frame belonged when.
        """
        ops = _Ops.of(columns)
        frames = _Frames(ops, self.extents, join_set=self._join_set)
        lives, seg_life = self._begin(columns, ops, frames, seq)
        life = seg_life[frames.segment[frames.head]]
        missed = self._account(columns, ops, frames, lives, seg_life, life, seq)
        closed = _ended(lives)
        unknown = int(((ops.code == Ev.MM_PAGE_FREE) & (lives["alloc_seq"][life] < 0)).sum())
        self._remember(frames, lives, seg_life)
        segments = frames.segments(ops, seg_life)
        fresh = np.flatnonzero(frames.first[frames.first_row] & (segments.start >= 0))
        fresh = fresh[frames.extent[frames.first_row[fresh]] < 0]
        return PageWindow(
            lives,
            closed,
            ops.row,
            life,
            ops.plain,
            ops.locked,
            self._with_overrun(segments, ops, frames),
            segments.pfn[fresh],
            np.where(segments.revealed[fresh], segments.life[fresh], -1),
            segments.start[fresh],
            missed,
            unknown,
        )

    def place(self, window: PageWindow, pfn: Index, row: Index) -> Place:
        """Which life holds a frame at a row of the window just followed.

        Args:
            window: result of :meth:`window` for the same window.
            pfn: page frames, any order (sorted ones are looked up faster).
            row: row of the window for each.

        Returns:
            The place of each; see :class:`Place`.
        """
        segments = window.segments
        if not len(segments.pfn):
            nothing = np.full(len(pfn), -1, np.int64)
            life = self._untouched(window, pfn)
            return Place(pfn, life, np.where(life < 0, -1, _NEVER), nothing, nothing)
        key = (segments.pfn << 32) + segments.start + 1
        at = np.searchsorted(key, (pfn << 32) + row + 1, side="right") - 1
        held = (segments.pfn[at] == pfn) & (at >= 0)
        after = np.minimum(at + 1, len(key) - 1)
        ahead = (segments.pfn[after] == pfn) & (after > at)
        alive = held & (row < segments.end[at])
        life = np.where(alive, segments.life[at], -1)
        until = np.where(alive, segments.end[at], -1)
        untouched = np.flatnonzero(~held & ~ahead)
        life[untouched] = self._untouched(window, pfn[untouched])
        until[untouched[life[untouched] >= 0]] = _NEVER
        gap = ahead & (life < 0)
        reveals = gap & segments.revealed[after]
        later = np.where(reveals, segments.life[after], np.where(gap, ALLOCATED_LATER, -1))
        return Place(pfn, life, until, later, np.where(reveals, segments.start[after], -1))

    def _untouched(self, window: PageWindow, pfn: Index) -> Index:
        """Life of frames without an event in the window, from the extents after it."""
        at = _extent_of(self.extents, pfn)
        if not len(self.extents["page"]):
            return at
        return np.where(at >= 0, find(window.lives["page"], self.extents["page"][at]), -1)

    def _with_overrun(self, segments: Segments, ops: _Ops, frames: _Frames) -> Segments:
        """Add the stays that ended before the window's first event on their frame: at it."""
        row = np.flatnonzero(frames.first & frames.boundary & frames.live_before)
        if not len(row):
            return segments
        at = frames.segment[row]
        life = find(self.lives["page"], frames.carried_page[row])
        return Segments(
            np.insert(segments.pfn, at, frames.pfn[row]),
            np.insert(segments.start, at, -1),
            np.insert(segments.end, at, ops.row[frames.op[row]]),
            np.insert(segments.life, at, life),
            np.insert(segments.revealed, at, False),
        )

    def _begin(
        self, columns: Columns, ops: _Ops, frames: _Frames, seq: int
    ) -> tuple[Columns, Index]:
        """The table of lives with those begun in this window, and the life of each segment."""
        begin = frames.boundary & frames.is_head
        new_op = np.sort(frames.op[begin])
        carried = len(self.lives["page"])
        rank = np.full(len(ops.row), -1, np.int64)
        rank[new_op] = carried + np.arange(len(new_op))
        lives = concat([self.lives, _new_lives(ops, new_op, seq)])

        first = frames.first_row
        seg_life = np.where(begin[first], rank[frames.op[first]], -1)
        old = ~frames.boundary[first]
        seg_life[old] = find(self.lives["page"], frames.carried_page[first[old]])
        tail = np.flatnonzero(frames.boundary[first] & ~frames.is_head[first])
        head_segment = frames.segment[frames.head[frames.op[first[tail]]]]
        # Twice: a block freed at once whose first frame was itself the tail of a larger one.
        for _ in range(2):
            seg_life[tail] = seg_life[head_segment]

        # A set on a dead frame is an allocation without mm_page_alloc (T8: the bulk allocator).
        born = carried + np.flatnonzero(ops.code[new_op] == Ev.PAGE_REF_SET)
        for name, source in (("alloc_ts", "ts"), ("alloc_cpu", "cpu")):
            lives[name][born] = columns[source][ops.row[new_op[born - carried]]]
        alloc = np.flatnonzero(ops.code == Ev.MM_PAGE_ALLOC)
        at = seg_life[frames.segment[frames.head[alloc]]]
        lives["alloc_seq"][at] = ops.row[alloc] + seq
        lives["order"][at] = ops.order[alloc]
        for name, source in (("alloc_ts", "ts"), ("alloc_cpu", "cpu"), ("gfp_flags", "gfp_flags")):
            lives[name][at] = columns[source][ops.row[alloc]]
        if "stack" in columns:
            lives["stack"][at] = columns["stack"][ops.row[alloc]]
        return lives, seg_life

    def _account(  # noqa: PLR0913 - one pass over everything the window knows of its pages
        self,
        columns: Columns,
        ops: _Ops,
        frames: _Frames,
        lives: Columns,
        seg_life: Index,
        life: Index,
        seq: int,
    ) -> int:
        """Add frees, lost frames and page_ref operations to their lives; frames missed."""
        count = len(lives["page"])
        frame_life = seg_life[frames.segment]
        lives["frames"] += np.bincount(frame_life[frames.boundary], minlength=count)

        freed = np.flatnonzero(frames.is_free)
        lost = np.flatnonzero(frames.boundary & frames.live_before)
        lost_life = np.where(
            frames.first[lost],
            find(self.lives["page"], frames.carried_page[lost]),
            seg_life[frames.segment[lost] - 1],
        )
        gone_life = np.concatenate([frame_life[freed], lost_life])
        gone_op = np.concatenate([frames.op[freed], frames.op[lost]])
        lives["pages_freed"] += np.bincount(frame_life[freed], minlength=count)
        lives["lost"] += np.bincount(lost_life, minlength=count)

        # One mm_page_free counts once for each life it touches: nearly always its own.
        pairs = np.unique(frames.op[freed] * count + frame_life[freed])
        lives["frees"] += np.bincount(pairs % max(count, 1), minlength=count).astype(np.int32)

        last = np.full(count, -1, np.int64)
        np.maximum.at(last, gone_life, gone_op)
        ended = np.flatnonzero(_ended(lives) & (last >= 0))
        op = last[ended]
        seen = ops.code[op] == Ev.MM_PAGE_FREE
        row = ops.row[op]
        lives["free_seq"][ended] = np.where(seen, row + seq, -1)
        lives["free_ts"][ended] = columns["ts"][row]
        lives["free_cpu"][ended] = np.where(seen, columns["cpu"][row], -1)
        revealed = frames.is_free & frames.is_head & (lives["alloc_seq"][frame_life] < 0)
        at = np.flatnonzero(revealed)
        lives["order"][frame_life[at]] = ops.order[frames.op[at]]
        _account_refs(columns, ops, frames, lives, frame_life, life)
        return len(lost)

    def carry(self, window: PageWindow) -> None:
        """Carry the open lives of a window, once everything about them is settled."""
        self.lives = take(window.lives, ~window.closed)

    def _remember(self, frames: _Frames, lives: Columns, seg_life: Index) -> None:
        """Carry the frames that open lives hold."""
        extents = self.extents
        hit = np.unique(frames.extent[frames.first & (frames.extent >= 0)])
        length = extents["frames"][hit]
        pfn = np.repeat(extents["start"][hit], length) + _ramp(length)
        kept = find(frames.pfn[frames.first], pfn) < 0
        last = np.append(frames.first[1:], True)[: len(frames.pfn)]
        live = np.flatnonzero(last & ~frames.is_free)
        table = {
            "pfn": np.concatenate([pfn[kept], frames.pfn[live]]),
            "page": np.concatenate(
                [
                    np.repeat(extents["page"][hit], length)[kept],
                    lives["page"][seg_life[frames.segment[live]]],
                ]
            ),
            "history": np.concatenate(
                [np.repeat(extents["history"][hit], length)[kept], frames.history(live)]
            ),
        }
        fresh = _runs(take(table, np.argsort(table["pfn"], kind="stable")))
        rest = {name: np.delete(values, hit) for name, values in extents.items()}
        self.extents = merge_sorted(rest, fresh, "start")


@dataclass(slots=True)
class _Ops:
    """The events of a window that act on a known page frame, in time order."""

    row: Index
    code: npt.NDArray[np.uint8]
    pfn: Index
    order: Index
    plain: npt.NDArray[np.int64]
    locked: npt.NDArray[np.int64]
    drops: Bools

    @classmethod
    def of(cls, columns: Columns) -> _Ops:
        event = columns["event"]
        acts = (event == Ev.MM_PAGE_ALLOC) | (event == Ev.MM_PAGE_FREE)
        acts |= (event >= Ev.PAGE_REF_SET) & (event <= Ev.PAGE_REF_UNFREEZE)
        row = np.flatnonzero(acts)
        row = row[columns["pfn"][row] >= 0] if len(row) else row
        code = event[row]
        pfn = columns["pfn"][row] if len(row) else np.empty(0, np.int64)
        sized = code <= Ev.MM_PAGE_FREE
        order = np.zeros(len(row), np.int64)
        if sized.any():
            order[sized] = columns["order"][row[sized]]
        ret = columns["ret"][row] if "ret" in columns else np.zeros(len(row), np.int32)
        plain, locked = event_costs(code, ret)
        return cls(row, code, pfn, order, plain, locked, drops_to_zero(code, ret))


class _Frames:
    """A window's events expanded to page frames, sorted by (frame, time), cut into segments."""

    def __init__(self, ops: _Ops, extents: Columns, *, join_set: bool) -> None:
        op, offset = _expand(ops.order)
        pfn = ops.pfn[op] + offset
        order = stable_order(pfn.astype(np.uint64))
        self.op = op[order]
        self.pfn = pfn[order]
        self.is_head = offset[order] == 0
        code = ops.code[self.op]
        self.is_free = code == Ev.MM_PAGE_FREE
        self.is_ref = code > Ev.MM_PAGE_FREE
        self.is_set = code == Ev.PAGE_REF_SET
        self.drops = ops.drops[self.op]
        self.first = _changes(self.pfn)

        self.extent = np.full(len(self.pfn), -1, np.int64)
        at = np.flatnonzero(self.first)
        self.extent[at] = _extent_of(extents, self.pfn[at])
        held = self.extent >= 0
        self.carried_page = np.full(len(self.pfn), -1, np.int64)
        self.carried_page[held] = extents["page"][self.extent[held]]
        self.carried = np.zeros(len(self.pfn), np.int8)
        self.carried[held] = extents["history"][self.extent[held]]

        self.live_before = np.where(self.first, held, ~_previous(self.is_free))
        is_alloc = code == Ev.MM_PAGE_ALLOC
        self.set_born = self.is_set & ~self.live_before
        if join_set:
            joins = np.where(self.first, (self.carried & SET_BORN) > 0, _previous(self.set_born))
            is_alloc &= ~(joins & self.is_head)
        self.boundary = ~self.live_before | is_alloc
        self.segment = np.cumsum(self.boundary | self.first) - 1
        self.first_row = np.flatnonzero(self.boundary | self.first)
        self.head = np.empty(len(ops.row), np.int64)
        self.head[self.op[self.is_head]] = np.flatnonzero(self.is_head)
        self.live_before &= self.boundary

    def segments(self, ops: _Ops, seg_life: Index) -> Segments:
        first = self.first_row
        row = ops.row[self.op]
        start = np.where(self.boundary[first], row[first], -1)
        end = np.full(len(first), _NEVER)
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
        seen = np.cumsum(self.is_ref)
        first = self.first_row
        before = (seen - self.is_ref)[first][self.segment]
        carried = ((self.carried & REF_SEEN) > 0) & ~self.boundary
        return (seen - self.is_ref > before) | carried[first][self.segment]

    def dropped_before(self) -> Bools:
        """Whether the event before each row, on the same frame and life, dropped the count."""
        carried = (self.carried & DROPPED) > 0
        dropped = np.where(self.first, carried, _previous(self.drops))
        return dropped & ~self.boundary

    def history(self, rows: Index) -> npt.NDArray[np.int8]:
        """What the live frames at these rows, each the last of its frame, have been through."""
        seen = (self.ref_before() | self.is_ref)[rows]
        born = self.set_born[rows]
        history = seen * REF_SEEN + self.drops[rows] * DROPPED + born * SET_BORN
        return history.astype(np.int8)


def _new_lives(ops: _Ops, op: Index, seq: int) -> Columns:
    lives = {name: np.full(len(op), -1, dtype) for name, dtype in LIFE.items()}
    lives["page"] = ops.row[op] + seq
    lives["pfn"] = ops.pfn[op]
    lives["order"] = ops.order[op].astype(np.int32)
    counters = ("frees", "ref_plain", "ref_locked", "ref_use_plain", "ref_use_locked")
    for name in (*counters, "frames", "pages_freed", "lost", "seen"):
        lives[name][:] = 0
    return lives


def _ended(lives: Columns) -> Bools:
    """Lives that hold no frame any more."""
    return lives["pages_freed"] + lives["lost"] == lives["frames"]


def _account_refs(  # noqa: PLR0913 - the same pass, for page_ref events
    columns: Columns, ops: _Ops, frames: _Frames, lives: Columns, frame_life: Index, life: Index
) -> None:
    """Add recorded operations to lives, those of the use stage apart.

    The first set of a frame belongs to the allocation, the operation that takes the count to
    zero right before mm_page_free to the free; all else is use.
    """
    count = len(lives["page"])
    begins = frames.is_set & ~frames.ref_before()
    ends = frames.is_free & frames.dropped_before()
    for name, operations, bound in (("plain", ops.plain, begins), ("locked", ops.locked, ends)):
        total = np.bincount(life, weights=operations, minlength=count).astype(np.int64)
        lives[f"ref_{name}"] += total
        lives[f"ref_use_{name}"] += total - np.bincount(frame_life[bound], minlength=count)


def _expand(order: Index) -> tuple[Index, Index]:
    """Operation and offset of every frame of blocks of the given orders."""
    frames = np.left_shift(1, order)
    if not order.any():
        return np.arange(len(order)), np.zeros(len(order), np.int64)
    return np.repeat(np.arange(len(order)), frames), _ramp(frames)


def _ramp(lengths: Index) -> Index:
    """0, 1, .., n-1 for each length n, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


def _changes(values: npt.NDArray[np.int64]) -> Bools:
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _previous(mask: Bools) -> Bools:
    previous = np.zeros(len(mask), bool)
    previous[1:] = mask[:-1]
    return previous


def _extent_of(extents: Columns, pfn: Index) -> Index:
    """Extent that holds each frame; -1: none."""
    if not len(extents["start"]):
        return np.full(len(pfn), -1, np.int64)
    at = np.searchsorted(extents["start"], pfn, side="right") - 1
    inside = pfn < extents["start"][at] + extents["frames"][at]
    return np.where(inside & (at >= 0), at, -1)


def _runs(frames: Columns) -> Columns:
    """Extents of frames sorted by pfn: one for each run of one life and history."""
    pfn = frames["pfn"]
    cut = np.ones(len(pfn), bool)
    cut[1:] = (
        (np.diff(pfn) != 1) | (np.diff(frames["page"]) != 0) | (np.diff(frames["history"]) != 0)
    )
    start = np.flatnonzero(cut)
    return {
        "start": pfn[start],
        "frames": np.diff(np.append(start, len(pfn))),
        "page": frames["page"][start],
        "history": frames["history"][start],
    }
