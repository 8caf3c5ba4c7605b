"""A recording with what its model says of it, to be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1 is recorded, run 2 simulated of it."""
    path = tmp_path_factory.mktemp("export") / "results.duckdb"
    trace = TraceSet.open(ROOT / "traces" / "7.2p-hackbench-gt")
    recorded = replay_trace(trace, path, find_policies([]))
    simulate_run(trace, path, recorded, {}, window_rows=1 << 20)
    return path
