"""Which allocations come out of prefilled sheaves (R3.16): runs of them by one task.

kmem_cache_alloc_from_sheaf traces what kmem_cache_alloc does (T1), but with flags of its own that
the caller fixes. What a task allocates so without another object event between is one run, out of
one prefilled sheaf; a run of exactly one is an ordinary allocation with the same flags, for which
the maple tree asks no sheaf (lib/maple_tree.c:mas_alloc_nodes 7.2). An interrupt's events are not
the task's (I6). How many objects the sheaf was asked for is not recorded: at least those it gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.lifetimes import ZERO_SIZE_PTR
from allocsim.recording.requests import NOTHING_UNTRACED, SheafRuns
from allocsim.tables import column, stable_order
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.release import Kernel
    from allocsim.tables import Bools, Columns, Int64, Ints

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
        return self._runs.add(first + rows, columns["pid"][rows], out_of_sheaf)

    def finish(self) -> SheafRuns:
        """The runs that the trace's end cuts off."""
        return self._runs.finish()


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
