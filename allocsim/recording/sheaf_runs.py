"""Which allocations come out of prefilled sheaves (R3.16): runs of them by one task.

kmem_cache_alloc_from_sheaf traces what kmem_cache_alloc does (T1), but with flags of its own that
the caller fixes. What a task allocates so without another object event between is one run, out of
one prefilled sheaf; a run of exactly one is an ordinary allocation with the same flags, for which
the maple tree asks no sheaf (lib/maple_tree.c:mas_alloc_nodes 7.2). An interrupt's events are not
the task's (I6). How many objects the sheaf was asked for is not recorded: at least those it gave.

Where the calls were probed (T19) nothing is inferred of that: what a task allocates so while it has
a sheaf is out of the last one it asked for (I13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.recording.lifetimes import ZERO_SIZE_PTR
from allocsim.recording.untraced import NOTHING_UNTRACED, SheafRuns
from allocsim.slub.requests import UNTIL_RETURNED
from allocsim.tables import column, joined, stable_order
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.release import Kernel
    from allocsim.tables import Bools, Columns, Int32, Int64, Ints, UInt64

#: The one user in 7.2: lib/maple_tree.c:mas_pop_node takes nodes with GFP_NOWAIT.
CACHE = "maple_node"
FLAGS = ("__GFP_KSWAPD_RECLAIM", "__GFP_NOWARN")


NO_RUNS = NOTHING_UNTRACED.runs
_HARD_OR_SOFT_IRQ = 0x18  # TRACE_FLAG_HARDIRQ | TRACE_FLAG_SOFTIRQ


class PrefilledSheaves:
    """Which allocations of a recording are out of prefilled sheaves.

    Args:
        kernel: the recorded kernel.
        cache_names: names of the column ``cache``, by code.
    """

    def __init__(self, kernel: Kernel, cache_names: Sequence[str]) -> None:
        found = CACHE in cache_names and kernel.prefilled_sheaves
        self._cache = cache_names.index(CACHE) if found else None
        self._flags = sum(kernel.gfp[name] for name in FLAGS)
        self._runs = PrefilledRuns()
        self._calls = CalledSheaves()

    def window(self, columns: Columns, first: int) -> SheafRuns:
        """The runs of which it is known in the next events, the first of them row ``first``."""
        if self._cache is None or "ptr" not in columns:
            return NO_RUNS
        rows = np.flatnonzero(columns["event"] <= Ev.KMEM_CACHE_FREE)
        inside = column(columns, "irq_flags", rows) & _HARD_OR_SOFT_IRQ == 0
        inside &= column(columns, "probe", rows) == 0
        rows = rows[inside & (columns["ptr"][rows] > ZERO_SIZE_PTR)]
        out_of_sheaf = (columns["event"][rows] == Ev.KMEM_CACHE_ALLOC) & (
            columns["cache"][rows] == self._cache
        )
        out_of_sheaf &= column(columns, "gfp_flags", rows) == self._flags
        if "sheaf" not in columns:
            return self._runs.add(first + rows, columns["pid"][rows], out_of_sheaf)
        rows = rows[out_of_sheaf]
        at = np.flatnonzero(columns["event"] >= Ev.KMEM_CACHE_PREFILL_SHEAF)
        calls = PrefillCalls(
            *(first + at, columns["pid"][at], columns["event"][at]),
            *(columns["sheaf"][at], column(columns, "count", at).astype(np.int32)),
        )
        return self._calls.add(calls, first + rows, columns["pid"][rows])

    def finish(self) -> SheafRuns:
        """The runs that the trace's end cuts off."""
        return self._runs.finish()


class PrefillCalls(NamedTuple):
    """Calls for prefilled sheaves, in time order; arrays of one length.

    Args:
        seq: number of the event, rising (i8).
        task: pid (integer).
        event: which of the three calls, Ev (u1).
        sheaf: address of the sheaf; 0: none was to be had (u8).
        objects: that it is to have (i4).
    """

    seq: Int64
    task: Ints
    event: Ints
    sheaf: UInt64
    objects: Int32


class CalledSheaves:
    """Finds what is out of which sheaf, window by window, by the calls (I13).

    Sheaves that are out at a window's end are carried.
    """

    def __init__(self) -> None:
        nothing = np.empty(0, np.int64)
        self._out = PrefillCalls(
            nothing, nothing, nothing, nothing.astype(np.uint64), nothing.astype(np.int32)
        )

    def add(self, calls: PrefillCalls, seq: Int64, task: Ints) -> SheafRuns:
        """The next calls, and the allocations out of sheaves.

        Args:
            calls: calls, those in vain among them.
            seq: rising numbers of allocations that may be out of a sheaf.
            task: pid of each.
        """
        calls = PrefillCalls._make(each[calls.sheaf != 0] for each in calls)
        before = len(self._out.seq)
        calls = joined([self._out, calls])
        asks = np.flatnonzero(calls.event == Ev.KMEM_CACHE_PREFILL_SHEAF)
        run, until = _spans(calls)
        self._out = PrefillCalls._make(each[asks[until[asks] == _STILL]] for each in calls)
        out_of = _held(calls.seq[asks], calls.task[asks], until[asks], seq, task)
        told = run >= 0
        told[:before] = False
        calls, run = PrefillCalls._make(each[told] for each in calls), calls.seq[run[told]]
        wanted = np.where(calls.event == Ev.KMEM_CACHE_RETURN_SHEAF, 0, calls.objects)
        found = out_of >= 0
        runs = SheafRuns(
            np.concatenate((calls.seq, seq[found])),
            np.concatenate((run, out_of[found])),
            np.concatenate((wanted, np.full(np.count_nonzero(found), UNTIL_RETURNED))),
        )
        order = np.argsort(runs.seq)
        return SheafRuns(runs.seq[order], runs.run[order], runs.left[order].astype(np.int32))


_STILL = np.iinfo(np.int64).max


def _spans(calls: PrefillCalls) -> tuple[Int64, Int64]:
    """Of each call which one asked for its sheaf, -1: none seen; and until when it is out.

    The address of a sheaf is that of another once it was returned.
    """
    order = np.lexsort((calls.seq, calls.sheaf))
    asks = calls.event[order] == Ev.KMEM_CACHE_PREFILL_SHEAF
    at = np.arange(len(order))
    first = np.maximum.accumulate(np.where(asks, at, -1))
    same = (first >= 0) & (calls.sheaf[order[first]] == calls.sheaf[order])
    run = np.full(len(order), -1)
    run[order[same]] = order[first[same]]
    ends = (asks | (calls.event[order] == Ev.KMEM_CACHE_RETURN_SHEAF)).nonzero()[0]
    until = np.full(len(order), _STILL)
    here, then = order[ends[:-1]], order[ends[1:]]
    alike = calls.sheaf[here] == calls.sheaf[then]
    until[here[alike]] = calls.seq[then[alike]]
    run[until[run] < calls.seq] = -1  # behind its return
    return run, until


def _held(asked: Int64, asker: Ints, until: Int64, seq: Int64, task: Ints) -> Int64:
    """Of allocations the last sheaf that their task asked for and still had; -1: it had none.

    A sheaf is named by the number of the call that asked for it.
    """
    both, tasks = np.concatenate((asked, seq)), np.concatenate((asker, task))
    order = np.lexsort((both, tasks))
    asks = order < len(asked)
    number = np.cumsum(asks) - 1  # sheaves by task and time
    sheaf = order[asks]
    begins = np.append(True, tasks[sheaf[1:]] != tasks[sheaf[:-1]])[: len(sheaf)]
    allocation = order[~asks] - len(asked)
    at = number[~asks]
    found = np.full(len(seq), -1)
    # Of a task's sheaves so far, until when the last one of them is out.
    beyond = max(int(seq.max(initial=0)), int(asked.max(initial=0))) + 2
    held = np.minimum(until[sheaf], beyond - 1)
    group = np.cumsum(begins) * beyond
    latest = np.maximum.accumulate(group + held) - group
    while len(at):
        inside = (at >= 0) & (asker[sheaf[at]] == task[allocation]) if len(sheaf) else at < -1
        inside[inside] = latest[at[inside]] > seq[allocation[inside]]
        allocation, at = allocation[inside], at[inside]
        hit = held[at] > seq[allocation]
        found[allocation[hit]] = asked[sheaf[at[hit]]]
        # One inside another is rare: to the task's sheaf before.
        allocation, at = allocation[~hit], at[~hit] - 1
    return found


class PrefilledRuns:
    """Finds the runs, window by window; what is open at a window's end is carried."""

    def __init__(self) -> None:
        self._seq = np.empty(0, np.int64)
        self._task = np.empty(0, np.int64)

    def add(self, seq: Int64, task: Ints, out_of_sheaf: Bools) -> SheafRuns:
        """The runs that ended.

        Args:
            seq: rising numbers of the next object events.
            task: pid of each.
            out_of_sheaf: it may come out of a prefilled sheaf.
        """
        concerned = np.isin(task, np.concatenate((self._task, np.unique(task[out_of_sheaf]))))
        task = np.concatenate((self._task, task[concerned]))
        seq = np.concatenate((self._seq, seq[concerned]))
        out_of_sheaf = np.concatenate((np.ones(len(self._seq), np.bool_), out_of_sheaf[concerned]))
        order = stable_order(task)
        task, seq, out_of_sheaf = task[order], seq[order], out_of_sheaf[order]
        begins = np.ones(len(seq), np.bool_)
        begins[1:] = (task[1:] != task[:-1]) | (out_of_sheaf[1:] != out_of_sheaf[:-1])
        starts = np.flatnonzero(begins)
        length = np.diff(starts, append=len(seq))
        last = np.append(task[starts[1:]] != task[starts[:-1]], True)[: len(starts)]
        out = out_of_sheaf[starts]
        still = np.repeat(out & last, length)
        self._seq, self._task = seq[still], task[still]
        done = out & ~last
        return _runs(seq[np.repeat(done, length)], length[done])

    def finish(self) -> SheafRuns:
        """The runs that the trace's end cuts off."""
        starts = np.flatnonzero(np.diff(self._task, prepend=-1))
        return _runs(self._seq, np.diff(starts, append=len(self._seq)))


def _runs(seq: Int64, length: Int64) -> SheafRuns:
    """Runs of some lengths, one behind the other in ``seq``, without those of one allocation."""
    first = np.repeat(seq[np.cumsum(length) - length], length)
    left = np.repeat(np.cumsum(length), length) - np.arange(len(seq))
    rows = np.flatnonzero(np.repeat(length > 1, length))
    rows = rows[np.argsort(seq[rows])]
    return SheafRuns(seq[rows], first[rows], left[rows].astype(np.int32))
