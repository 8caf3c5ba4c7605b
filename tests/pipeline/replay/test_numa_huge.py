"""The shipped recording of two memory nodes and huge pages, against its own events and vmstat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.trace.events import Ev
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.store.database import reading
from pipeline.trace_set.machine import machine_nodes
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CPUS_A_NODE = 4
SECOND_NODE = (512 << 20) // 4096  # its first page frame


@pytest.fixture(scope="module")
def trace() -> TraceSet:
    return TraceSet.open(ROOT / "traces" / "7.2n-numa-huge")


def test_allocations_on_another_node_are_those_vmstat_counted(trace: TraceSet) -> None:
    nodes = machine_nodes(trace)
    elsewhere = 0
    for window in trace.windows(columns=("event", "cpu", "pfn")):
        at = (window["event"] == Ev.MM_PAGE_ALLOC) & (window["pfn"] >= 0)
        node = window["pfn"][at] >= SECOND_NODE
        elsewhere += int(np.count_nonzero(node != (window["cpu"][at] >= CPUS_A_NODE)))
    assert nodes.nodes == 2
    assert nodes.other is not None
    # vmstat counts a little longer: the programs that start the tracer and take the snapshots.
    assert elsewhere <= nodes.other < 1.1 * elsewhere


@pytest.mark.slow
def test_huge_pages_are_told_and_cost_what_was_recorded(trace: TraceSet, tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    run = replay_trace(trace, db, find_policies(["linux-7.2"]))
    with reading(db) as connection:
        lives = connection.execute(
            """
            SELECT page_kind::VARCHAR AS kind, count(*), sum(ref_plain), sum(ref_locked),
                count(nullif(ref_locked, 0))
            FROM pages
            WHERE run = ? AND "order" = 9 AND free_seq IS NOT NULL GROUP BY ALL
            ORDER BY kind
            """,
            [run],
        ).fetchall()
        [priced] = connection.execute(
            "SELECT plain_ops, locked_ops FROM page_kind_summary"
            " WHERE run = ? AND page_kind = 'hugetlb' AND policy = 'linux-7.2'",
            [run],
        ).fetchall()
    [(_, pool, plain, locked, used), (_, thps, *_)] = lives
    assert [name for name, *_ in lives] == ["hugetlb", "thp"]
    assert (pool, thps) == (24, 68)  # nr_hugepages was set to 24
    # The pool itself costs nothing on 7.2. What was handed out does; the last drop of each page is
    # taken for its free's, and 7.2 has none there, so it is missing.
    assert plain > 0
    assert priced == (plain, locked - used)
