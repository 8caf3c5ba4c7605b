"""Walking ring-buffer sub-buffers: where each event's record lies, and when it happened.

The entries of a sub-buffer follow one another with variable length, so each is found from the one
before. All sub-buffers of a batch are walked in lockstep: step k finds the k-th entry of each.

Source of the layout: include/linux/ring_buffer.h:enum ring_buffer_type,
kernel/trace/ring_buffer.c:rb_event_length, :rb_update_read_stamp, :ring_buffer_read_page (7.2), and
where kernel and trace-cmd could differ, libtraceevent 1.8.4 src/kbuffer-parse.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from allocsim.tables import joined
from pipeline.errors import InputError
from pipeline.ingest.raw.unaligned import unaligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocsim.tables import I4, I8, U1, U4, U8, Array, Bools
    from pipeline.ingest.formats import Field

# An entry begins with a word: 5 bits of type, 27 bits of time since the entry before. Types up to
# 28 are events of that many words; 0 is one whose length in bytes is in the next word.
_LONG, _DATA_MAX, _PADDING, _TIME_EXTEND, _TIME_STAMP = 0, 28, 29, 30, 31
_DELTA_BITS = 27
_DELTA_MASK = np.uint32((1 << _DELTA_BITS) - 1)
# The commit field: bytes of entries, and two marks (kbuffer-parse.c:COMMIT_MASK, MISSING_EVENTS).
_COMMIT_MASK = (1 << 27) - 1
_MISSED, _MISSED_STORED = 1 << 31, 1 << 30
# An absolute stamp has 59 bits; the 5 above are those of the time so far (rb_fix_abs_ts).
_STAMP_TOP = np.uint64(0xF8 << 56)
# One place in this many is few.
_FEW = 256
# Sub-buffers walked at once: their current words stay in the L2 cache.
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How a sub-buffer begins, by the header_page text, and the byte order of its numbers."""

    size: int
    commit_offset: int
    commit_size: int
    data_offset: int
    order: str

    @classmethod
    def of(cls, fields: dict[str, Field], size: int, order: str, where: str) -> PageLayout:
        """The layout of sub-buffers of ``size`` bytes, by the header_page text's fields.

        Raises:
            InputError: a field is missing or lies where it cannot.
        """
        missing = [name for name in ("timestamp", "commit", "data") if name not in fields]
        if missing:
            raise InputError(f"{where}: header_page does not say where {', '.join(missing)} is")
        stamp, commit, data = (fields[name] for name in ("timestamp", "commit", "data"))
        if (stamp.offset, stamp.size) != (0, 8) or commit.size not in (4, 8):
            raise InputError(f"{where}: header_page gives timestamp or commit an unknown size")
        if not 8 <= commit.offset < commit.end <= data.offset <= 64 or data.offset % 4:
            raise InputError(f"{where}: header_page puts the data at byte {data.offset}")
        return cls(size, commit.offset, commit.size, data.offset, order)


class Records(NamedTuple):
    """The events of some sub-buffers, in the order of the buffer.

    Attributes:
        ts: u8, time as recorded, in the clock's unit.
        offset: i8, where each event's record begins in the data.
        size: i4, bytes of the record.
    """

    ts: U8
    offset: I8
    size: I4


def stamps(pages: U1, layout: PageLayout) -> U8:
    """The time each sub-buffer begins with, as recorded: u8.

    Args:
        pages: one row a sub-buffer, of which the header is enough.
        layout: the layout of sub-buffers.
    """
    raw = np.ascontiguousarray(pages[:, :8]).view(layout.order + "u8")[:, 0]
    return raw.astype(np.uint64)


def commits(pages: U1, layout: PageLayout) -> I8:
    """The commit field of each sub-buffer: i8. Arguments as of ``stamps``."""
    field = slice(layout.commit_offset, layout.commit_offset + layout.commit_size)
    raw = np.ascontiguousarray(pages[:, field]).view(f"{layout.order}u{layout.commit_size}")
    return raw[:, 0].astype(np.int64)


def missed(commit: I8) -> Bools:
    """Which commit fields are marked: events before the sub-buffer are lost."""
    marked: Bools = (commit & _MISSED) != 0
    return marked


def lost_before(data: U1, page: int, layout: PageLayout) -> int | None:
    """How many events are lost before sub-buffer ``page`` of ``data``; None if it is not said."""
    body = data[page * layout.size : (page + 1) * layout.size]
    commit = int(commits(body[np.newaxis], layout)[0])
    # The number is a long, stored behind the last entry where there was room for it.
    at = layout.data_offset + (commit & _COMMIT_MASK)
    if not commit & _MISSED_STORED or at + layout.commit_size > layout.size:
        return None
    return int(unaligned(body, f"{layout.order}u{layout.commit_size}", at)[0])


def walk(data: U1, layout: PageLayout, place: Callable[[int], str]) -> Records:
    """Find every event in ``data``, which holds whole sub-buffers of ``layout``.

    Args:
        data: the sub-buffers.
        layout: their layout.
        place: what to call a byte of ``data`` in an error.

    Raises:
        InputError: a length points out of its sub-buffer; says where.
    """
    room = layout.size - layout.data_offset
    pages = data.reshape(-1, layout.size)
    used = commits(pages, layout) & _COMMIT_MASK
    over = np.flatnonzero(used > room)
    if over.size:
        begin = place(int(over[0]) * layout.size)
        raise InputError(f"{begin}: {used[over[0]]} bytes of events, there is room for {room}")
    first = np.arange(layout.data_offset, len(data), layout.size) >> 2
    end = first + (used >> 2)
    walker = _Walker(
        data.view(layout.order + "u4").astype(np.uint32, copy=False),
        stamps(pages, layout),
        layout,
        place,
    )
    parts = []
    for at in range(0, max(len(used), 1), _BATCH):
        entries, count = walker.entries(first[at : at + _BATCH], end[at : at + _BATCH])
        parts.append(walker.records(entries, count, at))
    return parts[0] if len(parts) == 1 else joined(parts)


@dataclass(frozen=True, slots=True)
class _Walker:
    """The words of some sub-buffers, the time each sub-buffer begins with, and their layout."""

    words: U4
    stamp: U8
    layout: PageLayout
    place: Callable[[int], str]

    def _type(self, head: U4) -> U4:
        return head & np.uint32(31) if self.layout.order == "<" else head >> np.uint32(27)

    def _delta(self, head: U4) -> U4:
        return head >> np.uint32(5) if self.layout.order == "<" else head & _DELTA_MASK

    def _fail(self, word: int, why: str) -> NoReturn:
        raise InputError(f"{self.place(4 * word)}: {why}")

    def entries(self, first: I8, end: I8) -> tuple[I8, I8]:
        """The word each entry begins at, sub-buffer after sub-buffer, and each one's number."""
        count = np.zeros(len(first), np.int64)
        live = np.flatnonzero(first < end)
        at, stop = first[live], end[live]
        steps = []
        while live.size:
            steps.append((live, at))
            at = at + self._length(at, stop)
            more = at < stop
            if not more.all():
                over = np.flatnonzero(at > stop)
                if over.size:
                    self._fail(int(steps[-1][1][over[0]]), "an entry points out of its sub-buffer")
                count[live[~more]] = len(steps)
                live, at, stop = live[more], at[more], stop[more]
        place = np.empty(int(count.sum()), np.int64)
        start = np.cumsum(count) - count
        for step, (live, at) in enumerate(steps):
            place[start[live] + step] = at
        return place, count

    def _length(self, at: I8, stop: I8) -> I8:
        """Words from each entry to the next."""
        head = self.words[at]
        kind = self._type(head)
        length = kind.astype(np.int64)
        length += 1
        if kind.max() > _DATA_MAX or kind.min() == _LONG:
            odd = np.flatnonzero((kind == _LONG) | (kind > _DATA_MAX))
            length[odd] = self._odd_length(head[odd], at[odd], stop[odd])
        return length

    def _odd_length(self, head: U4, at: I8, stop: I8) -> I8:
        kind = self._type(head)
        # Padding without a time fills the rest of the sub-buffer (ring_buffer.c:rb_null_event).
        rest = (kind == _PADDING) & (self._delta(head) == 0)
        short = np.flatnonzero(~rest & (at + 1 >= stop))
        if short.size:
            self._fail(int(at[short[0]]), "the sub-buffer ends in the middle of an entry")
        second = self.words.take(np.where(rest, at, at + 1)).astype(np.int64)
        # The length of an event counts its own word, that of a discarded one (padding) too.
        bad = np.flatnonzero((kind == _LONG) & (second < 4))
        if bad.size:
            self._fail(int(at[bad[0]]), f"an event of {second[bad[0]]} bytes cannot be")
        sized = (kind == _LONG) | (kind == _PADDING)
        length = np.where(sized, 1 + ((second + 3) >> 2), 2)
        return np.where(rest, stop - at, length)

    def records(self, place: I8, count: I8, page: int) -> Records:
        """The events among the entries at ``place``: ``count`` a sub-buffer, from ``page`` on."""
        head = self.words[place]
        kind = self._type(head)
        size = kind.astype(np.int32) << 2
        offset = (place << 2) + 4
        odd = np.flatnonzero((kind == _LONG) | (kind > _DATA_MAX))
        ts = self._times(place, self._delta(head).astype(np.uint64), odd, (count, page))
        if not odd.size:
            return Records(ts, offset, size)
        large = odd[kind[odd] == _LONG]
        size[large] = (self.words[place[large] + 1].astype(np.int64) - 1) & ~3
        offset[large] += 4
        if len(large) == len(odd):
            return Records(ts, offset, size)
        other = odd[kind[odd] > _DATA_MAX]
        return Records._make(_without(column, other) for column in (ts, offset, size))

    def _times(self, place: I8, delta: U8, odd: I8, pages: tuple[I8, int]) -> U8:
        """The time of each entry: its sub-buffer's, and all deltas up to and with its own."""
        count, first_page = pages
        kind = self._type(self.words[place[odd]])
        extended = odd[kind >= _TIME_EXTEND]
        above = self.words[place[extended] + 1].astype(np.uint64)
        delta[extended] += above << np.uint64(_DELTA_BITS)
        # Where a running sum begins anew, and from which time: sub-buffers and absolute stamps.
        stamp = self.stamp[first_page : first_page + len(count)]
        begin = (np.cumsum(count) - count)[count > 0]
        base = stamp[count > 0]
        absolute = odd[kind == _TIME_STAMP]
        if absolute.size:
            top = self.stamp[4 * place[absolute] // self.layout.size] & _STAMP_TOP
            begin = np.concatenate([begin, absolute])
            base = np.concatenate([base, top | delta[absolute]])
            delta[absolute] = 0
            # Stable: a stamp that is a sub-buffer's first entry comes behind it, and counts.
            order = np.argsort(begin, kind="stable")
            begin, base = begin[order], base[order]
        total = np.cumsum(delta)
        base = base - total[begin] + delta[begin]
        total += np.repeat(base, np.diff(begin, append=len(place)))
        return total


def _without(values: Array, places: I8) -> Array:
    """``values`` but those at ``places``, copied in runs where there are few places."""
    if _FEW * len(places) > len(values):
        return np.delete(values, places)
    begins = [0, *(places + 1).tolist()]
    ends = [*places.tolist(), len(values)]
    return np.concatenate([values[a:b] for a, b in zip(begins, ends, strict=True)])
