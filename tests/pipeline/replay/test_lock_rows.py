"""Who goes to locks in the simulation of a shipped recording, against the model's own counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.replay.pricing import Pricing, find_costs, find_policies, find_schemes
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.trace_set.reader import TraceSet
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """7.2p-net-gt, simulated whole and in windows of 5,000 events."""
    db = tmp_path_factory.mktemp("locks") / "r.duckdb"
    trace = TraceSet.open(ROOT / "traces" / "7.2p-net-gt")
    run = replay_trace(trace, db, find_policies([]), Pricing(find_schemes([]), find_costs(None)))
    for window_rows in (1 << 20, 5_000):
        simulate_run(trace, db, run, {}, window_rows=window_rows)
    with duckdb.connect(db, read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def test_takes_are_the_models_counters(asked: duckdb.DuckDBPyConnection) -> None:
    missed = rows(
        asked,
        """
        SELECT cache, value, takes FROM cache_counters FULL JOIN (
            SELECT run, cache, takes FROM internal.lock_waits
            WHERE lock = 'list_lock' AND slice IS NULL
        ) AS waits USING (run, cache)
        WHERE name = 'list_lock' AND round(takes) IS DISTINCT FROM value
        """,
    )
    assert missed == []
    zones = rows(
        asked,
        """
        SELECT value, takes, visits FROM zone_counters
        INNER JOIN internal.lock_waits USING (run, zone)
        WHERE name = 'zone_lock' AND slice IS NULL AND value > 0
        """,
    )
    assert zones
    for value, takes, visits in zones:
        assert round(takes) == value
        assert 0 < visits <= value  # no path here takes it without need


def test_barn_visits_are_the_sheaves_that_the_barn_gave_and_took(
    asked: duckdb.DuckDBPyConnection,
) -> None:
    """A full sheaf taken or given is one visit; an empty one for a CPU without spare may be one."""
    found = rows(
        asked,
        """
        SELECT visits, moved, installs FROM (
            SELECT cache, visits FROM internal.lock_waits
            WHERE run = 2 AND lock = 'barn' AND slice IS NULL
        ) INNER JOIN (
            SELECT cache, sum(value) AS moved FROM cache_counters
            WHERE run = 2 AND name IN ('barn_get', 'barn_put') GROUP BY cache
        ) USING (cache) LEFT JOIN (
            SELECT cache, count(*) AS installs FROM placed_events
            INNER JOIN object_events AS events
                ON events.run = 1 AND events.seq = placed_events.seq
            WHERE placed_events.run = 2 AND path = 'install_empty' GROUP BY cache
        ) USING (cache)
        """,
    )
    assert len(found) > 3
    for visits, moved, installs in found:
        assert visits == moved + (installs or 0)


def test_slices_add_up_to_the_run(asked: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        asked,
        """
        SELECT
            max(visits) FILTER (slice IS NULL) = sum(visits) FILTER (slice IS NOT NULL),
            max(met_high) FILTER (slice IS NULL) = sum(met_high) FILTER (slice IS NOT NULL),
            max(queue_high) FILTER (slice IS NULL) = max(queue_high) FILTER (slice IS NOT NULL)
        FROM internal.lock_waits WHERE visits > 0 GROUP BY run, lock, cache, zone
        """,
    )
    assert set(found) == {(True, True, True)}


def test_windows_do_not_matter(asked: duckdb.DuckDBPyConnection) -> None:
    both = "SELECT * EXCLUDE (run) FROM internal.lock_waits WHERE run = {} ORDER BY ALL"
    assert rows(asked, both.format(2)) == rows(asked, both.format(3))


def test_the_view_orders_ends_and_names_every_lock(asked: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        asked,
        """
        SELECT count(*), count("of"),
            bool_and(met_low <= met_high AND busy_pct_low <= busy_pct_high
                AND queue_low <= queue_high AND met_high <= visits)
        FROM lock_contention WHERE visits > 0
        """,
    )
    [(count, named, ordered)] = found
    assert count == named > 0
    assert ordered
