"""Reading what tracefs prints: the files trace and trace_pipe, as text."""

from __future__ import annotations

import re
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.ftrace_text.gfp import GfpWords
from pipeline.ingest.ftrace_text.head import kernel_version, read_head
from pipeline.ingest.ftrace_text.lines import COMM, read_lines
from pipeline.ingest.ftrace_text.other_tools import REPORT
from pipeline.ingest.ftrace_text.records import RecordMaker, TextTypes
from pipeline.ingest.ftrace_text.symbols import TextSymbols
from pipeline.ingest.raw.time_chunks import NEAR, ChunkPlaces, Chunks, spans, time_orders
from pipeline.ingest.reader import Facts
from pipeline.ingest.stream import SLACK, Heads, Stream
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocsim.tables import I8, U1, Bools
    from pipeline.ingest.ftrace_text.lines import TextLines
    from pipeline.ingest.raw.time_chunks import Span

_PAGE_SIZE = 4096
_CHUNK = 1 << 16
_BLOCK = 1 << 22
_LOST = re.compile(r"CPU:(\d+) \[LOST (?:(\d+) )?EVENTS\]")
_MOST_LOST = 1 << 40
_SHOWN = 100  # characters of a line that cannot be read

_MICROSECONDS = "times are whole microseconds, as tracefs prints them, of a clock it does not name"
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
_OFFSETS = "stacks are functions without the places in them (option sym-offset)"


class FtraceTextReader:
    """The reader of tracefs's text (pipeline.ingest.reader.Reader).

    Args:
        path: the file's name, for errors.
        data: the whole file.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: it is not text as the options of tracefs should be set.
    """

    word = 8
    page_size = _PAGE_SIZE

    def __init__(self, path: str, data: memoryview, uname: str) -> None:
        self.path = path
        self.types: TextTypes = TextTypes.known()
        self._data = np.frombuffer(data, np.uint8)
        self._uname = uname.split()
        head = read_head(path, data)
        self._tracer, self._overwritten = head.tracer, head.overwritten
        self._cpus = head.cpus
        self._lost: dict[int, int] = {}
        self._gaps: dict[int, int] = {}
        self._comms: dict[str, str] = {}
        self._unread = 0
        self._misread = 0
        # Where the first line that cannot be read begins, and its text.
        self._first: tuple[int, str] | None = None
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
        gfp = GfpWords(kernel_version(self.path, self._uname))
        maker = self._maker = RecordMaker(self.types, self._table.result(), gfp)
        for span in spans(self._chunks, budget):
            yield self._stream(span, maker)
        if self._misread > self._kept:
            raise InputError(
                f"{self.path}: {self._misread} of {self._kept + self._misread} kmem events are not "
                f"as tracefs prints them ({self._first_unread()}); read /sys/kernel/tracing/trace "
                "itself"
            )

    def _first_unread(self) -> str:
        at, text = self._first or (0, "")
        return f"the first, at byte {at}: {text}"

    def _note_unread(self, at: int, line: U1) -> None:
        """Remember a line that cannot be read if it is the first of them in the file."""
        if self._first is None or at < self._first[0]:
            text = bytes(line[: 4 * _SHOWN]).partition(b"\n")[0].decode("utf-8", "replace")
            self._first = at, ascii(text.strip()[:_SHOWN])

    def facts(self) -> Facts:
        """What the recording says of itself."""
        words = self._uname
        unread = self._unread + self._misread
        # uname -a ends with the machine, and what the system is called.
        arch = words[-2] if len(words) > 4 else None
        return Facts(
            format="ftrace text",
            version=1,
            kernel_release=words[2] if len(words) > 2 else None,
            arch=arch,
            cpus=self._cpus,
            clock="not named",
            ts_unit="ns",
            lost=self._losses(),
            comms=self._comms,
            dropped={"unreadable_lines": unread} if unread else {},
            tracer="" if self._tracer == "nop" else self._tracer,
            lacks=list(self._lacks()),
        )

    def _lacks(self) -> Iterator[str]:
        yield _MICROSECONDS
        if unread := self._unread + self._misread:
            lines = "1 line cannot" if unread == 1 else f"{unread} lines cannot"
            yield f"{lines} be read and {'is' if unread == 1 else 'are'} left out: " + (
                self._first_unread()
            )
        symbols, maker = self._table.result(), self._maker
        if len(self._uname) <= 2:
            yield _NO_RELEASE
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
            yield _OFFSETS

    def _losses(self) -> dict[str, Any]:
        """What meta.json says of lost events: the head counts all, lines those of a CPU."""
        cpus = sorted({*range(self._cpus), *self._lost, *self._gaps})
        per_cpu = {str(cpu): self._lost.get(cpu, 0) for cpu in cpus}
        rest = max(self._overwritten - sum(per_cpu.values()), 0)
        return {
            "per_cpu": {**per_cpu, **({"unknown": rest} if rest else {})},
            "sources": {
                "overwritten": {"unknown": self._overwritten},
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
            lines = read_lines(block, size)
            self._unread += len(lines.other)
            if lines.other.size:
                self._note_unread(base + int(lines.other[0]), block[lines.other[0] :])
            self._count_lost(base, block, lines)
            if not lines.ts.size:
                continue
            self._cpus = max(self._cpus, int(lines.cpu.max()) + 1)
            self._name_tasks(block, lines)
            event = np.flatnonzero(~(lines.stack | lines.user))
            number = np.searchsorted(lines.line[event], np.arange(0, size, _CHUNK))
            start = event[np.unique(number[number < len(event)])]
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
                f"{self.path}: no line is an event as tracefs prints it, with a time in seconds"
                f"{f' (tracer {self._tracer})' if self._tracer else ''}; read "
                "/sys/kernel/tracing/trace of a clock that counts nanoseconds, with tracer nop and "
                "the options raw, hex, bin and verbose off"
            )
        begin[0] = 0
        places = np.array([*begin, len(self._data)], np.int64)
        times = np.array([first, last], np.int64)
        return Chunks(places[:-1], places[1:], times[0], times[1])

    def _name_tasks(self, block: U1, lines: TextLines) -> None:
        """Take in the last name of each task."""
        pids, back = np.unique(lines.pid[::-1], return_index=True)
        for pid, place in zip(pids.tolist(), lines.line[::-1][back].tolist(), strict=True):
            name = bytes(block[place : place + COMM]).strip()
            self._comms[str(pid)] = name.decode("utf-8", "replace")

    def _blocks(self) -> Iterator[tuple[int, U1, int]]:
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

    def _count_lost(self, base: int, block: U1, lines: TextLines) -> None:
        for place in lines.lost.tolist():
            match = _LOST.match(bytes(block[place : place + 64]).decode("utf-8", "replace"))
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
        lines = read_lines(text, size)
        made = maker.make(text, size, lines)
        ts = lines.ts[made.row]
        if maker.padded:
            raise InputError(f"{self.path}: {REPORT}")
        unread = made.unread[self._inside(lines.ts[made.unread], span)]
        loose = made.loose[self._inside(lines.ts[made.loose[:, 1]], span)]
        self._misread += len(unread) + len(loose)
        for at in np.concatenate([lines.line[unread[:1]], lines.frame[loose[:1, 0]]]).tolist():
            within = int(np.searchsorted(begin - moved, at, side="right")) - 1
            self._note_unread(at + int(moved[within]), text[at:])
        # What is further away than NEAR is not looked at.
        near = (ts >= span.since - NEAR) & (ts < span.until + NEAR)
        row, ts = made.row[near], ts[near]
        order, in_time = time_orders(ts, lines.cpu[row])
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
        )

    @staticmethod
    def _inside(ts: I8, span: Span) -> Bools:
        return (ts >= span.since) & (ts < span.until)


def _ended(text: U1) -> tuple[U1, int]:
    """Text with a newline at its end and SLACK bytes behind, and its size with the newline."""
    size = len(text)
    data = np.zeros(size + 1 + SLACK, np.uint8)
    data[:size] = text
    if not size or data[size - 1] != ord("\n"):
        data[size] = ord("\n")
        size += 1
    return data, size
