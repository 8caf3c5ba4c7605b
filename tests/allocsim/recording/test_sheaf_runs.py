"""Runs of allocations out of prefilled sheaves: those of a plain walk, whatever the windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.recording.sheaf_runs import PrefilledRuns

Events = list[tuple[int, bool]]  # task, out of a sheaf


def plain(events: Events) -> list[tuple[int, int, int]]:
    """(event, run, left), one event at a time."""
    runs: list[list[int]] = []
    open_: dict[int, list[int]] = {}
    for seq, (task, out_of_sheaf) in enumerate(events):
        if not out_of_sheaf:
            open_.pop(task, None)
            continue
        if task not in open_:
            open_[task] = []
            runs.append(open_[task])
        open_[task].append(seq)
    return sorted(
        (seq, run[0], len(run) - at) for run in runs if len(run) > 1 for at, seq in enumerate(run)
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
    st.integers(1, 61),
)
def test_runs_are_those_of_a_plain_walk(events: Events, window: int) -> None:
    finder = PrefilledRuns()
    found = []
    for begin in range(0, len(events), window):
        part = events[begin : begin + window]
        seq = np.arange(begin, begin + len(part))
        task = np.array([task for task, _ in part])
        found.append(finder.add(seq, task, np.array([flag for _, flag in part])))
    found.append(finder.finish())
    got = [row for runs in found for row in zip(*(column.tolist() for column in runs), strict=True)]
    assert sorted(got) == plain(events)


def test_a_run_of_one_is_an_ordinary_allocation() -> None:
    """lib/maple_tree.c:mas_alloc_nodes asks no sheaf for a single node."""
    assert plain([(1, True), (1, False), (2, True), (2, True)]) == [(2, 2, 2), (3, 2, 1)]
