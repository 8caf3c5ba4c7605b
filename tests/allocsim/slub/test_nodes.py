"""Several memory nodes: the model equals the oracle, and both do what the rules say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.profile import LINUX_6_12, LINUX_7_2
from allocsim.page_alloc.nodes import NO_NODE, Nodes
from allocsim.slub.columns import can_compile
from allocsim.slub.requests import Op
from tests.allocsim.slub.cpu_slabs.test_cpu_slabs import traces as cpu_slab_traces
from tests.allocsim.slub.sheaves.test_stepwise import traces as sheaf_traces
from tests.allocsim.slub.slub_traces import random_trace
from tests.allocsim.slub.test_slub import traces as older_traces
from tests.conftest import examples
from tests.oracle.slub_compare import Trace, assert_equal

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
        (*(*request, 0, 0, 0)[:8], draw(asked) if named and request[3] == Op.ALLOC else NO_NODE)
        for request in trace.requests
    ]
    return replace(trace, requests=requests, nodes=machine, older_nodes=older)


OF_7_2 = st.one_of(sheaf_traces(), older_traces())


@examples(80)
@given(on_nodes(OF_7_2), WINDOWS)
def test_sheaves_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@examples(60)
@given(on_nodes(cpu_slab_traces()), WINDOWS)
def test_cpu_slabs_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(60)
@given(on_nodes(st.one_of(OF_7_2, cpu_slab_traces())), WINDOWS)
def test_compiled_models_equal_the_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)


TWO = Nodes((0, 1), (True, True))
NO_MEMORY = Nodes((0, 1), (True, False))


@pytest.mark.parametrize("profile", [LINUX_6_12, LINUX_7_2])
@pytest.mark.parametrize("machine", [TWO, NO_MEMORY, Nodes((2, 0), (True, True, True))])
def test_long_traces(profile: object, machine: Nodes) -> None:
    trace = random_trace(profile, 5, [64, 512, 4096], 2, 0.4)
    assert_equal(replace(trace, nodes=machine), 1000)
