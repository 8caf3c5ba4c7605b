"""Writing trace.dat files, the plain way: what the reader is given in tests.

By trace-cmd.dat.v6(5), trace-cmd.dat.v7(5) and include/linux/ring_buffer.h (7.2).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import pyarrow as pa

KMALLOC, KFREE, CACHE_ALLOC, CACHE_FREE, PAGE_ALLOC, OTHER, STACK = 20, 21, 22, 23, 24, 30, 4
_COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""


def format_text(name: str, number: int, *fields: tuple[str, int, int, int]) -> str:
    lines = "".join(
        f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
        for declaration, offset, size, signed in fields
    )
    return f'name: {name}\nID: {number}\nformat:\n{_COMMON}{lines}\nprint fmt: "", REC->x'


_SITE = (("unsigned long call_site", 8, 8, 0), ("const void * ptr", 16, 8, 0))
_SIZES = (("size_t bytes_req", 24, 8, 0), ("size_t bytes_alloc", 32, 8, 0))
FORMATS = {
    "ftrace": [
        format_text(
            "kernel_stack", STACK, ("int size", 8, 4, 1), ("unsigned long caller[]", 16, 0, 0)
        )
    ],
    "kmem": [
        format_text(
            "kmalloc",
            KMALLOC,
            *_SITE,
            *_SIZES,
            ("unsigned long gfp_flags", 40, 8, 0),
            ("int node", 48, 4, 1),
            ("long surprise", 56, 8, 1),
        ),
        format_text("kfree", KFREE, *_SITE),
        format_text(
            "kmem_cache_alloc",
            CACHE_ALLOC,
            *_SITE,
            *_SIZES,
            ("__data_loc char[] name", 40, 4, 0),
            ("bool accounted", 44, 1, 0),
            ("unsigned int gfp_flags", 48, 4, 0),
        ),
        format_text("kmem_cache_free", CACHE_FREE, *_SITE, ("__rel_loc char[] name", 24, 4, 0)),
        format_text(
            "mm_page_alloc",
            PAGE_ALLOC,
            ("unsigned long pfn", 8, 8, 0),
            ("unsigned int order", 16, 4, 0),
            ("gfp_t gfp_flags", 20, 4, 0),
        ),
    ],
    "sched": [format_text("sched_nothing", OTHER)],
}


@dataclass
class Event:
    """One event: its time, its record, and how it is written.

    ``how`` is ``event``, or ``discarded`` for one that was given back (padding with a time).
    """

    ts: int
    record: bytes
    how: str = "event"


@dataclass
class Cpu:
    """The events of one CPU and the losses before its sub-buffers (by number; -1: not counted)."""

    events: list[Event] = field(default_factory=list)
    lost: dict[int, int] = field(default_factory=dict)


@dataclass
class Instance:
    """A trace instance beside the top one; in version 6 its pages are as large as the top one's."""

    cpus: dict[int, Cpu] = field(default_factory=dict)
    clock: str = "local"
    page_size: int = 4096


@dataclass
class File:
    """How to write a file. ``room`` limits the bytes of events in a sub-buffer."""

    version: int = 7
    compression: str = "zstd"
    order: str = "<"
    long_size: int = 8
    page_size: int = 4096
    room: int = 1 << 20
    absolute: bool = False
    clock: str = "local"
    kallsyms: str = ""
    cmdlines: str = "1 init\n"
    options: list[tuple[int, bytes]] = field(default_factory=list)
    cpus: dict[int, Cpu] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    formats: dict[str, list[str]] = field(default_factory=lambda: FORMATS)

    def record(self, number: int, body: bytes, *, pid: int = 7, flags: int = 0) -> bytes:
        """A record: the common fields and ``body``."""
        return struct.pack(self.order + "HBBi", number, flags, 0, pid) + body

    def kmalloc(self, ptr: int, size: int, site: int = 0, **common: int) -> bytes:
        """A kmalloc of ``size`` bytes, called from ``site``, or from 0x1000 + size."""
        site = site or 0x1000 + size
        body = struct.pack(self.order + "QQqqQiiq", site, ptr, size, size, 3, -1, 0, -9)
        return self.record(KMALLOC, body, **common)

    def kfree(self, ptr: int, **common: int) -> bytes:
        """A kfree, called from 0x2000."""
        return self.record(KFREE, struct.pack(self.order + "QQ", 0x2000, ptr), **common)

    def cache_alloc(self, ptr: int, name: str, **common: int) -> bytes:
        """A kmem_cache_alloc; the name lies behind the fields."""
        text = name.encode() + b"\0"
        place = len(text) << 16 | 52
        body = struct.pack(self.order + "QQQQI?3xI", 0x3000, ptr, 0, 0, place, True, 5)
        return self.record(CACHE_ALLOC, body + text, **common)

    def cache_free(self, ptr: int, name: str, **common: int) -> bytes:
        """A kmem_cache_free; the place of the name counts from behind its field."""
        text = name.encode() + b"\0"
        body = struct.pack(self.order + "QQI", 0x4000, ptr, len(text) << 16) + text
        return self.record(CACHE_FREE, body, **common)

    def page_alloc(self, pfn: int, order: int, **common: int) -> bytes:
        """An mm_page_alloc."""
        return self.record(PAGE_ALLOC, struct.pack(self.order + "QII", pfn, order, 0), **common)

    def stack(self, *frames: int, **common: int) -> bytes:
        """A kernel_stack."""
        word = self.order + str(len(frames)) + ("Q" if self.long_size == 8 else "I")
        body = struct.pack(self.order + "ii", len(frames), 0) + struct.pack(word, *frames)
        return self.record(STACK, body, **common)

    def encode(self) -> bytes:
        """The file's bytes."""
        head = b"\x17\x08\x44tracing" + str(self.version).encode() + b"\0"
        head += bytes([self.order == ">", self.long_size]) + self._n(4, self.page_size)
        return self._version_6(head) if self.version == 6 else self._version_7(head)

    def _n(self, size: int, value: int) -> bytes:
        return value.to_bytes(size, "little" if self.order == "<" else "big")

    # --- sub-buffers

    def pages(self, cpu: Cpu, page_size: int = 0) -> bytes:
        """The sub-buffers of a CPU, ``page_size`` bytes each; 0: the file's."""
        out: list[bytes] = []
        body, stamp, last = b"", 0, 0
        size = page_size or self.page_size
        room = min(self.room, size - 8 - self.long_size - 16)
        for event in cpu.events:
            entry = self._entry(event, event.ts - last)
            if body and len(body) + len(entry) > room:
                out.append(self._page(body, stamp, cpu.lost.get(len(out)), size))
                body = b""
            if not body:
                # A discarded event without a time would be the end of the sub-buffer.
                late = int(event.how == "discarded")
                stamp = event.ts - late
                entry = self._entry(event, late)
            body += entry
            last = event.ts
        out.append(self._page(body, stamp, cpu.lost.get(len(out)), size))
        return b"".join(out)

    def _page(self, body: bytes, stamp: int, lost: int | None, size: int) -> bytes:
        commit = len(body)
        if lost is not None:
            commit |= 1 << 31 if lost < 0 else 1 << 31 | 1 << 30
        head = self._n(8, stamp) + self._n(self.long_size, commit)
        behind = self._n(self.long_size, lost) if lost is not None and lost >= 0 else b""
        return (head + body + behind).ljust(size, b"\xa5")

    def _word(self, kind: int, delta: int) -> bytes:
        return self._n(4, kind | delta << 5 if self.order == "<" else kind << 27 | delta)

    def _entry(self, event: Event, delta: int) -> bytes:
        out = b""
        if self.absolute:
            delta = int(event.how == "discarded")
            low = event.ts - delta & (1 << 59) - 1
            out = self._word(31, low & (1 << 27) - 1) + self._n(4, low >> 27)
        elif delta >= 1 << 27:
            out = self._word(30, delta & (1 << 27) - 1) + self._n(4, delta >> 27)
            delta = 0
        record = event.record + bytes(-len(event.record) % 4)
        if event.how == "discarded":
            assert delta > 0
            return out + self._word(29, delta) + self._n(4, len(record)) + record[4:]
        if len(record) <= 112:
            return out + self._word(len(record) // 4, delta) + record
        return out + self._word(0, delta) + self._n(4, len(record) + 4) + record

    # --- sections

    def _header_info(self) -> bytes:
        size = self.long_size
        page = (
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
            f"\tfield: local_t commit;\toffset:8;\tsize:{size};\tsigned:1;\n"
            f"\tfield: char data;\toffset:{8 + size};\tsize:{self.page_size};\tsigned:1;\n"
        ).encode()
        return b"header_page\0" + self._block(8, page) + b"header_event\0" + self._block(8, b"-")

    def _block(self, size: int, data: bytes) -> bytes:
        return self._n(size, len(data)) + data

    def _formats(self, system: str) -> bytes:
        texts = self.formats[system]
        return self._n(4, len(texts)) + b"".join(self._block(8, text.encode()) for text in texts)

    def _systems(self) -> bytes:
        names = [name for name in self.formats if name != "ftrace"]
        parts = [name.encode() + b"\0" + self._formats(name) for name in names]
        return self._n(4, len(parts)) + b"".join(parts)

    def event_texts(self) -> bytes:
        """The texts on sub-buffers and events: version 6 begins with them, and perf has them."""
        return self._header_info() + self._formats("ftrace") + self._systems()

    def _version_6(self, out: bytes) -> bytes:
        out += self.event_texts()
        out += self._block(4, self.kallsyms.encode()) + self._block(4, b"")
        out += self._block(8, self.cmdlines.encode())
        count = (
            max([*self.cpus, *(cpu for each in self.instances.values() for cpu in each.cpus)]) + 1
        )
        out += self._n(4, count) + b"options  \0"
        places = {}
        for number, data in self.options:
            out += self._n(2, number) + self._block(4, data)
        for name in self.instances:
            out += self._n(2, 3) + self._n(4, 8 + len(name) + 1)
            places[name] = len(out)
            out += self._n(8, 0) + name.encode() + b"\0"
        out += self._n(2, 0)
        out = self._version_6_buffer(out, self.cpus, count, self.clock)
        for name, instance in self.instances.items():
            place = places[name]
            out = out[:place] + self._n(8, len(out)) + out[place + 8 :]
            out = self._version_6_buffer(out, instance.cpus, count, instance.clock)
        return out

    def _version_6_buffer(self, out: bytes, cpus: dict[int, Cpu], count: int, clock: str) -> bytes:
        """A table of CPUs, the clock where the options say that there is one, and the data."""
        out += b"flyrecord\0"
        text = b""
        if any(number == 4 for number, _ in self.options):
            text = self._block(8, f"other [{clock}]".encode())
        at = len(out) + 16 * count + len(text)
        at += -at % self.page_size
        body = b""
        for cpu in range(count):
            data = self.pages(cpus[cpu]) if cpu in cpus else b""
            out += self._n(8, at + len(body)) + self._n(8, len(data))
            body += data
        return (out + text).ljust(at, b"\0") + body

    def _packed(self, data: bytes) -> bytes:
        if self.compression == "zstd":
            return bytes(pa.compress(data, codec="zstd", asbytes=True))
        return zlib.compress(data)

    def _section(self, number: int, data: bytes, *, packed: bool = True) -> bytes:
        flags = 0
        if packed and self.compression != "none":
            body = self._packed(data)
            data = self._n(4, len(body)) + self._n(4, len(data)) + body
            flags = 1
        return self._n(2, number) + self._n(2, flags) + self._n(4, 0) + self._block(8, data)

    def _version_7(self, head: bytes) -> bytes:
        head += self.compression.encode() + b"\x001.0\0"
        out = head + bytes(8)
        options = list(self.options)
        for number, data in (
            (16, self._header_info()),
            (17, self._formats("ftrace")),
            (18, self._systems()),
            (19, self._block(4, self.kallsyms.encode())),
            (21, self._block(8, self.cmdlines.encode())),
        ):
            options.append((number, self._n(8, len(out))))
            out += self._section(number, data)
        first = len(out)
        # The buffers are described in a second section of options, as trace-cmd does.
        size = len(self._option_section(options, 0))
        buffers = []
        out += bytes(size)
        top = Instance(self.cpus, self.clock, self.page_size)
        for name, instance in {"": top, **self.instances}.items():
            data, described = self._buffer(name, instance, len(out))
            out += data
            buffers.append((3, described))
        out = out[:first] + self._option_section(options, len(out)) + out[first + size :]
        out += self._option_section(buffers, 0)
        return out[: len(head)] + self._n(8, first) + out[len(head) + 8 :]

    def _option_section(self, options: list[tuple[int, bytes]], following: int) -> bytes:
        done = (0, self._n(8, following))
        body = b"".join(self._n(2, number) + self._block(4, d) for number, d in [*options, done])
        return self._section(0, body, packed=False)

    def _buffer(self, name: str, instance: Instance, at: int) -> tuple[bytes, bytes]:
        described = self._n(8, at) + name.encode() + b"\0" + instance.clock.encode() + b"\0"
        step = 2 * instance.page_size
        described += self._n(4, instance.page_size) + self._n(4, len(instance.cpus))
        body = b""
        for number, cpu in instance.cpus.items():
            data = self.pages(cpu, instance.page_size)
            if self.compression != "none":
                chunks = [data[i : i + step] for i in range(0, len(data), step)]
                data = self._n(4, len(chunks)) + b"".join(
                    self._n(4, len(packed)) + self._n(4, len(chunk)) + packed
                    for chunk in chunks
                    for packed in [self._packed(chunk)]
                )
            counted = len(data) - (4 if self.compression != "none" else 0)
            described += self._n(4, number)
            described += self._n(8, at + 16 + len(body)) + self._n(8, counted)
            body += data
        head = self._n(2, 3) + self._n(2, self.compression != "none") + self._n(4, 0)
        return head + self._block(8, body), described
