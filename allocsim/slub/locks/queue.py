"""A lock as a queue of one server: who finds it held, and how many stand before him (R7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import Bools, Float64, Ints


class Waits(NamedTuple):
    """What becomes of the visits to one lock; arrays of one length.

    Args:
        met: another CPU held the lock, or stood before in its queue (bool).
        waited: how long it took to get it then, ns; 0 where it was free (f8).
        queue: how many held it or stood before, at most all other CPUs that ever come (i8).
    """

    met: Bools
    waited: Float64
    queue: Ints


def waits(arrival: Float64, cpu: Ints, hold: Float64) -> Waits:
    """Queue at a lock that is given in order of arrival.

    A CPU does not wait for itself: its next visit begins when its last has ended, and counts as
    having met the lock held only if another CPU is before it.

    Args:
        arrival: when each visit comes, rising, ns.
        cpu: its CPU.
        hold: how long it holds the lock, ns, above 0.
    """
    if not len(arrival):
        return Waits(np.empty(0, bool), np.empty(0), np.empty(0, np.int64))
    # Lindley's recursion, leave[i] = max(arrival[i], leave[i - 1]) + hold[i], as a running maximum.
    done = np.cumsum(hold)
    leave = done + np.maximum.accumulate(arrival - (done - hold))
    rows = np.arange(len(arrival))
    queue = rows - np.searchsorted(leave, arrival, side="right").clip(max=rows)
    queue = queue.clip(max=len(np.unique(cpu)) - 1)
    begins = np.concatenate(([True], cpu[1:] != cpu[:-1]))
    other = np.maximum.accumulate(np.where(begins, rows, 0)) - 1  # the last visit of another CPU
    met = (other >= 0) & (leave[other] > arrival)
    waited = np.where(met, leave - hold - arrival, 0.0)
    return Waits(met, np.maximum(waited, 0.0), queue)
