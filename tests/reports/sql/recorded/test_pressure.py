"""What quality says of reclaim and compaction, of which only the number of events is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reports import queries
from reports.render.document import Table
from reports.sections import quality

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NAMES = ("direct_reclaims", "direct_reclaim_pct", "kswapd_wakes", "folios_written", "compactions")


def pressed(connection: DuckDBPyConnection, dropped: dict[str, int]) -> queries.Row:
    """The row of quality where the import counted these events."""
    [(meta,)] = connection.execute("SELECT meta FROM traces").fetchall()
    text = json.dumps(json.loads(meta) | {"dropped": dropped})
    connection.execute("UPDATE traces SET meta = ?", [text])
    [row] = queries.rows(connection, "FROM quality")
    return row


def test_events_are_those_the_import_counted(small: DuckDBPyConnection) -> None:
    counts = {
        "mm_vmscan_direct_reclaim_begin": 3,
        "mm_vmscan_kswapd_wake": 2,
        "mm_vmscan_write_folio": 70,
        "mm_compaction_begin": 1,
        "mm_vmscan_direct_reclaim_end": 3,
    }
    row = pressed(small, counts)
    assert [row[name] for name in NAMES if name != "direct_reclaim_pct"] == [3, 2, 70, 1]
    [allocs] = queries.rows(
        small, "SELECT count(*) AS n FROM page_events WHERE event = 'mm_page_alloc'"
    )
    if allocs["n"]:
        assert row["direct_reclaim_pct"] == pytest.approx(300 / allocs["n"])
    [run] = queries.runs(small)
    tables = [block for block in quality.blocks(small, run) if isinstance(block, Table)]
    lines = {line[0]: line[1] for table in tables for line in table.rows}
    assert lines["Direct reclaims ●"] == "3"
    assert lines["Compactions ●"] == "1"


def test_without_such_events_nothing_is_said(small: DuckDBPyConnection) -> None:
    row = pressed(small, {"large_kmalloc_repeats": 0})
    assert [row[name] for name in NAMES] == [None] * 5
    [run] = queries.runs(small)
    tables = [block for block in quality.blocks(small, run) if isinstance(block, Table)]
    assert not any(line[0] == "Direct reclaims ●" for table in tables for line in table.rows)


def counted(connection: DuckDBPyConnection, counts: dict[str, int]) -> queries.Row:
    """The row of quality where vmstat had grown so between the snapshots (I14)."""
    [run] = queries.runs(connection)
    for name, value in counts.items():
        row = [run["run"], name, value]
        connection.execute("INSERT INTO quality_counts (run, name, value) VALUES (?, ?, ?)", row)
    [found] = queries.rows(connection, "FROM quality")
    return found


def test_vmstat_says_at_most_where_events_were_lost_or_not_recorded(
    small: DuckDBPyConnection,
) -> None:
    """I14: vmstat lies around the recording, so its direct reclaims are no fewer."""
    n = 50
    small.execute(
        "INSERT INTO page_events (run, seq, event)"
        " SELECT run, 1000 + i, 'mm_page_alloc' FROM runs, range(?) AS more(i)"
        " WHERE placement = 'recorded'",
        [n],
    )
    stalls = {"allocstalls": 7, "pages_swapped_out": 5, "compact_stalls": 0}
    assert counted(small, stalls)["direct_reclaim_pct"] == pytest.approx(700 / n)
    assert pressed(small, {"mm_vmscan_direct_reclaim_begin": 3})["direct_reclaim_pct"] == (
        pytest.approx(300 / n)
    )
    [run] = queries.runs(small)
    tables = [block for block in quality.blocks(small, run) if isinstance(block, Table)]
    lines = {line[0]: line[1] for table in tables for line in table.rows}
    assert lines["Direct reclaims, around it ●"] == "7"
    assert lines["Pages swapped out ●"] == "5"
    assert "Allocations that compacted ●" not in lines
    small.execute("UPDATE traces SET lost_events = 1")
    [row] = queries.rows(small, "FROM quality")
    assert row["direct_reclaim_pct"] == pytest.approx(700 / n)
    small.execute("DELETE FROM quality_counts WHERE name = 'allocstalls'")
    [row] = queries.rows(small, "FROM quality")
    assert (row["direct_reclaims"], row["direct_reclaim_pct"]) == (3, None)
