"""Walking the records of a perf.data file: where each begins.

Records follow one another with variable length, so each is found from the one before. Here many
places are walked at the same time: at guesses, a few kilobytes apart, of where a record begins. A
guess is right if the walk from the place before it, itself right, ends on it; the first place is
known. Where a guess was wrong, its piece is walked again from where the walk before it ended.
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

    from allocsim.tables import I8, U1

HEADER = 8  #: bytes of struct perf_event_header: type (4), misc (2), size (2)
_SIZE_AT = 6
# Records of the kernel and of perf have types below this (include/uapi/linux/perf_event.h,
# tools/lib/perf/include/perf/event.h; 7.2), with much to spare.
_TYPES = 256
_STEP = 1 << 12  # bytes from one guess to the next
_LOOK = 1 << 9  # bytes in which a guess is looked for
_ALIGN = 8
_IN_A_ROW = 3  # records that must follow one another for a guess


@dataclass(frozen=True, slots=True)
class RecordWalk:
    """The records that begin in a part of some data.

    Attributes:
        offset: i8, where each begins.
        end: where the last one ends: where the next one begins.
    """

    offset: I8
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

    offset: I8
    start: I8
    count: I8
    landed: I8

    def between(self, first: int, last: int) -> I8:
        """Where the records of lanes ``first`` to ``last`` begin."""
        return self.offset[self.start[first] : self.start[last] + self.count[last]]


class RecordWalker:
    """Finds the records in some data.

    Args:
        data: the data, with SLACK bytes behind what is walked.
        order: byte order of its numbers.
        place: what to call a byte of the data in an error.
    """

    def __init__(self, data: U1, order: str, place: Callable[[int], str]) -> None:
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
        first = np.concatenate([[begin], self._guesses(begin, stop, end)])
        lanes = self._lanes(first, np.append(first[1:], stop), end)
        walk = RecordWalk(lanes.offset, int(lanes.landed[-1]))
        if walk.end < stop or (lanes.landed[:-1] != first[1:]).any():
            walk = self._mended(first, lanes, stop, end)
        self._check(walk.offset)
        return walk

    def known(self, first: I8, bound: I8, end: int) -> I8:
        """Where records begin in several pieces, each from a known record up to its bound."""
        return self._lanes(first, bound, end).offset

    def _guesses(self, begin: int, stop: int, end: int) -> I8:
        """Places where a record seems to begin, ascending, _STEP or more apart."""
        base = np.arange(begin + _STEP, min(stop, end - _LOOK) - _LOOK, _STEP, dtype=np.int64)
        place = base[:, np.newaxis] + np.arange(0, _LOOK, _ALIGN)
        # Of what looks like a sample few are none: numbers of 8 bytes have no size in their last 2.
        good = (self._type[place] == SAMPLE).ravel()
        at = place.ravel()[good]
        for _ in range(_IN_A_ROW):
            fits = at + HEADER <= end
            kind, size = self._type[at[fits]], self._size[at[fits]].astype(np.int64)
            fits[fits] = (kind > 0) & (kind < _TYPES) & (size >= HEADER) & (size % _ALIGN == 0)
            good[good] = fits
            at = at[fits] + self._size[at[fits]]
        found = good.reshape(place.shape)
        has = found.any(axis=1)
        guesses: I8 = place[has, found[has].argmax(axis=1)]
        return guesses

    def _lanes(self, first: I8, bound: I8, end: int) -> _Lanes:
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

    def _mended(self, first: I8, lanes: _Lanes, stop: int, end: int) -> RecordWalk:
        """The walk without the guesses that no walk ends on."""
        parts: list[I8] = []
        lane, at, last = 0, int(first[0]), len(first)
        while at < stop:
            if lane < last and at == first[lane]:
                # As many lanes as follow one another.
                apart = np.flatnonzero(lanes.landed[lane : last - 1] != first[lane + 1 :])
                through = lane + int(apart[0]) if apart.size else last - 1
                parts.append(lanes.between(lane, through))
                at, lane = int(lanes.landed[through]), through + 1
            while lane < last and first[lane] < at:
                lane += 1
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

    def _check(self, offset: I8) -> None:
        kind = self._type[offset]
        odd = np.flatnonzero((kind == 0) | (kind >= _TYPES))
        if odd.size:
            at = int(offset[odd[0]])
            raise InputError(f"{self._place(at)}: a record of type {kind[odd[0]]} is not known")
