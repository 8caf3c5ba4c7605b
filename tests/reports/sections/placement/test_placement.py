"""Views and report of simulated runs on a small database whose numbers can be checked on paper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from allocsim.kernels.release import Generation
from allocsim.slub.counters import counted
from reports import queries
from reports.compare.measure import MEASURES
from reports.render.document import Chart, Heading, LinePanel, OverTime, Table, Text
from reports.render.pdf import render
from reports.render.text import cell_text
from reports.sections import questions, sweeps
from reports.sections.build import build
from reports.sections.placement import memory as placed_memory
from reports.sections.placement import placement
from reports.sections.placement import remote_frees as remote
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COUNTERS = {
    "alloc_fastpath": 700,
    "alloc_slowpath": 20,
    "free_fastpath": 280,
    "barn_get": 6,
    "barn_put": 4,
    "barn_get_fail": 8,
    "barn_put_fail": 2,
    "list_lock": 11,
}


def simulated(
    connection: DuckDBPyConnection,
    run: int,
    settings: dict[str, int],
    *,
    what_if: str | None = None,
    events: bool = True,
) -> None:
    """A simulated run of run 1: three slabs of order 1 made, one of them freed."""
    insert(
        connection,
        "runs",
        run=run,
        trace_id=1,
        started="2026-11-23T09:00:00Z",
        allocsim_version="0.1.0",
        window_rows=1,
        events=21,
        first_ts=5_000_000_000,
        last_ts=5_015_000_000,
        slice_ns=10_000_000,
        placement="simulated",
        of_run=1,
        profile="linux-7.2",
        slub="sheaves",
        settings=json.dumps(settings),
        what_if=what_if,
        machine_how="observed",
    )
    insert(connection, "caches", run=run, cache=0, name="kmalloc-64", object_size=64)
    insert(
        connection,
        "placed_caches",
        run=run,
        cache=0,
        order=1,
        objects=128,
        min_order=0,
        min_partial=5,
        capacity=settings.get("sheaf.capacity", 60),
        shape_how="observed",
        slab_allocs=3,
        slab_frees=1,
        pages_allocated=6,
        pages_freed=2,
        live_objects=64,
        slabs=2,
        slab_pages=4,
        partial_slabs=1,
        partial_free=10,
        in_sheaves=5,
        on_older_slabs=0,
        sheaf_objects=0,
        older_free=0,
    )
    for name, value in COUNTERS.items():
        insert(connection, "cache_counters", run=run, cache=0, name=name, value=value)
    insert(connection, "zones", run=run, zone=0, name="Normal", managed=100)
    for name, value in (("zone_lock", 9), ("pcp_refill", 3)):
        insert(connection, "zone_counters", run=run, zone=0, name=name, value=value)
    for slice_, order, kind, blocks in (
        *((0, 0, "unmovable", 4), (0, 2, "movable", 3)),
        (None, 1, "movable", 5),
    ):
        insert(
            connection,
            "internal.free_blocks",
            run=run,
            slice=slice_,
            zone=0,
            order=order,
            migratetype=kind,
            blocks=blocks,
        )
    insert(connection, "quality_counts", run=run, name="inferred_frees", value=17)
    if events:
        for seq, path, layer in ((1, "main_hit", "object"), (2, "hit", "page")):
            connection.execute(
                "INSERT INTO paths SELECT $path, $layer, 'alloc'"
                " WHERE $path NOT IN (SELECT path FROM paths)",
                {"path": path, "layer": layer},
            )
            insert(connection, "placed_events", run=run, seq=seq, path=path)


def one(connection: DuckDBPyConnection, sql: str) -> dict[str, Any]:
    [row] = queries.rows(connection, sql)
    return row


def test_placement_summary(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    row = one(small, "FROM placement_summary")
    assert (row["run"], row["of_run"], row["what_if"], row["trace"]) == (2, 1, None, "small")
    assert (row["operations"], row["refills"], row["flushes"], row["barn_traffic"]) == (
        *(1000, 8, 2),
        10,
    )
    assert row["refills_per_1000"] == pytest.approx(8)
    # All 8 refills came back short: their allocations are among the 20 of the slow way.
    assert row["fastpath_pct"] == pytest.approx(100 * (980 - 2 - 10) / 1000)
    assert (row["slab_allocs"], row["slab_frees"], row["slab_pages"]) == (3, 1, 6)
    assert (row["recorded_slab_allocs"], row["recorded_slab_frees"]) == (4, 3)
    assert (row["slab_pages_held"], row["list_locks"], row["zone_locks"]) == (4, 11, 9)


@pytest.mark.slow
def test_what_a_generation_does_not_have_is_not_zero(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    small.execute(
        "UPDATE placed_caches SET capacity = NULL, in_sheaves = NULL, cpu_partial_slabs = 7"
    )
    small.execute("UPDATE runs SET slub = 'cpu slabs' WHERE run = 2")
    insert(small, "cache_counters", run=2, cache=0, name="cpu_partial_alloc", value=5)
    row = one(small, "FROM placement_summary")
    assert [row[name] for name in ("refills", "refills_per_1000", "flushes", "barn_traffic")] == [
        None
    ] * 4
    assert (row["cpu_partial_moves"], row["frees_to_slabs"], row["operations"]) == (5, 0, 1000)
    row = one(small, "FROM cache_counter_summary")
    assert (row["sheaf_refill"], row["barn_get"], row["capacity"]) == (None, None, None)
    assert (row["cpu_partial_slabs"], row["cpu_partial_alloc"], row["alloc_refill"]) == (7, 5, 0)


@pytest.mark.parametrize("generation", [Generation.SHEAVES, Generation.CPU_SLABS])
def test_counters_of_a_comparison_are_those_the_model_keeps(
    small: DuckDBPyConnection, generation: Generation
) -> None:
    """Of its generation alone; what never happened is zero."""
    simulated(small, 2, {})
    small.execute("UPDATE runs SET slub = ? WHERE run = 2", [generation.value])
    # Of every cache, as in a comparison of one recording's simulations.
    small.execute("CREATE TEMP TABLE compared_slabs AS SELECT run, cache, name AS item FROM caches")
    rows = queries.rows(small, MEASURES["cache_counters"].sql, run=2)
    found = {row["item"]: row["value"] for row in rows}
    assert found == {name: COUNTERS.get(name, 0) for name in counted(generation)}


def test_reports_show_the_chief_counters_of_the_generation(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    heads = []
    for generation in (Generation.SHEAVES, Generation.CPU_SLABS):
        small.execute("UPDATE runs SET slub = ? WHERE run = 2", [generation.value])
        [table] = [
            block
            for block in placement.blocks(small, 1)
            if isinstance(block, Table) and block.caption.startswith("The model’s counters")
        ]
        heads.append([column.title for column in table.columns])
        for row, column in zip(table.rows[0], table.columns, strict=True):
            assert row or column.title == "used"
    both = ["cache", "alloc fastpath", "free fastpath"], ["list lock", "partial", "used"]
    assert heads == [
        both[0] + own + both[1]
        for own in (
            ["sheaf refill", "sheaf flush", "barn get", "barn put"],
            ["alloc slab", "cpu partial alloc", "cpu partial free", "cpu partial drain"],
        )
    ]


def test_cache_counter_summary(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    row = one(small, "FROM cache_counter_summary")
    assert {name: row[name] for name in COUNTERS} == COUNTERS
    assert (row["free_slowpath"], row["sheaf_refill"], row["slab_bytes"]) == (0, 0, 4 * 4096)
    assert row["utilisation_pct"] == pytest.approx(100 * 64 * 64 / (4 * 4096))
    assert row["shape_how"] == "observed"


def test_slabs_stand_beside_the_recorded_ones(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    rows = {row["cache"]: row for row in queries.rows(small, "FROM slab_placement_summary")}
    assert set(rows) == {"kmalloc-64", "dentry"}
    row = rows["kmalloc-64"]
    assert (row["recorded_allocs"], row["simulated_allocs"]) == (2, 3)
    assert (row["recorded_pages"], row["simulated_pages"]) == (2, 6)
    assert (rows["dentry"]["recorded_allocs"], rows["dentry"]["simulated_allocs"]) == (1, 0)


def test_free_memory_has_every_order_and_the_index(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    rows = queries.rows(small, 'FROM free_memory WHERE slice = 0 ORDER BY "order"')
    assert [row["order"] for row in rows] == list(range(11))
    assert {row["free_pages"] for row in rows} == {4 + 12}
    assert [row["unusable_index"] for row in rows[:4]] == pytest.approx([0, 4 / 16, 4 / 16, 1])
    end = queries.rows(small, 'FROM free_memory WHERE slice IS NULL ORDER BY "order"')
    assert [row["unusable_index"] for row in end[:3]] == pytest.approx([0, 0, 1])


def test_placement_quality_says_how_much_lies_on_older_slabs(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    for name, value in (("object_requests", 200), ("requests_on_older_slabs", 50)):
        insert(small, "quality_counts", run=2, name=name, value=value)
    row = one(small, "FROM placement_quality")
    assert (row["run"], row["inferred_frees"], row["on_older_slabs"]) == (2, 17, 50)
    assert (row["on_older_slabs_pct"], row["machine_how"]) == (pytest.approx(25), "observed")
    assert row["older_slabs"] == 0


def test_slab_refcounts_price_one_placement_under_every_policy(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    rows = {row["policy"]: row for row in queries.rows(small, "FROM slab_refcounts")}
    assert {(row["slab_allocs"], row["slab_frees"]) for row in rows.values()} == {(3, 1)}
    assert (rows["refcounted"]["plain_ops"], rows["refcounted"]["locked_ops"]) == (3, 1)
    assert (rows["linux-7.2"]["plain_ops"], rows["linux-7.2"]["locked_ops"]) == (0, 0)


@pytest.mark.slow
def test_a_recorded_run_alone_reads_as_before(small: DuckDBPyConnection) -> None:
    before = [placement.blocks(small, 1), sweeps.blocks(small, 1)]
    simulated(small, 2, {"cpus": 4}, what_if="settings changed", events=False)
    assert [placement.blocks(small, 1), sweeps.blocks(small, 1)] == before == [[], []]


@pytest.mark.slow
def test_the_report_shows_placement_and_sweep_and_says_what_if(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {}, what_if="Linux 6.12 has no sheaves for all caches")
    for run, (capacity, cpus) in enumerate(((4, 2), (60, 2), (4, 8), (60, 8)), 3):
        settings = {"sheaf.capacity": capacity, "cpus": cpus}
        simulated(small, run, settings, what_if="settings changed", events=False)
    report = build(small, queries.runs(small), full=True)
    first = next(block for block in report.sections[0].blocks if isinstance(block, Heading))
    assert first.text == "What the settings do"  # a sweep's report leads with the sweep
    blocks = [block for section in report.sections for block in section.blocks]
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    assert "Simulated placement (what if)" in headings
    text = " ".join(block.text for block in blocks if isinstance(block, Text))
    assert "What if: Linux 6.12 has no sheaves for all caches." in text
    charts = {b.caption: b for b in blocks if isinstance(b, Chart)}
    tables = {b.caption[:30]: b for b in blocks if isinstance(b, Table)}
    assert tables["The model’s page allocator, zo"].rows[0][0] == "Normal"
    assert tables["The model’s page allocator, zo"].rows[0][4] == "9"
    assert len(tables["Reference-count operations of "].rows) >= 2
    for key in ("cpus", "sheaf.capacity"):
        [chart] = [chart for caption, chart in charts.items() if f"What {key} does" in caption]
        for panel in chart.panels:
            assert isinstance(panel, LinePanel)
            assert panel.marked is not None
            assert panel.places[panel.marked] == "own"
    [table] = [b for b in blocks if isinstance(b, Table) and b.caption.startswith("Every combina")]
    assert [row[:2] for row in table.rows] == [
        ["kernel’s own"] * 2,
        *(["2", "4"], ["2", "60"], ["8", "4"], ["8", "60"]),
    ]
    assert render(report).startswith(b"%PDF-")


def test_the_kernel_as_it_was_stands_for_a_recording_before_later_settings(
    small: DuckDBPyConnection,
) -> None:
    simulated(small, 2, {"kernel": 7})
    simulated(small, 3, {"nodes": 2}, what_if="settings changed")
    row = questions.simulated(small, 1)
    assert row is not None
    assert row["run"] == 2


def test_rows_of_a_sweep_say_what_else_was_set(small: DuckDBPyConnection) -> None:
    all_settings = ({"cpus": 2}, {"cpus": 4}, {"nodes": 2}, {"cpus": 4, "pcp.batch": 7})
    for run, settings in enumerate(all_settings, 2):
        simulated(small, run, settings, what_if="settings changed", events=False)
    found = sweeps.blocks(small, 1)
    [table] = [b for b in found if isinstance(b, Table) and b.caption.startswith("Every combina")]
    assert [row[:2] for row in table.rows] == [
        ["kernel’s own", "nodes = 2"],
        ["2", ""],
        ["4", ""],
        ["4", "pcp.batch = 7"],
    ]


@pytest.mark.slow
def test_free_memory_is_drawn_in_mib_and_by_what_cannot_serve_an_order(
    small: DuckDBPyConnection,
) -> None:
    simulated(small, 2, {})
    # Slice 1: 512 movable pages in one block of order 9 and 256 unmovable ones in order 0.
    for order, kind, blocks in ((9, "movable", 1), (0, "unmovable", 256)):
        insert(
            small,
            "internal.free_blocks",
            run=2,
            slice=1,
            zone=0,
            order=order,
            migratetype=kind,
            blocks=blocks,
        )
    [chart] = [block for block in placed_memory.blocks(small, 2) if isinstance(block, Chart)]
    amounts, index = chart.panels
    assert isinstance(amounts, OverTime)
    assert isinstance(index, OverTime)
    assert list(amounts.edges) == pytest.approx([0, 0.01, 0.01])
    assert amounts.areas == {"unmovable": [4 / 256, 1], "movable": [12 / 256, 2]}
    assert index.lines["order 1"] == pytest.approx([4 / 16, 256 / 768])
    assert index.lines["order 9"] == pytest.approx([1, 256 / 768])


def test_an_index_that_does_not_change_is_said_and_not_drawn(small: DuckDBPyConnection) -> None:
    simulated(small, 2, {})
    for order, kind, blocks in ((0, "unmovable", 4), (2, "movable", 3)):
        values = {"order": order, "migratetype": kind, "blocks": blocks}
        insert(small, "internal.free_blocks", run=2, slice=1, zone=0, **values)
    [chart] = [block for block in placed_memory.blocks(small, 2) if isinstance(block, Chart)]
    assert len(chart.panels) == 1
    assert "nearly constant: 0.25 for order 1, 1.00 for order 3" in chart.caption


@pytest.mark.slow
def test_the_matrix_of_cpus_counts_every_whole_life(small: DuckDBPyConnection) -> None:
    small.execute(
        "UPDATE internal.object_facts SET cpu = cpu + 1 WHERE seq % 2 = 0 AND origin IN"
        " (SELECT origin FROM internal.object_origins WHERE event IN ('kfree', 'kmem_cache_free'))"
    )
    expected = queries.rows(small, "FROM remote_frees WHERE run = 1")
    assert {row["alloc_cpu"] == row["free_cpu"] for row in expected} == {True, False}
    shown = remote.blocks(small, 1)
    assert [type(block).__name__ for block in shown] == ["Heading", "Text", "Table", "Table"]
    matrix = next(block for block in shown if isinstance(block, Table))
    cpus = [column.title for column in matrix.columns]
    total = sum(row["objects"] for row in expected)
    for pair in {(row["alloc_cpu"], row["free_cpu"]) for row in expected}:
        objects = sum(r["objects"] for r in expected if (r["alloc_cpu"], r["free_cpu"]) == pair)
        row = next(row for row in matrix.rows if row[0] == f"CPU {pair[0]}")
        cell = cell_text(row[cpus.index(f"CPU {pair[1]}")])
        assert float(cell.split("\u202f")[0]) == pytest.approx(100 * objects / total, abs=0.006)
