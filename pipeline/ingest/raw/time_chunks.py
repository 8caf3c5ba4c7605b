"""Windows of time over a file in which what happened at one time may lie far apart.

A first look at the file notes the earliest and the latest time of each of its pieces; a window then
reads those that have events of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.tables import I2, I8, Bools
    from pipeline.ingest.stream import Stream

#: Events of one CPU this far apart (ns) are not looked at together.
NEAR = 20_000_000
LATEST = 1 << 62  #: ns: no clock has come so far


@dataclass(frozen=True, slots=True)
class Chunks:
    """Pieces of a file, in its order, that have events.

    Attributes:
        begin: i8, where each begins.
        end: i8, where it ends, and a record or line does.
        first: i8, the earliest time in it.
        last: i8, the latest.
    """

    begin: I8
    end: I8
    first: I8
    last: I8


@dataclass(frozen=True, slots=True)
class Span:
    """A window of time, and the chunks that have events of it or near it.

    Attributes:
        since: its first time.
        until: the first time behind it.
        chunk: i8, the chunks.
    """

    since: int
    until: int
    chunk: I8


def spans(chunks: Chunks, budget: int) -> Iterator[Span]:
    """Windows of about ``budget`` bytes each, by the times chunks begin with."""
    size = chunks.end - chunks.begin
    order = np.argsort(chunks.first, kind="stable")
    total = np.cumsum(size[order])
    cut = np.searchsorted(total, np.arange(budget, int(size.sum()), budget))
    times = {0, *chunks.first[order[cut]].tolist(), LATEST}
    for since, until in pairwise(sorted(times)):
        near = (chunks.first < until + NEAR) & (chunks.last >= since - NEAR)
        yield Span(since, until, np.flatnonzero(near))


@dataclass(frozen=True, slots=True)
class ChunkPlaces:
    """Where the bytes of a window's data are from: runs of chunks, one after the other.

    Args:
        where: what to call the file, before the byte.
        begin: i8, where each run begins in the data, ascending.
        source: i8, where it begins in the file.
    """

    where: str
    begin: I8
    source: I8

    def name(self, offset: int) -> str:
        """What to call a byte of the window in an error."""
        run = int(np.searchsorted(self.begin, offset, side="right")) - 1
        return f"{self.where} byte {offset - int(self.begin[run]) + int(self.source[run])}"

    def near(self, stream: Stream, first: I8, second: I8) -> Bools:
        """Which pairs of records of one CPU are at most NEAR apart in time."""
        return stream.ts[second] - stream.ts[first] <= NEAR


def time_orders(ts: I8, cpu: I2) -> tuple[I8, I8]:
    """The orders of some records of a file: as a Stream has them, and Stream.in_time over that.

    Of equal times the first in the file comes first.
    """
    by_time = np.argsort(ts, kind="stable")
    by_cpu = np.argsort(cpu[by_time], kind="stable")
    in_time = np.empty_like(by_cpu)
    in_time[by_cpu] = np.arange(len(by_cpu))
    return by_time[by_cpu], in_time
