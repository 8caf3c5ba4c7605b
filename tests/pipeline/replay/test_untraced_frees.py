"""What the events of a shipped recording hide, against a plain walk through them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import duckdb
import pytest

from allocsim.kernels.slub_rules import GRACE_NS
from allocsim.tables import concat
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import replay_trace
from pipeline.replay.untraced_frees import EARLIEST, LATEST
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOCS = (0, 2)
_PAGES = """
SELECT seq, free_ts FROM object_events JOIN pages USING (run, page) WHERE free_seq IS NOT NULL
"""


@pytest.fixture(scope="module")
def trace() -> TraceSet:
    return TraceSet.open(ROOT / "traces" / "7.2p-hackbench-gt")


@pytest.fixture(scope="module")
def connection(
    trace: TraceSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    db = tmp_path_factory.mktemp("db") / "results.duckdb"
    replay_trace(trace, db, [])
    with duckdb.connect(db, read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def source(trace: TraceSet, connection: duckdb.DuckDBPyConnection) -> RecordedRun:
    return RecordedRun(connection, 1, trace, 10_000)


class Plain:
    """Every object's allocation and end, one event at a time."""

    def __init__(self, trace: TraceSet, connection: duckdb.DuckDBPyConnection) -> None:
        events = concat(trace.windows())
        self.ts = events["ts"].tolist()
        self.site = events["call_site"].tolist()
        self.late: dict[int, int] = {}
        self.traced: set[int] = set()
        self.born: list[int] = []
        live: dict[int, int] = {}
        rows = zip(events["event"].tolist(), events["ptr"].tolist(), strict=True)
        for seq, (code, ptr) in enumerate(rows):
            if code > 3 or ptr <= 16:
                continue
            if code in ALLOCS:
                if ptr in live:
                    self.late[live[ptr]] = self.ts[seq]
                live[ptr] = seq
                self.born.append(seq)
            elif ptr in live:
                self.traced.add(live.pop(ptr))
        cached = "SELECT seq FROM object_events WHERE cache_how IS NOT NULL"
        of_caches = {seq for (seq,) in connection.execute(cached).fetchall()}
        #: Objects of caches that no event frees, less sheaves and the like (T7).
        self.unfreed = {
            seq
            for seq in self.born
            if seq in of_caches and seq not in self.traced and not events["metadata"][seq]
        }
        for seq, ts in connection.execute(_PAGES).fetchall():
            if seq in self.unfreed and ts >= self.ts[seq]:
                self.late[seq] = min(self.late.get(seq, ts), ts)

    def intervals(self) -> dict[int, tuple[int, int]]:
        """Allocation -> earliest and latest moment of its free."""
        found = {}
        for site in {self.site[seq] for seq in self.born}:
            objects = [seq for seq in self.born if self.site[seq] == site]
            unfreed = [seq for seq in objects if seq in self.unfreed]
            dead = [self.late[seq] - self.ts[seq] for seq in unfreed if seq in self.late]
            freed = sum(seq in self.traced for seq in objects)
            silent = 10 * freed < freed + len(dead) and 10 * len(dead) > len(objects)
            for seq in unfreed:
                end = self.late.get(seq)
                if end is None and silent:
                    end = min(self.ts[-1], self.ts[seq] + round(median(dead)))
                if end is not None:
                    found[seq] = (self.ts[seq], max(self.ts[seq], end - GRACE_NS))
        return found


@pytest.mark.slow
def test_intervals_of_untraced_frees(
    trace: TraceSet, connection: duckdb.DuckDBPyConnection, source: RecordedRun
) -> None:
    wanted = Plain(trace, connection).intervals()
    assert len(wanted) > 100
    got = {
        object_: (early, late)
        for object_, early, late in connection.execute(
            "SELECT object, early, late FROM untraced_frees"
        ).fetchall()
    }
    assert got.keys() == wanted.keys()
    for object_, (early, late) in wanted.items():
        assert got[object_][0] == early
        assert abs(got[object_][1] - late) <= 1  # the median of an even number, rounded
    assert source.untraced.counts()["hidden_frees"] == len(wanted)


@pytest.mark.parametrize("moment", [EARLIEST, LATEST])
def test_every_untraced_free_is_a_request_once(source: RecordedRun, moment: float) -> None:
    maker, windows = source.requests(moment)
    seen: list[int] = []
    for window in windows:
        untraced = ~window.shown
        seen += window.objects.object[untraced].tolist()
        assert (window.objects.op[untraced] == -2).all()
    assert len(seen) == len(set(seen)) == maker.counts["inferred_frees"]
    # What is due behind the last object event has none to stand before.
    assert 0 <= maker.counts["hidden_frees"] - len(seen) < 20


@pytest.mark.slow
def test_requests_do_not_depend_on_the_windows(
    trace: TraceSet, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = []
    for window in (999, 1 << 20):
        _, windows = RecordedRun(connection, 1, trace, window).requests()
        columns = concat(
            {name: column for name, column in each.objects._asdict().items() if column is not None}
            for each in windows
        )
        rows.append({name: column.tolist() for name, column in columns.items()})
    assert rows[0] == rows[1]


def plain_runs(trace: TraceSet) -> list[tuple[int, int, int]]:
    """(event, first of its sheaf, left) of allocations out of prefilled sheaves, one by one."""
    events = concat(trace.windows())
    maple_node = trace.text("cache").index("maple_node")
    flags = 0x800 | 0x2000  # __GFP_KSWAPD_RECLAIM | __GFP_NOWARN
    names = ("event", "ptr", "irq_flags", "pid", "cache", "gfp_flags")
    open_: dict[int, list[int]] = {}
    runs = []
    rows = zip(*(events[name].tolist() for name in names), strict=True)
    for seq, (code, ptr, irq, pid, cache, gfp) in enumerate(rows):
        if code > 3 or ptr <= 16 or irq & 0x18:
            continue
        if (code, cache, gfp) != (2, maple_node, flags):
            open_.pop(pid, None)
            continue
        if pid not in open_:
            open_[pid] = []
            runs.append(open_[pid])
        open_[pid].append(seq)
    return sorted(
        (seq, run[0], len(run) - at) for run in runs if len(run) > 1 for at, seq in enumerate(run)
    )


def test_allocations_out_of_prefilled_sheaves(
    trace: TraceSet, connection: duckdb.DuckDBPyConnection
) -> None:
    wanted = plain_runs(trace)
    assert len(wanted) > 100
    got = connection.execute(
        'SELECT seq, first, "left" FROM internal.prefilled_objects ORDER BY seq'
    ).fetchall()
    assert got == wanted
