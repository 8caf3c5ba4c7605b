"""What no event shows, in a synthetic trace: kfree_rcu through sheaves, and prefilled sheaves."""

from __future__ import annotations

from itertools import groupby

import duckdb
import numpy as np
import pytest

from allocsim.trace.events import Ev
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.synth.machine import DIRECT_MAP
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.windows import windows
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.reader import TraceSet

ALLOCS = (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC)
SPEC = """
name = "hidden"
cpus = 2
memory = "256 MiB"

[[cache]]
name = "maple_node"
size = 256

[[phase]]
name = "all"
length = "200 ms"

[[work]]
name = "mas_prealloc"
arrival = { kind = "bursts", rate = 24_000, size = 600, gap = "5 us" }
allocate = [{ cache = "maple_node", count = 5, prefilled = true }, { kmalloc = 64 }]
lifetime = [{ kind = "quantiles", values = ["0 ns", "6 ms"] }]
free = { traced = false }

[[work]]
name = "ep_insert"
arrival = { kind = "bursts", rate = 12_000, size = 300, gap = "2 us" }
allocate = [{ kmalloc = 128 }]
lifetime = { kind = "exponential", mean = "1 ms" }
free = { traced = false, remote = 0.3 }
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth")
    return TraceSet.open(write_trace_set(parse_spec(SPEC, "hidden"), SPEC, folder))


@pytest.fixture(scope="module")
def columns(trace):
    [window] = list(trace.windows())
    return window


def test_no_event_shows_the_frees(columns):
    frees = (columns["event"] == Ev.KFREE) | (columns["event"] == Ev.KMEM_CACHE_FREE)
    assert np.all(columns["metadata"][frees])
    plain = np.isin(columns["event"], ALLOCS) & ~columns["metadata"]
    # Addresses come again: what lay there was freed.
    assert len(np.unique(columns["ptr"][plain])) < np.count_nonzero(plain) / 2


def test_objects_lie_in_live_slabs_and_sheaves_are_freed_before_they_are_allocated(columns):
    """Event by event, by a book of what is live where."""
    pages: dict[int, int] = {}  # page frame -> order of its block, -1 but for the first
    sheaves: set[int] = set()
    freed = 0
    for event, ptr, pfn, order, metadata in zip(
        *(columns[name].tolist() for name in ("event", "ptr", "pfn", "order", "metadata")),
        strict=True,
    ):
        if event == Ev.MM_PAGE_ALLOC:
            for frame in range(pfn, pfn + (1 << order)):
                assert frame not in pages
                pages[frame] = order
        elif event == Ev.MM_PAGE_FREE:
            for frame in range(pfn, pfn + (1 << order)):
                assert pages.pop(frame) == order
                assert not any(ptr - DIRECT_MAP >> 12 == frame for ptr in sheaves)
        elif event in ALLOCS:
            assert (ptr - DIRECT_MAP) >> 12 in pages
            if metadata:
                assert ptr not in sheaves
                sheaves.add(ptr)
        else:
            sheaves.remove(ptr)
            freed += 1
    assert freed > 10


@pytest.mark.slow
def test_a_replay_finds_prefilled_sheaves_and_infers_the_frees(trace, tmp_path):
    db = tmp_path / "results.duckdb"
    of_run = replay_trace(trace, db, find_policies([]))
    run = simulate_run(trace, db, of_run, {}, window_rows=7919)
    with duckdb.connect(str(db), read_only=True) as connection:
        found = connection.execute(
            """
            SELECT caches.name, counters.name, value
            FROM cache_counters AS counters JOIN caches USING (run, cache) WHERE run = ?
            """,
            [run],
        ).fetchall()
        [(born, shown, prefilled)] = connection.execute(
            """
            SELECT count(*), count(lifetime), count(*) FILTER (event = 'kmem_cache_alloc')
            FROM object_events
            WHERE run = ? AND event IN ('kmalloc', 'kmem_cache_alloc') AND bytes_alloc IN (128, 256)
            """,
            [of_run],
        ).fetchall()
    value = {(cache, counter): value for cache, counter, value in found}
    assert shown == 0
    # All were seen or inferred to be freed, and all of these frees go through sheaves.
    freed = [value[cache, "free_rcu_sheaf"] for cache in ("maple_node", "kmalloc-128")]
    assert 0.9 * born < sum(freed) <= born
    assert value["maple_node", "sheaf_return_fast"] == prefilled / 5
    assert value["maple_node", "free_slab"] > 100


def test_what_one_prefilled_sheaf_gives_comes_in_a_row(columns):
    rows = np.flatnonzero(np.isin(columns["event"], ALLOCS) & ~columns["metadata"])
    of_cpu = rows[columns["cpu"][rows] == 0]
    named = (columns["event"][of_cpu] == Ev.KMEM_CACHE_ALLOC).tolist()
    lengths = {len(list(run)) for prefilled, run in groupby(named) if prefilled}
    assert lengths <= {5, 10}
    assert 5 in lengths


def test_lines_side_by_side_share_a_prefilled_sheaf():
    text = SPEC.replace(
        '{ cache = "maple_node", count = 5, prefilled = true }',
        '{ cache = "maple_node", count = 2, prefilled = true, free = { traced = true } },'
        ' { cache = "maple_node", count = 3, prefilled = true }',
    )
    [_, moments], *_ = (list(window[1:]) for window in windows(parse_spec(text, "hidden")))
    out = (moments.left > 0) & (moments.cpu == 0)
    assert moments.left[out][:10].tolist() == [5, 4, 3, 2, 1] * 2
    assert moments.entry[out][:5].tolist() == [0, 0, 1, 1, 1]
    assert len(np.unique(moments.run[out][:10])) == 2
