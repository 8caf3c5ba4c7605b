"""When the sheaves of kfree_rcu came back, where rcu_free_sheaf was probed (I12).

A CPU's callbacks run in the order in which it filled the sheaves, each on that CPU, and each says
how many objects its sheaf had. So the callback of an object is known by how many of its cache the
CPU had passed to kfree_rcu before it. Sheaves that were filled before the probes began have
callbacks too, and of sheaves filled before the callbacks' probe none are seen: by as many whole
sheaves the two are moved against one another as lets no callback come before its objects. Objects
passed before the probes began, where inferred (I2), lie in front of the first probed ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.tables import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.tables import Int64, Ints

#: Due of an object whose sheaf has no callback in the trace, and of one of which nothing is known.
NEVER, UNKNOWN = 1 << 62, -1


class RcuFrees(NamedTuple):
    """Every kfree_rcu of a trace that found a sheaf, in time order; arrays of one length.

    Args:
        seq: number of its event (i8).
        ts: ns (i8).
        cpu: CPU (integer).
        cache: code of the cache's name; -1: not known (integer).
    """

    seq: Int64
    ts: Int64
    cpu: Ints
    cache: Ints


class Callbacks(NamedTuple):
    """Every callback of a trace, in time order, as RcuFrees; and ``objects`` of its sheaf."""

    ts: Int64
    cpu: Ints
    cache: Ints
    objects: Ints


class SheavesDue(NamedTuple):
    """When the sheaf that each kfree_rcu may have filled came back; arrays of one length.

    Args:
        seq: rising numbers of their events (i8).
        due: ns; NEVER, or UNKNOWN (i8).
    """

    seq: Int64
    due: Int64

    def of(self, seq: Int64) -> Int64:
        """Of the events ``seq``; UNKNOWN for others (i8)."""
        return np.append(self.due, UNKNOWN)[find(self.seq, seq)]


def sheaves_due(
    frees: RcuFrees, callbacks: Callbacks, inferred: Mapping[tuple[int, int], int]
) -> SheavesDue:
    """When the sheaves came back, as far as callbacks tell.

    Args:
        frees: those that probes show.
        callbacks: the callbacks.
        inferred: by CPU and code of the cache's name: frees before the first of ``frees``.
    """
    due = np.full(len(frees.seq), UNKNOWN)
    for cpu, cache in {*zip(callbacks.cpu.tolist(), callbacks.cache.tolist(), strict=True)}:
        rows = np.flatnonzero((frees.cpu == cpu) & (frees.cache == cache))
        own = (callbacks.cpu == cpu) & (callbacks.cache == cache)
        if cache >= 0:
            before = inferred.get((cpu, cache), 0)
            due[rows] = _due(frees.ts[rows], callbacks.ts[own], callbacks.objects[own], before)
    return SheavesDue(frees.seq, due)


def _due(frees: Int64, callbacks: Int64, count: Ints, inferred: int) -> Int64:
    """When each of the frees of one CPU and cache came back, by the times of both."""
    given = np.cumsum(count.astype(np.int64))
    before = inferred + np.searchsorted(frees, callbacks)
    # Whole sheaves: the one that the first object went into is taken to have been empty.
    size = max(int(count.max()), 1)
    skipped = int((before - given).min()) // size * size
    number = inferred + np.arange(len(frees))
    due = np.append(callbacks, NEVER)[np.searchsorted(given + skipped, number, side="right")]
    return np.where(number < skipped, UNKNOWN, due)
