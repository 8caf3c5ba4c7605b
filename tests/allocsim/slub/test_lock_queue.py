"""A lock as a queue: against the plain loop, and an example worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.refcount.costs import cost_ops, shipped_costs
from allocsim.slub.locks.holds import hold
from allocsim.slub.locks.queue import waits
from tests.conftest import examples
from tests.oracle.lock_queue import Visit, queue

VISITS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(1, 12)), max_size=40)


def of(visits: list[tuple[int, int, int]]) -> tuple[list[bool], list[float], list[int]]:
    columns = np.array(visits, np.int64).reshape(-1, 3)
    arrival, hold_ns = columns[:, 0].astype(np.float64), columns[:, 2].astype(np.float64)
    met, waited, before = waits(arrival, columns[:, 1], hold_ns)
    return met.tolist(), waited.tolist(), before.tolist()


def test_three_cpus_by_hand() -> None:
    # CPU 0 holds from 0 to 10. CPU 1 comes at 4 and waits 6, until 20; CPU 2 comes at 8 and waits
    # 12, until 30. CPU 2 again at 29: it has the lock itself. CPU 0 at 50 finds it free.
    visits = [(0, 0, 10), (4, 1, 10), (8, 2, 10), (29, 2, 10), (50, 0, 10)]
    met, waited, before = of(visits)
    assert met == [False, True, True, False, False]
    assert waited == [0, 6, 12, 0, 0]
    assert before == [0, 1, 2, 1, 0]


@given(VISITS)
@examples(150)
def test_it_is_the_plain_loop(visits: list[tuple[int, int, int]]) -> None:
    visits.sort(key=lambda visit: visit[0])
    found = queue([Visit(*visit) for visit in visits])
    met, waited, before = of(visits)
    assert met == [each.met for each in found]
    assert before == [each.queue for each in found]
    assert waited == pytest.approx([each.waited for each in found])


@given(VISITS, st.integers(1, 5))
@examples(50)
def test_longer_holds_are_met_no_less(visits: list[tuple[int, int, int]], more: int) -> None:
    visits.sort(key=lambda visit: visit[0])
    low, high = of(visits), of([(at, cpu, hold_ns + more) for at, cpu, hold_ns in visits])
    assert sum(low[0]) <= sum(high[0])
    assert max(low[2], default=0) <= max(high[2], default=0)


@pytest.mark.parametrize("name", ["x86-64", "arm64"])
def test_a_hold_is_a_range_that_grows_with_its_lines(name: str) -> None:
    costs = {
        (each.operation, each.place): (each.ns_low, each.ns_high)
        for each in cost_ops(shipped_costs()[name])
    }
    few, many = hold(costs, 3), hold(costs, 30)
    assert 0 < few.low < few.high
    assert few.low < many.low
    # 27 lines more, each fetched from another package by a locked instruction at the most.
    assert many.high - few.high == pytest.approx(27 * costs["locked", "remote"][1])
