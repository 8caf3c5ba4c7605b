"""Every recording, event by event and field by field, against trace-cmd report."""

from __future__ import annotations

import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from allocsim.trace.events import EVENT_COLUMN, EVENTS
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import recordings
from tests.oracle.trace_cmd import Report, report, value

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="trace-cmd is not installed"),
]

_FILES = [*recordings("*/trace.dat"), *recordings("*/trace.v6.dat.zst")]
# Columns that are no field of the event, or one of every event.
_NO_FIELDS = ("ts", "cpu", "pid", "event", "irq_flags", "inner_site", "stack", "metadata")
_IRQS_OFF, _HARDIRQ, _SOFTIRQ = 0x01, 0x08, 0x10


@pytest.mark.skipif(not _FILES, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("file", _FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_has_what_trace_cmd_prints(file: Path, tmp_path: Path) -> None:
    theirs = report(_plain(file, tmp_path), tmp_path)
    trace = TraceSet.open(import_recording(file, tmp_path))
    ours = pl.read_parquet(trace.path / "events.parquet")
    stacks = theirs.events["event"] == "kernel_stack"
    first_of_two = _repeated(theirs.events.filter(~stacks))
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": len(first_of_two)}
    dropped = theirs.events["number"].is_in(first_of_two)
    events = theirs.events.filter(~stacks & ~dropped)

    assert ours["ts"].equals(events["ts"], check_names=False)
    assert ours["cpu"].equals(events["cpu"], check_names=False)
    assert ours["pid"].equals(events["pid"], check_names=False)
    code = {event.name: int(event.code) for event in EVENTS}
    assert (ours["event"] == events["event"].replace_strict(code, return_dtype=pl.UInt8)).all()
    assert (_flags(ours["irq_flags"].to_numpy()) == _flag_marks(events["flags"])).all()
    for name in events["event"].unique():
        _check_fields(trace, ours, events, name)
    if first_of_two:
        inner = _with_symbols(trace, ours["inner_site"].drop_nulls())
        sites = value(theirs.events.filter(dropped)["fields"], "call_site")
        assert sorted(inner) == sorted(sites)
    _check_stacks(trace, ours, theirs, events)


def _plain(file: Path, scratch: Path) -> Path:
    if file.suffix != ".zst":
        return file
    plain = scratch / file.stem
    with pa.input_stream(str(file), compression="zstd") as packed:
        plain.write_bytes(packed.read())
    return plain


def _repeated(events: pl.DataFrame) -> list[int]:
    """The first events of large kmallocs that the same task repeats at once (T3)."""
    kmallocs = events.filter(event="kmalloc")
    for name in ("ptr", "bytes_req", "bytes_alloc"):
        kmallocs = kmallocs.with_columns(value(kmallocs["fields"], name).alias(name))
    large = kmallocs.filter(pl.col("bytes_alloc").cast(pl.Int64) > 8192)
    repeats: list[int] = []
    for (cpu,), on_cpu in large.group_by("cpu"):
        rows = on_cpu.select("number", "pid", "flags", "ptr", "bytes_req", "bytes_alloc").rows()
        for (first, *one), (second, *other) in pairwise(rows):
            one[1], other[1] = one[1][2], other[1][2]
            if one == other and not (repeats and repeats[-1] == -first):
                between = events.filter(pl.col("number").is_between(first + 1, second - 1), cpu=cpu)
                if (between["flags"].str.slice(2, 1) != one[1]).all():
                    repeats += [first, -second]
    return [number for number in repeats if number >= 0]


def _flags(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return flags & (_IRQS_OFF | _HARDIRQ | _SOFTIRQ)


def _flag_marks(marks: pl.Series) -> npt.NDArray[np.uint8]:
    """The first and third character of trace-cmd's flags (event-parse.c:data_latency_format)."""
    known = {
        mark: (_IRQS_OFF if mark[0] in "dD" else 0)
        | {"h": _HARDIRQ, "s": _SOFTIRQ, "H": _HARDIRQ | _SOFTIRQ}.get(mark[2], 0)
        for mark in marks.unique()
    }
    return marks.replace_strict(known, return_dtype=pl.UInt8).to_numpy()


def _check_fields(trace: TraceSet, ours: pl.DataFrame, events: pl.DataFrame, name: str) -> None:
    [event] = [event for event in EVENTS if event.name == name]
    mine = ours.filter(pl.col("event") == int(event.code))
    fields = events.filter(event=name)["fields"]
    back = {column: field for field, column in event.renamed.items()}
    found = set(trace.meta["fields"][name])
    assert found
    for column in ours.columns:
        if column in _NO_FIELDS:
            continue
        if column not in found:
            assert mine[column].null_count() == len(mine)
            continue
        texts = value(fields, back.get(column, column))
        assert texts.null_count() == 0, (name, column)
        if EVENT_COLUMN[column].dtype == "str":
            assert mine[column].equals(texts, check_names=False)
        elif column == "call_site":
            assert (_with_symbols(trace, mine[column]) == texts).all()
        else:
            assert (_bits(mine[column]) == _parsed(texts)).all(), (name, column)


def _bits(values: pl.Series) -> npt.NDArray[np.uint64]:
    assert values.null_count() == 0
    numbers = values.to_numpy()
    return numbers.astype(np.int64 if numbers.dtype.kind != "u" else np.uint64).view(np.uint64)


def _parsed(texts: pl.Series) -> npt.NDArray[np.uint64]:
    known = {text: int(text, 0) & (1 << 64) - 1 for text in texts.unique() if text != "(nil)"}
    known["(nil)"] = 0
    return texts.replace_strict(known, return_dtype=pl.UInt64).to_numpy()


def _with_symbols(trace: TraceSet, addresses: pl.Series) -> pl.Series:
    symbols = trace.symbols
    named = {
        address: f"{symbol}+{offset:#x}"
        for address, symbol, offset in zip(
            symbols.address.tolist(), symbols.symbol, symbols.offset.tolist(), strict=True
        )
    }
    return addresses.replace_strict(named, return_dtype=pl.String)


def _check_stacks(
    trace: TraceSet, ours: pl.DataFrame, theirs: Report, events: pl.DataFrame
) -> None:
    owner, unattached = _owners(theirs)
    assert trace.meta["stacks"]["events"] == len(owner) + unattached
    assert trace.meta["stacks"]["unattached"] == unattached
    if not owner:
        assert "stack" not in ours.columns
        return
    owners = pl.DataFrame({"stack_number": list(owner), "number": list(owner.values())})
    rows = events.select("number").with_columns(mine=ours["stack"])
    rows = rows.join(owners, on="number", how="left", maintain_order="left")
    # An event that is left out as a repeat takes its stack along.
    assert rows["stack_number"].is_null().equals(rows["mine"].is_null())
    having = rows.filter(pl.col("mine").is_not_null())
    frames = theirs.frames.group_by("number", maintain_order=True).agg("symbol", "address")
    expected = having.join(frames, left_on="stack_number", right_on="number", how="left")
    # One row for each stack of ours and each of theirs it stands for.
    pairs = expected.select("mine", "address", "symbol").unique()
    assert pairs["mine"].n_unique() == len(pairs)
    for number, address, symbol in pairs.iter_rows():
        mine = trace.stacks.frames(number)
        assert [f"{frame:x}" for frame in mine.tolist()] == [a.lstrip("0") for a in address]
        assert [trace.symbols.name(frame) for frame in mine.tolist()] == symbol


def _owners(theirs: Report) -> tuple[dict[int, int], int]:
    """The event each stack belongs to: the one before it on its CPU and in its context."""
    context = pl.col("flags").str.slice(2, 1)
    before = [pl.col(name).shift(1).over("cpu", context) for name in ("number", "pid", "event")]
    stacks = theirs.events.with_columns(
        *(column.name.prefix("before_") for column in before)
    ).filter(event="kernel_stack")
    probes = theirs.frames.unique("number", keep="first").select("number", "symbol")
    stacks = stacks.join(probes, on="number", how="left")
    owner: dict[int, int] = {}
    for number, pid, probe, *last in stacks.select(
        "number", "pid", "symbol", "before_number", "before_pid", "before_event"
    ).iter_rows():
        of_class = probe.removeprefix("trace_event_raw_event_")
        if last[1] == pid and _in_class(last[2], of_class):
            owner[number] = last[0]
    return owner, len(stacks) - len(owner)


def _in_class(event: str, of_class: str) -> bool:
    """Whether an event is of a class; most have one event (include/trace/events/page_ref.h)."""
    return event in {
        "page_ref_mod_template": ("page_ref_set", "page_ref_mod", "page_ref_unfreeze"),
        "page_ref_mod_and_test_template": (
            "page_ref_mod_and_test",
            "page_ref_mod_and_return",
            "page_ref_mod_unless",
            "page_ref_freeze",
        ),
    }.get(of_class, (of_class,))
