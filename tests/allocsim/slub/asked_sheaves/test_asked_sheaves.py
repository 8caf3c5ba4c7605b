"""Sheaves above cpu slabs, as 6.18 has them: the model equals the oracle (R3.45)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import AskedShape, SheafShape, cache_shapes
from allocsim.kernels.profile import LINUX_6_18
from allocsim.slub.columns import can_compile
from allocsim.slub.requests import Op
from allocsim.tables import row_of
from tests.allocsim.slub.sheaves.test_stepwise import traces as requests_of_all_kinds
from tests.allocsim.slub.slub_traces import random_trace
from tests.allocsim.slub.test_slub import traces as with_older_slabs
from tests.conftest import examples
from tests.oracle.asked_sheaves import AskedSheaves
from tests.oracle.slub_compare import Trace, assert_equal


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """The traces that sheaves are tried with, of caches with cpu slabs below them."""
    trace = draw(st.one_of(requests_of_all_kinds(), with_older_slabs()))
    shapes = [
        AskedShape(**row_of(shape), cpu_partial=draw(st.integers(0, 8)))
        for shape in trace.shapes
        if isinstance(shape, SheafShape)
    ]
    # A slab's free objects are all with one CPU, or with the node.
    holder = {key: cpu for _, key, _, cpu in reversed(trace.free_before)}
    free = [(cache, key, index, holder[key]) for cache, key, index, _ in trace.free_before]
    free.sort(key=lambda row: row[3] >= 0)
    return replace(trace, shapes=shapes, free_before=free, profile=LINUX_6_18)


@examples(100)
@given(traces(), st.sampled_from([1, 2, 7, 60, 10_000]))
def test_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(100)
@given(traces(), st.sampled_from([1, 7, 10_000]))
def test_compiled_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)


@pytest.mark.parametrize("window", [1000, 70_000])
def test_a_random_trace_of_caches_that_asked(window: int) -> None:
    trace = random_trace(LINUX_6_18, 5, [64, 512, 4096], 3, 0.4, [(3000, 0), (4000, 10)])
    asked = [replace(shape, capacity=32) for shape in trace.shapes]
    assert_equal(replace(trace, shapes=asked), window)


def test_a_refill_takes_of_the_cpu_slab_and_leaves_no_spare() -> None:
    """By hand: vm_area_struct of 184 bytes, 22 a slab at 2 CPUs, 32 in a sheaf.

    The first allocation makes a sheaf, and two slabs to fill it with: 32 objects by the CPU's own
    slab, of which each slab's first comes by the slow path. The object it gets is the 32nd: place 9
    of the second slab. The old main goes to the barn's empty sheaves.
    """
    [shape] = cache_shapes(LINUX_6_18, [("vm_area_struct", 184)], 2)
    assert isinstance(shape, AskedShape)
    assert (shape.objects, shape.capacity) == (22, 32)
    machine = AskedSheaves([shape])
    assert machine.event(0, 0, 0, Op.ALLOC, 0) == ("refill_new", 1, 9)
    [cache] = machine.caches
    assert cache.pcs[0].spare is None
    assert len(cache.nodes[0].empty) == 1
    assert cache.counters == {
        "alloc_cpu_sheaf": 1,
        "alloc_fastpath": 30,
        "alloc_slowpath": 2,
        "alloc_slab": 2,
        "barn_get_fail": 1,
        "deactivate_bypass": 1,
        "freelist_cmpxchg": 1,
        "sheaf_alloc": 1,
        "sheaf_refill": 32,
    }


def test_only_those_that_ask_have_sheaves_and_of_what_they_ask_for() -> None:
    names = [("vm_area_struct", 184), ("maple_node", 256), ("filp", 256)]
    shapes = cache_shapes(LINUX_6_18, names, 2)
    assert [each.capacity for each in shapes if isinstance(each, AskedShape)] == [32, 32, 0]
