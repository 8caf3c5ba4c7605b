"""The model equals the oracle: event by event, page by page, counter by counter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.profile import LINUX_7_2, CacheShape, cache_shapes
from tests.oracle.compare import Trace, assert_equal


def there_and_back(size, count):
    shapes = cache_shapes(LINUX_7_2, [("c", size)], 2)
    requests = [(i, 0, 0, +1, i) for i in range(count)]
    requests += [(count + i, 0, 0, -1, i) for i in range(count)]
    return Trace(shapes, 1, requests)


@pytest.mark.parametrize("window", [1, 7, 59, 60, 61, 1000, 10_000])
@pytest.mark.parametrize(("size", "count"), [(64, 960), (64, 1920), (256, 560), (4096, 200)])
def test_vectors(size, count, window):
    assert_equal(there_and_back(size, count), window)


@st.composite
def shapes(draw):
    order = draw(st.integers(0, 3))
    objects = draw(st.integers(1, 9))
    min_order = draw(st.integers(0, order))
    return CacheShape(
        name="",
        size=64,
        order=order,
        objects=objects,
        min_order=min_order,
        min_objects=draw(st.integers(1, objects)) if min_order < order else objects,
        min_partial=draw(st.integers(0, 4)),
        capacity=draw(st.sampled_from([0, 1, 2, 3, 4, 7])),
    )


@st.composite
def traces(draw):
    """Bursts of allocations and of frees, some of them remote, some of older objects."""
    caches = draw(st.lists(shapes(), min_size=1, max_size=3))
    cpus = draw(st.integers(1, 3))
    older, free_before = {}, []
    unborn = []  # objects older than the trace, not freed yet: (cache, handle)
    for cache, shape in enumerate(caches):
        for slab in range(draw(st.integers(0, 3))):
            key = -2 - cache * 10 - slab
            places = draw(st.permutations(range(shape.objects)))
            free = draw(st.integers(0, shape.objects))
            free_before += [(cache, key, index) for index in places[:free]]
            for index in places[free:]:
                handle = key * 100 - index
                older[handle] = (key, index)
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
    return Trace(caches, cpus, requests, older, free_before, refusals)


@settings(max_examples=300, deadline=None)
@given(traces(), st.sampled_from([1, 2, 3, 10, 50, 10_000]))
def test_model_equals_oracle(trace, window):
    assert_equal(trace, window)


def random_trace(seed, count, caches, cpus, remote, refusals=()):
    """A trace of real shapes: each cache drifts up and down, a share of the frees is remote."""
    rng = np.random.default_rng(seed)
    shapes = cache_shapes(LINUX_7_2, [(f"c{size}", size) for size in caches], cpus)
    live = [[] for _ in caches]
    requests = []
    drift = rng.random(len(caches))
    for seq in range(count):
        if seq % 500 == 0:
            drift = rng.random(len(caches))
        cache = int(rng.integers(len(caches)))
        cpu = int(rng.integers(cpus))
        if not live[cache] or rng.random() < drift[cache]:
            live[cache].append((seq, cpu))
            requests.append((seq, cpu, cache, +1, seq))
        else:
            near = max(0, len(live[cache]) - 100)
            at = int(rng.integers(near, len(live[cache])))
            handle, home = live[cache].pop(at)
            requests.append((seq, cpu if rng.random() < remote else home, cache, -1, handle))
    return Trace(shapes, cpus, requests, refusals=list(refusals))


@pytest.mark.parametrize("window", [1, 100, 1000, 8000, 40_000])
@pytest.mark.parametrize(
    ("caches", "cpus", "remote"),
    [([64], 1, 0.0), ([4096, 8192], 2, 1.0), ([96, 512, 2048, 4096], 4, 0.2)],
)
def test_random_traces_in_any_window(caches, cpus, remote, window):
    assert_equal(random_trace(len(caches), 8000, caches, cpus, remote), window)


def test_a_long_shortage():
    refusals = [(2000, 0), (3000, -1), (5000, 10), (6000, -1), (6100, 10)]
    trace = random_trace(3, 8000, [192, 512, 4096], 2, 0.5, refusals)
    for window in (500, 8000):
        assert_equal(trace, window)
