"""The model of 6.12's SLUB equals its oracle: event by event, page by page, counter by counter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import CpuSlabShape, cache_shapes
from allocsim.kernels.profile import LINUX_6_12
from allocsim.slub.columns import can_compile
from allocsim.slub.freelist_random import freelist_order
from tests.allocsim.slub.slub_traces import random_trace, there_and_back
from tests.conftest import examples
from tests.oracle.slub_compare import Trace, assert_equal


@pytest.mark.parametrize("window", [1, 7, 63, 64, 65, 1000, 10_000])
@pytest.mark.parametrize(("size", "count"), [(64, 960), (256, 560), (4096, 200)])
def test_vectors(size: int, count: int, window: int) -> None:
    assert_equal(there_and_back(LINUX_6_12, size, count), window)


@st.composite
def shapes(draw: st.DrawFn) -> CpuSlabShape:
    order = draw(st.integers(0, 3))
    objects = draw(st.integers(1, 9))
    min_order = draw(st.integers(0, order))
    return CpuSlabShape(
        name="c",
        size=64,
        order=order,
        objects=objects,
        min_order=min_order,
        min_objects=draw(st.integers(1, objects)) if min_order < order else objects,
        min_partial=draw(st.integers(0, 4)),
        cpu_partial=draw(st.integers(0, 5)) * objects // 2,
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Bursts of allocations and of frees, some of them remote, some of older objects."""
    caches = draw(st.lists(shapes(), min_size=1, max_size=2))
    cpus = draw(st.integers(1, 3))
    pre_trace, free_before = {}, []
    unborn = []  # objects older than the trace, not freed yet: (cache, handle)
    for cache, shape in enumerate(caches):
        for slab in range(draw(st.integers(0, 4))):
            key = -2 - cache * 10 - slab
            places = draw(st.permutations(range(shape.objects)))
            free = draw(st.integers(0, shape.objects))
            held = draw(st.integers(-1, cpus - 1))  # the CPU that has it; -1: the node
            free_before += [(cache, key, index, held) for index in places[:free]]
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
            seq += 1
            if op > 0:
                live[cache].append(seq)
                requests.append((seq, cpu, cache, +1, seq))
            elif live[cache]:
                at = (0, -1, len(live[cache]) // 2)[pick]
                requests.append((seq, cpu, cache, -1, live[cache].pop(at)))
    starts = draw(st.lists(st.integers(0, seq + 1), unique=True, max_size=4))
    refusals = [(start, draw(st.sampled_from([-1, 0, 1, 10]))) for start in sorted(starts)]
    order = freelist_order(draw(st.integers(0, 2)), caches)
    return Trace(caches, cpus, requests, pre_trace, free_before, refusals, order, LINUX_6_12)


@examples(200)
@given(traces(), st.sampled_from([1, 2, 3, 10, 50, 10_000]))
def test_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@pytest.mark.parametrize("window", [130, 8000])
@pytest.mark.parametrize("remote", [0.0, 0.3, 1.0])
def test_long_traces(remote: float, window: int) -> None:
    assert_equal(random_trace(LINUX_6_12, 5, [64, 512, 4096, 8192], 3, remote), window)


@pytest.mark.parametrize("window", [100, 8000])
def test_refused_pages(window: int) -> None:
    refusals = [(500, 0), (900, -1), (1500, 10), (3000, 1), (5000, -1), (6000, 10)]
    assert_equal(random_trace(LINUX_6_12, 6, [64, 1024, 2048], 2, 0.3, refusals), window)


@pytest.mark.parametrize("window", [64, 20_000])
@pytest.mark.parametrize("alive", [1, 40, 62, 63])
def test_a_slab_that_stays_a_cpus_for_long(alive: int, window: int) -> None:
    """Some objects stay, others come and go thousands of times: own frees, others', and both."""
    [shape] = cache_shapes(LINUX_6_12, [("c", 64)], 2)
    requests = [(i, 0, 0, +1, i) for i in range(alive)]
    for i in range(alive, 4000):
        remote = i % 3 == 0 and i > 2000
        requests += [(2 * i, 0, 0, +1, 2 * i), (2 * i + 1, int(remote), 0, -1, 2 * i)]
    assert_equal(Trace([shape], 2, requests, profile=LINUX_6_12), window)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(100)
@given(traces(), st.sampled_from([1, 3, 50, 10_000]))
def test_compiled_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)
