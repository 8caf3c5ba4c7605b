"""What the events of objects do not say themselves, as requests between them.

Frees without an event (T6, I2), and prefilled sheaves (R3.16): which allocations are out of one,
and, where the calls were probed (T19), when it was asked for and returned (I13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.page_alloc.nodes import NO_NODE
from allocsim.recording.rcu_sheaves import UNKNOWN
from allocsim.slub.requests import ObjectRequests, Op
from allocsim.tables import find, joined
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.tables import Array, Bools, Columns, Int8, Int16, Int32, Int64

#: Handle of a request that is for no object.
NO_OBJECT = -1


class UntracedFrees(NamedTuple):
    """Frees that no event shows (T6), in order of time; arrays of one length.

    Args:
        ts: when, in ns: before the first object event that is not earlier, and behind the
            object's allocation (i8).
        object: number of the event that allocated the object (i8).
        cache: its cache (i4).
        cpu: CPU of the free (i2).
    """

    ts: Int64
    object: Int64
    cache: Int32
    cpu: Int16


class SheafRuns(NamedTuple):
    """Allocations out of prefilled sheaves, and calls for these; arrays of one length.

    Args:
        seq: rising numbers of their events (i8).
        run: number of the first event of the run: of its first allocation, or, where calls were
            recorded, of that which asked for the sheaf (i8).
        left: allocations of the run from this one on; where calls were recorded UNTIL_RETURNED. Of
            a call: how many objects the sheaf is to have, 0 for its return (i4).
    """

    seq: Int64
    run: Int64
    left: Int32


class SheafCalls(NamedTuple):
    """Calls for prefilled sheaves, and returns of them, in time order; arrays of one length.

    Args:
        seq: numbers of their events (i8).
        ts: ns (i8).
        cpu: CPU (i2).
        run: as SheafRuns has it (i8).
        wanted: objects that the sheaf is to have; 0: it is returned (i4).
    """

    seq: Int64
    ts: Int64
    cpu: Int16
    run: Int64
    wanted: Int32


class Untraced(NamedTuple):
    """What the events of a window do not say themselves.

    Args:
        frees: frees up to the time of its last event, that no window before was given.
        runs: its allocations out of prefilled sheaves.
    """

    frees: UntracedFrees
    runs: SheafRuns


NOTHING_UNTRACED = Untraced(
    UntracedFrees(
        np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int16)
    ),
    SheafRuns(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)),
)


class _Between(NamedTuple):
    """Requests that stand between the events of objects; arrays of one length.

    Args:
        ts: ns (i8).
        behind: number of an event that each stands behind (i8).
        object, cache, cpu, op, run, left: as ObjectRequests has them.
    """

    ts: Int64
    behind: Int64
    object: Int64
    cache: Int32
    cpu: Int16
    op: Int8
    run: Int64
    left: Int32


def sheaf_calls(columns: Columns, first: int, runs: SheafRuns) -> SheafCalls:
    """The calls among the runs of a window, whose events begin with number ``first``."""
    at = runs.seq - first
    rows = np.flatnonzero(columns["event"][at] > Ev.KMEM_CACHE_FREE)
    at = at[rows]
    return SheafCalls(
        runs.seq[rows], columns["ts"][at], columns["cpu"][at], runs.run[rows], runs.left[rows]
    )


class UntracedMerger:
    """Puts what is untraced between object requests; what is due behind the last one is carried.

    Args:
        prefilled_cache: number of the cache that prefilled sheaves are of; -1: none is modelled.
    """

    def __init__(self, prefilled_cache: int) -> None:
        self._prefilled_cache = prefilled_cache
        self._waiting: list[_Between] = []

    def window(
        self, shown: ObjectRequests, ts: Int64, untraced: Untraced, calls: SheafCalls
    ) -> tuple[ObjectRequests, Bools, int]:
        """Object requests with untraced ones between them.

        Args:
            shown: requests that are events.
            ts: their times [ns].
            untraced: what the window's events do not say.
            calls: calls for prefilled sheaves among them.

        Returns:
            The requests, which of them are events, and how many frees of the others there are.
        """
        op, run = shown.op.copy(), np.zeros(len(ts), np.int64)
        left = np.zeros(len(ts), np.int32)
        at = find(shown.seq, untraced.runs.seq)
        asked = np.flatnonzero(at >= 0)
        out_of = at[asked]
        op[out_of] = Op.FROM_SHEAF
        run[out_of], left[out_of] = untraced.runs.run[asked], untraced.runs.left[asked]

        more = joined([*self._waiting, self._of_frees(untraced.frees), self._of_calls(calls)])
        at = np.searchsorted(ts, more.ts)
        at = np.maximum(at, np.searchsorted(shown.seq, more.behind, side="right"))
        later = at == len(ts)
        self._waiting = [_Between._make(column[later] for column in more)]
        order = np.lexsort((more.behind, more.ts, at))
        order = order[~later[order]]
        at, more = at[order], _Between._make(column[order] for column in more)

        place = at + np.arange(len(at))
        shows = np.ones(len(ts) + len(at), np.bool_)
        shows[place] = False
        rest = np.flatnonzero(shows)

        def put(column: Array, values: npt.ArrayLike) -> Array:
            merged = np.empty(len(shows), column.dtype)
            merged[place], merged[rest] = values, column
            return merged

        is_free = more.op < 0
        requests = ObjectRequests(
            put(shown.seq, shown.seq[at]),
            put(shown.cpu, more.cpu),
            put(shown.cache, more.cache),
            put(op, more.op),
            put(shown.object, more.object),
            put(ts, np.where(is_free, ts[at], more.ts)),
            put(run, more.run),
            put(left, more.left),
            None if shown.due is None else put(shown.due, UNKNOWN),
            None if shown.node is None else put(shown.node, NO_NODE),
        )
        return requests, shows, int(np.count_nonzero(is_free))

    def _of_frees(self, frees: UntracedFrees) -> _Between:
        zero = np.zeros(len(frees.ts), np.int64)
        op = np.full(len(zero), Op.FREE_RCU, np.int8)
        return _Between(
            *(frees.ts, frees.object, frees.object, frees.cache, frees.cpu),
            *(op, zero, zero.astype(np.int32)),
        )

    def _of_calls(self, calls: SheafCalls) -> _Between:
        if self._prefilled_cache < 0:
            calls = SheafCalls._make(column[:0] for column in calls)
        count = len(calls.seq)
        return _Between(
            calls.ts,
            calls.seq,
            np.full(count, NO_OBJECT),
            np.full(count, self._prefilled_cache, np.int32),
            calls.cpu,
            np.full(count, Op.ASK_SHEAF, np.int8),
            calls.run,
            calls.wanted,
        )
