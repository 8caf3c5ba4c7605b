"""Every recording of tracefs's text, event by event and field by field, against a plain parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from allocsim.trace.events import EVENT_COLUMN, EVENTS, Event
from pipeline.ingest.raw.text.gfp import GfpWords
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import recordings
from tests.oracle import ftrace_text
from tests.pipeline.ingest.perf_data.test_against_perf import number

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

_FILES = recordings("*/ftrace.txt*")
_BACK = {
    "member": "type",
    "name": "zone name",
    "upper_name": "upper_zone name",
    "watermark_min": "watermark min",
    "watermark_low": "low",
    "watermark_high": "high",
    "watermark_promo": "promo",
    "lowmem_reserve": "lowmem_reserve_pages",
}
_FLAGS = {"d": 0x01, "D": 0x81, "b": 0x80}, {}, {"h": 0x08, "s": 0x10, "H": 0x18}


@pytest.mark.skipif(not _FILES, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.parent.name)
def test_has_what_the_text_says(file: Path, tmp_path: Path) -> None:
    text = unpacked(file)
    theirs = ftrace_text.parse(text)
    assert not theirs.other
    trace = TraceSet.open(import_recording(file.parent, tmp_path))
    check(trace, theirs, kallsyms(unpacked(file.parent / "kallsyms.zst")))
    entries = int(text.partition("entries-written: ")[2].partition("/")[0])
    assert len(theirs.events) == entries
    assert sum(trace.meta["lost"]["per_cpu"].values()) == 0
    assert trace.meta["symbols"]["unresolved"] == 0
    assert trace.meta["kernel_release"] in (file.parent / "uname").read_text()
    assert (trace.meta["arch"], trace.meta["cpus"]) == ("x86_64", 2)


def unpacked(file: Path) -> str:
    with pa.input_stream(str(file), compression="detect") as packed:
        return bytes(packed.read()).decode("utf-8", "replace")


def kallsyms(text: str) -> dict[str, list[int]]:
    """Where the symbols of each name begin."""
    begins: dict[str, list[int]] = {}
    for line in text.splitlines():
        address, _, name = line.split()[:3]
        begins.setdefault(name, []).append(int(address, 16))
    return begins


def check(trace: TraceSet, theirs: ftrace_text.Parsed, begins: dict[str, list[int]]) -> None:
    """Compare a trace set with what a plain reader reads."""
    ours = pl.read_parquet(trace.path / "events.parquet")
    kept, inner = _without_repeats(theirs.events)
    assert trace.meta["dropped"]["large_kmalloc_repeats"] == len(theirs.events) - len(kept)
    assert trace.meta["dropped"].get("unreadable_lines", 0) == 0
    kept.sort(key=lambda event: event.ts)
    assert ours["ts"].to_list() == [event.ts for event in kept]
    assert ours["cpu"].to_list() == [event.cpu for event in kept]
    assert ours["pid"].to_list() == [event.pid for event in kept]
    flags = [
        sum(table.get(mark, 0) for table, mark in zip(_FLAGS, event.flags, strict=False))
        for event in kept
    ]
    assert [found & ~0x24 for found in ours["irq_flags"].to_list()] == flags
    kinds = {event.name: event for event in EVENTS}
    assert ours["event"].to_list() == [int(kinds[event.event].code) for event in kept]
    for row, event in zip(ours.iter_rows(named=True), kept, strict=True):
        _check_fields(trace, row, event, kinds[event.event], begins)
        first = inner.get(id(event))
        assert (first is None) == (row.get("inner_site") is None)
        if first is not None:
            _check_place(trace, row["inner_site"], first.fields["call_site"], begins)
        if "stack" in row:
            _check_stack(trace, row["stack"], event.stack)
    assert trace.meta["stacks"]["unattached"] == theirs.loose_stacks


def _without_repeats(
    events: list[ftrace_text.Event],
) -> tuple[list[ftrace_text.Event], dict[int, ftrace_text.Event]]:
    """The events but the first of two of a large kmalloc (T3), and those by the second's id."""
    last: dict[int, ftrace_text.Event | None] = {}
    first: dict[int, ftrace_text.Event] = {}
    for event in events:
        before = last.get(event.cpu)
        if before is not None and _is_large(event) and _sizes(before) == _sizes(event):
            first[id(event)] = before
            last[event.cpu] = None
        else:
            last[event.cpu] = event
    repeats = {id(event) for event in first.values()}
    return [event for event in events if id(event) not in repeats], first


def _is_large(event: ftrace_text.Event) -> bool:
    return event.event == "kmalloc" and int(event.fields["bytes_alloc"]) > 8192


def _sizes(event: ftrace_text.Event) -> list[str | None]:
    return [event.event, *map(event.fields.get, ("ptr", "bytes_req", "bytes_alloc"))]


def _check_fields(
    trace: TraceSet,
    row: dict[str, object],
    event: ftrace_text.Event,
    kind: Event,
    begins: dict[str, list[int]],
) -> None:
    back = {column: name for name, column in kind.renamed.items()}
    for column in set(row) & {column.name for column in EVENT_COLUMN.values()} - _COMMON:
        name = back.get(column, column)
        text = event.fields.get(_BACK.get(name, name)) or event.fields.get(name)
        if column not in kind.columns or not text:
            assert row[column] is None, (event, column)
        elif column == "call_site":
            _check_place(trace, int(str(row[column])), text, begins)
        elif EVENT_COLUMN[column].dtype == "str":
            assert row[column] == text
        elif column in ("ptr", "mapping"):
            assert row[column] == int(text, 16)
        elif column == "pfn" and event.event == "mm_page_alloc" and int(text, 16) == 0:
            assert row[column] == -1
        else:
            assert int(row[column]) == number(text, column), (event, column)  # type: ignore[call-overload]


_COMMON = {"ts", "cpu", "pid", "event", "irq_flags", "stack", "metadata", "inner_site"}


def _check_place(trace: TraceSet, address: int, text: str, begins: dict[str, list[int]]) -> None:
    symbols = trace.symbols
    at = int(symbols.address.searchsorted(address))
    name, _, rest = text.partition("+")
    offset = int(rest.partition("/")[0], 16)
    assert int(symbols.address[at]) == address
    assert (symbols.symbol[at], int(symbols.offset[at])) == (name, offset)
    assert address - offset in begins[name]


def _check_stack(trace: TraceSet, stack: int | None, frames: list[str] | None) -> None:
    assert (stack is None) == (frames is None)
    if stack is not None and frames is not None:
        names = [trace.symbols.name(frame) for frame in trace.stacks.frames(stack).tolist()]
        assert names == [frame.partition("+")[0].partition(" ")[0] for frame in frames]


_FORMATS = recordings("*/formats/kmem/kmalloc")
_FLAG = re.compile(r"\{\( unsigned long\)(.+?), \"(\w+)\"\}")
_TYPE = re.compile(r"\( gfp_t\)|UL|(?<=[0-9a-f])u")


@pytest.mark.skipif(not _FORMATS, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("file", _FORMATS, ids=lambda file: file.parents[2].name)
def test_names_of_flags_mean_what_the_kernel_says(file: Path) -> None:
    release = (file.parents[2] / "uname").read_text().split()[2]
    major, minor = release.split(".")[:2]
    known = GfpWords((int(major), int(minor))).names
    said = {name: _evaluated(text) for text, name in _FLAG.findall(file.read_text())}
    assert len(said) > 30
    assert {name: known.get(name) for name in said} == said


def _evaluated(text: str) -> int:
    """The value of a constant expression of C."""
    plain = _TYPE.sub("", text)
    assert re.fullmatch(r"[0-9a-fx()|&~<> ]+", plain), plain
    return int(eval(plain)) & (1 << 32) - 1  # noqa: S307 -- numbers and operators alone
