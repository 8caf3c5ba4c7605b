"""Cutting a recording into windows of time, with one window's data in memory.

Every CPU's sub-buffers are read only as far as the window needs. A window is given whole
sub-buffers: those with events of its time, and some before and after, so that what an event has to
do with its neighbours (its stack follows it) can be seen in one window. So an event belongs to the
window its time says, and nothing depends on where the cuts are.
"""

from __future__ import annotations

import heapq
import struct
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.raw.cursor import Cursor
from pipeline.ingest.trace_dat.compression import Packed, decompress_all
from pipeline.ingest.trace_dat.ring_buffer import PageLayout, commits, lost_before, missed, stamps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.tables import Int64, UInt8
    from pipeline.ingest.trace_dat.clock import Clock
    from pipeline.ingest.trace_dat.container import Buffer, CpuData, TraceDat

#: Sub-buffers of the same CPU around an event in which its neighbours are looked for.
NEAR = 16

# trace-cmd compresses 10 sub-buffers at a time; more than this is not a chunk.
_MOST_IN_CHUNK = 16
_CHUNKS_AT_ONCE = 8
_UNPACKED_AT_ONCE = 1 << 19  #: bytes


@dataclass(slots=True)
class CpuPages:
    """The sub-buffers of one CPU that have been read and are still needed.

    Attributes:
        cpu: the CPU.
        chunks: the data, as it was read.
        stamp: i8, the time each sub-buffer begins with.
        ended: whether this is all there is.
        consumed: bytes of the file read so far.
        marks: how many sub-buffers so far were marked as coming after lost events.
        first: the number of the first sub-buffer held, counted from the CPU's beginning.
        lost: how many events were lost before them, where the kernel said so.
        unknown: marks without a number.
        overwritten: how many events were lost before the first sub-buffer: the ring buffer had
            written over them (ring_buffer.c:rb_get_reader_page, 7.2); None: not how many.
    """

    cpu: int
    source: Iterator[tuple[int, UInt8]]
    layout: PageLayout
    clock: Clock
    chunks: list[UInt8] = field(default_factory=list)
    stamp: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    ended: bool = False
    consumed: int = 0
    first: int = 0
    marks: int = 0
    lost: int = 0
    unknown: int = 0
    overwritten: int | None = 0

    def read(self) -> int:
        """Read some more; returns its bytes, 0 at the end."""
        found = next(self.source, None)
        if found is None:
            self.ended = True
            return 0
        read, data = found
        self.consumed += read
        self.chunks.append(data)
        heads = data.reshape(-1, self.layout.size)[:, : self.layout.data_offset]
        stamp = self.clock.times(stamps(heads, self.layout), self.cpu)
        self._count_losses(data, commits(heads, self.layout))
        self.stamp = np.concatenate([self.stamp, stamp])
        return len(data)

    def _count_losses(self, data: UInt8, commit: Int64) -> None:
        """Add up what the sub-buffers in ``data`` say of lost events."""
        marked = missed(commit)
        if not marked.any():
            return
        for page in np.flatnonzero(marked).tolist():
            count = lost_before(data, page, self.layout)
            if page == 0 and not self.first and not len(self.stamp):
                self.overwritten = count
            self.marks += 1
            self.lost += count or 0
            self.unknown += count is None

    @property
    def complete_until(self) -> int:
        """All events before this time have been read, and NEAR sub-buffers behind them."""
        return int(self.stamp[-1 - NEAR]) if len(self.stamp) > NEAR else -1 << 63

    def window(self, until: int | None) -> list[UInt8]:
        """The data a window up to ``until`` (None: the end) needs; what no later one needs goes."""
        end = len(self.stamp) if until is None else int(np.searchsorted(self.stamp, until))
        size = self.layout.size
        needed = _slice(self.chunks, 0, min(end + NEAR, len(self.stamp)) * size)
        # The events of the last sub-buffer may be later than ``until``, though it begins before.
        done = max(end - 1 - NEAR, 0)
        self.chunks = _slice(self.chunks, done * size, len(self.stamp) * size)
        self.stamp = self.stamp[done:]
        self.first += done
        return needed


@dataclass(frozen=True, slots=True)
class RawWindow:
    """Sub-buffers of all CPUs, and the times whose events belong to this window.

    Attributes:
        cpus: ascending by CPU: the CPU, the number of its first sub-buffer here, the sub-buffers.
        since: the first time of the window.
        until: the first time behind it; None for the last window.
    """

    cpus: list[tuple[int, int, list[UInt8]]]
    since: int
    until: int | None


def read_windows(cpus: list[CpuPages], budget: int) -> Iterator[RawWindow]:
    """Cut the data of ``cpus`` into windows of about ``budget`` bytes.

    The CPU whose data ends first is read on, so that all CPUs' data covers the same time.
    """
    held = 0
    since = -1 << 63
    # By the time up to which a CPU's data is complete; None in no heap: its data has ended.
    heap = [(cpu.complete_until, number) for number, cpu in enumerate(cpus)]
    heapq.heapify(heap)
    while heap:
        until, number = heap[0]
        if held < budget or until <= since:
            held += cpus[number].read()
            if cpus[number].ended:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (cpus[number].complete_until, number))
            continue
        yield RawWindow([(c.cpu, c.first, c.window(until)) for c in cpus], since, until)
        since = until
        held = sum(len(chunk) for cpu in cpus for chunk in cpu.chunks)
    yield RawWindow([(c.cpu, c.first, c.window(None)) for c in cpus], since, None)


def cpu_pages(trace: TraceDat, buffer: Buffer, layout: PageLayout, clock: Clock) -> list[CpuPages]:
    """The CPUs of a buffer that have data, ascending, with nothing read yet."""
    used = sorted((cpu for cpu in buffer.cpus if cpu.size), key=lambda cpu: cpu.cpu)
    return [
        CpuPages(cpu.cpu, _chunks(trace, cpu, layout, compressed=buffer.compressed), layout, clock)
        for cpu in used
    ]


def _chunks(
    trace: TraceDat, cpu: CpuData, layout: PageLayout, *, compressed: bool
) -> Iterator[tuple[int, UInt8]]:
    """The data of a CPU in pieces of whole sub-buffers, each with its bytes in the file.

    Raises:
        InputError: the data is damaged.
    """
    data = trace.data[cpu.offset : cpu.offset + cpu.size]
    where = f"{trace.path}: data of CPU {cpu.cpu} from byte {cpu.offset}"
    if not compressed:
        if cpu.size % layout.size:
            raise InputError(f"{where}: {cpu.size} bytes are not whole sub-buffers")
        step = max(_UNPACKED_AT_ONCE // layout.size, 1) * layout.size
        for at in range(0, cpu.size, step):
            piece = np.frombuffer(data[at : at + step], np.uint8)
            yield len(piece), piece
        return
    chunks = _packed(trace, cpu, layout, where)
    while some := list(islice(chunks, _CHUNKS_AT_ONCE)):
        plain = decompress_all(trace.compression, some)
        yield sum(len(chunk.data) for chunk in some), np.frombuffer(plain, np.uint8)


def _packed(trace: TraceDat, cpu: CpuData, layout: PageLayout, where: str) -> Iterator[Packed]:
    """The compressed chunks of a CPU."""
    # trace-cmd does not count the number of chunks among the bytes of the data.
    data = trace.data[cpu.offset : cpu.offset + 4 + cpu.size]
    cursor = Cursor(data, trace.order, where)
    sizes = struct.Struct(f"{trace.order}II")
    for number in range(cursor.number(4, "number of chunks")):
        packed, size = sizes.unpack(cursor.take(8, "the size of a chunk"))
        if size % layout.size:
            cursor.fail(f"chunk {number} of {size} bytes is not whole sub-buffers")
        if size > _MOST_IN_CHUNK * layout.size:
            cursor.fail(f"chunk {number} of {size} bytes: more than {_MOST_IN_CHUNK} sub-buffers")
        piece = cursor.take(packed, "a chunk")
        if size:
            yield Packed(piece, size, f"{where}, chunk {number}")


def _slice(chunks: list[UInt8], start: int, stop: int) -> list[UInt8]:
    """Bytes ``start`` to ``stop`` of ``chunks`` set end to end, without copying."""
    parts = []
    at = 0
    for chunk in chunks:
        piece = chunk[max(start - at, 0) : max(stop - at, 0)]
        if len(piece):
            parts.append(piece)
        at += len(chunk)
    return parts
