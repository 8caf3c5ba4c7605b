"""The recordings, where trace-cmd is not at hand: what it counted is in their truth.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.ingest.recording import import_recording
from pipeline.trace_set.reader import TraceSet
from tests.conftest import recordings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

_FOLDERS = [path.parent for path in recordings("*/trace.dat")]


@pytest.mark.skipif(not _FOLDERS, reason="no recordings at hand (set ALLOCSIM_RECORDINGS)")
@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: folder.name)
def test_has_the_events_that_were_counted(folder: Path, tmp_path: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text())
    trace = TraceSet.open(import_recording(folder, tmp_path))
    meta = trace.meta
    assert trace.path.name == meta["name"] == folder.name
    counted = dict(truth["events"])
    assert meta["stacks"]["events"] == counted.pop("kernel_stack", 0)
    counted["kmalloc"] -= meta["dropped"]["large_kmalloc_repeats"]
    assert meta["events"] == {name: count for name, count in counted.items() if count}
    assert sum(meta["lost"]["per_cpu"].values()) == truth["lost_events"] == 0
    assert meta["kernel_release"] == truth["release"]
    assert meta["cpus"] == truth["vcpus"]
    assert meta["direct_map"]["base"] == int(truth["direct_map_base"], 16)
    assert meta["direct_map"]["share"] > 0.99
    assert meta["symbols"]["unresolved"] == 0
    assert meta["symbols"]["source"] == "kallsyms"
    assert meta["snapshots"] == sorted(path.name for path in (folder / "snapshots").iterdir())
    taken = trace.path / "snapshots" / "after" / "slabinfo"
    assert taken.read_bytes() == (folder / "snapshots" / "after" / "slabinfo").read_bytes()

    events = np.zeros(256, np.int64)
    last = meta["first_ts"]
    for window in trace.windows(1 << 18):
        assert window["ts"][0] >= last
        assert (np.diff(window["ts"]) >= 0).all()
        last = window["ts"][-1]
        events += np.bincount(window["event"], minlength=256)
    assert last == meta["last_ts"]
    assert events.sum() == sum(meta["events"].values()) == trace.rows
