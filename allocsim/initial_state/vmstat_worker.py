"""When the vmstat worker has its turn on every CPU (R4.13): once a second of the trace's time.

mm/vmstat.c:vmstat_update, vmstat_shepherd (7.2): as long as pcp->high is above high_min the worker
queues itself anew after sysctl_stat_interval, HZ jiffies unless it was set. No event shows its
turns, so their phase is assumed: whole seconds since the trace began, on all CPUs alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import I8, Ints

TURN_NS = 1_000_000_000  #: sysctl_stat_interval


class VmstatTurns:
    """Finds the events that the workers' turns come before, window by window."""

    def __init__(self) -> None:
        self._first = 0
        self._seconds = -1  # of the newest event

    def before(self, ts: Ints) -> I8:
        """Rows before which the workers have a turn; a row as often as they have one.

        Args:
            ts: times of the next events in ns, in order of time.
        """
        if not len(ts):
            return np.empty(0, np.int64)
        if self._seconds < 0:
            self._first, self._seconds = int(ts[0]), 0
        latest = (int(ts.max()) - self._first) // TURN_NS
        turns = self._first + TURN_NS * np.arange(self._seconds + 1, latest + 1, dtype=np.int64)
        self._seconds = max(self._seconds, latest)
        if not len(turns):
            return turns
        newest = np.maximum.accumulate(ts.astype(np.int64))  # a clock may jump back
        return np.searchsorted(newest, turns)
