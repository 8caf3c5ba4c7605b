"""What trace-cmd report prints.

Source: trace-cmd 3.4 tracecmd/trace-read.c:trace_show_data, :read_data_info; libtraceevent
src/event-parse.c:tep_print_event, :tep_print_field. trace-cmd before 3.3 prints no flags.
"""

from __future__ import annotations

import re

from pipeline.errors import InputError
from pipeline.ingest.raw.text.lines import COMM, ColumnLayout
from pipeline.ingest.raw.text.reader import Printer, TextHead, TextReader
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import must_be_number

_LOOK = 1 << 13  # bytes at the beginning that tell
_CPUS = re.compile(rb"^cpus=(\d{1,6})$", re.MULTILINE)
_VERSION = re.compile(rb"^version = [67]$", re.MULTILINE)
# What an event's line has from column COMM on: names are filled up to 20 columns.
_PADDED = re.compile(rb"-\d{1,7} +\[\d{3,5}\] [^:]{0,40}\d\.(?:\d{6}|\d{9}): [\w-]{1,60}: {2,}\S")
_LATENCY = re.compile(rb"^.{8}-\d{1,7} +\d{1,5}[^\s\d]\S{3,5} +\d+\.\d{6,9}: ", re.MULTILINE)
_INSTANCE = re.compile(rb"^ {0,60}[\w.-]{1,60}: .{16}-\d{1,7} +\[\d{3,5}\] ", re.MULTILINE)
_LAYOUT = ColumnLayout(
    b"=> ",
    b"kernel_stack:",
    b"user_stack:",
    padded=True,
    comments=(b"cpus", b"vers", b"CPU "),
)
_TRACE_CMD = Printer(
    name="trace-cmd report",
    format="trace-cmd text",
    lines=_LAYOUT.read,
    lost=re.compile(r"^CPU:(\d+) \[(?:(\d+) )?EVENTS DROPPED\]"),
    events="of a clock that counts nanoseconds, without -l; import the trace.dat itself",
    instead="import the trace.dat itself",
    nanoseconds="with -t nanoseconds",
)
_LACK = (
    "the text of trace-cmd report lacks what its trace.dat has: counts of events lost before "
    "a CPU's first one, symbols of the kernel, its release, and bits of page flags"
)


def is_trace_cmd_text(data: memoryview) -> bool:
    """Whether a file begins as the text of trace-cmd report does."""
    head = bytes(data[:_LOOK])
    if _CPUS.search(head) or _VERSION.match(head) or _INSTANCE.search(head):
        return True
    return any(_PADDED.match(line, COMM) for line in head.split(b"\n"))


def trace_cmd_text(path: str, data: memoryview, uname: str) -> TextReader:
    """The reader of a text of trace-cmd report.

    Args:
        path: the file's name, for errors.
        data: the whole file.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: it is not text as trace-cmd's options should be set.
    """
    head = bytes(data[:_LOOK])
    for sign, option in ((_LATENCY, "-l, which cuts names"), (_INSTANCE, "several instances")):
        if sign.search(head):
            raise InputError(
                f"{path}: text of trace-cmd report with {option}, which is not read; import the "
                "trace.dat itself"
            )
    found = _CPUS.search(head)
    cpus = must_be_number(found[1].decode(), f"{path}: in the head, cpus") if found else 1
    return TextReader(path, data, _TRACE_CMD, TextHead(cpus=min(cpus, CPUS), lacks=(_LACK,)), uname)
