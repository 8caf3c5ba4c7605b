"""Objects: who allocates how many of what size, who frees them where, and what is live.

Events are sorted by (address, time), and each address remembers its last allocation from window to
window, also when that is freed: perf kmem counts frees of such addresses (see docs/stat.md). State
is 40 bytes for each address ever allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.lifetimes import ZERO_SIZE_PTR
from allocsim.tables import column, empty, find, merge_sorted, stable_order, take
from allocsim.trace.events import Ev
from pipeline.stat.groups import Groups, GroupSums
from pipeline.stat.tables import FIGURES, KEYS, SLAB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Array, Bools, Columns, Int64, UInt64

EVENTS = frozenset({Ev.KMALLOC, Ev.KFREE, Ev.KMEM_CACHE_ALLOC, Ev.KMEM_CACHE_FREE})
COLUMNS = frozenset({"ts", "cpu", "pid", "event", "ptr", "bytes_req", "bytes_alloc", "inner_site"})

# What is remembered of the last allocation of an address, besides the address.
_LAST = {
    "group": "i8",
    "bytes_alloc": "i8",
    "bytes_req": "i8",
    "cpu": "i2",
    "live": "?",
    "counted": "?",
}


@dataclass(slots=True)
class ObjectCounts:
    """What no row of the table has.

    Attributes:
        unknown_frees: frees of objects that the recording does not allocate.
        null_frees: frees of NULL and of what kmalloc(0) returns (T4).
        failed: allocations that got nothing.
        failed_bytes_alloc: what they would have been given; perf kmem counts it as given.
        failed_bytes_req: what they asked for, likewise.
        large: allocations of whole pages, above the largest kmalloc cache: pages too.
        large_bytes_alloc: what they were given.
        large_bytes_req: what they asked for.
    """

    unknown_frees: int = 0
    null_frees: int = 0
    failed: int = 0
    failed_bytes_alloc: int = 0
    failed_bytes_req: int = 0
    large: int = 0
    large_bytes_alloc: int = 0
    large_bytes_req: int = 0


class ObjectTotals:
    """Totals of objects by the keys of a table.

    Args:
        by: the keys (tables.KEYS).
        large: bytes above which a kmalloc is whole pages (R3.2).
    """

    def __init__(self, by: Sequence[str], large: int) -> None:
        self.by = tuple(dict.fromkeys(by))
        self._columns = [KEYS[name].slab for name in self.by]
        self._large = large
        self.groups = Groups(len(self._columns))
        self.sums = GroupSums([figure.name for figure in FIGURES[SLAB]])
        self.counts = ObjectCounts()
        self._last: Columns = empty({"ptr": "u8", **_LAST})

    def window(self, events: Columns, counted: Bools, until: Bools) -> None:
        """Take in the next events.

        Args:
            events: their columns; those the trace lacks are absent.
            counted: which are selected.
            until: which are not after the end of what is counted.
        """
        rows = np.flatnonzero(np.isin(events["event"], [*EVENTS]))
        if not len(rows):
            return
        code = events["event"][rows]
        allocates = (code == Ev.KMALLOC) | (code == Ev.KMEM_CACHE_ALLOC)
        nothing = events["ptr"][rows] <= ZERO_SIZE_PTR
        if nothing.any():
            self._nothing(take(events, rows[nothing]), counted[rows[nothing]], allocates[nothing])
            rows, allocates = rows[~nothing], allocates[~nothing]
        if not len(rows):
            return
        new = self._allocations(events, rows[allocates], counted[rows[allocates]])
        self._lives(
            events["ptr"][rows],
            allocates,
            new,
            events["cpu"][rows],
            counted[rows],
            until[rows],
        )

    def _nothing(self, events: Columns, counted: Bools, allocates: Bools) -> None:
        """Frees of no object, and allocations that got none."""
        self.counts.null_frees += int((counted & ~allocates).sum())
        failed = counted & allocates
        self.counts.failed += int(failed.sum())
        rows = np.flatnonzero(failed)
        self.counts.failed_bytes_alloc += int(column(events, "bytes_alloc", rows).sum())
        self.counts.failed_bytes_req += int(column(events, "bytes_req", rows).sum())

    def _allocations(self, events: Columns, rows: Int64, counted: Bools) -> Columns:
        """Count the allocations at ``rows``; what is remembered of each."""
        keys = self._keys(events, rows)
        group = self.groups.codes(keys, len(rows))
        alloc, req = (column(events, name, rows) for name in ("bytes_alloc", "bytes_req"))
        self.sums.add("allocations", group[counted])
        self.sums.add("bytes_alloc", group[counted], alloc[counted])
        self.sums.add("bytes_req", group[counted], req[counted])
        self._large_ones(alloc[counted], req[counted], events["event"][rows[counted]])
        self._repeats(events, rows[counted])
        return {
            "group": group,
            "bytes_alloc": alloc,
            "bytes_req": req,
            "cpu": events["cpu"][rows],
            "live": np.ones(len(rows), bool),
            "counted": counted,
        }

    def _keys(self, events: Columns, rows: Int64, **other: Array) -> list[Array]:
        none = np.full(len(rows), -1, np.int64)
        return [
            other[name] if name in other else events[name][rows] if name in events else none
            for name in self._columns
        ]

    def _large_ones(self, alloc: Int64, req: Int64, code: Array) -> None:
        large = (alloc > self._large) & (code == Ev.KMALLOC)
        self.counts.large += int(large.sum())
        self.counts.large_bytes_alloc += int(alloc[large].sum())
        self.counts.large_bytes_req += int(req[large].sum())

    def _repeats(self, events: Columns, rows: Int64) -> None:
        """Count the first of two events of large kmallocs, at call sites of their own (T3)."""
        if "inner_site" not in events:
            return
        rows = rows[events["inner_site"][rows] != 0]
        if not len(rows):
            return
        keys = self._keys(events, rows, call_site=events["inner_site"][rows])
        group = self.groups.codes(keys, len(rows))
        self.sums.add("repeats", group)
        self.sums.add("repeats_bytes_alloc", group, events["bytes_alloc"][rows])
        self.sums.add("repeats_bytes_req", group, events["bytes_req"][rows])

    def _lives(  # noqa: PLR0913 - one a column
        self,
        ptr: UInt64,
        allocates: Bools,
        new: Columns,
        cpu: Array,
        counted: Bools,
        until: Bools,
    ) -> None:
        """Let each event meet the last allocation of its address before it."""
        order = stable_order(ptr >> np.uint64(3))
        number = np.cumsum(allocates) - 1  # of each allocation, in time order
        address, allocates = ptr[order], allocates[order]
        first = np.ones(len(order), bool)
        first[1:] = address[1:] != address[:-1]
        begin = np.flatnonzero(first)
        known = find(self._last["ptr"], address[begin])

        # Allocations of before, one an address, then those of the window: one table for both.
        before = len(known)
        table = {
            name: np.concatenate([_rows(self._last[name], known), new[name]]) for name in _LAST
        }
        carried = np.where(known >= 0, np.arange(before), -1)
        place = before + number[order]  # of each event that allocates
        latest = np.maximum.accumulate(np.where(allocates, np.arange(len(order)), -1))
        own = np.repeat(np.arange(before), np.diff(begin, append=len(order)))
        after = np.where(latest >= begin[own], place[latest], carried[own])
        prior = np.concatenate([after[:1], after[:-1]])
        prior[begin] = carried
        live = np.zeros(len(order), bool)
        live[1:] = allocates[:-1]
        live[begin] = (known >= 0) & table["live"][:before]

        counted, until, cpu = counted[order], until[order], cpu[order]
        self._frees(take(table, prior), ~allocates & (prior >= 0), live, cpu, counted)
        ended = live & until & table["counted"][prior]
        self._live(take(table, prior[ended]), -1)
        begun = place[allocates]
        self._live(take(table, begun[table["counted"][begun]]), 1)
        unseen = live & allocates & counted
        lost = take(table, prior[unseen])
        self.sums.add("ended_unseen", lost["group"])
        self.sums.add("bytes_ended_unseen", lost["group"], lost["bytes_alloc"])
        self.counts.unknown_frees += int((counted & ~allocates & (prior < 0)).sum())

        end = np.append(begin[1:], len(order)) - 1
        there = after[end] >= 0
        lasts = take(table, after[end[there]])
        lasts["live"] = allocates[end[there]]
        self._remember(address[end[there]], known[there], lasts)

    def _frees(self, last: Columns, frees: Bools, live: Bools, cpu: Array, counted: Bools) -> None:
        seen = frees & live & counted
        group = last["group"][seen]
        self.sums.add("frees", group)
        self.sums.add("bytes_freed", group, last["bytes_alloc"][seen])
        self.sums.add("pingpong", last["group"][seen & (cpu != last["cpu"])])
        again = frees & ~live & counted
        self.sums.add("freed_again", last["group"][again])
        self.sums.add("bytes_freed_again", last["group"][again], last["bytes_alloc"][again])

    def _live(self, objects: Columns, sign: int) -> None:
        self.sums.add("live", objects["group"], sign=sign)
        self.sums.add("live_bytes_alloc", objects["group"], objects["bytes_alloc"], sign)
        self.sums.add("live_bytes_req", objects["group"], objects["bytes_req"], sign)

    def _remember(self, ptr: UInt64, known: Int64, lasts: Columns) -> None:
        old = known >= 0
        for name in _LAST:
            self._last[name][known[old]] = lasts[name][old]
        fresh = {"ptr": ptr[~old], **take(lasts, ~old)}
        self._last = merge_sorted(self._last, fresh, "ptr")


def _rows(values: Array, rows: Int64) -> Array:
    """Some rows of a column, anything where a row is -1."""
    return values[rows] if len(values) else np.zeros(len(rows), values.dtype)
