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

from allocsim.columns import stable_order
from allocsim.recorded_requests import SheafRuns

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.columns import Bools, Ints

#: The one user in 7.2: lib/maple_tree.c:mas_pop_node takes nodes with GFP_NOWAIT.
CACHE = "maple_node"
FLAGS = ("__GFP_KSWAPD_RECLAIM", "__GFP_NOWARN")
SINCE = (6, 18)  #: first kernel with prefilled sheaves (spec 1.4)


class PrefilledRuns:
    """Finds the runs, window by window; what is open at a window's end is carried."""

    def __init__(self) -> None:
        self._open: dict[int, npt.NDArray[np.int64]] = {}

    def add(
        self, seq: npt.NDArray[np.int64], task: Ints, out_of_sheaf: Bools
    ) -> list[npt.NDArray[np.int64]]:
        """The runs that ended, as numbers of their events.

        Args:
            seq: rising numbers of the next object events.
            task: pid of each.
            out_of_sheaf: it may come out of a prefilled sheaf.
        """
        order = stable_order(task)
        task, seq, out_of_sheaf = task[order], seq[order], out_of_sheaf[order]
        begins = np.ones(len(seq), np.bool_)
        begins[1:] = (task[1:] != task[:-1]) | (out_of_sheaf[1:] != out_of_sheaf[:-1])
        starts = np.flatnonzero(begins)
        ends = np.append(starts[1:], len(seq))
        first = np.ones(len(starts), np.bool_)
        first[1:] = task[starts[1:]] != task[starts[:-1]]
        last = np.append(first[1:], True)[: len(starts)]
        done = []
        # A task's runs come in turn with what is none: a loop over runs, and over tasks.
        wanted = np.flatnonzero(out_of_sheaf[starts] | first)
        for at in wanted.tolist():
            pid, part = int(task[starts[at]]), seq[starts[at] : ends[at]]
            carried = self._open.pop(pid, None) if first[at] else None
            if not out_of_sheaf[starts[at]]:
                part = part[:0]
            if carried is not None:
                part = np.concatenate((carried, part))
            if out_of_sheaf[starts[at]] and last[at]:
                self._open[pid] = part
            elif len(part):
                done.append(part)
        return done

    def finish(self) -> list[npt.NDArray[np.int64]]:
        """The runs that the trace's end cuts off."""
        return list(self._open.values())


def runs_of(found: list[npt.NDArray[np.int64]]) -> SheafRuns:
    """Runs as SheafRuns, without those of one allocation."""
    runs = [run for run in found if len(run) > 1]
    nothing = np.empty(0, np.int64)
    seq = np.concatenate([nothing, *runs])
    first = np.concatenate([nothing, *(np.full(len(run), run[0]) for run in runs)])
    left = np.concatenate([nothing, *(np.arange(len(run), 0, -1) for run in runs)])
    order = np.argsort(seq)
    return SheafRuns(seq[order], first[order], left[order].astype(np.int32))
