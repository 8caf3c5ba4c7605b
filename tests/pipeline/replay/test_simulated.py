"""Simulated runs of recordings: against the oracle of the whole path, and against themselves."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import duckdb
import pytest

from allocsim.initial_state.sysfs_slab import CacheFacts
from allocsim.kernels.cache_shapes import CpuSlabShape, SheafShape
from allocsim.kernels.profile import LINUX_6_12, PROFILES, RULES_6_12
from allocsim.kernels.settings import KERNEL
from allocsim.kernels.slub_rules import cpu_partial
from allocsim.recording.requests import LEFT_OUT
from pipeline.errors import UsageError
from pipeline.processes.progress import Progress
from pipeline.replay.fidelity import what_if
from pipeline.replay.pricing import find_policies
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import WINDOW_ROWS, replay_trace, replay_traces
from pipeline.replay.simulated import simulate_run
from pipeline.replay.world import make_world
from pipeline.store.schema import TABLES
from pipeline.trace_set.reader import TraceSet
from tests.conftest import FAULTS, ROOT
from tests.oracle.whole_path import WHOLE, WholePath, ask

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.replay.world import Recorded

pytestmark = pytest.mark.slow

# A kernel with sheaves and cache names, and one with neither.
NAMES = ("7.2p-hackbench-gt", "7.2p-net-gt", "6.12p-hackbench-gt")
SHIPPED = sorted(path.parent.name for path in (ROOT / "traces").glob("*/meta.json"))
WINDOWS = (1 << 20, 1_000)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each trace a recorded run and, behind it, a simulated one for each window size."""
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    for name in NAMES:
        trace = TraceSet.open(ROOT / "traces" / name)
        recorded = replay_trace(trace, path, find_policies([]))
        for rows in WINDOWS:
            simulate_run(trace, path, recorded, {}, window_rows=rows)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_event_slab_and_counter_is_the_oracles(tmp_path: Path, name: str) -> None:
    """Small ones also in small windows; `python bench/exactness.py` takes every recording."""
    trace = TraceSet.open(ROOT / "traces" / name)
    whole = WholePath(trace, tmp_path)
    wanted, _ = whole.oracle()
    references = sum(n for key, n in trace.meta["events"].items() if key.startswith("page_ref_"))
    assert len(wanted.events) > (trace.rows - references) / 2
    for rows in (WHOLE, 1_000) if trace.rows < 100_000 else (70_000,):
        assert whole.model(rows).differences(wanted) == []


def test_what_is_stored_is_what_the_model_gave(db: Path, tmp_path: Path) -> None:
    model = WholePath(TraceSet.open(ROOT / "traces" / NAMES[0]), tmp_path).model(WHOLE)
    stored = ask(
        db,
        "SELECT seq, path, coalesce(slab, -1), coalesce(idx, -1), coalesce(pfn, -1)"
        " FROM placed_events WHERE run = 2",
    )
    assert {seq: tuple(row) for seq, *row in stored} == model.events
    slabs = ask(
        db,
        'SELECT slab, cache, "order", pfn, coalesce(alloc_seq, -1), coalesce(free_seq, -1)'
        " FROM placed_slabs WHERE run = 2",
    )
    assert {slab: list(row) for slab, *row in slabs} == model.slabs
    for table, names in (
        ("cache_counters", ("cache", "name", "value")),
        ("zone_counters", ("zone", "name", "value")),
        ("quality_counts", ("name", "value")),
    ):
        rows = ask(db, f"SELECT {', '.join(names)} FROM {table} WHERE run = 2")
        given = [tuple(row[name] for name in names) for row in model.rows[table]]
        assert sorted(rows) == sorted(given)


def test_policies_do_not_change_the_requests_nor_where_they_go(tmp_path: Path) -> None:
    """Frozen or not is a matter of counts: a run priced otherwise is simulated alike (design 3)."""
    trace = TraceSet.open(ROOT / "traces" / "7.2p-hackbench-gt")
    outcomes = [
        WholePath(trace, tmp_path / name, find_policies([name])).model(WHOLE)
        for name in ("refcounted", "everything-freezable")
    ]
    assert outcomes[0].events
    assert outcomes[0].events == outcomes[1].events
    assert outcomes[0].slabs == outcomes[1].slabs
    assert outcomes[0].rows == outcomes[1].rows


SIMULATED = (
    *("placed_events", "placed_slabs", "placed_caches", "cache_counters", "zones"),
    *("zone_counters", "internal.free_blocks", "quality_counts", "caches"),
)


@pytest.mark.parametrize("table", SIMULATED)
def test_the_window_size_does_not_matter(db: Path, table: str) -> None:
    for number in range(len(NAMES)):
        whole, parts = (
            ask(db, f"SELECT * EXCLUDE (run) FROM {table} WHERE run = {run} ORDER BY ALL")
            for run in (3 * number + 2, 3 * number + 3)
        )
        assert whole == parts
        assert whole


def test_nothing_is_lost(db: Path) -> None:
    """Allocations less frees are live, slabs made less freed are held, every slot is somewhere."""
    for run in (2, 5, 8):
        for slabs, made, freed, pages, alloc_pages, freed_pages, pre_trace in ask(
            db,
            "SELECT slabs, slab_allocs, slab_frees, slab_pages, pages_allocated, pages_freed,"
            " (SELECT count(*) FROM placed_slabs AS s WHERE s.run = c.run AND s.cache = c.cache"
            f" AND alloc_seq IS NULL) FROM placed_caches AS c WHERE run = {run}",
        ):
            assert slabs == made - (freed - pre_trace)
            assert pre_trace or pages == alloc_pages - freed_pages
        rows = ask(
            db,
            "SELECT slabs * objects + older_free, live_objects + on_older_slabs + partial_free"
            " + in_sheaves + sheaf_objects + objects * (SELECT count(*) FROM placed_slabs AS s"
            " WHERE s.run = c.run AND s.cache = c.cache AND alloc_seq IS NULL)"
            f" FROM placed_caches AS c WHERE run = {run}",
        )
        assert len(rows) > 20
        assert all(slots == known for slots, known in rows)


def test_free_pages_are_the_zones_less_what_is_used(db: Path) -> None:
    rows = ask(
        db,
        'SELECT free_pages, sum((unmovable + movable + reclaimable + highatomic) << "order"),'
        " bool_and(unusable_index BETWEEN 0 AND 1), min(unusable_index) FROM free_memory"
        " GROUP BY run, slice, zone, free_pages",
    )
    assert rows
    assert all(free == blocks and within and least == 0 for free, blocks, within, least in rows)


def test_placement_is_the_same_under_every_policy(db: Path) -> None:
    """Policies belong to the recorded run; slab_refcounts prices the one placement with each."""
    rows = ask(db, "SELECT run, policy, slab_allocs, slab_frees, locked_ops FROM slab_refcounts")
    assert len({(run, made, freed) for run, _, made, freed, _ in rows}) == 6
    assert len(rows) == 6 * 5
    locked = {(run, policy): ops for run, policy, _, _, ops in rows}
    for run, _, _, freed, _ in rows:
        assert locked[run, "refcounted"] == freed
        assert locked[run, "linux-7.2"] == 0


def test_cpu_slabs_of_a_recording_with_sheaves_have_the_partial_lists_of_the_rule(db: Path) -> None:
    """7.2 says cpu_partial 0 of every cache, for form's sake; its sheaves' capacities are facts."""
    trace = TraceSet.open(ROOT / "traces" / NAMES[0])
    with duckdb.connect(db) as connection:
        recorded = RecordedRun(connection, 1, trace, WINDOW_ROWS).recorded
    shapes = make_world(recorded, {KERNEL: LINUX_6_12.code}).shapes
    assert len(shapes) > 40
    for shape in shapes:
        assert isinstance(shape, CpuSlabShape)
        assert shape.cpu_partial == cpu_partial(RULES_6_12, shape.size)
    own = make_world(recorded, {}).shapes
    sheaves = [shape.capacity for shape in own if isinstance(shape, SheafShape)]
    told = [recorded.facts[each.name].sheaf_capacity for each in own if each.name in recorded.facts]
    assert len(told) > 30
    assert [n for n, each in zip(sheaves, own, strict=True) if each.name in recorded.facts] == told


def test_what_the_model_does_not_follow_makes_a_what_if() -> None:
    facts = {"a": CacheFacts(debugged=True), "b": CacheFacts(), "unused": CacheFacts(debugged=True)}
    sizes = [("a", 320), ("b", 64), ("unused", -1), ("unknown", 8)]
    one = SimpleNamespace(count=1)
    recorded = SimpleNamespace(
        release="7.3.4", cpus=4, nodes=one, memory_nodes=2, facts={}, caches=sizes, partitions=1
    )
    reason = "the machine's 2 memory nodes are taken as one"
    assert what_if(cast("Recorded", recorded), {"cpus": 4}) == reason
    recorded.memory_nodes = 1
    assert what_if(cast("Recorded", recorded), {"cpus": 4}) is None
    recorded.facts = facts
    reason = "1 of its caches are under slab_debug, which is not modelled"
    assert what_if(cast("Recorded", recorded), {}) == reason


def test_what_is_a_what_if_says_so_in_every_view_of_simulated_runs(db: Path) -> None:
    for view in (
        *("placement_summary", "cache_counter_summary", "slab_placement_summary"),
        *("path_summary", "slab_refcounts"),
    ):
        labels = dict(ask(db, f"SELECT DISTINCT run, what_if FROM {view}"))
        assert labels[2] is None
        assert labels[5] is None
        assert labels[8].startswith("Linux 6.12")


def test_simulated_and_recorded_placement_join_by_seq(db: Path) -> None:
    [(rows, wrong, both)] = ask(
        db,
        "SELECT count(*), count(*) FILTER (cpu IS NULL OR path IS NULL),"
        " count(*) FILTER (pfn IS NOT NULL AND recorded_slab IS NOT NULL)"
        " FROM placements WHERE run = 2",
    )
    assert (rows, wrong) == (ask(db, "SELECT count(*) FROM placed_events WHERE run = 2")[0][0], 0)
    assert both > 0


def test_remote_frees_add_up_to_those_the_replay_counted(db: Path) -> None:
    for run in (1, 4, 7):
        [(remote,)] = ask(
            db, f"SELECT sum(objects) FROM remote_frees WHERE run = {run} AND alloc_cpu <> free_cpu"
        )
        [(counted,)] = ask(
            db, f"SELECT value FROM quality_counts WHERE run = {run} AND name = 'remote_frees'"
        )
        assert remote == counted


def test_keys_are_keys(db: Path) -> None:
    for table in TABLES:
        if table.key:
            key = ", ".join(f'"{name}"' for name in table.key)
            twice = f"SELECT {key} FROM {table.sql_name} GROUP BY ALL HAVING count(*) > 1"
            assert ask(db, twice) == [], table.name


def test_settings_change_the_model_and_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    wanted = {"sheaf.capacity": 4, "sheaf.capacity.skbuff_head_cache": 7, "cpus": 1, "pcp.batch": 7}
    runs = replay_traces([ROOT / "traces" / "7.2p-hackbench-gt"], path, [], Progress(), wanted).runs
    assert runs == [1, 2]
    [(settings, what_if)] = ask(path, "SELECT settings, what_if FROM runs WHERE run = 2")
    assert json.loads(settings) == wanted
    assert what_if == "settings changed"
    capacities = dict(ask(path, "SELECT cache, capacity FROM cache_counter_summary"))
    assert capacities.pop("skbuff_head_cache") == 7
    assert set(capacities.values()) == {4}
    assert ask(path, "SELECT DISTINCT pcp_batch FROM zones WHERE managed > 0") == [(7,)]
    assert ask(path, "SELECT max(alloc_cpu) FROM placed_slabs") == [(0,)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sheaf.capacity": 5000}, "out of range, 0 to 1020"),
        ({"sheaf.capacity.skbuf_head_cache": 4}, "did you mean skbuff_head_cache"),
        ({"slab.order.kmalloc-4k": 11}, "out of range, 0 to 10"),
    ],
)
def test_wrong_settings_are_found_before_any_work(
    tmp_path: Path, settings: dict[str, int], says: str
) -> None:
    path = tmp_path / "results.duckdb"
    with pytest.raises(UsageError) as caught:
        replay_traces([ROOT / "traces" / "7.2p-hackbench-gt"], path, [], Progress(), settings)
    assert says in str(caught.value)
    assert not path.exists()


def _without_snapshots(name: str, folder: Path) -> TraceSet:
    copy = folder / name
    shutil.copytree(ROOT / "traces" / name, copy, ignore=shutil.ignore_patterns("snapshots"))
    return TraceSet.open(copy)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kernel", [each.code for each in PROFILES])
def test_without_snapshots_the_slabs_are_those_made_with_them(
    tmp_path: Path, name: str, kernel: int
) -> None:
    """Slots, orders and kmalloc's caches follow from the events and the kernel's rules."""
    counts, slabs = [], []
    traces = (TraceSet.open(ROOT / "traces" / name), _without_snapshots(name, tmp_path))
    for number, trace in enumerate(traces):
        db = tmp_path / f"{number}.duckdb"
        recorded = replay_trace(trace, db, find_policies([]))
        settings = {KERNEL: kernel}
        run = simulate_run(trace, db, recorded, settings, window_rows=1 << 20)
        found = ask(db, f"SELECT name, value FROM quality_counts WHERE run = {run}")
        counts.append(dict(found))
        sql = f"SELECT slab_allocs FROM placement_summary WHERE run = {run}"
        slabs.append(ask(db, sql)[0][0])
    assert [each["allocations_left_out"] + each["frees_left_out"] for each in counts] == [0, 0]
    # Of caches that are never allocated from, no allocation tells the size.
    unsized = counts[1]["frees_of_unsized_cache"]
    assert unsized <= 3
    assert counts[1]["object_requests"] + unsized == counts[0]["object_requests"]
    # Without zoneinfo, no event tells how many nodes there are: one is assumed.
    assert slabs[1] == pytest.approx(slabs[0], rel=0.1 if "numa" in name else 0.05)


def test_a_cache_that_only_its_frees_name_is_simulated(tmp_path: Path) -> None:
    """6.12: no name on kmem_cache_alloc, and no snapshots beside the recording."""
    db = tmp_path / "results.duckdb"
    runs = replay_traces([FAULTS / "named_at_free.dat"], db, [], Progress(), {}).runs
    counts = dict(ask(db, f"SELECT name, value FROM quality_counts WHERE run = {runs[1]}"))
    assert counts["object_requests"] == counts["recorded_requests"] == 400
    assert sum(counts[name] for name in LEFT_OUT) == 0
    named = "SELECT name, object_size FROM caches WHERE object_size IS NOT NULL"
    assert ask(db, f"{named} AND run = {runs[0]}") == [("filp", 256)]
