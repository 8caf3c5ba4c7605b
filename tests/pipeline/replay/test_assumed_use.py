"""Recordings without their page_ref events: what was recorded must lie in the range printed then.

Their own events are the judge: with them the totals are the kernel's own count.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import duckdb
import pytest

from allocsim.kernels.release import kernel_of
from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.policies import RECORDED, policy_ops, shipped_policies
from pipeline.fitting.kmem_only import without_page_refs
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import BASELINE, find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.trace_source import opened
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

WIDEST = 2.5
SHIPPED = sorted(path.name for path in (ROOT / "traces").glob("*-gt"))
OTHERS = [
    f"{kernel}-{workload}-gt"
    for kernel in ("6.12p", "7.2p")
    for workload in ("churn", "mixed", "mixed-refstacks", "tmpfsfiles")
] + ["7.2p-boot-mixed-gt"]
_TOTALS = """
    SELECT policy, locked_ops, frozen_saved_pct, locked_ops_low, locked_ops_high,
        frozen_saved_pct_low, frozen_saved_pct_high
    FROM policy_summary WHERE run = $run
"""


def _check(path: Path, folder: Path) -> None:
    db = folder / "results.duckdb"
    policies = find_policies([])
    with opened(path, Progress()) as trace:
        own = kernel_of(trace.meta["kernel_release"]).policy
        bare = without_page_refs(trace, folder)
        runs = [replay_trace(each, db, policies) for each in (trace, bare)]
        meta = json.loads((bare.path / "meta.json").read_text("utf-8"))
    assert not any(name.startswith("page_ref") for name in meta["recorded_events"])
    assert meta["dropped"]["page_ref_events"] == trace.rows - bare.rows > 0
    with duckdb.connect(db, read_only=True) as connection:
        recorded, printed = (
            {row[0]: row[1:] for row in connection.execute(_TOTALS, {"run": run}).fetchall()}
            for run in runs
        )
    assert set(recorded) == set(printed)
    for policy, (total, share, *exact) in recorded.items():
        _, _, low, high, share_low, share_high = printed[policy]
        if policy == own or shipped_policies()[policy].base == RECORDED:
            assert exact == [total, total, share, share]
        # Also of another kernel's: what was recorded, changed by the rules that differ.
        assert low <= total <= high, policy
        assert share_low <= share <= share_high, policy
        if policy == BASELINE:
            assert high <= WIDEST * low


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_the_range_of_a_shipped_recording_holds_what_was_recorded(
    name: str, tmp_path: Path
) -> None:
    _check(ROOT / "traces" / name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("recording", OTHERS, indirect=True)
def test_the_range_of_a_recording_holds_what_was_recorded(recording: Path, tmp_path: Path) -> None:
    _check(recording, tmp_path)


def test_the_policies_have_the_ranges_that_were_derived() -> None:
    """bench/USE_RANGES.md is what bench/use_ranges.py derived from every recording."""
    kernel, derived = "", {}
    for line in (ROOT / "bench" / "USE_RANGES.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            kernel = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and re.fullmatch(r"\d+ to \d+", cells[4]):
            ranges = [tuple(map(int, re.findall(r"\d+", cell))) for cell in cells[4:]]
            derived[kernel, cells[0]] = (ranges[0], ranges[1] or None)
    assert len(derived) == 2 * 4
    for (policy, kind), ranges in derived.items():
        [row] = [
            op
            for op in policy_ops(shipped_policies()[policy], policy)
            if KIND_NAMES[op.page_kind] == kind and op.stage == "use"
        ]
        assert (row.locked_range, row.locked_per_table) == ranges, (policy, kind)
