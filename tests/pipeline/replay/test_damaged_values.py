"""Values that no recording can hold, in a trace set without checksums: one line, nothing left."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from allocsim.initial_state.zoneinfo import ZoneTextError, parse_pagetypeinfo
from pipeline.errors import InputError
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.recorded import replay_path
from pipeline.replay.trace_source import opened
from pipeline.trace_set.snapshots import slab_caches
from pipeline.validation.page_layer import free_blocks
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

ROWS = 3000


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The beginning of a shipped trace set."""
    path = tmp_path / "trace"
    shutil.copytree(ROOT / "traces" / "7.2p-hackbench-gt", path)
    events = parquet.read_table(path / "events.parquet").slice(0, ROWS)
    (path / "events.parquet").chmod(0o644)
    parquet.write_table(events, path / "events.parquet")
    return path


def _zeroed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(np.arange(ROWS) // 50 == 20, 0, values)


def _least(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(np.arange(ROWS) == 900, np.iinfo(values.dtype).min, values)


def _most(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(np.arange(ROWS) == 900, np.iinfo(values.dtype).max, values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("ts", _zeroed, "events are not in order of time"),
        ("ts", _least, "events are not in order of time"),
        ("ts", _most, "events are not in order of time"),
        ("cpu", _least, "cpu -32768 is out of range, 0 to 1"),
        ("cpu", _most, "cpu 32767 is out of range, 0 to 1"),
        ("pid", _least, "pid -2147483648 is out of range"),
        ("pid", _most, "pid 2147483647 is out of range"),
        ("event", _most, "event 255 is out of range"),
        ("order", _least, "order -2147483648 is out of range, 0 to 10"),
        ("order", _most, "order 2147483647 is out of range, 0 to 10"),
        ("pfn", _least, "pfn -9223372036854775808 is out of range"),
        ("pfn", _most, "pfn 9223372036854775807 is out of range"),
        ("stack", _most, "stack 2147483647 is out of range"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    trace: Path, column: str, change: Callable[[Any], Any], message: str
) -> None:
    path = trace / "events.parquet"
    events = parquet.read_table(path)
    found = events[column].combine_chunks()
    values = found.fill_null(0).to_numpy(zero_copy_only=False)
    changed = pa.array(change(values).astype(values.dtype))
    parquet.write_table(events.set_column(events.column_names.index(column), column, changed), path)
    db = trace.parent / "results.duckdb"
    with pytest.raises(InputError, match=message) as caught:
        replay_path(trace, db, find_policies([]), Progress(), [{}], shipped_pricing())
    assert str(caught.value).startswith(f"{path}: damaged: ")
    assert "\n" not in str(caught.value)
    assert sorted(each.name for each in trace.parent.iterdir()) == ["trace"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("cpus", 0), ("cpus", 1 << 70), ("page_size", 0), ("first_ts", 1 << 61), ("last_ts", 1 << 70)],
)
def test_a_meta_that_cannot_be_is_one_line(trace: Path, key: str, value: int) -> None:
    path = trace / "meta.json"
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(InputError, match=f"meta.json: .*{key} "), opened(trace, Progress()):
        pass


def test_numbers_that_no_counter_has_are_refused(tmp_path: Path) -> None:
    buddy = tmp_path / "buddyinfo"
    buddy.write_text(f"Node 0, zone   DMA   1 2 {10**30}\n")
    with pytest.raises(InputError, match="line 1 is not of a zone"):
        free_blocks(buddy)
    for counts in ("x " * 11, "1 " * 10, f"{10**30} " * 11):
        with pytest.raises(ZoneTextError, match="pagetypeinfo: "):
            parse_pagetypeinfo(f"Node    0, zone   Normal, type   Movable {counts}\n")
    sysfs = tmp_path / "sysfs_slab.txt"
    sysfs.write_bytes(b"dentry order \xff\ndentry objects " + b"9" * 30 + b"\ndentry align 8\n")
    caches = slab_caches(sysfs)
    assert caches is not None
    assert caches.values == {("dentry", "align"): 8}
