"""Reading a text of events, whatever tool printed it."""

from __future__ import annotations

import re
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.tables import distinct
from pipeline.errors import InputError
from pipeline.ingest.raw.mapped import let_go
from pipeline.ingest.raw.text.gfp import GfpWords
from pipeline.ingest.raw.text.records import RecordMaker, TextTypes
from pipeline.ingest.raw.text.symbols import TextSymbols
from pipeline.ingest.raw.time_chunks import NEAR, ChunkPlaces, Chunks, spans, time_orders
from pipeline.ingest.reader import Facts
from pipeline.ingest.stream import SLACK, Heads, Stream
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import number, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocsim.tables import Bools, Int64, UInt8
    from pipeline.ingest.raw.text.lines import TextLines
    from pipeline.ingest.raw.time_chunks import Span

_PAGE_SIZE = 4096
_CHUNK = 1 << 16
_BLOCK = 1 << 22
_RELEASE = re.compile(r"^(\d+)\.(\d+)")
_MOST_VERSION = 999
_MOST_LOST = 1 << 40
_LOST_SHOWN = 160  # bytes of a line on lost events that are looked at
_SHOWN = 100  # characters of a line that cannot be read
_LONGEST_LINE = 1 << 12  # bytes that are looked at of one
_IMPOSSIBLE = re.compile(rb"[0-9a-f]{21,}|0x[0-9a-f]{17,}")  # of more than 64 bits

_MICROSECONDS = (
    "times are whole microseconds, as {tool} prints them{how}, of a clock it does not name"
)
_CLOCK = "the clock of the times is not named"
_HASHED = (
    "addresses of objects are hashed: frees are matched by the hash, no object can be placed on a "
    "page, and slabs are unknown; record with echo 0 > /sys/kernel/tracing/options/hash-ptr"
)
_NO_RELEASE = (
    "the kernel's release is not in the text, and a replay needs it: put the output of uname -a "
    "beside the recording, in a file called uname, and import it again"
)
_MADE_UP = (
    "made-up addresses of functions: {count}; the text has their names alone, and no copy of "
    "/proc/kallsyms, called kallsyms, beside it has them"
)
_UNCLEAR = "{count} of the functions have a namesake in kallsyms; the first is taken"
_NO_FLAGS = (
    "no gfp flags (this kernel printed none), which a replay needs: record with trace-cmd or perf"
)
_OFFSETS = "stacks are functions without the places in them{how}"
_NO_MARKS = (
    "no interrupt flags, which {tool} did not print: what interrupts did is told from what tasks "
    "did by nothing"
)


@dataclass(frozen=True, slots=True)
class Printer:
    """A tool that prints events, and how.

    Attributes:
        name: what to call it.
        format: what meta.json calls its text.
        lines: the lines of some text (ColumnLayout.read).
        lost: what a line that tells of lost events has: a CPU, and how many if it says so.
        events: how its lines look, for the error where there are none.
        instead: what to import or read instead, where most lines cannot be read.
        nanoseconds: how it would print nanoseconds; "" if it cannot.
        offsets: how it would print places in functions; "" if it cannot.
        chained: stacks are of the events whose lines are before them.
    """

    name: str
    format: str
    lines: Callable[[UInt8, int], TextLines]
    lost: re.Pattern[str]
    events: str
    instead: str
    nanoseconds: str = ""
    offsets: str = ""
    chained: bool = False


@dataclass(frozen=True, slots=True)
class TextHead:
    """What the head of a text says.

    Attributes:
        tracer: the tracer; "" if it does not say.
        overwritten: events that were written and are not in the text.
        cpus: CPUs of the machine, as far as they are known from here.
        release: uname -r of the recorded kernel; None: it does not say.
        arch: its uname -m; None: it does not say.
        lacks: what the text does not say: a sentence each.
    """

    tracer: str = ""
    overwritten: int = 0
    cpus: int = 1
    release: str | None = None
    arch: str | None = None
    lacks: tuple[str, ...] = ()


def kernel_version(path: str, release: str | None) -> tuple[int, int] | None:
    """The version of the kernel by its release; None if that does not begin with one.

    Raises:
        InputError: it cannot be.
    """
    found = _RELEASE.match(release or "")
    if found is None:
        return None
    major, minor = (number(digits, most=_MOST_VERSION) for digits in found.groups())
    if major is None or minor is None:
        raise InputError(
            f"{path}: the uname beside it names release {shown(release or '')}, which cannot be; "
            "put the output of uname -a of the recorded machine there"
        )
    return major, minor


class TextReader:
    """The reader of a text of events (pipeline.ingest.reader.Reader).

    Args:
        path: the file's name, for errors.
        data: the whole file.
        printer: what printed it.
        head: what its head says.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: no line of it is an event.
    """

    word = 8
    page_size = _PAGE_SIZE

    def __init__(
        self, path: str, data: memoryview, printer: Printer, head: TextHead, uname: str
    ) -> None:
        self.path = path
        self.types: TextTypes = TextTypes.known()
        self._data = np.frombuffer(data, np.uint8)
        self._printer, self._head = printer, head
        words = uname.split()
        # uname -a ends with the machine, and what the system is called.
        self._release = head.release or (words[2] if len(words) > 2 else None)
        self._arch = head.arch or (words[-2] if len(words) > 4 else None)
        self._cpus = head.cpus
        self._nanoseconds = self._marked = False
        self._lost: dict[int, int] = {}
        self._gaps: dict[int, int] = {}
        self._comms: dict[str, str] = {}
        self._unread = 0
        self._misread = 0
        # Where the first line that cannot be read begins, and its text.
        self._first: tuple[int, str] | None = None
        # Where the last line begins if nothing ends it.
        last = bytes(data[-_LONGEST_LINE:])
        self._cut = len(data) - len(last.rpartition(b"\n")[2]) if last[-1:] != b"\n" else None
        self._kept = 0
        self._table: Future[TextSymbols] = Future()
        self._maker: RecordMaker | None = None
        self._heads: Heads = Heads(self.types, "<")
        self._chunks = self._index()
        self._done = 0

    @property
    def progress(self) -> float:
        """The part of the recording that has been read, 0 to 1."""
        return min(self._done / max(len(self._chunks.begin), 1), 1.0)

    def symbols(self, beside: Callable[[], memoryview]) -> TextSymbols:
        """Addresses for the functions in the text, by the kallsyms ``beside`` it."""
        try:
            self._table.set_result(TextSymbols(beside(), self.path))
        except InputError as error:
            self._table.set_exception(error)
        return self._table.result()

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of windows of about ``budget`` bytes of text."""
        gfp = GfpWords(kernel_version(self.path, self._release))
        maker = self._maker = RecordMaker(
            self.types, self._table.result(), gfp, chained=self._printer.chained
        )
        for span in spans(self._chunks, budget):
            yield self._stream(span, maker)
        if self._misread > self._kept:
            raise InputError(
                f"{self.path}: {self._misread} of {self._kept + self._misread} kmem events are not "
                f"as {self._printer.name} prints them ({self._first_unread()}); "
                f"{self._printer.instead}"
            )

    def _first_unread(self) -> str:
        at, text = self._first or (0, "")
        pieces = (self._data[place : min(place + _BLOCK, at)] for place in range(0, at, _BLOCK))
        line = 1 + sum(int(np.count_nonzero(piece == ord("\n"))) for piece in pieces)
        return f"the first, line {line}: {text}"

    def _note_unread(self, at: int, line: UInt8) -> None:
        """Remember a line that cannot be read if it is the first of them in the file.

        Raises:
            InputError: no kernel has printed it, or the file ends in the middle of it.
        """
        text = bytes(line[:_LONGEST_LINE]).partition(b"\n")[0]
        if at == self._cut:
            raise InputError(
                f"{self.path}: byte {at}: the file ends in the middle of this line: it is "
                "truncated; copy it again, or take that line off"
            )
        if number := _IMPOSSIBLE.search(text):
            raise InputError(
                f"{self.path}: line at byte {at}: {shown(number[0].decode())} is no number of a "
                "kernel: the text is damaged"
            )
        if self._first is None or at < self._first[0]:
            self._first = at, ascii(text.decode("utf-8", "replace").strip()[:_SHOWN])

    def facts(self) -> Facts:
        """What the recording says of itself."""
        unread = self._unread + self._misread
        return Facts(
            format=self._printer.format,
            version=1,
            kernel_release=self._release,
            arch=self._arch,
            cpus=self._cpus,
            clock="not named",
            ts_unit="ns",
            lost=self._losses(),
            comms=self._comms,
            dropped={"unreadable_lines": unread} if unread else {},
            tracer="" if self._head.tracer == "nop" else self._head.tracer,
            lacks=list(self._lacks()),
        )

    def _lacks(self) -> Iterator[str]:
        tool = self._printer.name
        how = f" ({self._printer.nanoseconds})" if self._printer.nanoseconds else ""
        yield _CLOCK if self._nanoseconds else _MICROSECONDS.format(tool=tool, how=how)
        yield from self._head.lacks
        if unread := self._unread + self._misread:
            lines = "1 line cannot" if unread == 1 else f"{unread} lines cannot"
            yield f"{lines} be read and {'is' if unread == 1 else 'are'} left out: " + (
                self._first_unread()
            )
        symbols, maker = self._table.result(), self._maker
        if self._release is None:
            yield _NO_RELEASE
        if not self._marked:
            yield _NO_MARKS.format(tool=tool)
        if any(
            len(form.names) and "gfp_flags" in form.names and "gfp_flags" not in form.columns
            for form in self.types.forms.values()
        ):
            yield _NO_FLAGS
        if maker is not None and maker.pointers and maker.pointers == maker.hashed:
            yield _HASHED
        if symbols.made_up:
            yield _MADE_UP.format(count=symbols.made_up)
        if symbols.unclear:
            yield _UNCLEAR.format(count=symbols.unclear)
        if maker is not None and maker.frames_without_offset:
            how = f" ({self._printer.offsets})" if self._printer.offsets else ""
            yield _OFFSETS.format(how=how)

    def _losses(self) -> dict[str, Any]:
        """What meta.json says of lost events: the head counts all, lines those of a CPU."""
        cpus = sorted({*range(self._cpus), *self._lost, *self._gaps})
        per_cpu = {str(cpu): self._lost.get(cpu, 0) for cpu in cpus}
        rest = max(self._head.overwritten - sum(per_cpu.values()), 0)
        return {
            "per_cpu": {**per_cpu, **({"unknown": rest} if rest else {})},
            "sources": {
                "overwritten": {"unknown": self._head.overwritten},
                "lines_of_lost_events": per_cpu,
                "marks_without_a_number": {str(cpu): self._gaps.get(cpu, 0) for cpu in cpus},
            },
        }

    # --- the first look

    def _index(self) -> Chunks:
        """The times of all events, 64 KiB at a time; a stack stays with its event."""
        begin: list[int] = []
        first: list[int] = []
        last: list[int] = []
        for base, block, size in self._blocks():
            lines = self._printer.lines(block, size)
            self._nanoseconds |= bool((lines.ts % 1000).any())
            self._marked |= bool(lines.marked.any())
            self._unread += len(lines.other)
            for place in lines.other[[0, -1]].tolist() if lines.other.size else ():
                self._note_unread(base + place, block[place:])
            self._count_lost(base, block, lines)
            if not lines.ts.size:
                continue
            self._cpus = max(self._cpus, int(lines.cpu.max()) + 1)
            self._name_tasks(block, lines)
            event = np.flatnonzero(~(lines.stack | lines.user))
            number = np.searchsorted(lines.line[event], np.arange(0, size, _CHUNK))
            start = event[distinct(number[number < len(event)])]
            if not begin:
                # What stands in front of the first event is seen, too.
                start = np.union1d(start[1:], [0])
            # Stacks that a block begins with are of the last event of the one before.
            rest = lines.ts[: start[0] if start.size else None]
            if rest.size:
                first[-1] = min(first[-1], int(rest.min()))
                last[-1] = max(last[-1], int(rest.max()))
            if start.size:
                begin += (lines.line[start] + base).tolist()
                first += np.minimum.reduceat(lines.ts, start).tolist()
                last += np.maximum.reduceat(lines.ts, start).tolist()
        if self._cpus > CPUS:
            raise InputError(f"{self.path}: an event of CPU {self._cpus - 1} cannot be")
        if not begin:
            raise InputError(
                f"{self.path}: no line is an event as {self._printer.name} prints it"
                f"{f' (tracer {self._head.tracer})' if self._head.tracer else ''}; "
                f"{self._printer.events}"
            )
        begin[0] = 0
        places = np.array([*begin, len(self._data)], np.int64)
        times = np.array([first, last], np.int64)
        return Chunks(places[:-1], places[1:], times[0], times[1])

    def _name_tasks(self, block: UInt8, lines: TextLines) -> None:
        """Take in the last name of each task."""
        pids, back = np.unique(lines.pid[::-1], return_index=True)
        begin, end = lines.line[::-1][back].tolist(), lines.comm[::-1][back].tolist()
        for pid, first, last in zip(pids.tolist(), begin, end, strict=True):
            if name := bytes(block[first:last]).strip():
                self._comms[str(pid)] = name.decode("utf-8", "replace")

    def _blocks(self) -> Iterator[tuple[int, UInt8, int]]:
        """Place, bytes and size of pieces of whole lines, the last line ended if it was not."""
        at, size = 0, len(self._data)
        while at < size:
            piece = self._data[at : at + _BLOCK]
            newlines = np.flatnonzero(piece == ord("\n"))
            whole = int(newlines[-1]) + 1 if newlines.size else len(piece)
            if at + len(piece) < size:
                if not newlines.size:
                    raise InputError(f"{self.path}: byte {at}: a line of {_BLOCK} bytes cannot be")
                piece = piece[:whole]
            yield at, *_ended(piece)
            at += len(piece)
            let_go(self._data)

    def _count_lost(self, base: int, block: UInt8, lines: TextLines) -> None:
        for place in lines.lost.tolist():
            text = bytes(block[place : place + _LOST_SHOWN]).partition(b"\n")[0]
            match = self._printer.lost.search(text.decode("utf-8", "replace"))
            cpu = number(match[1], most=CPUS - 1) if match else None
            lost = number(match[2] or "0", most=_MOST_LOST) if match else None
            if match is None or cpu is None or lost is None:
                self._unread += 1
                self._note_unread(base + place, block[place:])
            elif match[2]:
                self._lost[cpu] = self._lost.get(cpu, 0) + lost
            else:
                self._gaps[cpu] = self._gaps.get(cpu, 0) + 1

    # --- windows

    def _stream(self, span: Span, maker: RecordMaker) -> Stream:
        begin, end = self._chunks.begin[span.chunk], self._chunks.end[span.chunk]
        self._done += len(span.chunk)
        pieces = [self._data[at:to] for at, to in zip(begin.tolist(), end.tolist(), strict=True)]
        text, size = _ended(np.concatenate([np.zeros(0, np.uint8), *pieces]))
        moved = begin - (np.cumsum(end - begin) - (end - begin))
        lines = self._printer.lines(text, size)
        made = maker.make(text, size, lines)
        ts = lines.ts[made.row]
        unread = made.unread[self._inside(lines.ts[made.unread], span)]
        loose = made.loose[self._inside(lines.ts[made.loose[:, 1]], span)]
        self._misread += len(unread) + len(loose)
        for at in np.concatenate([lines.line[unread], lines.frame[loose[:, 0]]]).tolist():
            within = int(np.searchsorted(begin - moved, at, side="right")) - 1
            self._note_unread(at + int(moved[within]), text[at:])
        # What is further away than NEAR is not looked at.
        near = (ts >= span.since - NEAR) & (ts < span.until + NEAR)
        row, ts = made.row[near], ts[near]
        order, in_time = time_orders(ts, lines.cpu[row])
        chains = made.chains and made.chains.only(near).moved(order)
        row, ts = row[order], ts[order]
        offset, size_ = made.offset[near][order], made.size[near][order]
        chunk = np.searchsorted(begin - moved, lines.line[row], side="right") - 1
        by_place = np.argsort(offset, kind="stable")
        line = lines.line[row] + moved[chunk]
        places = ChunkPlaces(f"{self.path}: line at", offset[by_place], line[by_place])
        head, slot = self._heads.read(made.data, offset, size_, places)
        inside = self._inside(ts, span)
        self._kept += int((inside & (slot < len(self.types.kept))).sum())
        return Stream(
            data=made.data,
            order="<",
            offset=offset,
            size=size_,
            ts=ts,
            cpu=lines.cpu[row],
            slot=slot,
            head=head,
            inside=inside,
            places=places,
            in_time=in_time,
            chains=chains,
        )

    @staticmethod
    def _inside(ts: Int64, span: Span) -> Bools:
        return (ts >= span.since) & (ts < span.until)


def _ended(text: UInt8) -> tuple[UInt8, int]:
    """Text with a newline at its end and SLACK bytes behind, and its size with the newline."""
    size = len(text)
    data = np.zeros(size + 1 + SLACK, np.uint8)
    data[:size] = text
    if not size or data[size - 1] != ord("\n"):
        data[size] = ord("\n")
        size += 1
    return data, size
