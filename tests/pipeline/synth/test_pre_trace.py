"""What is older than a synthetic trace: where it lies, and that a replay begins with the same."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate_run
from pipeline.replay.synthetic_free_lists import FILE
from pipeline.synth.machine import DIRECT_MAP
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.write import write_trace_set
from pipeline.trace_set.reader import TraceSet

# Of each dentry slab (21 objects) 2 die, 5 are free for CPU 0 and 1 for CPU 1, another one is in no
# sheaf, 12 stay; a slab of kmalloc-1k (16 objects) dies whole. Pages die too.
PRE_TRACE = """
name = "older"
cpus = 2
memory = "256 MiB"
used = 0.5

[[cache]]
name = "dentry"
size = 192

[[phase]]
name = "all"
length = "20 ms"

[[work]]
name = "slabs"
arrival = { kind = "before", count = 30 }
allocate = [
    { cache = "dentry", count = 2, lifetime = { kind = "exponential", mean = "5 ms" } },
    { cache = "dentry", count = 5, lifetime = { kind = "gone" }, free = { cpus = [0] } },
    { cache = "dentry", count = 1, lifetime = { kind = "gone" }, free = { cpus = [1] } },
    { cache = "dentry", lifetime = { kind = "unused" } },
    { cache = "dentry", count = 12, lifetime = { kind = "forever" } },
]

[[work]]
name = "whole"
arrival = { kind = "before", count = 40 }
allocate = [{ kmalloc = 1024, count = 16 }]
lifetime = { kind = "exponential", mean = "5 ms" }

[[work]]
name = "pages"
arrival = { kind = "before", count = 500 }
allocate = [{ pages = "anon" }, { pages = "page-cache", order = 2 }]
lifetime = { kind = "exponential", mean = "5 ms" }

[[work]]
name = "busy"
arrival = { kind = "poisson", rate = 300_000 }
allocate = [{ cache = "dentry" }, { kmalloc = 1000 }, { pages = "anon" }]
lifetime = { kind = "exponential", mean = "1 ms" }
free = { remote = 0.3 }
"""


def make(text, folder):
    return TraceSet.open(write_trace_set(parse_spec(text, "older"), text, folder))


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return make(PRE_TRACE, tmp_path_factory.mktemp("older"))


@pytest.fixture(scope="module")
def runs(trace, tmp_path_factory):
    db = tmp_path_factory.mktemp("runs") / "results.duckdb"
    recorded = replay_trace(trace, db, find_policies([]))
    # Windows of another size than those it was made in.
    simulated = simulate_run(trace, db, recorded, {}, window_rows=4999)
    with duckdb.connect(str(db), read_only=True) as connection:
        yield connection, recorded, simulated


@pytest.mark.slow
def test_a_replay_places_all_where_the_trace_has_it(trace, runs):
    connection, recorded, simulated = runs
    [window] = list(trace.windows())
    events = np.flatnonzero(window["event"] <= Ev.KMEM_CACHE_FREE)
    page = ((window["ptr"][events] - np.uint64(DIRECT_MAP)) >> np.uint64(12)).astype(np.int64)
    found = connection.execute(
        "SELECT seq, slab, idx FROM placed_events WHERE run = ? AND slab IS NOT NULL ORDER BY seq",
        [simulated],
    ).fetchnumpy()
    # The sheaves, which the model makes itself, are not asked for.
    asked = np.isin(events, found["seq"])
    assert np.all(window["metadata"][events[~asked]])
    assert len(found["seq"]) == np.count_nonzero(asked) > 20_000
    of_dentry = np.isin(found["seq"], _seqs_of(connection, recorded, "dentry"))
    size, order = np.where(of_dentry, 192, 1024), np.where(of_dentry, 0, 2)
    first = page[asked] >> order << order
    within = (window["ptr"][events[asked]] - np.uint64(DIRECT_MAP)).astype(np.int64) - first * 4096
    np.testing.assert_array_equal(found["idx"] * size, within)
    # Older slabs have no page of the model's, but each lies on one block of the trace's.
    pre_trace = found["slab"] < -1
    assert np.count_nonzero(pre_trace) > 1000
    pairs = {*zip(found["slab"][pre_trace].tolist(), first[pre_trace].tolist(), strict=True)}
    slabs, blocks = ({pair[side] for pair in pairs} for side in (0, 1))
    assert len(pairs) == len(slabs) == len(blocks) == 70
    made = connection.execute(
        """
        SELECT count(*), count(*) FILTER (life.pfn = page.pfn)
        FROM placed_events AS placed
        JOIN object_events AS object ON object.run = $recorded AND object.seq = placed.seq
        JOIN pages AS page ON page.run = $recorded AND page.page = object.page
        JOIN placed_slabs AS life ON life.run = $simulated AND life.slab = placed.slab
        WHERE placed.run = $simulated AND placed.slab >= 0
        """,
        {"recorded": recorded, "simulated": simulated},
    ).fetchall()
    assert made[0][0] == made[0][1] == np.count_nonzero(found["slab"] >= 0) > 1000


def _seqs_of(connection, run, cache):
    return connection.execute(
        "SELECT seq FROM object_events JOIN caches USING (run, cache) WHERE run = ? AND name = ?",
        [run, cache],
    ).fetchnumpy()["seq"]


def test_pages_of_the_trace_and_older_ones_are_those_of_the_replay(trace, runs):
    connection, _, simulated = runs
    [window] = list(trace.windows(columns={"pfn"}))
    found = connection.execute(
        "SELECT seq, pfn FROM placed_events WHERE run = ? AND slab IS NULL", [simulated]
    ).fetchnumpy()
    assert len(found["seq"]) > 6000
    np.testing.assert_array_equal(found["pfn"], window["pfn"][found["seq"]])


def test_the_free_places_are_those_of_the_spec(trace, runs):
    lines = [line.split() for line in _file(trace).read_text().splitlines()]
    assert len({line[1] for line in lines}) == len(lines) == 30 * 7
    assert [sum(line[2] == cpu for line in lines) for cpu in ("0", "1", "-1")] == [150, 30, 30]
    assert {line[2] for line in lines[-30:]} == {"-1"}  # taken last
    connection, _, simulated = runs
    counts = connection.execute(
        "SELECT name, value FROM quality_counts WHERE run = ? AND name LIKE 'older%'", [simulated]
    ).fetchall()
    # 60 of the 150 places of CPU 0 are in its sheaf, which is full then, and the 30 of CPU 1.
    found = dict(counts)
    assert 0.95 * 700 < found.pop("older_live_objects") < 700
    assert found == {
        "older_slabs": 70,
        "older_free_objects": 210,
        "older_free_in_sheaves": 90,
        "older_objects_left_out": 0,
    }


def _file(trace):
    return trace.path / "snapshots" / "before" / FILE


def test_what_is_older_dies_in_the_trace_and_no_allocation_of_it_is_there(trace):
    [window] = list(trace.windows())
    allocs = np.isin(window["event"], (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC))
    frees = np.isin(window["event"], (Ev.KFREE, Ev.KMEM_CACHE_FREE, Ev.MM_PAGE_FREE))
    seen, unknown = set(), {"object": 0, "page": 0}
    for row in np.flatnonzero(allocs | frees).tolist():
        page = window["event"][row] >= Ev.MM_PAGE_ALLOC
        name = ("page" if page else "object", int(window["pfn" if page else "ptr"][row]))
        if allocs[row]:
            seen.add(name)
        elif name in seen:
            seen.remove(name)
        else:
            unknown[name[0]] += 1
    # An exponential life of 5 ms ends within 20 ms with a probability of 0.982.
    assert 0.95 * 700 < unknown["object"] < 700
    # 1,000 blocks, and the 40 slabs that die whole, of which the model keeps some on its list.
    assert 0.95 * 1000 < unknown["page"] < 1040


def test_what_does_not_fit_the_memory_in_use_is_refused(tmp_path):
    text = PRE_TRACE.replace("used = 0.5", "used = 0.01")
    with pytest.raises(InputError, match="before it; say used = a larger share") as caught:
        make(text, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_damaged_list_of_free_places_is_refused_in_one_line(tmp_path):
    trace = make(PRE_TRACE.replace("20 ms", "1 ms"), tmp_path)
    db = tmp_path / "results.duckdb"
    run = replay_trace(trace, db, find_policies([]))
    good = "dentry 0xffff888100000000 1"
    wrong = "0x1", "here 0", "0x1 2", "0x1 -2", "-0x1 0", "0x1ffff888100000000 0"
    for line in wrong:
        _file(trace).write_text(f"{good}\ndentry {line}\n")
        with pytest.raises(InputError, match="line 2 is not a cache, an address and a") as caught:
            simulate_run(trace, db, run, {}, window_rows=1 << 16)
        assert "\n" not in str(caught.value)


def test_an_allocation_without_an_event_shows_as_a_free_alone(tmp_path):
    text = PRE_TRACE.replace('{ cache = "dentry" }', '{ cache = "dentry", traced = false }')
    trace = make(text, tmp_path)
    [window] = list(trace.windows())
    of_dentry = window["bytes_alloc"] == 192
    assert not np.any(of_dentry & (window["event"] == Ev.KMEM_CACHE_ALLOC))
    frees = np.count_nonzero(window["event"] == Ev.KMEM_CACHE_FREE)
    # 300,000 a second for 20 ms and a mean life of 1 ms, and older ones.
    assert 0.9 * 5700 < frees < 1.1 * 5760
