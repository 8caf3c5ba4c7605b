"""What tracefs prints: the files trace and trace_pipe, as text.

Source: kernel/trace/trace_output.c:trace_print_context, :trace_print_lat_fmt, :trace_stack_print,
:trace_user_stack_print; kernel/trace/trace.c:print_trace_line (7.2).
"""

from __future__ import annotations

import re

from pipeline.errors import InputError
from pipeline.ingest.raw.text.lines import COMM, ColumnLayout
from pipeline.ingest.raw.text.reader import Printer, TextHead, TextReader
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import must_be_number, shown

_LOOK = 1 << 13  # bytes at the beginning that tell
# What an event's line has from column COMM on, in this order.
_EVENT = re.compile(rb"-\d{1,7} [ (\d)-]{0,40}\[\d{3,5}\] [^:]{0,40}\d\.\d{6}: ")
_TRACER_LINE = b"# tracer:"
_TRACER = re.compile(rb"^# tracer: (\S{1,40})$", re.MULTILINE)
_ENTRIES = re.compile(r"^# entries-in-buffer/entries-written: (\d+)/(\d+)\s+#P:(\d+)", re.MULTILINE)
_ANY_ENTRIES = re.compile(rb"^# (entries-in-buffer/entries-written:.*)$", re.MULTILINE)
_LATENCY = b"latency trace v"
_LAYOUT = ColumnLayout(b" => ", b"<stack trace>", b"<user stack trace>")
_TRACEFS = Printer(
    name="tracefs",
    format="ftrace text",
    lines=_LAYOUT.read,
    lost=re.compile(r"^CPU:(\d+) \[LOST (?:(\d+) )?EVENTS\]"),
    events="with a time in seconds; read /sys/kernel/tracing/trace of a clock that counts "
    "nanoseconds, with tracer nop and the options raw, hex, bin and verbose off",
    instead="read /sys/kernel/tracing/trace itself",
    offsets="option sym-offset",
)


def is_ftrace_text(data: memoryview) -> bool:
    """Whether a file begins as tracefs's text does."""
    head = bytes(data[:_LOOK])
    return has_tracer(data) or any(_EVENT.match(line, COMM) for line in head.split(b"\n"))


def has_tracer(data: memoryview) -> bool:
    """Whether a text begins with the name of its tracer, as only the file trace does."""
    return bytes(data[: len(_TRACER_LINE)]) == _TRACER_LINE


def ftrace_text(path: str, data: memoryview, uname: str) -> TextReader:
    """The reader of a text of tracefs.

    Args:
        path: the file's name, for errors.
        data: the whole file.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: it is not text as the options of tracefs should be set.
    """
    return TextReader(path, data, _TRACEFS, _read_head(path, data), uname)


def _read_head(path: str, data: memoryview) -> TextHead:
    """The head of a text.

    Raises:
        InputError: it is not text as the options of tracefs should be set.
    """
    head = bytes(data[:_LOOK])
    if _LATENCY in head.partition(b"\n#\n")[2][:200]:
        raise InputError(
            f"{path}: text in the latency format, which cuts names and times; "
            "echo 0 > /sys/kernel/tracing/options/latency-format, and read it again"
        )
    tracer = _TRACER.search(head)
    found = _ENTRIES.search(head.decode("utf-8", "replace"))
    if found is None and (line := _ANY_ENTRIES.search(head)):
        raise InputError(
            f"{path}: its head is damaged: {shown(line[1].decode('utf-8', 'replace'))}"
        )
    held, written, cpus = (
        must_be_number(digits, f"{path}: in the head, {name}")
        for digits, name in zip(
            found.groups() if found else ("0", "0", "1"),
            ("the entries in the buffer", "the entries written", "the number of CPUs"),
            strict=True,
        )
    )
    return TextHead(
        tracer[1].decode("ascii", "replace") if tracer else "",
        max(written - held, 0),
        min(cpus, CPUS),
    )
