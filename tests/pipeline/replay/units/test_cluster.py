"""Runs made by a cluster: a scheduler and two workers on this machine, of which one is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import InputError, UsageError
from pipeline.processes.progress import Progress
from pipeline.replay.settings import combinations
from pipeline.replay.units import replays
from pipeline.replay.units.replays import Where
from pipeline.replay.units.sweeps import sweep_traces
from tests.conftest import ROOT
from tests.pipeline.replay.units.conftest import replayed, rows
from tests.pipeline.replay.units.killing import killed_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
pytest.importorskip("distributed", reason="allocsim[cluster] is not installed")


def begun(stack: ExitStack, until: str, *command: str) -> subprocess.Popen[str]:
    """A process of dask, once it has said what it says when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *command],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if until in line:
            return process
    raise AssertionError("".join(said))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    port = tmp_path_factory.mktemp("cluster") / "scheduler.json"
    with ExitStack() as stack:
        here = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(port))
        begun(stack, "Scheduler at:", "scheduler", *here, "--port", "0")
        for _ in range(2):
            begun(stack, "Registered to:", "worker", *here, "--nthreads", "1", "--no-nanny")
        yield json.loads(port.read_text())["address"]


def test_a_worker_that_is_killed_costs_its_unit_which_another_one_makes(
    cluster: str,
    traces: list[Path],
    expected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replays, "replay_units", killed_once)
    where = Where(units=str(tmp_path / "units"), cluster=cluster)
    done = replayed(traces, tmp_path / "results.duckdb", where)
    assert (tmp_path / "killed").exists()
    assert (done.added, done.failed) == ([1, 2, 3, 4, 5, 6], [])
    assert rows(tmp_path / "results.duckdb") == rows(expected)

    wanted = combinations(["sheaf.capacity=4"], {})
    databases = tmp_path / "here.duckdb", tmp_path / "there.duckdb"
    here = sweep_traces(traces[:2], databases[0], wanted, Where(jobs=1), Progress())
    there = sweep_traces(traces[:2], databases[1], wanted, where, Progress())
    assert here == there
    assert rows(databases[0]) == rows(databases[1])
    with pytest.raises(InputError, match="bad: no such trace set") as caught:
        replayed([tmp_path / "bad"], tmp_path / "results.duckdb", where)
    assert "\n" not in str(caught.value)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path, traces: list[Path]) -> None:
    where = Where(units=str(tmp_path / "units"), cluster="tcp:/127.0.0.1")
    with pytest.raises(InputError, match="no scheduler answers") as caught:
        replayed(traces, tmp_path / "results.duckdb", where)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--units"):
        Where(cluster="tcp://127.0.0.1:8786")
