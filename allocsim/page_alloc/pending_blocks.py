"""Which block each allocation off a page list gets: pops behind their pushes.

A pop gets what the matching push put there (R4.3: lists are stacks). Every push and pop of a
batch has a *key*, the same for a list and a depth: sorted by it, stable in time, a pop stands
right behind the push that filled its cell. The block pushed is that of the page freed, which an
earlier pop may have handed out: pointer jumping finds the start of each such chain. Two fillings
of a list by the buddy have nothing in common: the events between two refills are an *epoch*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.window import UNKNOWN

if TYPE_CHECKING:
    from allocsim.page_alloc.pcp import PageList
    from allocsim.page_alloc.pcp_views import ListView
    from allocsim.page_alloc.window import PageEventWindow
    from allocsim.tables import Int32, Int64, UInt16


@dataclass(slots=True)
class _Epoch:
    """Events of a list between two refills: the cell of an event is its key + ``shift``.

    ``buffer`` is the list's own while the epoch lasts (None), then the one it left behind.
    """

    pages: PageList
    shift: int
    buffer: Int64 | None = None


class Pending:
    """The listed events of a batch, whose blocks are found when somebody asks.

    Args:
        window: the window; ``pfn`` is filled in.
        rows: the listed events' rows, ascending (i4).
        lists: their lists, each with its events.
        depth: running sums of all lists' events, list by list.
    """

    def __init__(
        self, window: PageEventWindow, rows: Int32, lists: list[ListView], depth: Int32
    ) -> None:
        self._window, self._rows = window, rows
        self.resolved = 0  #: listed events before this position are done
        self._push = window.op.take(rows) < 0
        at = np.concatenate([view.at for view in lists])
        lengths = np.array([len(view.at) for view in lists])
        starts = np.cumsum(lengths) - lengths
        # A push fills the cell below the new top, a pop takes the one above it.
        filled = depth - self._push.take(at)
        lowest = np.minimum.reduceat(filled, starts)
        widths = np.maximum.reduceat(filled, starts) - lowest + 1
        # Neighbouring events of a list use neighbouring cells: no more keys than events.
        base = np.cumsum(widths) - widths - lowest
        self._key = np.empty(len(rows), np.uint16)
        self._key[at] = filled + np.repeat(base, lengths)
        self._epoch = np.empty(len(rows), np.int32)
        self._epoch[at] = np.repeat(np.arange(len(lists), dtype=np.int32), lengths)
        self._epochs: list[_Epoch] = []
        self._lasts = bytearray(b"\x01" * len(lists))  # epochs that are not over
        self._base: dict[ListView, int] = {}
        for number, (view, first) in enumerate(zip(lists, base.tolist(), strict=True)):
            view.epoch = number
            self._base[view] = first
            self._epochs.append(_Epoch(view.pages, view.shift - first))

    def refilled(self, view: ListView, old: Int64) -> None:
        """A list has begun a new epoch; ``old`` is the buffer of page frames it had before (i8)."""
        self._epochs[view.epoch].buffer = old
        self._lasts[view.epoch] = False
        self._lasts.append(True)
        view.epoch = len(self._epochs)
        self._epochs.append(_Epoch(view.pages, view.shift - self._base[view]))
        # The refilling pop itself takes the new buffer's top cell.
        self._epoch[view.at[view.begun - 1 :]] = view.epoch

    def position(self, event: int) -> int:
        """How many listed events come before a row."""
        return int(self._rows.searchsorted(np.int32(event)))

    def resolve(self, event: int) -> None:
        """Find the blocks of all events before row ``event``, and what they leave on the lists."""
        upto = self.position(event)
        if upto <= self.resolved:
            return
        part = slice(self.resolved, upto)
        self.resolved = upto
        rows, key = self._rows[part], self._key[part]
        by_key = np.argsort(key, kind="stable")
        key = key.take(by_key)
        epoch = self._epoch[part].take(by_key)
        push = self._push[part].take(by_key)
        rows_by_key = rows.take(by_key)
        new = np.empty(len(key) + 1, np.bool_)
        new[0] = new[-1] = True
        np.not_equal(key[1:], key[:-1], out=new[1:-1])
        new[1:-1] |= epoch[1:] != epoch[:-1]
        first, last = new[:-1], new[1:]
        pops = ~push
        old = np.flatnonzero(pops & first)
        later = np.flatnonzero(pops & ~first)
        blocks = self._on_lists(key.take(old), epoch.take(old))
        takes, gives = rows_by_key.take(later), rows_by_key.take(later - 1)
        self._serve(rows_by_key.take(old), blocks, takes, gives)
        self._freed(rows[self._push[part]])
        kept = np.flatnonzero(push & last)
        self._keep(key.take(kept), epoch.take(kept), rows_by_key.take(kept))

    def _on_lists(self, key: UInt16, epoch: Int32) -> Int64:
        """Blocks that lay on the lists before: of the cells with these keys."""
        numbers = np.flatnonzero(np.bincount(epoch)).tolist()
        buffers, starts = [], np.empty(len(self._epochs), np.int64)
        length = 0
        for number in numbers:
            found = self._epochs[number]
            buffer = found.pages.buffer if found.buffer is None else found.buffer
            starts[number] = length + found.shift
            length += len(buffer)
            buffers.append(buffer)
        if not buffers:
            return np.empty(0, np.int64)
        return np.concatenate(buffers).take(key + starts.take(epoch))

    def _serve(self, old: Int32, blocks: Int64, pops: Int32, pushes: Int32) -> None:
        """The block of every pop: ``old`` ones have theirs, ``pops`` get those of ``pushes``.

        A push's block is known, or that of the allocation it ends; where that is a pop of these,
        the two point at one another until the chain's start is found.
        """
        window, pfn = self._window, self._window.pfn
        source = window.source.take(pushes)
        given = pfn.take(pushes)
        fresh = np.flatnonzero(given == UNKNOWN)
        given[fresh] = pfn.take(source.take(fresh))
        waits = np.flatnonzero(given == UNKNOWN)
        if window.has_offsets:
            fresh = fresh[given[fresh] != UNKNOWN]
            given[fresh] += window.offset[pushes[fresh]]
        takes = np.concatenate((old, pops))
        blocks = np.concatenate((blocks, given))
        origin = np.arange(len(takes))
        window.rank[takes] = origin
        origin[waits + len(old)] = window.rank.take(source.take(waits))
        beyond = np.zeros(len(takes), np.int64)  # pages from the origin's block to this one
        if window.has_offsets:
            beyond[waits + len(old)] = window.offset[pushes[waits]]
        while True:
            further = origin.take(origin)
            if np.array_equal(further, origin):
                break
            if window.has_offsets:
                beyond += beyond.take(origin)
            origin = further
        found = blocks.take(origin)
        if window.has_offsets:
            found += beyond
        pfn[takes] = found

    def _freed(self, rows: Int32) -> None:
        """Blocks of frees whose allocation has been found by now."""
        window, pfn = self._window, self._window.pfn
        rows = rows[pfn.take(rows) == UNKNOWN]
        found = pfn.take(window.source.take(rows))
        if window.has_offsets:
            found += window.offset[rows]
        pfn[rows] = found

    def _keep(self, key: UInt16, epoch: Int32, rows: Int32) -> None:
        """Pushes that no pop took back: now in the lists' buffers, unless drained meanwhile."""
        blocks = self._window.pfn.take(rows)
        stays = np.frombuffer(self._lasts, np.bool_).take(epoch)
        if not stays.all():
            key, epoch, blocks = key[stays], epoch[stays], blocks[stays]
        if not len(epoch):
            return
        # Ascending keys: list by list, and within a list cell by cell.
        starts = np.flatnonzero(np.diff(epoch, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(epoch)], strict=True):
            found = self._epochs[int(epoch[start])]
            found.pages.room(int(key[end - 1]) + found.shift + 1)
            found.pages.buffer[key[start:end].astype(np.intp) + found.shift] = blocks[start:end]
