"""The container of a perf.data file: its events, what it says of the machine, where records lie.

Both ways in which perf writes (to a file, and to a pipe), either byte order. Source: perf 6.1
tools/perf/Documentation/perf.data-file-format.txt and, where it is silent, util/header.c and
util/session.c. Nothing here looks into a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.ingest.perf_data.attrs import SCHED_CLOCK, Attr, read_attr
from pipeline.ingest.raw.cursor import Cursor, text_of
from pipeline.ingest.raw.tracing_data import read_formats, read_header_page, read_systems

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = {b"PERFILE2": "<", b"2ELIFREP": ">"}
_OLD_MAGIC = b"PERFFILE"
_TRACING_MAGIC = b"\x17\x08\x44tracing"
_FILE_HEADER, _PIPE_HEADER = 104, 16
_HEADER = 8  # bytes of struct perf_event_header

# Features (util/header.h).
_TRACING_DATA, _HOSTNAME, _OSRELEASE, _ARCH, _NRCPUS, _EVENT_DESC = 1, 3, 4, 6, 7, 12
_AUXTRACE, _DIR_FORMAT, _COMPRESSED = 18, 24, 27
_FEATURES = 256
# Records that perf itself writes, from 64 on (util/event.h).
_PIPE_ATTR, _PIPE_TRACING_DATA, _PIPE_UPDATE, _PIPE_FEATURE = 64, 66, 78, 80
_UPDATE_NAME = 2  # PERF_EVENT_UPDATE__NAME
SAMPLE = 9
_MOST = 1 << 16
_NAMED = 5  # most events that a line names
_NOT_CLOSED = (
    "perf record was not ended properly, or wrote no event formats: "
    "record again, and end it with Ctrl-C or SIGINT"
)


@dataclass(slots=True)
class PerfData:
    """What a perf.data file says of itself; ``data`` is the whole file.

    Attributes:
        begin: where its records begin.
        end: where they end.
        compressed: whether records are compressed, in records of their own.
        formats: system and format text of each tracepoint.
        names: of the events that have any, by id.
    """

    path: str
    data: memoryview
    order: str = "<"
    piped: bool = False
    begin: int = 0
    end: int = 0
    compressed: bool = False
    attrs: list[Attr] = field(default_factory=list)
    release: str | None = None
    arch: str | None = None
    cpus: int = 0
    page_size: int = 4096
    long_size: int = 8
    formats: list[tuple[str, memoryview]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def clock(self) -> str:
        """The clock of the tracepoints' times."""
        return next((attr.clock for attr in self.attrs if attr.tracepoint), SCHED_CLOCK)

    def cursor(self, what: str, at: int, end: int) -> Cursor:
        """A cursor over bytes ``at`` to ``end`` of the file; it counts from the file's start."""
        if not at <= end <= len(self.data):
            raise InputError(
                f"{self.path}: {what} should end at byte {end}, the file ends at "
                f"{len(self.data)}: it was truncated; copy it again"
            )
        return Cursor(self.data[:end], self.order, f"{self.path}: {what}", at)


def is_perf_data(data: memoryview) -> bool:
    """Whether a file begins as perf.data does."""
    return bytes(data[:8]) in {*MAGIC, _OLD_MAGIC}


def read_perf_data(path: str, data: memoryview) -> PerfData:
    """Read the container of a perf.data file.

    Args:
        path: the file's name, for errors.
        data: the whole file.

    Raises:
        InputError: it is damaged, or holds what cannot be read; says where or what.
    """
    magic = bytes(data[:8])
    if magic == _OLD_MAGIC:
        raise InputError(f"{path}: perf.data of version 1 (before Linux 2.6.33) is not read")
    perf = PerfData(path, data, order=MAGIC[magic])
    cursor = perf.cursor("the header", 8, len(data))
    size = cursor.number(8, "the header's size")
    if size == _PIPE_HEADER:
        perf.piped = True
        perf.begin, perf.end = _PIPE_HEADER, len(data)
        _read_pipe(perf)
    elif size == _FILE_HEADER:
        _read_file(perf, cursor)
    else:
        cursor.fail(f"a header of {size} bytes is not known, only {_FILE_HEADER}")
    perf.attrs = [
        replace(attr, name=next((perf.names[id_] for id_ in attr.ids if id_ in perf.names), ""))
        for attr in perf.attrs
    ]
    if not any(attr.tracepoint for attr in perf.attrs):
        raise InputError(
            f"{path}: no tracepoints; record with perf record -e 'kmem:*' -a (it has "
            f"{_listed(perf.attrs)})"
        )
    if not perf.formats:
        raise InputError(f"{path}: {_NOT_CLOSED}")
    return perf


def _listed(attrs: list[Attr]) -> str:
    """The events that were recorded, the first few of them by name."""
    names = list(dict.fromkeys(attr.called for attr in attrs))
    more = f", {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _read_file(perf: PerfData, cursor: Cursor) -> None:
    attr_size = cursor.number(8, "the size of an event's attributes")
    attrs_at, attrs_size = _section(cursor, "the events")
    perf.begin, size = _section(cursor, "the records")
    _section(cursor, "the event types")
    words = [cursor.number(8, "the features") for _ in range(_FEATURES // 64)]
    if perf.order == ">" and not words[0] >> _HOSTNAME & 1:
        # Words of four bytes, on a machine of 32 bits (util/header.c:perf_file_header__read).
        words = [(word & 0xFFFFFFFF) << 32 | word >> 32 for word in words]
    features = [bit for bit in range(_FEATURES) if words[bit // 64] >> bit % 64 & 1]
    if not size:
        raise InputError(f"{perf.path}: {_NOT_CLOSED}")
    perf.end = perf.begin + size
    perf.cursor("the records", perf.begin, perf.end)
    table = perf.cursor("the table of features", perf.end, len(perf.data))
    if not 16 < attr_size <= 4096 or attrs_size % attr_size:
        cursor.fail(f"{attrs_size} bytes of events, {attr_size} each, cannot be")
    for at in range(attrs_at, attrs_at + attrs_size, attr_size):
        one = perf.cursor("an event's attributes", at, at + attr_size)
        attr = read_attr(one)
        one.at = at + attr_size - 16
        ids = perf.cursor("an event's ids", *_range(*_section(one, "an event's ids")))
        perf.attrs.append(replace(attr, ids=_ids(ids)))
    for feature in features:
        at, size = _section(table, f"feature {feature}")
        if feature in _READ:
            _READ[feature](perf, perf.cursor(_NAMES[feature], at, at + size))
        elif feature in _REFUSED:
            raise InputError(f"{perf.path}: {_REFUSED[feature]}")


def _range(at: int, size: int) -> tuple[int, int]:
    return at, at + size


def _section(cursor: Cursor, name: str) -> tuple[int, int]:
    """Place and size of a part of the file."""
    return cursor.number(8, f"the place of {name}"), cursor.number(8, f"the size of {name}")


def _ids(cursor: Cursor) -> tuple[int, ...]:
    if cursor.left % 8:
        cursor.fail(f"{cursor.left} bytes of ids cannot be")
    return tuple(cursor.number(8, "an id") for _ in range(cursor.left // 8))


def headers(perf: PerfData, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Place, type and size of records, one by one: for where there are few of them.

    The event formats that follow the record of them in a pipe count as part of it.

    Raises:
        InputError: a record does not end where it could.
    """
    cursor = perf.cursor("the records", begin, end)
    while cursor.left:
        at = cursor.at
        kind = cursor.number(4, "a record's type")
        cursor.number(2, "a record's flags")
        size = cursor.number(2, "a record's size")
        if size < _HEADER:
            cursor.at = at
            cursor.fail(f"a record of {size} bytes cannot be")
        cursor.take(size - _HEADER, "a record")
        if kind == _PIPE_TRACING_DATA:
            cursor.at = at + _HEADER
            length = cursor.number(4, "the size of the event formats")
            cursor.at = at + size
            cursor.take(length, "the event formats")
        yield at, kind, cursor.at - at


def _read_pipe(perf: PerfData) -> None:
    """Read what perf writes to a pipe in front of the first sample."""
    for at, kind, size in headers(perf, perf.begin, perf.end):
        if kind == SAMPLE:
            break
        body = perf.cursor("a record", at + _HEADER, at + size)
        if kind == _PIPE_ATTR:
            attr = read_attr(body)
            body.at += 4
            rest = body.number(4, "an event's size") - 8
            body.take(rest, "an event's attributes")
            perf.attrs.append(replace(attr, ids=_ids(body)))
        elif kind == _PIPE_TRACING_DATA:
            body.at = at + size - body.number(4, "the size of the event formats")
            _read_tracing_data(perf, body)
        elif kind == _PIPE_FEATURE:
            feature = body.number(8, "a feature")
            if feature in _READ:
                _READ[feature](perf, body)
            elif feature in _REFUSED:
                raise InputError(f"{perf.path}: {_REFUSED[feature]}")
        elif kind == _PIPE_UPDATE:
            _read_update(perf, body)
        else:
            continue
        perf.begin = at + size
    if not perf.attrs:
        raise InputError(f"{perf.path}: {_NOT_CLOSED}")


def _read_update(perf: PerfData, body: Cursor) -> None:
    """Take in the name that a pipe says of an event behind its attributes."""
    what, id_ = body.number(8, "an update's kind"), body.number(8, "an id")
    if what == _UPDATE_NAME:
        perf.names.setdefault(id_, text_of(body.take(body.left, "an event's name")))


def _read_tracing_data(perf: PerfData, cursor: Cursor) -> None:
    """The formats of events: what a trace.dat of version 6 begins with, too."""
    cursor.expect(_TRACING_MAGIC)
    cursor.string("the version of the event formats", 16)
    order = ">" if cursor.number(1, "the byte order") else "<"
    if order != perf.order:
        cursor.fail("the event formats have another byte order than the file")
    perf.long_size = cursor.number(1, "the size of a long")
    if perf.long_size not in (4, 8):
        cursor.fail(f"a long of {perf.long_size} bytes is not known, only 4 and 8 are")
    perf.page_size = cursor.number(4, "the page size")
    if not 4096 <= perf.page_size <= 1 << 16 or perf.page_size & (perf.page_size - 1):
        cursor.fail(f"a page of {perf.page_size} bytes cannot be")
    read_header_page(cursor)
    perf.formats = read_formats(cursor, "ftrace", 4) + read_systems(cursor)


def _string(cursor: Cursor, name: str) -> str:
    """A length, and a text in so many bytes, up to its first NUL."""
    text = text_of(cursor.block(4, name))
    if not text.isprintable():
        cursor.fail(f"{name} is no text")
    return text


def _read_release(perf: PerfData, cursor: Cursor) -> None:
    perf.release = _string(cursor, "the kernel's release")


def _read_arch(perf: PerfData, cursor: Cursor) -> None:
    perf.arch = _string(cursor, "the architecture")


def _read_cpus(perf: PerfData, cursor: Cursor) -> None:
    perf.cpus = cursor.number(4, "the number of CPUs")
    if perf.cpus > _MOST:
        cursor.fail(f"{perf.cpus} CPUs are not believed")


def _read_event_names(perf: PerfData, cursor: Cursor) -> None:
    count, size = cursor.number(4, "the number of events"), cursor.number(4, "an event's size")
    for _ in range(min(count, _MOST)):
        cursor.take(size, "an event's attributes")
        ids = cursor.number(4, "the number of an event's ids")
        name = _string(cursor, "an event's name")
        for _ in range(ids):
            id_ = cursor.number(8, "an id")
            if name:
                perf.names[id_] = name


def _set_compressed(perf: PerfData, cursor: Cursor) -> None:
    cursor.number(4, "the version of the compression")
    kind = cursor.number(4, "the compression")
    if kind != 1:  # PERF_COMP_ZSTD
        cursor.fail(f"compression {kind} is not known, only zstd is")
    perf.compressed = True


_READ = {
    _TRACING_DATA: _read_tracing_data,
    _OSRELEASE: _read_release,
    _ARCH: _read_arch,
    _NRCPUS: _read_cpus,
    _EVENT_DESC: _read_event_names,
    _COMPRESSED: _set_compressed,
}
_NAMES = {
    _TRACING_DATA: "the event formats",
    _OSRELEASE: "the kernel's release",
    _ARCH: "the architecture",
    _NRCPUS: "the number of CPUs",
    _EVENT_DESC: "the events' names",
    _COMPRESSED: "the compression",
}
_REFUSED = {
    _AUXTRACE: "it holds a hardware trace (AUX), which is not read; record kmem events alone",
    _DIR_FORMAT: "it is one of several files of perf record --threads; record without --threads",
}
