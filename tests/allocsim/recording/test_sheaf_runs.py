"""Runs of allocations out of prefilled sheaves: those of a plain walk, whatever the windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.recording.sheaf_runs import CalledSheaves, PrefillCalls, PrefilledRuns
from allocsim.slub.requests import UNTIL_RETURNED
from allocsim.trace.events import Ev

Events = list[tuple[int, bool]]  # task, out of a sheaf
Call = tuple[int, Ev | None, int, int]  # task, which (None: an allocation), sheaf, objects
ASKS, MORE, BACK = (
    Ev.KMEM_CACHE_PREFILL_SHEAF,
    Ev.KMEM_CACHE_REFILL_SHEAF,
    Ev.KMEM_CACHE_RETURN_SHEAF,
)


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


def plain_calls(events: list[Call]) -> list[tuple[int, int, int]]:
    """(event, call that asked for the sheaf, left), one event at a time."""
    out: dict[int, tuple[int, int]] = {}  # sheaf -> who asked for it, and when
    found = []
    for seq, (task, call, sheaf, count) in enumerate(events):
        if call is None:
            held = [asked for who, asked in out.values() if who == task]
            if held:
                found.append((seq, max(held), UNTIL_RETURNED))
        elif sheaf and call == ASKS:
            out[sheaf] = task, seq
            found.append((seq, seq, count))
        elif sheaf in out:
            found.append((seq, out[sheaf][1], 0 if call == BACK else count))
            if call == BACK:
                del out[sheaf]
    return found


def called(events: list[Call], window: int) -> list[tuple[int, int, int]]:
    finder, got = CalledSheaves(), []
    for begin in range(0, len(events), window):
        part = list(enumerate(events))[begin : begin + window]
        calls = [(seq, task, *call) for seq, (task, *call) in part if call[0] is not None]
        seq, task, event, sheaf, count = np.array(calls, np.int64).reshape(-1, 5).T
        table = PrefillCalls(seq, task, event, sheaf.astype(np.uint64), count.astype(np.int32))
        asked = [(seq, task) for seq, (task, call, *_) in part if call is None]
        seq, task = np.array(asked, np.int64).reshape(-1, 2).T
        runs = finder.add(table, seq, task)
        got += zip(*(column.tolist() for column in runs), strict=True)
    return got


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([ASKS, MORE, BACK, None, None]),
            st.integers(0, 3),
            st.integers(1, 9),
        ),
        max_size=60,
    ),
    st.integers(1, 61),
)
def test_sheaves_by_their_calls_are_those_of_a_plain_walk(events: list[Call], window: int) -> None:
    """I13: whatever the order of calls, lost ones among them, and whatever the windows."""
    assert called(events, window) == plain_calls(events)


def test_of_two_sheaves_of_a_task_the_last_one_gives() -> None:
    """I13: and what it allocates when it has returned both is out of none."""
    use = (1, None, 0, 0)
    asked = [(1, ASKS, 8, 3), use, (1, ASKS, 9, 2), use, (1, BACK, 9, 0), use, (1, BACK, 8, 0), use]
    assert called(asked, 3) == [
        *((0, 0, 3), (1, 0, UNTIL_RETURNED), (2, 2, 2), (3, 2, UNTIL_RETURNED)),
        *((4, 2, 0), (5, 0, UNTIL_RETURNED), (6, 0, 0)),
    ]
