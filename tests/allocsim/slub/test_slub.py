"""The model equals the oracle: event by event, page by page, counter by counter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import SheafShape, cache_shapes, with_settings
from allocsim.kernels.profile import LINUX_7_2
from allocsim.slub.columns import can_compile
from allocsim.slub.freelist_random import freelist_order
from allocsim.slub.requests import ObjectRequests
from allocsim.slub.sheaves.sheaf_kmalloc import before_their_kmalloc_caches, sheaf_kmalloc_caches
from allocsim.slub.slub import Slub
from tests.allocsim.slub.slub_traces import random_trace, there_and_back
from tests.conftest import examples
from tests.oracle.slub_compare import Trace, assert_equal


@pytest.mark.parametrize("window", [1, 7, 59, 60, 61, 1000, 10_000])
@pytest.mark.parametrize(("size", "count"), [(64, 960), (64, 1920), (256, 560), (4096, 200)])
def test_vectors(size: int, count: int, window: int) -> None:
    assert_equal(there_and_back(LINUX_7_2, size, count), window)


@st.composite
def shapes(draw: st.DrawFn) -> SheafShape:
    order = draw(st.integers(0, 3))
    objects = draw(st.integers(1, 9))
    min_order = draw(st.integers(0, order))
    return SheafShape(
        name=draw(st.sampled_from(["named", "kmalloc-64", "kmalloc-96"])),
        size=64,
        order=order,
        objects=objects,
        min_order=min_order,
        min_objects=draw(st.integers(1, objects)) if min_order < order else objects,
        min_partial=draw(st.integers(0, 4)),
        capacity=draw(st.sampled_from([0, 1, 2, 3, 4, 7])),
        max_full_sheaves=draw(st.sampled_from([10, 10, 1, 0])),
        max_empty_sheaves=10,
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Bursts of allocations and of frees, some of them remote, some of older objects."""
    caches = draw(st.lists(shapes(), min_size=1, max_size=3))
    cpus = draw(st.integers(1, 3))
    pre_trace, free_before = {}, []
    unborn = []  # objects older than the trace, not freed yet: (cache, handle)
    for cache, shape in enumerate(caches):
        for slab in range(draw(st.integers(0, 3))):
            key = -2 - cache * 10 - slab
            places = draw(st.permutations(range(shape.objects)))
            free = draw(st.integers(0, shape.objects))
            held = draw(st.integers(-1, cpus - 1))  # the CPU whose sheaf has them; -1: the slab
            for index in places[:free]:
                room = sum(f[0] == cache and f[3] == held for f in free_before) < shape.capacity
                free_before.append((cache, key, index, held if room else -1))
            for index in places[free:]:
                handle = key * 100 - index
                pre_trace[handle] = (key, index)
                unborn.append((cache, handle))
    live = [[handle for c, handle in unborn if c == cache] for cache in range(len(caches))]
    bursts = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(caches) - 1),
                st.integers(0, cpus - 1),
                st.sampled_from([+1, -1]),
                st.integers(1, 40),
                st.integers(0, 2),
            ),
            max_size=30,
        )
    )
    requests = []
    seq = 0
    for cache, cpu, op, length, pick in bursts:
        for _ in range(length):
            seq += draw(st.integers(1, 2)) if length < 3 else 1
            if op > 0:
                live[cache].append(seq)
                requests.append((seq, cpu, cache, +1, seq))
            elif live[cache]:
                at = (0, -1, len(live[cache]) // 2)[pick]
                requests.append((seq, cpu, cache, -1, live[cache].pop(at)))
    starts = draw(st.lists(st.integers(0, seq + 1), unique=True, max_size=4))
    refusals = [(start, draw(st.sampled_from([-1, 0, 1, 10]))) for start in sorted(starts)]
    order = freelist_order(draw(st.integers(0, 2)), caches)
    changed = draw(st.sampled_from([{}, {"sheaf.flush_batch": 3}]))
    profile = with_settings(LINUX_7_2, changed)
    return Trace(caches, cpus, requests, pre_trace, free_before, refusals, order, profile)


@examples(300)
@given(traces(), st.sampled_from([1, 2, 3, 10, 50, 10_000]), st.sampled_from([1, 20, 10_000]))
def test_model_equals_oracle(trace: Trace, window: int, planned_from: int) -> None:
    assert_equal(trace, window, planned_from=planned_from)


@examples(100)
@given(traces(), st.data(), st.sampled_from([3, 10_000]), st.sampled_from([1, 20]))
def test_planned_windows_between_changes(
    trace: Trace, data: st.DataObject, window: int, planned_from: int
) -> None:
    """R3.27: what is planned goes on as it is done event by event."""
    times = [(*each, each[0], 0, 0) for each in trace.requests]
    when = data.draw(st.integers(0, times[-1][0] if times else 1))
    later = [replace(shape, capacity=data.draw(st.integers(0, 8))) for shape in trace.shapes]
    changed = replace(trace, requests=times, changes=[(when, later)])
    assert_equal(changed, window, planned_from=planned_from)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(100)
@given(traces(), st.sampled_from([1, 3, 50, 10_000]))
def test_compiled_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)


@pytest.mark.slow
@pytest.mark.parametrize("window", [13, 1000, 8000])
@pytest.mark.parametrize(
    ("caches", "cpus", "remote"),
    [([64], 1, 0.0), ([4096, 8192], 2, 1.0), ([96, 512, 2048, 4096], 4, 0.2)],
)
def test_random_traces_in_any_window(
    caches: list[int], cpus: int, remote: float, window: int
) -> None:
    assert_equal(random_trace(LINUX_7_2, len(caches), caches, cpus, remote), window)


def test_a_long_shortage() -> None:
    refusals = [(2000, 0), (3000, -1), (5000, 10), (6000, -1), (6100, 10)]
    trace = random_trace(LINUX_7_2, 3, [64, 512, 9000, 4096], 2, 0.5, refusals)
    for window in (500, 8000):
        assert_equal(trace, window)


@pytest.mark.slow
def test_bursts_through_pcs_stacks_that_come_by_their_spare_late() -> None:
    """A pcs stack has no spare until its first refill or its second full sheaf."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        objects, min_partial, capacity = (int(rng.integers(low, 4)) for low in (1, 0, 1))
        shape = SheafShape("", 64, 3, objects, 3, objects, min_partial, capacity, 10, 10)
        live: list[int] = []
        requests = []
        for _ in range(30):
            cpu, op = int(rng.integers(2)), int(rng.choice([+1, -1]))
            for _ in range(int(rng.integers(1, 60))):
                seq = len(requests)
                if op > 0:
                    live.append(seq)
                    requests.append((seq, cpu, 0, +1, seq))
                elif live:
                    handle = live.pop(int(rng.integers(len(live))))
                    requests.append((seq, cpu, 0, -1, handle))
        assert_equal(Trace([shape], 2, requests), len(requests))


def columns(rows: list[tuple[int, int, int, int, int]]) -> ObjectRequests:
    seq, cpu, cache, op, handle = np.array(rows, np.int64).reshape(-1, 5).T
    return ObjectRequests(seq, cpu, cache, op.astype(np.int8), handle)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0, 2, 0, +1, 0)], "cpu 2 is out of range, 0 to 1"),
        ([(0, -1, 0, +1, 0)], "cpu -1 is out of range"),
        ([(0, 0, 2, +1, 0)], "cache 2 is out of range, 0 to 1"),
        ([(0, 0, 0, +1, 5), (1, 0, 0, +1, 5)], "handles of allocations must rise"),
        ([(0, 0, 0, +1, 3)], "handles of allocations must rise"),
        ([(0, 0, 0, -1, 7)], "neither live nor declared older"),
        ([(0, 0, 0, -1, 5), (1, 0, 0, +1, 5)], "freed before its allocation"),
        ([(0, 0, 0, +1, 5), (1, 0, 1, -1, 5)], "or to another cache"),
        ([(0, 0, 1, -1, 3)], "freed to another cache"),
    ],
)
def test_wrong_requests_are_refused(rows: list[tuple[int, int, int, int, int]], said: str) -> None:
    slub = Slub(LINUX_7_2, cache_shapes(LINUX_7_2, [("a", 64), ("b", 64)], 2), 2)
    slub.window(columns([(0, 0, 0, +1, 3)]))
    with pytest.raises(ValueError, match=said):
        slub.window(columns(rows))


def test_a_window_without_requests() -> None:
    slub = Slub(LINUX_7_2, cache_shapes(LINUX_7_2, [("a", 64)], 2), 2)
    placed, pages = slub.window(columns([]))
    assert len(placed.path) == len(placed.slab) == len(placed.index) == len(pages.seq) == 0


def test_kmalloc_caches_of_the_sheaves() -> None:
    sizes = {"kmalloc-64": 64, "dentry": 192, "kmalloc-256": 256, "kmalloc-512": 512, "inode": 600}
    sizes |= {"kmalloc-2k": 2048, "kmem_cache": 64, "names": 4096}
    shapes = cache_shapes(LINUX_7_2, list(sizes.items()), 2)
    names = [*sizes, "none"]
    kmalloc_caches = [
        names[kmalloc_cache] for kmalloc_cache in sheaf_kmalloc_caches(LINUX_7_2.slub, shapes)
    ]
    assert dict(zip(sizes, kmalloc_caches, strict=True)) == {
        "kmalloc-64": "kmalloc-512",
        "dentry": "kmalloc-512",
        "kmalloc-256": "none",  # itself
        "kmalloc-512": "kmalloc-256",
        "inode": "kmalloc-256",
        "kmalloc-2k": "none",  # kmalloc-128 is not in the trace
        "kmem_cache": "none",
        "names": "kmalloc-64",
    }


def test_kmalloc_caches_never_go_round() -> None:
    caches = [("kmalloc-256", 256), ("kmalloc-512", 512), ("x", 64)]
    shapes = cache_shapes(LINUX_7_2, caches, 2, {"sheaf.capacity.kmalloc-256": 60})
    assert sheaf_kmalloc_caches(LINUX_7_2.slub, shapes) == [1, -1, 1]
    with pytest.raises(ValueError, match="would come from itself"):
        before_their_kmalloc_caches([1, 0, 1])


def test_a_copy_goes_its_own_way() -> None:
    """What is replayed again from a copy is what was replayed before (a checkpoint)."""
    trace = random_trace(LINUX_7_2, 7, [64, 512, 4096], 2, 0.3)
    first, second = columns(trace.requests[:4000]), columns(trace.requests[4000:])
    slub = Slub(LINUX_7_2, trace.shapes, trace.cpus)
    slub.window(first)
    kept = deepcopy(slub)
    placed, pages = slub.window(second)
    again, pages_again = deepcopy(kept).window(second)
    assert np.array_equal(placed.slab, again.slab)
    assert np.array_equal(placed.path, again.path)
    assert all(map(np.array_equal, pages, pages_again))
    kept.window(second)
    for name, column in slub.counters().items():
        assert np.array_equal(column, kept.counters()[name]), name
