"""Every perf.data recording, event by event and field by field, against perf script."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from allocsim.kernels.release import GFP_BITS
from allocsim.trace.events import EVENT_COLUMN, EVENTS
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import recordings
from tests.oracle.perf_script import script
from tests.oracle.trace_cmd import value

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed"),
]

_FILES = [*recordings("*/perf.data"), *recordings("*/perf.data.zst")]
# Sets of bits that the kernel names (include/trace/events/mmflags.h, 6.12): bits of 6.12 and 7.x.
_RECLAIM = GFP_BITS["__GFP_DIRECT_RECLAIM"] | GFP_BITS["__GFP_KSWAPD_RECLAIM"]
_NOFS = _RECLAIM | GFP_BITS["__GFP_IO"]
_KERNEL = _NOFS | GFP_BITS["__GFP_FS"]
_USER = _KERNEL | GFP_BITS["__GFP_HARDWALL"]
_HIGHUSER = _USER | GFP_BITS["__GFP_HIGHMEM"]
_MOVABLE = _HIGHUSER | GFP_BITS["__GFP_MOVABLE"]
_LIGHT = (
    _MOVABLE | GFP_BITS["__GFP_COMP"] | GFP_BITS["__GFP_NOMEMALLOC"] | GFP_BITS["__GFP_NOWARN"]
) & ~_RECLAIM
GFP = {
    **GFP_BITS,
    "__GFP_ZEROTAGS": 1 << 23,
    "__GFP_RECLAIM": _RECLAIM,
    "GFP_NOIO": _RECLAIM,
    "GFP_NOFS": _NOFS,
    "GFP_KERNEL": _KERNEL,
    "GFP_KERNEL_ACCOUNT": _KERNEL | GFP_BITS["__GFP_ACCOUNT"],
    "GFP_USER": _USER,
    "GFP_HIGHUSER": _HIGHUSER,
    "GFP_HIGHUSER_MOVABLE": _MOVABLE,
    "GFP_TRANSHUGE_LIGHT": _LIGHT,
    "GFP_TRANSHUGE": _LIGHT | GFP_BITS["__GFP_DIRECT_RECLAIM"],
    "GFP_ATOMIC": GFP_BITS["__GFP_HIGH"] | GFP_BITS["__GFP_KSWAPD_RECLAIM"],
    "GFP_NOWAIT": GFP_BITS["__GFP_KSWAPD_RECLAIM"] | GFP_BITS["__GFP_NOWARN"],
    "GFP_DMA": GFP_BITS["__GFP_DMA"],
    "GFP_DMA32": GFP_BITS["__GFP_DMA32"],
    "none": 0,
}
_COUNTERS = {"MM_FILEPAGES": 0, "MM_ANONPAGES": 1, "MM_SWAPENTS": 2, "MM_SHMEMPAGES": 3}
# What perf prints by another name than the field's, or not as it was recorded.
_PRINTED = {"member": "type"}


@pytest.mark.skipif(not _FILES, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.parent.name)
def test_has_what_perf_prints(file: Path, tmp_path: Path) -> None:
    plain = _plain(file, tmp_path)
    theirs = script(plain, tmp_path)
    trace = TraceSet.open(import_recording(plain, tmp_path))
    ours = pl.read_parquet(trace.path / "events.parquet")
    check(trace, ours, theirs.events)
    assert "stack" not in ours.columns
    assert len(theirs.frames) == 0


def check(trace: TraceSet, ours: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Compare all columns but stacks; returns perf's events without those we leave out."""
    repeats = _repeated(events)
    assert trace.meta["dropped"] == {"large_kmalloc_repeats": len(repeats)}
    events = events.filter(~pl.col("number").is_in(repeats))
    for name in ("ts", "cpu"):
        assert ours[name].equals(events[name], check_names=False), name
    # perf knows no pid of a task that is gone (kernel/events/core.c:perf_event_pid_type, 7.2).
    assert ((ours["pid"] == events["pid"]) | (events["pid"] == -1)).all()
    code = {event.name: int(event.code) for event in EVENTS}
    assert (ours["event"] == events["event"].replace_strict(code, return_dtype=pl.UInt8)).all()
    for name in events["event"].unique():
        _check_fields(trace, ours, events.filter(event=name)["fields"], name)
    return events


def _plain(file: Path, scratch: Path) -> Path:
    plain = scratch / file.name.removesuffix(".zst")
    with pa.input_stream(str(file), compression="detect") as packed:
        plain.write_bytes(packed.read())
    return plain


def _repeated(events: pl.DataFrame) -> list[int]:
    """The first of two events of a large kmalloc that its task repeats at once (T3)."""
    large = events.filter(event="kmalloc").filter(
        value(pl.col("fields"), "bytes_alloc").cast(pl.Int64) > 8192
    )
    number = large["number"].to_list()
    known = list(zip(large["cpu"], large["pid"], *_sizes(large["fields"]), strict=True))
    repeats: list[int] = []
    last: dict[int, int] = {}
    for row, event in enumerate(known):
        before = last.pop(event[0], None)
        if before is not None and known[before] == event:
            repeats.append(number[before])
        else:
            last[event[0]] = row
    return repeats


def _sizes(fields: pl.Series) -> list[pl.Series]:
    return [value(fields, name) for name in ("ptr", "bytes_req", "bytes_alloc")]


def _check_fields(trace: TraceSet, ours: pl.DataFrame, fields: pl.Series, name: str) -> None:
    [event] = [event for event in EVENTS if event.name == name]
    mine = ours.filter(pl.col("event") == int(event.code))
    back = {column: field for field, column in event.renamed.items()}
    found = set(trace.meta["fields"][name])
    assert found
    for column in set(ours.columns) & set(event.columns):
        if column not in found:
            assert mine[column].null_count() == len(mine)
            continue
        assert mine[column].null_count() == 0
        texts = value(fields, _PRINTED.get(column, back.get(column, column)))
        assert texts.null_count() == 0, (name, column)
        if EVENT_COLUMN[column].dtype == "str":
            assert mine[column].equals(texts, check_names=False), (name, column)
        else:
            assert (_bits(mine[column]) == _parsed(texts, column)).all(), (name, column)


def _bits(values: pl.Series) -> npt.NDArray[np.uint64]:
    numbers = values.to_numpy()
    return numbers.astype(np.int64 if numbers.dtype.kind != "u" else np.uint64).view(np.uint64)


def _parsed(texts: pl.Series, column: str) -> npt.NDArray[np.uint64]:
    known = {text: number(text, column) & (1 << 64) - 1 for text in texts.unique()}
    return texts.replace_strict(known, return_dtype=pl.UInt64).to_numpy()


def number(text: str, column: str) -> int:
    if column == "gfp_flags":
        total = 0
        for word in text.split("|"):
            total |= GFP[word] if word in GFP else int(word, 16)
        return total
    if column == "member":
        return _COUNTERS[text]
    if text in ("true", "false"):
        return int(text == "true")
    return 0 if text in ("(nil)", "") else int(text.removesuffix("B"), 0)
