"""What sheaves serve and hold: against the path of every event, and worked by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.processes.progress import Progress
from pipeline.replay.recorded import replay_traces
from reports.sections.sheaf_tradeoff import knee, moving
from tests.conftest import ROOT
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from pathlib import Path

FAST = ("main_hit", "spare_swap", "main_push", "install_empty")
REFILLS = ("refill_partial", "refill_new")


@pytest.mark.slow
def test_a_recording_served_what_the_paths_of_its_events_say(tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    replay_traces([ROOT / "traces" / "7.2p-net-gt"], db, [], Progress(), {})
    with duckdb.connect(db, read_only=True) as connection:
        by_paths = connection.execute(
            """
            SELECT cache, count(*) AS operations,
                count(*) FILTER (list_contains($fast, path::varchar)) AS fast,
                count(*) FILTER (list_contains($refills, path::varchar)) AS refills
            FROM placements WHERE cache IS NOT NULL GROUP BY cache
            -- These count in more than one path, or in none.
            HAVING NOT bool_or(path IN ('rcu_free', 'from_sheaf', 'failed', 'ignored'))
            """,
            {"fast": list(FAST), "refills": list(REFILLS)},
        ).fetchall()
        rows = connection.execute(
            "SELECT cache, operations, fastpath_pct, refills FROM sheaf_tradeoff"
        ).fetchall()
        [total] = connection.execute(
            "SELECT operations, fastpath_pct, refills, flushes, list_locks FROM placement_summary"
        ).fetchall()
        summed = connection.execute(
            "SELECT sum(operations), sum(operations * fastpath_pct) / sum(operations),"
            " sum(refills), sum(flushes), sum(list_locks) FROM sheaf_tradeoff"
        ).fetchall()
    found = {cache: rest for cache, *rest in rows}
    # Sheaves are kmalloc memory, which no event of the recording asked for.
    told = {cache: rest for cache, *rest in by_paths if found[cache][0] == rest[0]}
    assert len(told) > 20
    assert {"skbuff_head_cache", "skbuff_small_head", "sock_inode_cache"} <= told.keys()
    for cache, (operations, fast, refills) in told.items():
        assert found[cache] == [operations, pytest.approx(100 * fast / operations), refills], cache
    assert summed == [pytest.approx(total)]


def test_two_runs_of_a_cache_worked_by_hand(small: duckdb.DuckDBPyConnection) -> None:
    counters = {
        2: {"alloc_fastpath": 60, "free_fastpath": 30, "alloc_slowpath": 8, "free_slowpath": 2,
            "barn_get": 5, "barn_put": 3, "barn_get_fail": 10, "barn_put_fail": 1, "list_lock": 9},
        3: {"alloc_fastpath": 50, "free_fastpath": 50},
    }  # fmt: skip
    for run, values in counters.items():
        about = {"placement": "simulated", "of_run": 1, "settings": "{}", "slub": "sheaves"}
        insert(small, "runs", run=run, trace_id=1, **about)
        insert(small, "caches", run=run, cache=0, name="dentry", object_size=192)
        insert(small, "placed_caches", run=run, cache=0, capacity=28, in_sheaves=10 * run)
        for name, value in values.items():
            insert(small, "cache_counters", run=run, cache=0, name=name, value=value)
    rows = small.execute("SELECT * EXCLUDE (trace, of_run, settings, what_if) FROM sheaf_tradeoff")
    assert rows.fetchall() == [
        # Of 90 fast ones: 10 refills, 8 of which went the slow way all the same; 1 flush, 8 barn.
        (2, "dentry", 28, 100, 79.0, 10, 1, 8, 9, 20, 3840),
        (3, "dentry", 28, 100, 100.0, 0, 0, 0, 0, 30, 5760),
    ]


def points(*each: tuple[int, float]) -> list[dict[str, Any]]:
    return [{"held_bytes": held, "fastpath_pct": fast} for held, fast in each]


def test_the_knee_is_where_more_memory_begins_to_buy_less() -> None:
    line = points((0, 70.0), (10, 90.0), (20, 95.0), (100, 97.0))
    assert knee(line) == line[2], "0.926 - 0.2 of the way; (10, 90) is 0.741 - 0.1"
    assert knee(line[::-1]) == line[2]
    beaten = points((5, 60.0), (20, 94.0))  # by (0, 70) and (20, 95)
    assert knee([*line, *beaten]) == line[2]
    assert knee(line[:2]) is None
    assert knee(points((0, 70.0), (50, 75.0), (100, 90.0))) is None, "buys more and more"
    assert knee(points((0, 90.0), (50, 90.0), (100, 80.0))) is None, "holds more for nothing"


def test_the_caches_that_move_most_come_first() -> None:
    def row(cache: str, refills: int, flushes: int, list_locks: int) -> dict[str, Any]:
        return {"cache": cache} | {
            "refills": refills, "flushes": flushes, "list_locks": list_locks
        }  # fmt: skip

    rows = [row("still", 3, 4, 5), row("b", 3, 4, 5), row("a", 0, 0, 7), row("far", 0, 0, 0)]
    rows += [row("still", 5, 4, 3), row("b", 3, 4, 6), row("a", 0, 0, 6), row("far", 9, 0, 9)]
    assert list(moving(rows)) == ["far", "a", "b"]
