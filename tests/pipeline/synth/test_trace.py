"""Synthetic trace sets: what is in them, and that a replay puts everything where they have it."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pytest

from allocsim.trace.events import EVENTS, Ev
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.synth.machine import DIRECT_MAP, make_machine
from pipeline.synth.placing import Placing
from pipeline.synth.rows import Templates
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.windows import windows
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.parts import check_meta
from pipeline.trace_set.reader import TraceSet
from tests.pipeline.synth.specs import MIXED

GOLDEN = Path(__file__).parent / "golden"
ALLOCS = (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC)
FREES = (Ev.KFREE, Ev.KMEM_CACHE_FREE)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth")
    return TraceSet.open(write_trace_set(parse_spec(MIXED, "mixed"), MIXED, folder))


@pytest.fixture(scope="module")
def columns(trace):
    [window] = list(trace.windows())
    return window


def test_meta_is_that_of_a_trace_set_and_says_synthetic(trace, columns):
    check_meta(trace.path, trace.meta)
    assert trace.meta["synthetic"] is True
    assert trace.meta["kernel_release"] == "7.2.0-synthetic"
    assert sum(trace.meta["events"].values()) == len(columns["ts"]) == 60_000
    assert (trace.path / "spec.toml").read_text() == MIXED


@pytest.mark.slow
def test_replay_places_everything_where_the_trace_has_it(trace, tmp_path):
    db = tmp_path / "results.duckdb"
    of_run = replay_trace(trace, db, find_policies([]))
    # Windows of another size than those it was made in.
    run = simulate_run(trace, db, of_run, {}, window_rows=7919)
    with duckdb.connect(str(db), read_only=True) as connection:
        found = connection.execute(
            """
            SELECT count(*), count(*) FILTER (
                life.pfn = page.pfn AND base + page.pfn * 4096 + placed.idx * size = ptr)
            FROM placed_events AS placed
            JOIN object_events AS object ON object.run = $of_run AND object.seq = placed.seq
            JOIN pages AS page ON page.run = $of_run AND page.page = object.page
            JOIN placed_slabs AS life ON life.run = $run AND life.slab = placed.slab
            JOIN (SELECT cache, object_size AS size FROM caches WHERE run = $of_run) AS cache
                ON cache.cache = life.cache
            JOIN ptrs ON ptrs.seq = placed.seq
            WHERE placed.run = $run
            """.replace("base", str(DIRECT_MAP)).replace(
                "JOIN ptrs", "JOIN (SELECT unnest($seq) AS seq, unnest($ptr) AS ptr) AS ptrs"
            ),
            {"run": run, "of_run": of_run, **_addresses(trace)},
        ).fetchall()
        pages = connection.execute(
            """
            SELECT count(*), count(*) FILTER (placed.pfn = page.pfn)
            FROM placed_events AS placed
            JOIN page_events AS event ON event.run = $of_run AND event.seq = placed.seq
            JOIN pages AS page ON page.run = $of_run AND page.page = event.page
            WHERE placed.run = $run AND placed.pfn >= 0
            """,
            {"run": run, "of_run": of_run},
        ).fetchall()
        slabs = connection.execute(
            """
            SELECT (SELECT count(*) FROM placed_slabs WHERE run = $run),
                (SELECT count(*) FROM pages WHERE run = $of_run AND page_kind = 'slab')
            """,
            {"run": run, "of_run": of_run},
        ).fetchall()
        kinds = {
            kind
            for (kind,) in connection.execute("SELECT DISTINCT page_kind FROM pages").fetchall()
        }
    assert found[0][0] == found[0][1] > 50_000
    assert pages[0][0] == pages[0][1] > 200
    assert slabs[0][0] == slabs[0][1] > 100
    assert kinds == {"slab", "anon", "page_cache", "large_kmalloc", "page_table"}


def _addresses(trace):
    [window] = list(trace.windows(columns={"event", "ptr"}))
    rows = np.flatnonzero(window["event"] <= Ev.KMEM_CACHE_FREE)
    return {"seq": rows.tolist(), "ptr": window["ptr"][rows].tolist()}


def test_objects_lie_in_live_pages_and_never_on_one_another(columns):
    """Event by event, by a book of what is live where."""
    pages: dict[int, int] = {}  # page frame -> first frame of its block
    objects: dict[int, tuple[int, int]] = {}  # address -> size, page frame
    for event, ptr, size, pfn, order in zip(
        *(columns[name].tolist() for name in ("event", "ptr", "bytes_alloc", "pfn", "order")),
        strict=True,
    ):
        if event == Ev.MM_PAGE_ALLOC:
            for frame in range(pfn, pfn + (1 << order)):
                assert frame not in pages
                pages[frame] = pfn
        elif event == Ev.MM_PAGE_FREE:
            for frame in range(pfn, pfn + (1 << order)):
                assert pages.pop(frame) == pfn
        elif event in ALLOCS:
            first, last = (ptr - DIRECT_MAP) >> 12, (ptr + size - 1 - DIRECT_MAP) >> 12
            assert pages[first] == pages[last]
            assert ptr not in objects
            objects[ptr] = size, pages[first]
        elif event in FREES:
            objects.pop(ptr)
    assert len(objects) > 100
    spans = sorted((ptr, ptr + size) for ptr, (size, _) in objects.items())
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_times_rise_and_cpus_are_those_of_the_spec(columns):
    assert np.all(np.diff(columns["ts"]) >= 0)
    assert set(columns["cpu"].tolist()) == {0, 1, 2, 3}
    of_bench = columns["bytes_alloc"] == 256
    bench = of_bench & (columns["event"] == Ev.KMALLOC) & ~columns["metadata"]
    assert set(columns["cpu"][bench].tolist()) == {0, 2}


def test_rows_do_not_depend_on_how_requests_are_fed_to_the_model():
    spec = parse_spec(MIXED, "mixed")
    whole, parts = (_rows(spec, pieces) for pieces in (1, 7))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def _rows(spec, pieces):
    placing = Placing(spec, make_machine(spec), Templates())
    found = []
    for shown, _, moments in windows(spec):
        assert shown
        parts = np.array_split(np.arange(len(moments.ts)), pieces)
        found += [placing.window(moments.of(rows)) for rows in parts]
        if sum(len(rows.ts) for rows in found) > spec.events:
            break
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def test_the_same_seed_makes_the_same_trace(columns):
    """Golden: the first and the last rows, and a hash of all."""
    text = "".join(_line(columns, row) for row in (*range(20), *range(-20, 0)))
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(name.encode() + np.ascontiguousarray(columns[name]).tobytes())
    text += f"sha256 of all columns {digest.hexdigest()}\n"
    golden = GOLDEN / "mixed.txt"
    assert text == golden.read_text()


def _line(columns, row):
    event = EVENTS[columns["event"][row]]
    fields = {name: columns[name][row] for name in ("ts", "cpu", *event.columns)}
    shown = (f"{n}={v:#x}" if n in ("ptr", "call_site") else f"{n}={v}" for n, v in fields.items())
    return f"{event.name} {' '.join(shown)}\n"


def test_another_seed_makes_another_trace(tmp_path, columns):
    text = MIXED.replace("60_000", "5_000").replace("cpus = 4", "cpus = 4\nseed = 2")
    trace = TraceSet.open(write_trace_set(parse_spec(text, "mixed"), text, tmp_path))
    [window] = list(trace.windows())
    assert not np.array_equal(window["ts"], columns["ts"][:5_000])
