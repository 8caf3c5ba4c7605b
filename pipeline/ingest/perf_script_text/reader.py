"""What perf script prints, with its default fields or more of them (-F, --ns, -I)."""

from __future__ import annotations

import re

from pipeline.errors import InputError
from pipeline.ingest.perf_script_text.lines import read_lines
from pipeline.ingest.raw.text.reader import Printer, TextHead, TextReader
from pipeline.trace_set.parts import CPUS
from pipeline.untrusted import must_be_number

_LOOK = 1 << 15  # bytes at the beginning that tell; perf script --header has a few thousand
_MOMENT = rb"\[\d{3,5}\] [^:\n]{0,40}\d\.(?:\d{6}|\d{9}): "
# The event's system before its name, which no other tool prints.
_EVENT = re.compile(_MOMENT + rb" *(?:\d{1,20} +)?(?:[\w-]{1,60}:[\w-]{1,60}: |PERF_RECORD_)")
_HEAD = re.compile(rb"^# ={4,}\n# captured on", re.MULTILINE)
# Without -F cpu, or without -F time.
_LESS = re.compile(
    rb"^ *\S.{0,40} \d{1,7}(?:/\d{1,7})? +(?:\[\d{3,5}\] +|\d+\.\d{6,9}: +)"
    rb"(?:\d{1,20} +)?(?:kmem|page_ref):\w{1,60}: ",
    re.MULTILINE,
)
_SAID = {
    "release": re.compile(rb"^# os release : (\S{1,80})$", re.MULTILINE),
    "arch": re.compile(rb"^# arch : (\S{1,40})$", re.MULTILINE),
    "cpus": re.compile(rb"^# nrcpus avail : (\d{1,9})$", re.MULTILINE),
}
_FIELDS = "comm,tid,cpu,time,event,trace"
_PERF_SCRIPT = Printer(
    name="perf script",
    format="perf script text",
    lines=read_lines,
    lost=re.compile(r"\[(\d+)\] .*PERF_RECORD_LOST (?:lost )?(\d+)"),
    events=f"it needs a CPU and a time: perf script -F {_FIELDS}; or import the perf.data itself",
    instead="import the perf.data itself",
    nanoseconds="with --ns nanoseconds",
    chained=True,
)
_LACK = (
    "the text of perf script lacks what its perf.data has: lost events (unless it was printed"
    " with --show-lost-events), bits of page flags, and the pids of tasks that are ending "
    "(here 0)"
)


def is_perf_script(data: memoryview) -> bool:
    """Whether a file begins as the text of perf script does."""
    head = bytes(data[:_LOOK])
    return any(sign.search(head) is not None for sign in (_HEAD, _EVENT, _LESS))


def perf_script(path: str, data: memoryview, uname: str) -> TextReader:
    """The reader of a text of perf script.

    Args:
        path: the file's name, for errors.
        data: the whole file.
        uname: what uname -a said of the recorded kernel; "" if that is not known.

    Raises:
        InputError: its lines have no CPU or no time.
    """
    head = bytes(data[:_LOOK])
    if _EVENT.search(head) is None and _LESS.search(head):
        raise InputError(
            f"{path}: text of perf script without CPUs, or without times; perf script -F {_FIELDS}"
        )
    found = {name: sign.search(head) for name, sign in _SAID.items()}
    said = {name: match[1].decode("ascii", "replace") for name, match in found.items() if match}
    cpus = must_be_number(said.get("cpus", "1"), f"{path}: in the head, nrcpus avail")
    text_head = TextHead(
        cpus=max(min(cpus, CPUS), 1),
        release=said.get("release"),
        arch=said.get("arch"),
        lacks=(_LACK,),
    )
    return TextReader(path, data, _PERF_SCRIPT, text_head, uname)
