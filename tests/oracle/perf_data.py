"""Writing perf.data files, the plain way: what the reader is given in tests.

By perf 6.1 tools/perf/Documentation/perf.data-file-format.txt and, for records and attributes,
include/uapi/linux/perf_event.h (7.2).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pyarrow as pa

from tests.oracle.trace_dat import KMALLOC, File

# sample_type, in the order of a sample's words.
IDENTIFIER, IP, TID, TIME, ADDR = 1 << 16, 1 << 0, 1 << 1, 1 << 2, 1 << 3
ID, STREAM_ID, CPU, PERIOD, READ = 1 << 6, 1 << 9, 1 << 7, 1 << 8, 1 << 4
CALLCHAIN, RAW = 1 << 5, 1 << 10
USUAL = IDENTIFIER | IP | TID | TIME | CPU | PERIOD | RAW
# read_format
GROUP, READ_ID, READ_LOST, ENABLED = 1 << 3, 1 << 2, 1 << 4, 1 << 0
TRACEPOINT, SOFTWARE = 2, 1
KERNEL, USER = (1 << 64) - 128, (1 << 64) - 512
_ATTR_SIZE = 128
_ATTR_FLAGS = 1 << 18  # sample_id_all


@dataclass
class Attr:
    """One event: what its samples hold, and the id of its samples on each CPU.

    ``config`` is the number of a tracepoint's format.
    """

    name: str = "kmem:kmalloc"
    config: int = KMALLOC
    kind: int = TRACEPOINT
    sample_type: int = USUAL
    read_format: int = 0
    period: int = 1
    flags: int = _ATTR_FLAGS
    clock: int | None = None
    ids: tuple[int, ...] = (10, 11)


@dataclass
class PerfFile:
    """How to write a file. ``compression``: 81 or 83, the type of records that hold others."""

    order: str = "<"
    piped: bool = False
    compression: int = 0
    closed: bool = False
    long_size: int = 8
    release: str = "6.12.0"
    cpus: int = 2
    attrs: list[Attr] = field(default_factory=lambda: [Attr()])
    records: list[bytes] = field(default_factory=list)
    plain: list[bytes] = field(default_factory=list)
    features: dict[int, bytes] = field(default_factory=dict)

    @property
    def made(self) -> File:
        """What makes tracepoints' records of the same byte order."""
        return File(version=6, order=self.order)

    def n(self, size: int, *values: int) -> bytes:
        """Numbers of ``size`` bytes."""
        order = "little" if self.order == "<" else "big"
        return b"".join((v & (1 << 8 * size) - 1).to_bytes(size, order) for v in values)

    def record(self, kind: int, body: bytes, misc: int = 0) -> bytes:
        """A record."""
        return self.n(4, kind) + self.n(2, misc, 8 + len(body)) + body

    def sample(
        self,
        ts: int,
        raw: bytes,
        *,
        cpu: int = 0,
        pid: int = 7,
        attr: int = 0,
        chain: tuple[int, ...] = (),
        reads: tuple[tuple[int, int], ...] = ((1, 9), (1, 9), (1, 9)),
    ) -> None:
        """Add a sample of a tracepoint; ``reads`` are counts and ids of a group's members."""
        made = self.attrs[attr]
        words = {
            IDENTIFIER: self.n(8, made.ids[cpu] if made.ids else 0),
            IP: self.n(8, 0xFFFF),
            TID: self.n(4, pid, pid),
            TIME: self.n(8, ts),
            ADDR: self.n(8, 1),
            ID: self.n(8, made.ids[cpu] if made.ids else 0),
            STREAM_ID: self.n(8, 2),
            CPU: self.n(4, cpu, 0),
            PERIOD: self.n(8, 1),
            READ: self._read(made.read_format, reads),
            CALLCHAIN: self.n(8, len(chain), *chain),
            RAW: self.n(4, len(raw) + -(len(raw) + 4) % 8) + raw + bytes(-(len(raw) + 4) % 8),
        }
        body = b"".join(word for bit, word in words.items() if made.sample_type & bit)
        self.records.append(self.record(9, body, misc=1))

    def _read(self, read_format: int, reads: tuple[tuple[int, int], ...]) -> bytes:
        times = self.n(8, 5) if read_format & ENABLED else b""
        each = [
            self.n(
                8, count, *[id_] * bool(read_format & READ_ID), *[0] * bool(read_format & READ_LOST)
            )
            for count, id_ in reads
        ]
        if read_format & GROUP:
            return self.n(8, len(reads)) + times + b"".join(each)
        return each[0][:8] + times + each[0][8:]

    def other(self, kind: int, body: bytes, *, ts: int = 0, cpu: int = 0, id_: int = 10) -> None:
        """Add a record that is no sample; it ends as those of the first event do."""
        words = {
            TID: self.n(4, 7, 7),
            TIME: self.n(8, ts),
            ID: self.n(8, id_),
            STREAM_ID: self.n(8, 2),
            CPU: self.n(4, cpu, 0),
            IDENTIFIER: self.n(8, id_),
        }
        made = self.attrs[0]
        end = b"".join(word for bit, word in words.items() if made.sample_type & bit)
        self.records.append(self.record(kind, body + (end if made.flags & _ATTR_FLAGS else b"")))

    def comm(self, tid: int, name: str, ts: int) -> None:
        """Add the new name of a task."""
        text = name.encode() + b"\0"
        self.other(3, self.n(4, tid, tid) + text + bytes(-len(text) % 8), ts=ts)

    def fork(self, tid: int, parent: int, ts: int) -> None:
        """Add a new task."""
        self.other(7, self.n(4, tid, parent, tid, parent) + self.n(8, ts), ts=ts)

    # --- the file

    def encode(self) -> bytes:
        """The file's bytes."""
        records = b"".join(self.plain) + self._packed(b"".join(self.records))
        return self._pipe(records) if self.piped else self._file(records)

    def _packed(self, data: bytes) -> bytes:
        """Records of compressed records, all in one stream: flushed after each, and never ended."""
        if not self.compression:
            return data
        if self.closed:
            whole = bytes(pa.compress(data, codec="zstd", asbytes=True))
            return b"".join(
                self._compressed(whole[at : at + 64]) for at in range(0, len(whole), 64)
            )
        out = io.BytesIO()
        stream = pa.CompressedOutputStream(pa.PythonFile(out, "w"), "zstd")
        packed = b""
        for at in range(0, len(data), 500):
            before = out.tell()
            stream.write(data[at : at + 500])
            stream.flush()
            packed += self._compressed(out.getvalue()[before:])
        return packed

    def _compressed(self, data: bytes) -> bytes:
        if self.compression == 81:
            return self.record(81, data)
        return self.record(83, self.n(8, len(data)) + data + bytes(-len(data) % 8))

    def _attr(self, attr: Attr) -> bytes:
        flags = attr.flags | (0 if attr.clock is None else 1 << 25)
        if self.order == ">":  # bit fields begin with the highest bit there
            flags = int(f"{flags:064b}"[::-1], 2)
        head = self.n(4, attr.kind, _ATTR_SIZE)
        head += self.n(8, attr.config, attr.period, attr.sample_type, attr.read_format, flags)
        return (head.ljust(92, b"\0") + self.n(4, attr.clock or 0)).ljust(_ATTR_SIZE, b"\0")

    def _string(self, text: str) -> bytes:
        data = text.encode() + b"\0"
        data = data.ljust(-(-len(data) // 64) * 64, b"\0")
        return self.n(4, len(data)) + data

    def _features(self) -> dict[int, bytes]:
        descriptions = b"".join(
            self._attr(attr) + self.n(4, len(attr.ids)) + self._string(attr.name)
            + self.n(8, *attr.ids)
            for attr in self.attrs
        )  # fmt: skip
        made = {
            1: b"" if self.piped else self._tracing_data(),
            3: self._string("machine"),
            4: self._string(self.release),
            6: self._string("x86_64"),
            7: self.n(4, self.cpus, self.cpus),
            12: self.n(4, len(self.attrs), _ATTR_SIZE) + descriptions,
        }
        if self.compression:
            made[27] = self.n(4, 1, 1, 1, 2, 1 << 20)
        return dict(sorted({**made, **self.features}.items()))

    def _tracing_data(self) -> bytes:
        head = (
            b"\x17\x08\x44tracing0.6\0"
            + bytes([self.order == ">", self.long_size])
            + self.n(4, 4096)
        )
        return head + self.made.event_texts() + self.n(4, 0, 0) + self.n(8, 0)

    def _file(self, records: bytes) -> bytes:
        ids_at = 104
        ids = b"".join(self.n(8, *attr.ids) for attr in self.attrs)
        attrs_at = ids_at + len(ids)
        attrs, at = b"", ids_at
        for attr in self.attrs:
            attrs += self._attr(attr) + self.n(8, at, 8 * len(attr.ids))
            at += 8 * len(attr.ids)
        data_at = attrs_at + len(attrs)
        features = self._features()
        bitmap = sum(1 << number for number in features)
        bits, words = 8 * self.long_size, 32 // self.long_size
        head = (b"PERFILE2" if self.order == "<" else b"2ELIFREP") + self.n(8, 104)
        head += self.n(8, _ATTR_SIZE + 16, attrs_at, len(attrs), data_at, len(records), 0, 0)
        head += self.n(self.long_size, *(bitmap >> bits * word for word in range(words)))
        table_at = data_at + len(records)
        body, table = b"", b""
        for data in features.values():
            table += self.n(8, table_at + 16 * len(features) + len(body), len(data))
            body += data
        return head + ids + attrs + records + table + body

    def _pipe(self, records: bytes) -> bytes:
        out = (b"PERFILE2" if self.order == "<" else b"2ELIFREP") + self.n(8, 16)
        for attr in self.attrs:
            out += self.record(64, self._attr(attr) + self.n(8, *attr.ids))
        for number, data in self._features().items():
            if number != 1:
                out += self.record(80, self.n(8, number) + data)
        texts = self._tracing_data()
        texts += bytes(-len(texts) % 8)
        return out + self.record(66, self.n(4, len(texts))) + texts + records
