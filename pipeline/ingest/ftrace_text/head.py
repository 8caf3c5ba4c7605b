"""What tracefs's text begins with: that it is such text, of which tracer, and how much is gone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.ingest.ftrace_text.lines import COMM
from pipeline.ingest.ftrace_text.other_tools import other_tool
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import must_be_number, number, shown

_LOOK = 1 << 13  # bytes at the beginning that tell
# What an event's line has from column COMM on, in this order.
_EVENT = re.compile(rb"-\d{1,7} [ (\d)-]{0,40}\[\d{3,5}\] [^:]{0,40}\d\.\d{6}: ")
_TRACER = re.compile(rb"^# tracer: (\S{1,40})$", re.MULTILINE)
_ENTRIES = re.compile(r"^# entries-in-buffer/entries-written: (\d+)/(\d+)\s+#P:(\d+)", re.MULTILINE)
_ANY_ENTRIES = re.compile(rb"^# (entries-in-buffer/entries-written:.*)$", re.MULTILINE)
_LATENCY = b"latency trace v"
_RELEASE = re.compile(r"^(\d+)\.(\d+)")
_MOST_VERSION = 999


@dataclass(frozen=True, slots=True)
class TextHead:
    """What the head of a text says.

    Attributes:
        tracer: the tracer; "" if it does not say.
        overwritten: events that were written and are not in the text.
        cpus: CPUs of the machine, as far as they are known from here.
    """

    tracer: str
    overwritten: int
    cpus: int


def is_ftrace_text(data: memoryview) -> bool:
    """Whether a file begins as tracefs's text does, or as what other tools make of it."""
    head = bytes(data[:_LOOK])
    return (
        head.startswith(b"# tracer:")
        or any(_EVENT.match(line, COMM) for line in head.split(b"\n"))
        or other_tool(head) is not None
    )


def read_head(path: str, data: memoryview) -> TextHead:
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
    if what := other_tool(head):
        raise InputError(f"{path}: {what}")
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


def kernel_version(path: str, uname: list[str]) -> tuple[int, int] | None:
    """The version of the kernel by the words of uname -a; None if there are none.

    Raises:
        InputError: it cannot be.
    """
    found = _RELEASE.match(uname[2]) if len(uname) > 2 else None
    if found is None:
        return None
    major, minor = (number(digits, most=_MOST_VERSION) for digits in found.groups())
    if major is None or minor is None:
        raise InputError(
            f"{path}: the uname beside it names release {shown(uname[2])}, which cannot be; put "
            "the output of uname -a of the recorded machine there"
        )
    return major, minor
