"""What was allocated before a recording began, as far as two snapshots and its events tell.

A recording shows a page that is older than itself only when something happens to it. The rest
comes from /proc/kpageflags, read before and behind it (allocsim.recording.kpageflags). The first
snapshot is not quite the recording's beginning: setting up the trace buffer alone allocates
thousands of slabs. So, for a block that a snapshot shows:

* its first event is an allocation: it was gone when the recording began;
* its first event is another: it was there, and ends when the recording says so;
* it has no event, and both snapshots show it: it was there all the time;
* it has no event, and one snapshot of two shows it: not known, since what came or went did so
  outside the recording.

Pages older than the recording that only their events show are there too; their kind, where the
model has none, is the snapshots'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.kpageflags import blocks_of_flags
from allocsim.recording.page_kinds import PageKind
from allocsim.tables import concat, empty, find, take

if TYPE_CHECKING:
    from allocsim.tables import I8, U8, Columns, Ints

_NEVER = np.iinfo(np.int64).max
PRE_TRACE = {"page": "i8", "pfn": "i8", "order": "i4", "kind": "i2", "end": "i8"}


@dataclass(frozen=True, slots=True)
class PreTraceBlocks:
    """Blocks that were allocated when a recording began.

    Args:
        known: those that were, columns OLDER; ``page`` is the handle of a life of the recording,
            -1 for blocks without an event.
        unsure: those that may have been, likewise.
        gone: blocks of the first snapshot that were gone when the recording began.
    """

    known: Columns
    unsure: Columns
    gone: int


class FirstTouched:
    """Which life of a recording was the first on each page frame, and which lives are older.

    Args:
        frames: page frames of the machine.
    """

    def __init__(self, frames: int) -> None:
        self.first = np.full(frames, _NEVER, np.int64)
        self.pre_trace: Columns = empty(PRE_TRACE)

    def add(self, lives: Columns) -> None:
        """Note lives, in any order.

        Args:
            lives: the columns OLDER, and ``start`` (ns; -1: before the recording).
        """
        pfn, row = frames_of(lives["pfn"], lives["order"])
        inside = pfn < len(self.first)
        np.minimum.at(self.first, pfn[inside], lives["page"][row[inside]])
        pre_trace = take({name: lives[name] for name in PRE_TRACE}, lives["start"] < 0)
        self.pre_trace = concat([self.pre_trace, pre_trace])

    def frames_touched(self) -> int:
        """Page frames that any life was on."""
        return int(np.count_nonzero(self.first != _NEVER))


def pre_trace_blocks(touched: FirstTouched, before: U8 | None, after: U8 | None) -> PreTraceBlocks:
    """What was allocated when the recording began.

    Args:
        touched: what the recording's lives say.
        before: words of the kpageflags read before the recording; None: there are none.
        after: those read behind it; None: there are none.
    """
    pre_trace = dict(touched.pre_trace)
    shown = [blocks_of_flags(flags) for flags in (before, after) if flags is not None]
    if not shown:
        return PreTraceBlocks(pre_trace, empty(PRE_TRACE), 0)
    order, kind = pre_trace["order"].copy(), pre_trace["kind"].copy()
    # The snapshot behind the recording speaks for pages that are there at its end only.
    spoken = [np.ones(len(kind), bool)] if before is not None else []
    spoken += [pre_trace["end"] < 0] if after is not None else []
    for blocks, valid in zip(shown, spoken, strict=True):
        at = find(blocks["pfn"], pre_trace["pfn"])
        row = np.flatnonzero(valid & (at >= 0))
        row = row[(kind[row] == PageKind.UNKNOWN) | (kind[row] == blocks["kind"][at[row]])]
        kind[row] = blocks["kind"][at[row]]
        # A block that is never freed shows its first page only.
        row = row[pre_trace["end"][row] < 0]
        order[row] = np.maximum(order[row], blocks["order"][at[row]])
    pre_trace |= {"order": order, "kind": kind}

    is_pre_trace = np.sort(pre_trace["page"])
    untouched = []
    gone = 0
    for number, blocks in enumerate(shown):
        first = _first_of(touched.first, blocks)
        allocated = (first != _NEVER) & ~np.isin(first, is_pre_trace)
        gone += int(np.count_nonzero(allocated)) if number == 0 and before is not None else 0
        untouched.append(take(blocks, first == _NEVER))
    both, single = _agreed(untouched)
    return PreTraceBlocks(concat([pre_trace, _as_pre_trace(both)]), _as_pre_trace(single), gone)


def frames_of(pfn: I8, order: Ints) -> tuple[I8, I8]:
    """The page frames of blocks, one after the other, and the row of the block of each (i8)."""
    pages = np.int64(1) << order.astype(np.int64)
    row = np.repeat(np.arange(len(pages)), pages)
    return pfn[row] + np.arange(len(row)) - (np.cumsum(pages) - pages)[row], row


def _agreed(blocks: list[Columns]) -> tuple[Columns, Columns]:
    """The blocks that all snapshots show alike, and the others, each once."""
    if len(blocks) == 1:
        return blocks[0], take(blocks[0], np.zeros(len(blocks[0]["pfn"]), bool))
    keys = [
        each["pfn"] << 16 | each["order"].astype(np.int64) << 8 | each["kind"] for each in blocks
    ]
    same = np.isin(keys[1], keys[0])
    # A frame that the snapshots call differently counts once, as what the later one says.
    only_first = ~np.isin(keys[0], keys[1]) & ~np.isin(blocks[0]["pfn"], blocks[1]["pfn"])
    return take(blocks[1], same), concat([take(blocks[0], only_first), take(blocks[1], ~same)])


def _as_pre_trace(blocks: Columns) -> Columns:
    nothing = np.full(len(blocks["pfn"]), -1, np.int64)
    return {"page": nothing, **blocks, "end": nothing}


def _first_of(first: I8, blocks: Columns) -> I8:
    """The first life on any frame of each block."""
    if not len(blocks["pfn"]):
        return np.empty(0, np.int64)
    pfn, row = frames_of(blocks["pfn"], blocks["order"])
    inside = np.where(pfn < len(first), first[np.minimum(pfn, len(first) - 1)], _NEVER)
    return np.minimum.reduceat(inside, np.flatnonzero(np.diff(row, prepend=-1)))
