"""What a trace set's snapshots say of its machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pipeline.trace_set.machine import MemoryNodes, machine_nodes
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
