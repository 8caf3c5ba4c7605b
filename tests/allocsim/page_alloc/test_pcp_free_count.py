"""free_count by formula against free_count step by step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.page_alloc.pcp_free_count import free_count_after, free_count_bound

# 0: an allocation; -1: one that does not halve; else pages freed
EVENTS = st.lists(st.sampled_from([0, 0, 0, -1, 1, 1, 1, 2, 8, 512]), max_size=80)


def steps(start: int, events: list[int], cap: int) -> list[int]:
    """free_count before each event, and at the end (R4.6, R4.7)."""
    values = [start]
    for event in events:
        f = values[-1]
        if event == 0:
            f >>= 1
        elif event > 0 and f < cap:
            f += event
        values.append(f)
    return values


def arrays(events: list[int]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(events, np.int64)
    return np.maximum(table, 0), table == 0


@given(st.integers(0, 3000), EVENTS, st.integers(1, 40), st.sampled_from([32, 96, 480, 2016]))
def test_the_value_after_any_stretch(start: int, events: list[int], times: int, cap: int) -> None:
    pages, halves = arrays(events * times)
    expected = steps(start, events * times, cap)
    assert free_count_after(start, pages, halves, cap) == expected[-1]
    if len(pages):
        bound = free_count_bound(start, pages, halves, cap)
        assert (bound >= expected[:-1])[pages > 0].all()


def test_a_difference_of_one_survives_any_number_of_turns() -> None:
    # (f + 1) >> 1 leaves both 0 and 1 where they are: nothing may be forgotten.
    pages, halves = arrays([1, 0] * 3000)
    assert free_count_after(0, pages, halves, 2016) == 0
    assert free_count_after(1, pages, halves, 2016) == 1
    assert free_count_after(1000, pages, halves, 2016) == 1


def test_a_run_of_frees_stops_at_the_cap_or_passes_it_once() -> None:
    pages, halves = arrays([8] * 300)
    assert free_count_after(0, pages, halves, 2016) == 2016
    assert free_count_after(3, pages, halves, 2016) == 2019
    assert free_count_after(2016, pages, halves, 2016) == 2016
