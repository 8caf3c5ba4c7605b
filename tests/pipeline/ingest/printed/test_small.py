"""Hand-made text of trace-cmd report and of perf script, in the layouts that these tools have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from allocsim.kernels.release import GFP_BITS
from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS
from tests.pipeline.ingest.ftrace_text.test_reader import KALLSYMS, UNAME
from tests.pipeline.ingest.ftrace_text.test_reader import line as of_tracefs
from tests.pipeline.ingest.trace_dat.test_reader import columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# As libtraceevent prints them: addresses with 0x, functions without their size, its plugin first.
KMALLOC = (
    "kmalloc: {brackets}call_site={site} ptr=0xffff8880010000a0 bytes_req=64 bytes_alloc=64"
    " gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false"
)
KFREE = "kfree: {brackets}call_site={site} ptr=0xffff8880010000a0"
NULL = "kfree: {brackets}call_site={site} ptr=(nil)"
PAGE = "mm_page_alloc: page=0xffffffff8 pfn=0x1000 order=3 migratetype=1 gfp_flags=GFP_USER"
RSS = "rss_stat: mm_id=7 curr=1 type=MM_SHMEMPAGES size=-4096B"
STACK = "kernel_stack: <stack trace >"
EVENTS = (KMALLOC, PAGE, RSS, NULL, KFREE)
CODES = [Ev.KMALLOC, Ev.MM_PAGE_ALLOC, Ev.RSS_STAT, Ev.KFREE, Ev.KFREE]
GFP_KERNEL = sum(
    GFP_BITS[f"__GFP_{name}"] for name in ("DIRECT_RECLAIM", "KSWAPD_RECLAIM", "IO", "FS", "ZERO")
)


def report(
    text: str, ts: float = 10.000001, *, cpu: int = 0, digits: int = 6, flags: str = ""
) -> str:
    """A line of trace-cmd report: 3.1 without flags, later with them."""
    name, _, fields = text.format(brackets="(one+0x40) ", site="one+0x40").partition(": ")
    marks = f" {flags}" if flags else ""
    moment = f"{ts:12.{digits}f}"
    return f"{'my task':>16s}-11    [{cpu:03d}]{marks} {moment}: {name + ':':<21s}{fields}\n"


def script(
    text: str, ts: float = 10.000001, *, task: str = f"{'my task':>16s}    11", period: str = ""
) -> str:
    """A line of perf script."""
    name, _, fields = text.format(brackets="", site="0xffffffff81001040").partition(": ")
    event = f"kmem:{name}:"
    return f"{task} [001] {ts:12.6f}: {period}{event:>36s} {fields}\n"


def imported(text: str, folder: Path) -> TraceSet:
    (folder / "kallsyms").write_text(KALLSYMS)
    (folder / "uname").write_text(UNAME)
    (folder / "made.txt").write_text(text)
    return TraceSet.open(import_recording(folder / "made.txt", folder, force=True))


def check(trace: TraceSet, codes: list[Ev] = CODES) -> None:
    """What all of these texts say."""
    found = columns(trace)
    assert found["event"].tolist() == codes
    assert found["pid"].tolist() == [11] * len(codes)
    assert trace.meta["comms"] == {"11": "my task"}
    assert found["call_site"].tolist()[0] == 0xFFFFFFFF81001040
    assert trace.symbols.name(0xFFFFFFFF81001040) == "one"
    assert found["ptr"].tolist()[:1] == [0xFFFF8880010000A0]
    assert found["gfp_flags"].tolist()[0] == GFP_KERNEL
    assert found["node"].tolist()[0] == -1
    assert trace.meta["kernel_release"] == "6.12.1"
    assert "unreadable_lines" not in trace.meta["dropped"]


@pytest.mark.parametrize("head", ["cpus=4\n", "\nversion = 6\nCPU 1 is empty\ncpus=4\n", ""])
@pytest.mark.parametrize("flags", ["", "d..1.", "d..1..", "d..1"])
def test_reads_what_trace_cmd_prints(tmp_path: Path, head: str, flags: str) -> None:
    lines = [report(text, 1 + at / 100, flags=flags) for at, text in enumerate(EVENTS)]
    lines.insert(2, report(STACK, 1.01, flags=flags) + "=> two (ffffffff81001301)\n=> one+0x10\n")
    trace = imported(head + "".join(lines), tmp_path)
    check(trace)
    found = columns(trace)
    assert found["ptr"].tolist()[-2:] == [0, 0xFFFF8880010000A0]
    assert found["irq_flags"].tolist() == [1 if flags else 0] * 5
    assert found["stack"].tolist() == [-1, 0, -1, -1, -1]
    assert trace.stacks.frames(0).tolist() == [0xFFFFFFFF81001301, 0xFFFFFFFF81001010]
    assert trace.meta["source"]["format"] == "trace-cmd text"
    assert trace.meta["cpus"] == (4 if head else 1)
    said = " ".join(trace.meta["lacks"])
    assert ("no interrupt flags, which trace-cmd report did not print" in said) == (not flags)
    assert "whole microseconds, as trace-cmd report prints them (with -t nanoseconds)" in said


def test_raw_flags_of_trace_cmd(tmp_path: Path) -> None:
    """Option -R of 3.3 and later."""
    text = report(KMALLOC).replace("[000] ", "[000]-0x11 ") + report(KFREE)
    trace = imported("cpus=1\n" + text, tmp_path)
    check(trace, [Ev.KMALLOC, Ev.KFREE])
    assert columns(trace)["irq_flags"].tolist() == [0x11, 0]


def test_nanoseconds_raw_fields_and_lost_events_of_trace_cmd(tmp_path: Path) -> None:
    raw = (
        "kmalloc: call_site=0xffffffff81001040 ptr=0xffff8880010000a0 bytes_req=0x40"
        " bytes_alloc=0x40 gfp_flags=0xdc0 node=-1"
    )
    text = report(raw, 1.000000001, digits=9) + report(RSS.replace("MM_SHMEMPAGES", "3"), digits=9)
    text += "CPU:0 [7 EVENTS DROPPED]\n" + report(KFREE, 11, digits=9)
    text += "CPU:1 [EVENTS DROPPED]\n" + report("sched_switch: bash:1 [120] S ==> sh:2 [120]", 12)
    trace = imported(text, tmp_path)
    check(trace, [Ev.KMALLOC, Ev.RSS_STAT, Ev.KFREE])
    found = columns(trace)
    assert found["ts"].tolist() == [1_000_000_001, 10_000_001_000, 11_000_000_000]
    assert found["member"].tolist()[1] == 3
    assert trace.meta["lost"]["per_cpu"] == {"0": 7, "1": 0}
    assert trace.meta["lost"]["sources"]["marks_without_a_number"] == {"0": 0, "1": 1}
    assert trace.meta["dropped"]["sched_switch"] == 1
    assert "the clock of the times is not named" in trace.meta["lacks"]


@pytest.mark.parametrize(
    "task",
    [
        f"{'my task':>16s}    11",
        f"{'my task':>16s}      9/11   ",
        f"{'my task':>16s}    11  ",
    ],
)
@pytest.mark.parametrize("period", ["", "         1 "])
def test_reads_what_perf_prints(tmp_path: Path, task: str, period: str) -> None:
    text = "".join(
        script(text, 1 + at / 100, task=task, period=period) for at, text in enumerate(EVENTS)
    )
    trace = imported(text, tmp_path)
    check(trace)
    assert columns(trace)["cpu"].tolist() == [1] * 5
    assert trace.meta["source"]["format"] == "perf script text"
    assert any("no interrupt flags" in text for text in trace.meta["lacks"])


def test_callchains_of_perf(tmp_path: Path) -> None:
    """The task's name is not filled up then; and of other events the place in code follows."""
    task = "my task    11"
    chain = (
        "\tffffffff81001040 one+0x40 ([kernel.kallsyms])\n"
        "\tffffffff81001301 three+0x1 ([kernel.kallsyms])\n"
        "\t    7f0000001234 __libc_start_main+0x80 (/usr/lib/x86_64-linux-gnu/libc.so.6)\n\n"
    )
    text = script(KMALLOC, 1, task=task) + chain + script(PAGE, 2, task=task) + "\n"
    text += script(KFREE, 3)[:-1] + "  ffffffff81001050 one+0x50 ([kernel.kallsyms])\n"
    text += script(KFREE, 4, task=task) + chain.replace("two", "three")
    trace = imported(text, tmp_path)
    check(trace, [Ev.KMALLOC, Ev.MM_PAGE_ALLOC, Ev.KFREE, Ev.KFREE])
    assert columns(trace)["stack"].tolist() == [0, -1, -1, 0]
    assert trace.stacks.frames(0).tolist() == [0xFFFFFFFF81001040, 0xFFFFFFFF81001301]
    assert columns(trace)["ptr"].tolist()[2:] == [0xFFFF8880010000A0] * 2


def test_what_else_perf_prints(tmp_path: Path) -> None:
    """A head, side records, brackets in names, tasks that are ending, samples of other kinds."""
    head = (
        "# ========\n# captured on    : Mon\n# os release : 6.18.2\n# nrcpus avail : 8\n"
        "# arch : aarch64\n# ========\n#\n"
    )
    ending = script(KFREE, 3, task=f"{':-1':>16s}    -1")
    others = ("PERF_RECORD_COMM: init:1/1 ", "cycles:", "PERF_RECORD_LOST lost 12")
    text = head + "".join(script("x").replace("kmem:x:", other) for other in others) + ending
    text += script(KMALLOC, 2, task=f"{'a[0] [b] ::c':>16s}    11")
    trace = imported(text, tmp_path)
    assert columns(trace)["event"].tolist() == [Ev.KMALLOC, Ev.KFREE]
    assert columns(trace)["pid"].tolist() == [11, 0]
    assert trace.meta["comms"] == {"11": "a[0] [b] ::c"}
    meta = trace.meta
    assert (meta["kernel_release"], meta["arch"], meta["cpus"]) == ("6.18.2", "aarch64", 8)
    assert meta["lost"]["per_cpu"]["1"] == 12
    assert {key: count for key, count in meta["dropped"].items() if count} == {
        "PERF_RECORD_COMM": 1,
        "cycles": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpus=2\nmy tas-11      0d..1.    10.0: kfree: a=1\n" + report(KFREE), None),
        (
            "cpus=2\n my task-11     0d..1.    10.000001: kfree:   a=1\n",
            r"trace-cmd report with -l, which cuts names.*import the trace.dat",
        ),
        ("cpus=2\n  mine: " + report(KFREE), r"with several instances, which is not read"),
        (script(KFREE).replace("[001] ", ""), r"perf script without CPUs, or without times"),
        (script(KFREE).replace("10.000001: ", ""), r"-F comm,tid,cpu,time,event,trace$"),
        (
            script(KFREE).replace("ptr=0", "ptr=z"),
            r"1 of 1 kmem events.*the first, line 1: 'my task",
        ),
        (
            report(KFREE).replace("ptr=0", "ptr=z"),
            r"1 of 1 kmem events.*import the trace.dat itself",
        ),
        (script(KFREE) + script(KFREE)[:-30], "the file ends in the middle of this line"),
        (script(KFREE, 1e11), "no line is an event as perf script prints it"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, text: str, message: str | None) -> None:
    if message is None:
        assert imported(text, tmp_path).meta["dropped"]["unreadable_lines"] == 1
        return
    with pytest.raises(InputError, match=message):
        imported(text, tmp_path)


def test_says_the_number_of_the_first_line_that_cannot_be_read(tmp_path: Path) -> None:
    text = script(KMALLOC) + "\n" + script(KFREE).replace("ptr=0", "ptr=z") + script(KFREE)
    trace = imported(text + "nonsense\n", tmp_path)
    assert trace.meta["dropped"]["unreadable_lines"] == 2
    [said] = [text for text in trace.meta["lacks"] if "cannot be read" in text]
    assert said.startswith("2 lines cannot be read and are left out: the first, line 3: 'my task")


def test_the_text_of_two_tools_is_that_of_the_first(tmp_path: Path) -> None:
    trace = imported(of_tracefs(PAGE) * 200 + report(KFREE), tmp_path)
    assert trace.meta["source"]["format"] == "ftrace text"
    assert trace.meta["dropped"]["unreadable_lines"] == 1


def test_a_report_without_its_head(tmp_path: Path) -> None:
    source = FAULTS / "text_tracecmd_report_headless"
    trace = TraceSet.open(import_recording(source, tmp_path))
    assert trace.meta["source"]["format"] == "trace-cmd text"
    assert "unreadable_lines" not in trace.meta["dropped"]


@pytest.mark.parametrize("of_tool", [report, script])
def test_a_value_of_any_length_is_a_line_that_cannot_be_read(
    tmp_path: Path, of_tool: Callable[..., str]
) -> None:
    long = KMALLOC.replace("GFP_KERNEL", "GFP_KERNEL|" * 9000)
    trace = imported(of_tool(KMALLOC) * 3 + of_tool(long), tmp_path)
    assert columns(trace)["event"].tolist() == [Ev.KMALLOC] * 3
    assert trace.meta["dropped"]["unreadable_lines"] == 1
