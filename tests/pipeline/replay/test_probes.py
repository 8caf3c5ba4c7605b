"""A recording of a stock 7.2 with probes: what no tracepoint shows is observed (T19, I12)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from allocsim.trace.events import Ev, Probe
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TRACE = ROOT / "tests" / "data" / "7.2-probes"


@pytest.fixture(scope="module")
def trace() -> TraceSet:
    return TraceSet.open(TRACE)


def test_every_event_that_trace_cmd_counts_is_there(trace: TraceSet) -> None:
    truth = json.loads((TRACE / "truth.json").read_text("utf-8"))
    counted, events = truth["events"], trace.meta["events"]
    rcu, in_bulk = counted["kfree_rcu_sheaf"], truth["objects_freed_in_bulk"]
    assert events["kfree"] == counted["kfree"] + rcu
    assert events["kmem_cache_free"] == counted["kmem_cache_free"] + in_bulk
    assert trace.meta["probes"] == {
        "kfree_rcu_sheaf": rcu,
        "kmem_cache_free_bulk": in_bulk,
        "kmem_cache_alloc_bulk": 0,
    }
    others = ("kmem_cache_alloc", "rcu_free_sheaf", "mm_page_alloc", "mm_page_free")
    assert [events[name] for name in others] == [counted[name] for name in others]


def test_what_callbacks_gave_back_is_what_kfree_rcu_put_there(trace: TraceSet) -> None:
    """Sheaves of a cache come back full, and no more of them than were filled but at the start."""
    windows = list(trace.windows())  # names are known once they were read
    names = trace.names["cache"]
    put: dict[str, int] = {}
    back: dict[str, list[int]] = {}
    for window in windows:
        for code in window["cache"][window["probe"] == Probe.KFREE_RCU_SHEAF].tolist():
            put[names[code]] = put.get(names[code], 0) + 1
        at = np.flatnonzero(window["event"] == Ev.RCU_FREE_SHEAF)
        for code, count in zip(window["cache"][at], window["count"][at], strict=True):
            back.setdefault(names[code], []).append(int(count))
    capacity = {"maple_node": 32}  # sheaf_capacity in sysfs
    assert put["maple_node"] > 1000
    assert {*back["maple_node"]} == {capacity["maple_node"]}
    # A CPU has at most one sheaf of a cache that is not full; what waited at the start is more.
    assert abs(put["maple_node"] - sum(back["maple_node"])) < 8 * capacity["maple_node"]


def test_no_free_of_objects_seen_allocated_is_inferred(trace: TraceSet, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    run = replay_trace(trace, db, find_policies([]))
    simulate_run(trace, db, run, {}, window_rows=1 << 20)
    with duckdb.connect(db, read_only=True) as connection:
        found = connection.execute(
            "SELECT inferred_frees, recorded_requests FROM placement_quality"
        ).fetchall()
        passed = connection.execute(
            "SELECT sum(value) FROM cache_counters"
            " WHERE name IN ('free_rcu_sheaf', 'free_rcu_sheaf_fail')"
        ).fetchall()
    [(inferred, requests)] = found
    assert inferred == 0
    assert requests > 25_000
    # All but what is left out, of objects older than the recording and of no known cache.
    assert passed == [(trace.meta["probes"]["kfree_rcu_sheaf"],)]
