"""Rows of events that are held back, since a later window may change what they say.

DuckDB has written and compressed most rows of a run long before its last window. An UPDATE of one
of them has its whole row group compressed again, so the rows that most late results are for wait in
memory: allocations whose life goes on, and objects whose cache is not known. Late results of other
rows are rare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import concat, find, take
from allocsim.trace.results import CacheHow

if TYPE_CHECKING:
    from allocsim.tables import I8, Array, Bools, Columns


def may_change(columns: Columns) -> Bools:
    """Which rows of events to hold back.

    Args:
        columns: events, with ``open`` as allocsim.recording.interpret.WindowResult has it,
            and ``cache_how``.
    """
    waits: Bools = columns["open"].copy()
    if "cache_how" in columns:
        waits |= columns["cache_how"] == CacheHow.UNRESOLVED
    return waits


class Held:
    """Rows of one table of events, in order of ``seq``, that are held back.

    Args:
        limit: how many rows there may be; where there are more, the oldest wait no longer.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[Columns] = []
        self._settled = 0  # rows amended since the last look at which need not wait

    def add(self, rows: Columns) -> None:
        """Hold these rows, which come after all that are held, back."""
        if len(rows["seq"]):
            self._parts.append(rows)

    def amend(self, name: str, seq: I8, values: Array) -> Bools:
        """Give held rows new values in a column; returns which ``seq`` are of held rows.

        Of several values for a row the last stands. A row that is given its lifetime is no longer
        of an open life.
        """
        held = np.zeros(len(seq), bool)
        for part in self._parts:
            if name not in part:
                break
            at = find(part["seq"], seq)
            here = at >= 0
            part[name][at[here]] = values[here]
            if name == "lifetime":
                part["open"][at[here]] = False
            held |= here
        self._settled += int(np.count_nonzero(held))
        return held

    def release(self, *, everything: bool = False) -> Columns:
        """Take out rows that need not wait any longer; all of them, at the end.

        As long as most wait, none is taken out: each look copies those that stay.
        """
        count = sum(len(part["seq"]) for part in self._parts)
        due = everything or 4 * self._settled >= count or count > self._limit
        if not count or not due:
            return {}
        rows = concat(self._parts)
        waits = may_change(rows) if not everything else np.zeros(count, bool)
        surplus = int(np.count_nonzero(waits)) - self._limit
        if surplus > 0:
            waits[np.flatnonzero(waits)[:surplus]] = False
        self._parts, self._settled = [], 0
        self.add(take(rows, waits))
        return take(rows, ~waits)
