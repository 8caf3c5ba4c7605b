"""When the vmstat workers have their turn, by hand and in windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.initial_state.vmstat_worker import TURN_NS, VmstatTurns


def test_a_turn_comes_before_the_first_event_of_each_second_since_the_first_event() -> None:
    seconds = np.array([7.5, 8.4, 8.5, 8.6, 12.4, 12.5])
    turns = VmstatTurns().before((seconds * TURN_NS).astype(np.int64))
    assert turns.tolist() == [2, 4, 4, 4, 5]  # one at 8.5; 9.5 to 11.5; 12.5


def test_a_clock_that_jumps_back_brings_no_second_twice() -> None:
    stamps = np.array([0, 2, 1, 2, 3]) * TURN_NS
    assert VmstatTurns().before(stamps).tolist() == [1, 1, 4]


@given(
    steps=st.lists(st.integers(0, 3 * TURN_NS), min_size=1, max_size=40),
    window=st.integers(1, 12),
)
def test_windows_make_no_difference(steps: list[int], window: int) -> None:
    times = np.cumsum(np.array(steps, np.int64))
    workers = VmstatTurns()
    found: list[int] = []
    for first in range(0, len(times), window):
        found += (first + workers.before(times[first : first + window])).tolist()
    assert found == VmstatTurns().before(times).tolist()
    assert len(found) == (times[-1] - times[0]) // TURN_NS
