"""The container of a trace.dat file: headers, sections, options, and where each CPU's data lies.

Versions 6 and 7 of the format, either byte order, 4 or 8 byte longs, sections and CPU data plain
or compressed (zstd, zlib). Source: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5) and, where these are
silent, trace-cmd 3.4 lib/trace-cmd/trace-input.c. Nothing here knows what an event is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.ingest.raw.cursor import Cursor, text_of
from pipeline.ingest.raw.tracing_data import read_formats, read_header_page, read_systems
from pipeline.ingest.trace_dat.compression import decompress, known_algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x17\x08\x44tracing"

# Option and section numbers: trace-cmd 3.4 lib/trace-cmd/include/private/trace-cmd-private.h
DONE, DATE, CPUSTAT, BUFFER, TRACECLOCK, UNAME = 0, 1, 2, 3, 4, 5
OFFSET, CPUCOUNT, TIME_SHIFT, TSC2NSEC = 7, 8, 12, 14
HEADER_INFO, FTRACE_EVENTS, EVENT_FORMATS, KALLSYMS, CMDLINES = 16, 17, 18, 19, 21
BUFFER_TEXT = 22

_COMPRESSED = 1
_MAX_CPUS = 1 << 16
_CLOCK_SIZE, _MAX_CLOCK = 8, 256  # bytes of the size of a version 6 clock's text, and of the text
# A section holds text about the kernel; kallsyms of a large one is 20 MB, all other texts less.
_MAX_SECTION = 1 << 26
# Such text becomes some ten times as much when it is decompressed.
_MAX_RATIO, _ALWAYS = 256, 1 << 20


@dataclass(frozen=True, slots=True)
class CpuData:
    """The ring-buffer data of one CPU: where in the file, and how many bytes of it."""

    cpu: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """One trace instance: the top one has the name ``""``."""

    name: str
    clock: str
    page_size: int
    compressed: bool
    cpus: tuple[CpuData, ...]


@dataclass(slots=True)
class TraceDat:
    """What a trace.dat file says of itself; ``data`` is the whole file.

    ``sections`` are the numbers of those read, ``latency`` the names of the instances it has the
    text of a latency tracer of.
    """

    path: str
    data: memoryview
    version: int = 0
    order: str = "<"
    long_size: int = 8
    page_size: int = 4096
    compression: str = "none"
    header_page: str = ""
    formats: list[tuple[str, memoryview]] = field(default_factory=list)
    kallsyms_text: memoryview | None = None
    kallsyms_at: int = 0
    cmdlines: bytes = b""
    options: list[tuple[int, bytes]] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)
    latency: list[str] = field(default_factory=list)

    def kallsyms(self) -> memoryview:
        """The text of /proc/kallsyms, which takes a while to decompress; empty if there is none.

        Raises:
            InputError: its section is damaged.
        """
        if self.kallsyms_at:
            return _section(self, self.kallsyms_at, KALLSYMS, "kallsyms").block(4, "kallsyms")
        return self.kallsyms_text if self.kallsyms_text is not None else memoryview(b"")

    def option(self, number: int) -> bytes | None:
        """The data of the first option of that number; None if there is none."""
        return next((data for found, data in self.options if found == number), None)

    def text(self, number: int) -> str:
        """An option's data as text, without the NUL that ends it; "" if there is none."""
        return text_of(self.option(number) or b"")


def read_trace_dat(path: str, data: memoryview) -> TraceDat:
    """Read the container of a trace.dat file.

    Args:
        path: the file's name, for errors.
        data: the whole file.

    Raises:
        InputError: the file is not a trace.dat of version 6 or 7, or is damaged; says where.
    """
    cursor = Cursor(data, "<", path)
    if not data:
        raise InputError(f"{path}: the file is empty")
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise InputError(
            f"{path}: not a recording that can be read: neither trace.dat nor perf.data, "
            "nor the text of tracefs"
        )
    cursor.at = len(MAGIC)
    version = cursor.string("the version", 16)
    if version not in ("6", "7"):
        cursor.fail(f"trace.dat of version {version!r} is not known, only 6 and 7 are")
    trace = TraceDat(path, data, version=int(version))
    if cursor.number(1, "the byte order") != 0:
        trace.order = cursor.order = ">"
    trace.long_size = cursor.number(1, "the size of a long")
    if trace.long_size not in (4, 8):
        cursor.fail(f"a long of {trace.long_size} bytes is not known, only 4 and 8 are")
    trace.page_size = cursor.number(4, "the page size")
    _check_page_size(cursor, trace.page_size)
    if trace.version == 6:
        _read_version_6(trace, cursor)
    else:
        _read_version_7(trace, cursor)
    return trace


def _check_page_size(cursor: Cursor, size: int) -> None:
    # The kernel's sub-buffers are PAGE_SIZE << order, and their write counter has 20 bits
    # (ring_buffer.c:ring_buffer_subbuf_order_set, RB_WRITE_MASK; 6.8 and later).
    if not 4096 <= size <= 1 << 20 or size & (size - 1):
        cursor.fail(f"a ring-buffer page of {size} bytes cannot be")


# --- version 7: a chain of option sections that point to the others


def _read_version_7(trace: TraceDat, cursor: Cursor) -> None:
    trace.compression = cursor.string("the compression's name", 64)
    cursor.string("the compression's version", 64)
    known_algorithm(trace.compression, trace.path)
    seen: set[int] = set()
    at = cursor.number(8, "the place of the first options")
    while at:
        if at in seen:
            cursor.fail(f"the options sections lead in a circle, back to byte {at}")
        seen.add(at)
        at = _read_options_section(trace, at)


def _section(trace: TraceDat, at: int, number: int, name: str) -> Cursor:
    """A section's contents, decompressed."""
    cursor = Cursor(trace.data, trace.order, f"{trace.path}: {name}")
    if at > len(trace.data):
        cursor.at = len(trace.data)
        cursor.fail(f"the section should begin at byte {at}, behind the end of the file")
    cursor.at = at
    found = cursor.number(2, "the section's number")
    flags = cursor.number(2, "the section's flags")
    cursor.number(4, "the section's description")
    size = cursor.number(8, "the section's size")
    if found != number:
        cursor.fail(f"expected section {number}, found {found}")
    body = Cursor(cursor.take(size, "the section"), trace.order, f"{cursor.what} from byte {at}")
    if not flags & _COMPRESSED:
        return body
    packed, unpacked = (body.number(4, "the compressed section's size") for _ in range(2))
    most = min(_MAX_SECTION, _MAX_RATIO * packed + _ALWAYS)
    if unpacked > most:
        body.fail(f"a section of {unpacked} bytes is not believed, {most} is the most")
    piece = body.take(packed, "the compressed section")
    plain = decompress(trace.compression, piece, unpacked, body.what)
    return Cursor(plain, trace.order, f"{body.what}, decompressed")


def _options(cursor: Cursor) -> Iterator[tuple[int, bytes]]:
    """Number and data of each option, up to and with DONE."""
    number = -1
    while number != DONE:
        number = cursor.number(2, "an option's number")
        yield number, bytes(cursor.block(4, f"option {number}"))


_SECTION_NAMES = {
    HEADER_INFO: "header info",
    FTRACE_EVENTS: "ftrace event formats",
    EVENT_FORMATS: "event formats",
    KALLSYMS: "kallsyms",
    CMDLINES: "command lines",
}


def _read_options_section(trace: TraceDat, at: int) -> int:
    """Read one section of options and the sections they point to; returns the next one's place."""
    cursor = _section(trace, at, DONE, "options")
    following = 0
    for number, data in _options(cursor):
        option = Cursor(memoryview(data), trace.order, f"{cursor.what}, option {number}")
        if number == DONE:
            following = option.number(8, "the place of the next options")
        elif number in (BUFFER, BUFFER_TEXT):
            _read_buffer(trace, option, is_text=number == BUFFER_TEXT)
        elif number in _SECTION_NAMES:
            _read_section(trace, number, option.number(8, "the section's place"))
        else:
            trace.options.append((number, data))
    return following


def _read_section(trace: TraceDat, number: int, at: int) -> None:
    if number in trace.sections:
        raise InputError(f"{trace.path}: two sections of {_SECTION_NAMES[number]}: damaged")
    trace.sections.add(number)
    if number == KALLSYMS:
        trace.kallsyms_at = at
        return
    body = _section(trace, at, number, _SECTION_NAMES[number])
    if number == HEADER_INFO:
        trace.header_page = read_header_page(body)
    elif number == FTRACE_EVENTS:
        trace.formats += read_formats(body, "ftrace", 4)
    elif number == EVENT_FORMATS:
        trace.formats += read_systems(body)
    else:
        trace.cmdlines = bytes(body.block(8, "the command lines"))


def _read_buffer(trace: TraceDat, option: Cursor, *, is_text: bool) -> None:
    at = option.number(8, "the buffer's place")
    name, clock = option.string("the buffer's name"), option.string("the buffer's clock")
    if is_text:
        trace.latency.append(name)
        return
    page_size = option.number(4, "the buffer's page size")
    _check_page_size(option, page_size)
    count = option.number(4, "the buffer's number of CPUs")
    if count > _MAX_CPUS:
        option.fail(f"{count} CPUs are not believed")
    head = Cursor(trace.data, trace.order, f"{trace.path}: buffer {name!r}")
    if at > head.left:
        option.fail(f"the buffer should begin at byte {at}, behind the end of the file")
    head.at = at
    if head.number(2, "the section's number") != BUFFER:
        head.fail("this is not a section of trace data")
    compressed = bool(head.number(2, "the section's flags") & _COMPRESSED)
    cpus = tuple(_cpu_data(trace, option, option.number(4, "a CPU")) for _ in range(count))
    if len({cpu.cpu for cpu in cpus}) < len(cpus):
        option.fail("one CPU has data twice")
    trace.buffers.append(Buffer(name, clock, page_size, compressed, cpus))


def _cpu_data(trace: TraceDat, cursor: Cursor, cpu: int) -> CpuData:
    offset, size = (cursor.number(8, f"where CPU {cpu}'s data is") for _ in range(2))
    if cpu > _MAX_CPUS:
        cursor.fail(f"a CPU of number {cpu} is not believed")
    if size and offset + size > len(trace.data):
        cursor.fail(
            f"CPU {cpu}'s data ends at byte {offset + size}, the file already at "
            f"{len(trace.data)}: it was truncated; copy it again"
        )
    return CpuData(cpu, offset, size)


# --- what both versions hold, and perf.data too (perf 6.1 util/trace-event-info.c)


def _read_version_6(trace: TraceDat, cursor: Cursor) -> None:
    trace.header_page = read_header_page(cursor)
    trace.formats += read_formats(cursor, "ftrace", 4) + read_systems(cursor)
    trace.kallsyms_text = cursor.block(4, "kallsyms")
    cursor.block(4, "printk formats")
    trace.cmdlines = bytes(cursor.block(8, "the command lines"))
    count = cursor.number(4, "number of CPUs")
    kind = bytes(cursor.take(10, "the kind of the data"))
    others: list[tuple[int, str]] = []
    if kind.startswith(b"options"):
        others = _read_version_6_options(trace, cursor)
        kind = bytes(cursor.take(10, "the kind of the data"))
    if kind.startswith(b"latency"):
        cursor.fail("this holds a latency trace's text, not events: record with trace-cmd record")
    if not kind.startswith(b"flyrecord"):
        cursor.fail(f"expected the CPUs' data, found {kind!r}")
    # A recording of other instances may have been given another number: the last one stands, for
    # all of them (handle_options, read_cpu_data).
    for number, data in trace.options:
        if number == CPUCOUNT:
            option = Cursor(memoryview(data), trace.order, cursor.what)
            count = option.number(4, "number of CPUs")
    if count > _MAX_CPUS:
        cursor.fail(f"{count} CPUs are not believed")
    trace.buffers.append(_read_version_6_buffer(trace, cursor, "", count))
    for at, name in others:
        place = Cursor(trace.data, trace.order, f"{trace.path}: buffer {name!r}")
        if at > place.left:
            place.fail(f"the buffer should begin at byte {at}, behind the end of the file")
        place.at = at
        if at:  # 0: the recorder was ended before it wrote this instance's data
            place.expect(b"flyrecord\0")
            trace.buffers.append(_read_version_6_buffer(trace, place, name, count))
        else:
            trace.buffers.append(Buffer(name, "local", trace.page_size, False, ()))


def _read_version_6_buffer(trace: TraceDat, cursor: Cursor, name: str, count: int) -> Buffer:
    """One instance: where its CPUs' data is, and behind that its clock."""
    cpus = tuple(_cpu_data(trace, cursor, cpu) for cpu in range(count))
    clock = _selected_clock(trace.text(TRACECLOCK))
    if not clock and trace.option(TRACECLOCK) is not None and cursor.left >= _CLOCK_SIZE:
        size = cursor.number(_CLOCK_SIZE, "the size of the clock's text")
        # Files of an older trace-cmd have none there, whatever their options say (init_data_v6).
        text = bytes(cursor.take(size, "the clock's text")) if size <= _MAX_CLOCK else b""
        clock = _selected_clock(text.decode("ascii", "replace"))
    return Buffer(name, clock or "local", trace.page_size, False, cpus)


def _read_version_6_options(trace: TraceDat, cursor: Cursor) -> list[tuple[int, str]]:
    """Read the options; returns place and name of the other instances' data."""
    others: list[tuple[int, str]] = []
    while number := cursor.number(2, "an option's number"):
        data = cursor.block(4, f"option {number}")
        if number == BUFFER:
            option = Cursor(data, trace.order, f"{cursor.what}, option {number}")
            at = option.number(8, "the buffer's place")
            others.append((at, option.string("the buffer's name")))
        else:
            trace.options.append((number, bytes(data)))
    return others


def _selected_clock(text: str) -> str:
    """The clock in brackets in the text of the trace_clock file; "" if there is none."""
    name = text.partition("[")[2].partition("]")[0]
    return name if name.isprintable() else ""
