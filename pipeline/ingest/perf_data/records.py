"""Walking the records of a perf.data file: where each begins.

Records follow one another with variable length, so each is found from the one before. Most are
samples, which the type they begin with tells: what seems to be one is a guess, and right if the
walk from the place before it, itself right, ends on it; the first place is known. What lies between
samples is walked at the same time in all places. Where a guess was wrong, its piece is walked again
from where the walk before it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.perf_data.container import SAMPLE
from pipeline.ingest.raw.unaligned import unaligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocsim.tables import Int64, UInt8

HEADER = 8  #: bytes of struct perf_event_header: type (4), misc (2), size (2)
_SIZE_AT = 6
# Records of the kernel and of perf have types below this (include/uapi/linux/perf_event.h,
# tools/lib/perf/include/perf/event.h; 7.2), with much to spare.
_TYPES = 256
_ALIGN = 8


@dataclass(frozen=True, slots=True)
class RecordWalk:
    """The records that begin in a part of some data.

    Attributes:
        offset: i8, where each begins.
        end: where the last one ends: where the next one begins.
    """

    offset: Int64
    end: int


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Several walks at the same time.

    Attributes:
        offset: i8, where records begin, lane after lane.
        start: i8, the first of each lane in ``offset``.
        count: i8, how many each lane has.
        landed: i8, where each lane ended: below its bound if it met what is no record.
    """

    offset: Int64
    start: Int64
    count: Int64
    landed: Int64

    def between(self, first: int, last: int) -> Int64:
        """Where the records of lanes ``first`` to ``last`` begin."""
        return self.offset[self.start[first] : self.start[last] + self.count[last]]


class RecordWalker:
    """Finds the records in some data.

    Args:
        data: the data, with SLACK bytes behind what is walked.
        order: byte order of its numbers.
        place: what to call a byte of the data in an error.
    """

    def __init__(self, data: UInt8, order: str, place: Callable[[int], str]) -> None:
        self._data = data
        self._order = order
        self._size = unaligned(data, f"{order}u2", _SIZE_AT)
        self._type = unaligned(data, f"{order}u4")
        self._place = place

    def walk(self, begin: int, stop: int, end: int) -> RecordWalk:
        """The records that begin from ``begin``, where one does, up to ``stop``.

        Args:
            begin: where the first record begins.
            stop: records that begin there or later are left for another walk.
            end: where all data ends.

        Raises:
            InputError: a record points out of the data.
        """
        if begin >= stop:
            return RecordWalk(np.zeros(0, np.int64), begin)
        first, lanes, rest = self._runs(begin, stop, end)
        walk = RecordWalk(lanes.offset, int(lanes.landed[-1]))
        if walk.end < stop or (lanes.landed[:-1] != first[1:]).any():
            walk = self._mended(first, lanes, stop, end)
            rest = walk.offset
        self._check(rest)
        return walk

    def _runs(self, begin: int, stop: int, end: int) -> tuple[Int64, _Lanes, Int64]:
        """Walks from each run of what seem to be samples up to the next.

        A run is of samples that each begin where the one before it ends.

        Returns:
            where the runs begin, the walks, and those of their records that do not seem samples.
        """
        at, after = self._seeming(begin, stop, end)
        head = np.flatnonzero(np.append(True, at[1:] != after[:-1])[: len(at)])
        first, walked = at[head], after[np.append(head[1:], len(at))[: len(head)] - 1]
        if not len(at) or at[0] != begin:
            first, walked = np.append(begin, first), np.append(begin, walked)
        rest = self._lanes(walked, np.append(first[1:], stop), end)
        offset = at
        if len(rest.offset):
            offset = np.insert(at, np.searchsorted(at, rest.offset), rest.offset)
        start = np.searchsorted(offset, first)
        lanes = _Lanes(offset, start, np.diff(start, append=len(offset)), rest.landed)
        return first, lanes, rest.offset

    def _seeming(self, begin: int, stop: int, end: int) -> tuple[Int64, Int64]:
        """Where samples seem to begin, and where each would end."""
        # Few words of 8 bytes that look like a sample's first are none: their last 2 bytes would
        # be a size.
        words = self._data[begin : begin + (stop - begin) // _ALIGN * _ALIGN]
        at = begin + _ALIGN * np.flatnonzero(words.view(self._order + "u4")[::2] == SAMPLE)
        size = self._size[at]
        after = at + size
        good = (size >= HEADER) & (size & (_ALIGN - 1) == 0) & (after <= end)
        if not good.all():
            at, after = at[good], after[good]
        if (at[1:] >= after[:-1]).all():
            return at, after
        # What lies in a sample is none.
        apart = np.append(True, at[1:] >= np.maximum.accumulate(after)[:-1])
        return at[apart], after[apart]

    def _lanes(self, first: Int64, bound: Int64, end: int) -> _Lanes:
        """Walk from each of ``first`` until its bound is reached."""
        count = np.zeros(len(first), np.int64)
        landed = first.copy()
        live = np.flatnonzero(first < bound)
        at = first[live]
        steps = []
        while live.size:
            # A header that does not end in the data is read on in the SLACK behind it.
            size = self._size[at].astype(np.int64)
            after = at + size
            ok = (size >= HEADER) & (after <= end)
            if not ok.all():
                live, at, after = live[ok], at[ok], after[ok]
            steps.append((live, at))
            count[live] += 1
            landed[live] = after
            more = after < bound[live]
            live, at = live[more], after[more]
        offset = np.empty(int(count.sum()), np.int64)
        start = np.cumsum(count) - count
        for step, (live, at) in enumerate(steps):
            offset[start[live] + step] = at
        return _Lanes(offset, start, count, landed)

    def _mended(self, first: Int64, lanes: _Lanes, stop: int, end: int) -> RecordWalk:
        """The walk without the guesses that no walk ends on."""
        parts: list[Int64] = []
        lane, at, last = 0, int(first[0]), len(first)
        # The lanes that do not end on the next one, and the last.
        apart = np.append(np.flatnonzero(lanes.landed[:-1] != first[1:]), last - 1)
        while at < stop:
            if lane < last and at == first[lane]:
                # As many lanes as follow one another.
                through = int(apart[np.searchsorted(apart, lane)])
                parts.append(lanes.between(lane, through))
                at, lane = int(lanes.landed[through]), through + 1
            lane += int(np.searchsorted(first[lane:], at))
            bound = int(first[lane]) if lane < last else stop
            if at < bound:
                piece = self._lanes(np.array([at]), np.array([bound]), end)
                parts.append(piece.offset)
                at = int(piece.landed[0])
                if at < bound:
                    raise InputError(
                        f"{self._place(at)}: a record points out of the file, or has no size: "
                        "the data is damaged or truncated"
                    )
        return RecordWalk(np.concatenate(parts), at)

    def _check(self, offset: Int64) -> None:
        kind = self._type[offset]
        odd = np.flatnonzero((kind == 0) | (kind >= _TYPES))
        if odd.size:
            at = int(offset[odd[0]])
            raise InputError(f"{self._place(at)}: a record of type {kind[odd[0]]} is not known")
