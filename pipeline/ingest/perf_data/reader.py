"""Reading a perf.data: the tracepoints among its samples, and what the file says of itself."""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.events import EventTypes
from pipeline.ingest.perf_data.compressed import decompress_records
from pipeline.ingest.perf_data.container import SAMPLE, read_perf_data
from pipeline.ingest.perf_data.index import Indexer
from pipeline.ingest.perf_data.records import RecordWalker
from pipeline.ingest.perf_data.samples import SampleReader
from pipeline.ingest.perf_data.side_records import SideRecords
from pipeline.ingest.raw.time_chunks import NEAR, ChunkPlaces, spans, time_orders
from pipeline.ingest.raw.unaligned import unaligned
from pipeline.ingest.reader import Facts
from pipeline.ingest.stacks.symbols import Kallsyms
from pipeline.ingest.stream import SLACK, Heads, Stream
from pipeline.trace_set.parts import CPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from allocsim.tables import Int16, UInt8
    from pipeline.ingest.raw.time_chunks import Chunks, Span

_VERSION = 2
_NO_SYMBOLS = (
    "no symbols: perf.data holds none, and no copy of /proc/kallsyms, called kallsyms, lies beside "
    "it; functions are addresses only, and shmem pages cannot be distinguished from anonymous ones"
)
_TASKS = "not all tasks were recorded (perf record without -a): what others did is missing"
_COUNTED = (
    "{name} was only counted, as a member of a group ({{a,b}}:S): no record of any of its {count} "
    "events up to the leader's last one; record without :S"
)


class PerfReader:
    """The reader of a perf.data (pipeline.ingest.reader.Reader).

    Args:
        path: the file's name, for errors.
        data: the whole file.
        scratch: a folder for what is decompressed.

    Raises:
        InputError: it is damaged, or holds what cannot be replayed.
    """

    def __init__(self, path: str, data: memoryview, scratch: Path) -> None:
        self.path = path
        perf = self._perf = read_perf_data(path, data)
        self.page_size = perf.page_size
        self.word = perf.long_size
        self.types = EventTypes.of(perf.formats, path)
        self._samples = SampleReader(perf.attrs, perf.order, path)
        self._heads = Heads(self.types, perf.order)
        records = data[perf.begin : perf.end]
        self._where = f"{path}: records"
        if perf.compressed:
            unpacked = scratch / "records"
            decompress_records(perf, unpacked)
            with unpacked.open("rb") as opened:
                records = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
            self._where = f"{path}: decompressed records"
        self._data = np.frombuffer(records, np.uint8)
        self._side = SideRecords(perf, records, self._where)
        indexer = Indexer(self._data, perf.order, self._samples, self._where)
        self._chunks: Chunks = indexer.read(self._side.wanted, self._side.take)
        self._others = indexer.samples - indexer.tracepoints
        self._read = 0
        self._cpus = perf.cpus
        self._no_symbols = False
        self._memories = deque(np.zeros(SLACK, np.uint8) for _ in range(3))

    @property
    def progress(self) -> float:
        """The part of the recording that has been read, 0 to 1."""
        return min(self._read / max(len(self._chunks.begin), 1), 1.0)

    def symbols(self, beside: Callable[[], memoryview]) -> Kallsyms:
        """The symbols ``beside`` the recording, if they are those of the recorded boot."""
        symbols = Kallsyms(beside())
        self._no_symbols = not len(symbols)
        self._side.check_symbols(symbols)
        return symbols

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of windows of about ``budget`` bytes."""
        return (self._stream(span) for span in spans(self._chunks, budget))

    def facts(self) -> Facts:
        """What the recording says of itself."""
        side = self._side
        lacks = [_NO_SYMBOLS] if self._no_symbols else []
        if side.some_tasks:
            lacks.append(_TASKS)
        lacks += self._counted()
        return Facts(
            watched_cpus=range(self._cpus),  # PERF_RECORD_LOST tells of every buffer
            format="perf.data",
            version=_VERSION,
            kernel_release=self._perf.release,
            arch=self._perf.arch,
            cpus=max(self._cpus, 1),
            clock=self._perf.clock,
            ts_unit="ns",
            lost=side.lost(max(self._cpus, 1)),
            comms=side.comms,
            dropped={"other_samples": self._others} if self._others else {},
            lacks=lacks,
        )

    def _counted(self) -> Iterator[str]:
        """What was only counted, as a member of a group."""
        for attr in self._perf.attrs:
            if attr.counted:
                count = sum(self._samples.counts.get(id_, 0) for id_ in attr.ids)
                yield _COUNTED.format(name=attr.name or "an event", count=count)

    def _stream(self, span: Span) -> Stream:
        data, places = self._assemble(span)
        self._read += len(span.chunk)
        # Chunks hold whole records, one after the other.
        walker = RecordWalker(data, self._perf.order, places.name)
        offset = walker.walk(0, len(data) - SLACK, len(data) - SLACK).offset
        offset = offset[unaligned(data, self._perf.order + "u4")[offset] == SAMPLE]
        rows, ts = self._samples.times(data, offset)
        offset = offset[rows[(ts >= span.since - NEAR) & (ts < span.until + NEAR)]]
        size = unaligned(data, self._perf.order + "u2", 6)[offset].astype(np.int64)
        found = self._samples.read(data, offset, size, places.name)
        # Of equal times the first in the file comes first: as perf script has them.
        order, in_time = time_orders(found.ts, found.cpu)
        ts, cpu = found.ts[order], found.cpu[order]
        self._check_cpus(cpu)
        offset, size32 = found.offset[order], found.size[order]
        head, slot = self._heads.read(data, offset, size32, places)
        return Stream(
            data=data,
            order=self._perf.order,
            offset=offset,
            size=size32,
            ts=ts,
            cpu=cpu,
            slot=slot,
            head=head,
            inside=(ts >= span.since) & (ts < span.until),
            places=places,
            in_time=in_time,
            chains=found.chains and found.chains.moved(order),
        )

    def _assemble(self, span: Span) -> tuple[UInt8, ChunkPlaces]:
        """The chunks of a window in one piece."""
        begin, end = self._chunks.begin[span.chunk], self._chunks.end[span.chunk]
        first = np.flatnonzero(np.append(True, begin[1:] != end[:-1])[: len(begin)])
        source = begin[first]
        stop = end[np.append(first[1:], len(begin)) - 1] if len(first) else source
        length = stop - source
        places = ChunkPlaces(f"{self._where}:", np.cumsum(length) - length, source)
        need = int(length.sum()) + SLACK
        self._memories.rotate()
        if len(self._memories[0]) < need:
            self._memories[0] = np.zeros(need + need // 4, np.uint8)
        data = self._memories[0][:need]
        for to, at, count in zip(
            places.begin.tolist(), source.tolist(), length.tolist(), strict=True
        ):
            data[to : to + count] = self._data[at : at + count]
        return data, places

    def _check_cpus(self, cpu: Int16) -> None:
        if not cpu.size:
            return
        last = int(cpu[-1])
        if last >= CPUS or cpu[0] < 0:
            raise InputError(f"{self._where}: a sample of CPU {last} cannot be")
        self._cpus = max(self._cpus, last + 1)
