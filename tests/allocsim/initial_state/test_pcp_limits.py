"""How long the CPUs' lists might get at the start: against a search through every limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.initial_state.pcp_limits import LimitsAtStart
from allocsim.page_alloc.zones import PcpNumbers, Zone
from allocsim.trace.events import Ev

LOW, TOP = 20, 200
ALLOC, FREE = int(Ev.MM_PAGE_ALLOC), int(Ev.MM_PAGE_FREE)
FETCH, DRAIN = int(Ev.MM_PAGE_ALLOC_ZONE_LOCKED), int(Ev.MM_PAGE_PCPU_DRAIN)
CPUS = 2
ZONE = Zone("Normal", 0, 1 << 16, 1 << 16, 10, 20, 30, (0,), (PcpNumbers(3, LOW, TOP),) * CPUS)


def limits(
    events: list[tuple[int, int, int]], turns: list[int], held: tuple[int, ...], window: int
) -> list[int]:
    """What is found for each CPU; events are (CPU, code, order)."""
    found = LimitsAtStart((ZONE,), CPUS, thp=True)
    cpu, event, order = (np.array(column) for column in zip(*events, strict=True))
    for first in range(0, len(events), window):
        part = slice(first, first + window)
        columns = {
            "cpu": cpu[part].astype(np.int16),
            "event": event[part].astype(np.uint8),
            "order": order[part].astype(np.int32),
            "pfn": np.full(len(cpu[part]), 7),
        }
        near = [turn - first for turn in turns if first <= turn < first + window]
        found.add(columns, np.array(near, np.int64))
    [zone] = found.zones(np.array([held]))
    return [numbers.high for numbers in zone.pcp]


def searched(
    events: list[tuple[int, int, int]], turns: list[int], held: tuple[int, ...]
) -> list[int]:
    """The same, one event and one limit after the other."""
    return [_searched(cpu, events, turns, held[cpu]) for cpu in range(CPUS)]


def _searched(cpu: int, events: list[tuple[int, int, int]], turns: list[int], held: int) -> int:
    mine = [(row, code, order) for row, (of, code, order) in enumerate(events) if of == cpu]
    mine = [event for event in mine if event[2] <= 3 or event[2] == 9]

    def kept(high: int) -> list[bool]:
        """Of each moment at which the kernel did not drain, whether this limit was above it."""
        count, passed, fine = held, 0, []
        for at, (row, code, order) in enumerate(mine):
            due = sum(turn <= row for turn in turns)
            for _ in range(due - passed):
                high = max(min(high, TOP) - (min(high, TOP) >> 3), LOW)
            if due > passed and code != DRAIN:
                fine.append(high >= count)
            passed = due
            pages = 1 << order
            count += pages if code in (FREE, FETCH) else -pages
            high += pages if code == FETCH else 0
            drained = at + 1 < len(mine) and mine[at + 1][1] == DRAIN
            if code == FREE and not drained:
                fine.append(high > count)
        return fine

    explained = kept(TOP)
    for high in range(LOW, TOP + 1):
        if all(fine for fine, can in zip(kept(high), explained, strict=True) if can):
            return high if high > LOW else 0
    raise AssertionError


_events = st.lists(
    st.tuples(
        st.integers(0, CPUS - 1),
        st.sampled_from([FREE, FREE, FREE, ALLOC, FETCH, DRAIN, int(Ev.KMALLOC)]),
        st.sampled_from([0, 0, 1, 2, 3, 4]),
    ).map(lambda event: event if event[1] != int(Ev.KMALLOC) else (event[0], ALLOC, 4)),
    min_size=1,
    max_size=60,
)


@given(
    events=_events,
    turns=st.lists(st.integers(0, 59), max_size=6).map(sorted),
    held=st.tuples(st.integers(0, 80), st.integers(0, 80)),
    window=st.sampled_from([1, 3, 100]),
)
def test_it_is_the_least_limit_that_no_list_reached_undrained(
    events: list[tuple[int, int, int]], turns: list[int], held: tuple[int, int], window: int
) -> None:
    turns = [turn for turn in turns if turn < len(events)]
    assert limits(events, turns, held, window) == searched(events, turns, held)


@pytest.mark.parametrize("window", [1, 100])
def test_by_hand(window: int) -> None:
    # CPU 0 holds 30, then 33 more that nothing drains: its limit was 64 at least.
    frees = [(0, FREE, 0)] * 33
    assert limits(frees, [], (30, 0), window) == [64, 0]
    # A turn of the worker before the last of them: 74 - 74 / 8 = 65, 73 - 73 / 8 = 64.
    assert limits(frees, [32], (30, 0), window) == [73, 0]
    # The kernel drained behind the last one: the 32 before it say 63.
    assert limits([*frees, (0, DRAIN, 0)], [], (30, 0), window) == [63, 0]
    # A refill of 8 raises it by as much as it adds.
    assert limits([*[(0, FETCH, 0)] * 8, *frees], [], (30, 0), window) == [64, 0]
    # Order 4 is on no list (R4.1); what high_min explains needs no other limit.
    assert limits([(0, FREE, 4)] * 33, [], (30, 0), window) == [0, 0]
    assert limits(frees[:5], [], (5, 0), window) == [0, 0]
