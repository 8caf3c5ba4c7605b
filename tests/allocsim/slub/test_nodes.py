"""Several memory nodes: the model equals the oracle, and both do what the rules say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import AskedShape, cache_shapes
from allocsim.kernels.profile import LINUX_6_12, LINUX_6_18, LINUX_7_2
from allocsim.page_alloc.nodes import NO_NODE, Nodes
from allocsim.slub.columns import can_compile
from allocsim.slub.requests import Op
from tests.allocsim.slub.asked_sheaves.test_asked_sheaves import traces as asked_traces
from tests.allocsim.slub.cpu_slabs.test_cpu_slabs import traces as cpu_slab_traces
from tests.allocsim.slub.sheaves.test_stepwise import traces as sheaf_traces
from tests.allocsim.slub.slub_traces import random_trace
from tests.allocsim.slub.test_slub import traces as older_traces
from tests.conftest import examples
from tests.oracle.slub import GRACE_PERIOD, KFREE_DRAIN, KVFREE_BULK_MAX_ENTR
from tests.oracle.slub_compare import Outcome, Trace, assert_equal, by_model, by_oracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.profile import Profile

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
WINDOWS = st.sampled_from([1, 2, 7, 60, 10_000])


@st.composite
def nodes(draw: st.DrawFn, cpus: int) -> Nodes:
    """One node to four, of which some have no memory."""
    count = draw(st.integers(1, 4))
    memory = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    of_cpu = draw(st.lists(st.integers(0, count - 1), min_size=cpus, max_size=cpus))
    return Nodes(tuple(of_cpu), tuple(memory))


@st.composite
def on_nodes(draw: st.DrawFn, of: st.SearchStrategy[Trace]) -> Trace:
    """A trace on several nodes, some of whose allocations ask for one by name."""
    trace = draw(of)
    machine = draw(nodes(trace.cpus))
    with_memory = [node for node, has in enumerate(machine.memory) if has]
    keys = [key for key, _ in trace.pre_trace.values()] + [row[1] for row in trace.free_before]
    older = draw(
        st.lists(
            st.sampled_from(with_memory),
            min_size=-1 - min(keys, default=-1),
            max_size=-1 - min(keys, default=-1),
        )
    )
    named = draw(st.booleans())
    asked = st.sampled_from([NO_NODE, NO_NODE, *range(machine.count)])
    requests = [
        (
            *(*request, 0, 0, 0)[:8],
            -1,
            draw(asked) if named and request[3] == Op.ALLOC else NO_NODE,
        )
        for request in trace.requests
    ]
    return replace(trace, requests=requests, nodes=machine, older_nodes=older)


OF_7_2 = st.one_of(sheaf_traces(), older_traces())


@examples(80, suppress_health_check=SLOW)
@given(on_nodes(OF_7_2), WINDOWS)
def test_sheaves_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@examples(60, suppress_health_check=SLOW)
@given(on_nodes(cpu_slab_traces()), WINDOWS)
def test_cpu_slabs_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@examples(80, suppress_health_check=SLOW)
@given(on_nodes(asked_traces()), WINDOWS)
def test_sheaves_above_cpu_slabs_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(60, suppress_health_check=SLOW)
@given(on_nodes(st.one_of(OF_7_2, cpu_slab_traces(), asked_traces())), WINDOWS)
def test_compiled_models_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)


TWO = Nodes((0, 1), (True, True))
NO_MEMORY = Nodes((0, 1), (True, False))


@pytest.mark.parametrize("profile", [LINUX_6_12, LINUX_6_18, LINUX_7_2])
@pytest.mark.parametrize("machine", [TWO, NO_MEMORY, Nodes((2, 0), (True, True, True))])
def test_long_traces(profile: Profile, machine: Nodes) -> None:
    trace = random_trace(profile, 5, [64, 512, 4096], 2, 0.4)
    shapes = [
        replace(shape, capacity=32) if isinstance(shape, AskedShape) else shape
        for shape in trace.shapes
    ]
    assert_equal(replace(trace, nodes=machine, shapes=shapes), 1000)


def outcome(profile: Profile, machine: Nodes, *requests: tuple[int, ...]) -> Outcome:
    """What becomes of (CPU, op, handle, node asked for) of a cache with sheaves."""
    [shape] = cache_shapes(profile, [("vm_area_struct", 184)], 2)
    rows = [
        (seq, cpu, 0, op, handle, 0, 0, 0, -1, node)
        for seq, (cpu, op, handle, node) in enumerate(requests)
    ]
    trace = Trace([shape], 2, rows, nodes=machine, profile=profile)
    found = by_model(trace, 3)
    assert found == by_oracle(trace)
    return found


def paths(machine: Nodes, *requests: tuple[int, ...], profile: Profile = LINUX_7_2) -> list[str]:
    """The paths of these."""
    return [path for path, _, _ in outcome(profile, machine, *requests).events]


def test_an_object_of_another_node_goes_past_the_sheaves() -> None:
    """R3.26, by hand: CPU 0 is on node 0, CPU 1 on node 1, which may have no memory."""
    there = (0, Op.ALLOC, 0, NO_NODE), (1, Op.FREE, 0, NO_NODE)
    assert paths(TWO, *there) == ["refill_new", "remote_free"]
    assert paths(NO_MEMORY, *there) == ["refill_new", "main_push"]
    by_rcu = (0, Op.ALLOC, 0, NO_NODE), (1, Op.FREE_RCU, 0, NO_NODE)
    assert paths(NO_MEMORY, *by_rcu) == ["refill_new", "remote_free"]


def test_a_node_asked_for_is_had_past_the_sheaves() -> None:
    """R3.25, by hand: the other node's new slab, then the rest of it, then its own sheaf."""
    asked = [(0, Op.ALLOC, 0, 1), (0, Op.ALLOC, 1, 1), (0, Op.ALLOC, 2, 0), (0, Op.ALLOC, 3, 0)]
    assert paths(TWO, *asked) == ["slow_new", "slow_partial", "refill_new", "main_hit"]


BATCHING = [LINUX_6_18, LINUX_7_2]


def of_two_nodes(profile: Profile, rows: Sequence[tuple[int, int, int, int]]) -> Trace:
    """Of (moment [ns], CPU, op, handle), for caches that CPUs of two nodes share."""
    [shape] = cache_shapes(profile, [("vm_area_struct", 184)], 2)
    requests = [
        (seq, cpu, 0, op, handle, ts, 0, 0, -1, NO_NODE)
        for seq, (ts, cpu, op, handle) in enumerate(rows)
    ]
    return Trace([shape], 2, requests, nodes=TWO, profile=profile)


def freed_past_the_sheaves(trace: Trace) -> int:
    """How many frees the kernel would have counted so, by the model, which equals the oracle."""
    assert_equal(trace, 100)
    return by_model(trace, 100).counters[0]["free_slowpath"]


@pytest.mark.parametrize("profile", BATCHING)
def test_kfree_rcu_of_another_node_waits_for_a_drain_and_a_grace_period(profile: Profile) -> None:
    """R3.60, by hand: 5 s behind the first of a page; one behind that begins the next page."""
    allocations = [(0, 0, Op.ALLOC, handle) for handle in range(64)]
    end = KFREE_DRAIN + GRACE_PERIOD
    frees = [(0, 1, Op.FREE_RCU, 0), (KFREE_DRAIN - 1, 1, Op.FREE_RCU, 1)]
    late = (KFREE_DRAIN, 1, Op.FREE_RCU, 2)
    for moment, expected in ((end - 1, 0), (end, 2), (KFREE_DRAIN + end - 1, 2), (2 * end, 3)):
        rows = [*allocations, *frees, late, (moment, 0, Op.ALLOC, 64)]
        assert freed_past_the_sheaves(of_two_nodes(profile, rows)) == expected


@pytest.mark.parametrize("profile", BATCHING)
def test_a_page_of_kfree_rcu_that_is_full_waits_for_a_grace_period(profile: Profile) -> None:
    """R3.60, by hand: 507 of 510; the other three are of a new page."""
    rows = [(0, 0, Op.ALLOC, handle) for handle in range(510)]
    rows += [(0, 1, Op.FREE_RCU, handle) for handle in range(510)]
    for moment, expected in ((GRACE_PERIOD - 1, 0), (GRACE_PERIOD, KVFREE_BULK_MAX_ENTR)):
        trace = of_two_nodes(profile, [*rows, (moment, 0, Op.ALLOC, 510)])
        assert freed_past_the_sheaves(trace) == expected


@pytest.mark.parametrize("profile", BATCHING)
def test_pages_of_kfree_rcu_among_sheaves_that_wait(profile: Profile) -> None:
    """Objects of both nodes, freed in all ways for some drains."""
    rng = np.random.default_rng(3)
    rows, live, now = [], [], 0
    for handle in range(6000):
        now += int(rng.choice([0, 1, GRACE_PERIOD // 3, KFREE_DRAIN // 60]))
        if len(live) > 600 or (live and rng.random() < 0.4):
            op = Op.FREE if rng.random() < 0.2 else Op.FREE_RCU
            gone = live.pop(int(rng.integers(len(live))))
            rows.append((now, int(rng.random() < 0.8), op, gone))
        rows.append((now, int(rng.random() < 0.2), Op.ALLOC, handle))
        live.append(handle)
    trace = of_two_nodes(profile, rows)
    assert freed_past_the_sheaves(trace) > 2 * KVFREE_BULK_MAX_ENTR
    assert_equal(trace, 10_000)


def test_sheaves_above_cpu_slabs_keep_to_their_node() -> None:
    """R3.45, by hand: 6.18, of vm_area_struct, of which 22 are a slab and 32 a sheaf.

    CPU 0, of node 0, has two slabs when its sheaf is filled, and its first object is of the second,
    which is still its own: so CPU 1, of node 1, frees to a slab that a CPU has.
    """
    freed = (0, Op.ALLOC, 0, NO_NODE), (1, Op.FREE, 0, NO_NODE)
    assert paths(TWO, *freed, profile=LINUX_6_18) == ["refill_new", "free_frozen"]
    assert paths(NO_MEMORY, *freed, profile=LINUX_6_18) == ["refill_new", "free_frozen"]
    # Of node 0 past the sheaves; then a sheaf, of the 20 left of that and 12 of a new slab of node
    # 1, which are on top; then of node 0 again: the slab of node 1 is let go of, another made.
    asked = [(1, Op.ALLOC, 0, 0), (1, Op.ALLOC, 1, 0), (1, Op.ALLOC, 2, 1), (1, Op.ALLOC, 3, 0)]
    found = outcome(LINUX_6_18, TWO, *asked)
    assert [path for path, _, _ in found.events] == [
        *("new_slab", "cpu_slab_hit", "refill_new", "new_slab")
    ]
    assert [page[6] for page in found.pages] == [0, 1, 0]
    assert found.counters[0]["alloc_node_mismatch"] == found.counters[0]["deactivate_to_head"] == 1
    # A CPU without a barn: what its slab has.
    assert paths(NO_MEMORY, *asked, profile=LINUX_6_18) == ["new_slab", *["cpu_slab_hit"] * 3]


def test_a_refill_takes_from_another_node_what_that_keeps_too_many_of() -> None:
    """R3.13, step 3: node 1 keeps min_partial slabs; only beyond these does node 0 get any."""
    [shape] = cache_shapes(LINUX_7_2, [("c", 4096)], 2)
    for partial, expected in ((shape.min_partial, "refill_new"), (40, "refill_partial")):
        free = [(0, -2 - slab, 0, -1) for slab in range(partial)]
        rows = [(0, 0, 0, Op.ALLOC, 0)]
        trace = Trace([shape], 2, rows, free_before=free, nodes=TWO, older_nodes=[1] * partial)
        assert by_model(trace, 1).events[0][0] == expected
        assert_equal(trace, 1)
