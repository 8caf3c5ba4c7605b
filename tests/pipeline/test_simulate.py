"""Simulated runs of recordings: against the oracle of the whole path, and against themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

from allocsim.events import Ev
from allocsim.page_kinds import Kind
from allocsim.page_paths import PAGE_COUNTERS
from allocsim.paths import COUNTERS
from pipeline.errors import UsageError
from pipeline.ingest.recording import import_recording
from pipeline.modelled import make_world
from pipeline.policies import find_policies
from pipeline.progress import Progress
from pipeline.recorded_run import RecordedRun
from pipeline.runs import replay_trace, replay_traces
from pipeline.simulate import simulate_run
from pipeline.store.schema import TABLES
from pipeline.trace_set import TraceSet
from tests.conftest import RECORDINGS
from tests.oracle.simulate_both import REQUEST_COUNTS, World, by_oracle
from tests.oracle.simulated import Event

if TYPE_CHECKING:
    from pathlib import Path

# A kernel with sheaves and cache names, and one with neither; with and without page_ref events.
NAMES = ("7.3-hackbench", "7.2p-net-gt", "6.12-hackbench")
WINDOWS = (1 << 20, 1_000)

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def trace_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traces")
    if not all((RECORDINGS / name).is_dir() for name in NAMES):
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    return {name: import_recording(RECORDINGS / name, folder) for name in NAMES}


@pytest.fixture(scope="module")
def db(trace_sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each trace a recorded run and, behind it, a simulated one for each window size."""
    path = tmp_path_factory.mktemp("db") / "results.duckdb"
    for name in NAMES:
        trace = TraceSet.open(trace_sets[name])
        recorded = replay_trace(trace, path, find_policies([]))
        for rows in WINDOWS:
            simulate_run(trace, path, recorded, {}, window_rows=rows)
    return path


def ask(path: Path, sql: str) -> Rows:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def events_of(path: Path, run: int, source: RecordedRun, trace: TraceSet) -> list[Event]:
    """The events of a trace, with what the recorded run says of each, read row by row."""
    [window] = trace.windows(trace.rows)
    caches = dict(ask(path, f"SELECT seq, cache FROM object_events WHERE run = {run}"))
    how = dict(ask(path, f"SELECT seq, cache_how FROM object_events WHERE run = {run}"))
    names = [name for name, _ in source.recorded.caches]
    pages = {
        seq: (born, first, kind == Kind.SLAB)
        for seq, born, first, kind in ask(
            path,
            "SELECT seq, alloc_seq, pages.pfn, pages.page_kind FROM page_events"
            f" JOIN pages USING (run, page) WHERE run = {run} AND event IN (4, 5)",
        )
    }
    named = {
        (size, site): names.index(f"size-{size}@{symbol}-{site & 0xFFFF:04x}")
        for size, site in ask(
            path,
            f"SELECT DISTINCT bytes_alloc, call_site FROM object_events WHERE run = {run}"
            " AND event IN (0, 2) AND cache IS NULL AND cache_how IS NOT NULL",
        )
        for symbol in [trace.symbols.name(site) or hex(site)]
    }
    nothing = np.zeros(trace.rows, np.int64)
    columns = [
        window.get(name, nothing).tolist()
        for name in ("cpu", "event", "ptr", "metadata", "pfn", "order", "gfp_flags")
    ]
    sites = window.get("call_site", nothing).tolist()
    sizes = window.get("bytes_alloc", nothing).tolist()
    events = []
    for seq, (cpu, code, ptr, metadata, pfn, order, gfp) in enumerate(zip(*columns, strict=True)):
        cache = caches.get(seq)
        if cache is None and how.get(seq) is not None and code in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC):
            cache = named[sizes[seq], sites[seq]]
        if cache is not None and source.recorded.caches[cache][1] <= 0:
            cache = None
        events.append(Event(seq, cpu, code, ptr, metadata, cache, pfn, order, gfp, pages.get(seq)))
    return events


def older_of(path: Path, run: int) -> dict[int, bool]:
    """Events that begin a life on a page the trace did not allocate: seq -> frees it."""
    return dict(
        ask(
            path,
            "SELECT seq, event IN (1, 3) FROM object_events AS events"
            " LEFT JOIN pages ON pages.run = events.run AND pages.page = events.page"
            f" WHERE events.run = {run} AND object = seq AND alloc_seq IS NULL",
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_event_counter_and_slab_is_the_oracles(
    db: Path, trace_sets: dict[str, Path], name: str
) -> None:
    trace = TraceSet.open(trace_sets[name])
    run = NAMES.index(name) * 3 + 1
    with duckdb.connect(db, read_only=True) as connection:
        source = RecordedRun(connection, run, trace, trace.rows)
    world = make_world(source.recorded, {})
    events = events_of(db, run, source, trace)
    older = {seq: live for seq, live in older_of(db, run).items() if events[seq].cache is not None}
    kinds, highest = world.simulation._slab_pages
    wanted = by_oracle(
        World(world.shapes, kinds.tolist(), highest.tolist(), world.machine, older),
        events,
        exhaustible=False,
    )
    of = f"WHERE run = {run + 1}"
    got = ask(
        db,
        "SELECT seq, name, coalesce(slab, -1), coalesce(idx, -1), coalesce(pfn, -1)"
        f" FROM placed_events JOIN paths USING (path) {of}",
    )
    assert {seq: tuple(row) for seq, *row in got} == wanted.events
    slabs = ask(
        db,
        'SELECT slab, cache, "order", pfn, coalesce(alloc_seq, -1), coalesce(free_seq, -1)'
        f" FROM placed_slabs {of}",
    )
    assert {slab: list(row) for slab, *row in slabs} == wanted.slabs
    counters = {
        (cache, name): value
        for cache, name, value in ask(db, f"SELECT cache, name, value FROM cache_counters {of}")
    }
    assert counters == {
        (cache, name): stat[name]
        for cache, stat in enumerate(wanted.counters)
        for name in COUNTERS
        if stat[name]
    }
    zones = dict(ask(db, f"SELECT name, sum(value) FROM zone_counters {of} GROUP BY name"))
    assert zones == {name: wanted.zones[name] for name in PAGE_COUNTERS}
    counts = dict(ask(db, f"SELECT name, value FROM quality_counts {of}"))
    assert {name: counts.get(name, 0) for name in REQUEST_COUNTS} == {
        name: wanted.counts[name] for name in REQUEST_COUNTS
    }


SIMULATED = (
    *("placed_events", "placed_slabs", "placed_caches", "cache_counters", "zones"),
    *("zone_counters", "free_blocks", "quality_counts", "caches"),
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
        for slabs, made, freed, pages, alloc_pages, freed_pages, older in ask(
            db,
            "SELECT slabs, slab_allocs, slab_frees, slab_pages, pages_allocated, pages_freed,"
            " (SELECT count(*) FROM placed_slabs AS s WHERE s.run = c.run AND s.cache = c.cache"
            f" AND alloc_seq IS NULL) FROM placed_caches AS c WHERE run = {run}",
        ):
            assert slabs == made - (freed - older)
            assert older or pages == alloc_pages - freed_pages
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
            twice = f"SELECT {key} FROM {table.name} GROUP BY ALL HAVING count(*) > 1"
            assert ask(db, twice) == [], table.name


def test_settings_change_the_model_and_are_stored(
    trace_sets: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "results.duckdb"
    wanted = {"sheaf.capacity": 4, "sheaf.capacity.skbuff_head_cache": 7, "cpus": 1, "pcp.batch": 7}
    runs = replay_traces([trace_sets["7.3-hackbench"]], path, [], Progress(), wanted)
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
    trace_sets: dict[str, Path], tmp_path: Path, settings: dict[str, int], says: str
) -> None:
    path = tmp_path / "results.duckdb"
    with pytest.raises(UsageError) as caught:
        replay_traces([trace_sets["7.3-hackbench"]], path, [], Progress(), settings)
    assert says in str(caught.value)
    assert not path.exists()
