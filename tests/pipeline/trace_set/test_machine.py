"""What a trace set's snapshots say of its machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pipeline.ingest.recording import import_recording
from pipeline.trace_set.machine import MemoryNodes, charges_cgroups, machine_nodes, pressure
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_nodes_are_zoneinfos_and_their_use_is_vmstats(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "traces" / "7.2p-hackbench-gt", copy)
    for when, local, other in (("before", 100, 7), ("after", 1100, 57)):
        (copy / "snapshots" / when / "vmstat").write_text(
            f"nr_free_pages 3\nnuma_local {local}\nnuma_other {other}\n", "utf-8"
        )
    zoneinfo = copy / "snapshots" / "before" / "zoneinfo"
    trace = TraceSet.open(copy)
    assert machine_nodes(trace) == MemoryNodes(1, 1000, 50)
    one = zoneinfo.read_text("utf-8")
    zoneinfo.write_text(one + one.replace("Node 0", "Node 1"), "utf-8")
    assert machine_nodes(trace) == MemoryNodes(2, 1000, 50)
    shutil.rmtree(copy / "snapshots")
    assert machine_nodes(trace) == MemoryNodes(1, None, None)


def test_pressure_is_what_vmstat_grew_by(tmp_path: Path) -> None:
    """I14: zones' counters are added up; what a snapshot lacks, or garbles, is not told."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "traces" / "7.2p-hackbench-gt", copy)
    texts = {
        "before": "allocstall_dma 0\nallocstall_normal 4\npgsteal_direct 10\npswpin 1\npswpout 2\n",
        "after": "allocstall_dma 1\nallocstall_normal 9\npgsteal_direct 10\npswpin -3\n",
    }
    for when, text in texts.items():
        (copy / "snapshots" / when / "vmstat").write_text(text, "utf-8")
    trace = TraceSet.open(copy)
    assert pressure(trace) == {"allocstalls": 6, "pages_reclaimed_direct": 0}
    (copy / "snapshots" / "after" / "vmstat").unlink()
    assert pressure(trace) == {}


@pytest.mark.parametrize(
    ("name", "charges"), [("7.2p-hackbench-gt", False), ("6.12p-hackbench-gt", False)]
)
def test_events_say_what_slabinfo_says_of_charges(
    tmp_path: Path, name: str, *, charges: bool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "traces" / name, copy)
    assert charges_cgroups(TraceSet.open(copy)) is charges
    shutil.rmtree(copy / "snapshots")
    assert charges_cgroups(TraceSet.open(copy)) is charges


@pytest.mark.parametrize("recording", ["6.12-hackbench", "7.3-hackbench"], indirect=True)
def test_events_of_a_kernel_with_memory_cgroups_tell_that_it_has_them(
    tmp_path: Path, recording: Path
) -> None:
    shutil.copyfile(recording / "trace.dat", tmp_path / "alone.dat")
    assert charges_cgroups(TraceSet.open(import_recording(tmp_path / "alone.dat", tmp_path)))
