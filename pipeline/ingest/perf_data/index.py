"""Where the samples of which time lie in a perf.data file, so that it can be read by windows.

perf writes one CPU's buffer after the other, up to the buffers' size at a time. So what happened at
one time may lie far apart in the file. A first look at all records notes the first and last time of
each 8 KiB; a window then reads those that have samples of its time. Records that are no samples
are handed on in this first look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct
from pipeline.errors import InputError
from pipeline.ingest.perf_data.container import SAMPLE
from pipeline.ingest.perf_data.records import RecordWalker
from pipeline.ingest.raw.mapped import HELD, let_go
from pipeline.ingest.raw.time_chunks import LATEST, Chunks
from pipeline.ingest.raw.unaligned import unaligned
from pipeline.ingest.stream import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from allocsim.tables import Bools, UInt8
    from pipeline.ingest.perf_data.records import RecordWalk
    from pipeline.ingest.perf_data.samples import SampleReader

_CHUNK = 1 << 13
_BLOCK = 1 << 22  # bytes looked at together, which stay in the cache
_LONGEST = 1 << 16  # a record's size has 16 bits


class Indexer:
    """Looks at all records once.

    Args:
        data: the records.
        order: byte order of their numbers.
        samples: reads the times of samples.
        where: the file's name, for errors.

    Attributes:
        samples: how many samples there are.
        tracepoints: those of them that are tracepoints'.
    """

    def __init__(self, data: UInt8, order: str, samples: SampleReader, where: str) -> None:
        self._data = data
        self._order = order
        self._reader = samples
        self._where = where
        self.samples = 0
        self.tracepoints = 0

    def read(self, wanted: Collection[int], other: Callable[[int, int], None]) -> Chunks:
        """The index of all records.

        Args:
            wanted: types of records that are no samples.
            other: is told type and place of each record of these types.

        Raises:
            InputError: the records are damaged.
        """
        parts = []
        at, size = 0, len(self._data)
        while at < size:
            # The last record may begin in this block and end in the next.
            length = min(_BLOCK + _LONGEST, size - at)
            block = self._data[at : at + length + SLACK]
            if len(block) < length + SLACK:
                block = np.append(block[:length], np.zeros(SLACK, np.uint8))
            walker = RecordWalker(block, self._order, _Place(self._where, at))
            walk = walker.walk(0, min(_BLOCK, length), length)
            kind = unaligned(block, self._order + "u4")[walk.offset]
            sample = kind == SAMPLE
            others = np.flatnonzero(~sample)
            for row in others[np.isin(kind[others], list(wanted))].tolist():
                other(int(kind[row]), at + int(walk.offset[row]))
            parts.append(self._chunks(block, walk, sample, at))
            at += walk.end
            let_go(self._data, HELD)
        names = ("begin", "end", "first", "last")
        none = np.zeros(0, np.int64)
        return Chunks(
            *(np.concatenate([none, *(getattr(part, name) for part in parts)]) for name in names)
        )

    def _chunks(self, block: UInt8, walk: RecordWalk, sample: Bools, base: int) -> Chunks:
        offset = walk.offset[sample]
        rows, ts = self._reader.times(block, offset)
        self.samples += len(offset)
        self.tracepoints += len(rows)
        wrong = np.flatnonzero((ts < 0) | (ts >= LATEST))
        if wrong.size:
            at = base + int(offset[rows[wrong[0]]])
            raise InputError(f"{self._where}: byte {at}: a time of {ts[wrong[0]]} ns cannot be")
        number = np.searchsorted(walk.offset, np.arange(0, walk.end, _CHUNK))
        begin = walk.offset[distinct(number[number < len(walk.offset)])]
        end = np.append(begin[1:], walk.end)
        start = np.searchsorted(offset[rows], begin)
        having = np.diff(start, append=len(rows)) > 0
        start = start[having]
        return Chunks(
            begin[having] + base,
            end[having] + base,
            np.minimum.reduceat(ts, start) if start.size else ts,
            np.maximum.reduceat(ts, start) if start.size else ts,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """What to call a byte of data that lies ``base`` bytes into the records."""

    where: str
    base: int

    def __call__(self, offset: int) -> str:
        return f"{self.where}: byte {self.base + offset}"
