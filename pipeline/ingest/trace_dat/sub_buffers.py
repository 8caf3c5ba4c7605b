"""From the sub-buffers of a trace.dat's window to the stream of its records."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.stream import SLACK, Heads, Stream
from pipeline.ingest.trace_dat.ring_buffer import PageLayout, walk
from pipeline.ingest.trace_dat.windows import NEAR, RawWindow

if TYPE_CHECKING:
    from allocsim.tables import I8, U1, Bools
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.trace_dat.clock import Clock


@dataclass(frozen=True, slots=True)
class _SubBufferPlaces:
    """Where in the recording the bytes of a window are from.

    Attributes:
        begin: i8, number of CPUs + 1: the first sub-buffer of each CPU in the window.
    """

    where: str
    size: int
    window: RawWindow
    begin: I8

    def name(self, offset: int) -> str:
        """What to call a byte of the window in an error."""
        page, byte = divmod(offset, self.size)
        number = int(np.searchsorted(self.begin, page, side="right")) - 1
        cpu, first, _ = self.window.cpus[number]
        return (
            f"{self.where}: CPU {cpu}, sub-buffer {first + page - int(self.begin[number])}, "
            f"byte {byte}"
        )

    def near(self, stream: Stream, first: I8, second: I8) -> Bools:
        """Which pairs of records of one CPU are at most NEAR sub-buffers apart."""
        page = [stream.offset[record] // self.size for record in (first, second)]
        return page[1] - page[0] <= NEAR


class SubBufferStreams:
    """Makes streams of raw windows. The memory of one is used again for the next but two."""

    def __init__(self, types: EventTypes, layout: PageLayout, clock: Clock, where: str) -> None:
        self._layout = layout
        self._clock = clock
        self._where = where
        # Of the next window, of one that waits, and of one that is looked at. Fresh memory would
        # cost as much again, for the kernel clears it page by page.
        self._memories = deque(np.zeros(SLACK, np.uint8) for _ in range(3))
        self._heads = Heads(types, layout.order)

    def stream(self, raw: RawWindow) -> Stream:
        """The records of a window.

        Raises:
            InputError: the data is damaged.
        """
        data, pages = self._assemble(raw)
        places = _SubBufferPlaces(self._where, self._layout.size, raw, np.cumsum([0, *pages]))
        records = walk(data[: len(data) - SLACK], self._layout, places.name)
        bound = np.searchsorted(records.offset, places.begin * self._layout.size)
        ts = records.ts.view(np.int64)
        inside = np.zeros(len(ts), np.bool_)
        for (cpu, _, _), begin, end in zip(raw.cpus, bound[:-1], bound[1:], strict=True):
            part = ts[begin:end]
            if self._clock.converts:
                part[:] = self._clock.times(records.ts[begin:end], cpu)
            back = np.flatnonzero(part[1:] < part[:-1])
            if back.size:
                at = places.name(int(records.offset[begin + back[0] + 1]))
                raise InputError(f"{at}: the time goes back here, the data is damaged")
            first = np.searchsorted(part, raw.since)
            last = len(part) if raw.until is None else np.searchsorted(part, raw.until)
            inside[begin + first : begin + last] = True
        head, slot = self._heads.read(data, records.offset, records.size, places)
        cpus = np.repeat(np.array([cpu for cpu, _, _ in raw.cpus], np.int16), np.diff(bound))
        return Stream(
            data=data,
            order=self._layout.order,
            offset=records.offset,
            size=records.size,
            ts=ts,
            cpu=cpus,
            slot=slot,
            head=head,
            inside=inside,
            places=places,
        )

    def _assemble(self, raw: RawWindow) -> tuple[U1, list[int]]:
        """The window's data in one piece, and the number of sub-buffers of each CPU."""
        sizes = [sum(map(len, pieces)) for _, _, pieces in raw.cpus]
        need = sum(sizes) + SLACK
        self._memories.rotate()
        if len(self._memories[0]) < need:
            self._memories[0] = np.zeros(need + need // 4, np.uint8)
        data = self._memories[0][:need]
        at = 0
        for _, _, pieces in raw.cpus:
            for piece in pieces:
                data[at : at + len(piece)] = piece
                at += len(piece)
        return data, [size // self._layout.size for size in sizes]
