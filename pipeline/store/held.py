"""Rows of events that are held back, since a later window may change what they say.

DuckDB has written and compressed most rows of a run long before its last window. An UPDATE of one
of them has its whole row group compressed again, so the rows that most amendments are for wait in
memory: allocations whose life goes on, and objects whose cache is not known. Amendments of other
rows are rare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from allocsim.columns import concat, find, take
from allocsim.events import Ev
from allocsim.results import CacheHow

if TYPE_CHECKING:
    from allocsim.columns import Bools, Columns, Index

_ALLOCATES = np.isin(np.arange(256), [Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC, Ev.MM_PAGE_ALLOC])


def may_change(columns: Columns) -> Bools:
    """Which rows of events to hold back, by the columns ``event``, ``lifetime``, ``cache_how``."""
    waits: Bools = _ALLOCATES[columns["event"]] & (columns["lifetime"] < 0)
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
        self._rows: Columns = {}

    def add(self, rows: Columns) -> None:
        """Hold these rows, which come after all that are held, back."""
        self._rows = concat([self._rows, rows]) if self._rows else rows

    def amend(self, name: str, seq: Index, values: npt.NDArray[Any]) -> Bools:
        """Give held rows new values in a column; returns which ``seq`` are of held rows.

        Of several values for a row the last stands.
        """
        if name not in self._rows:
            return np.zeros(len(seq), bool)
        at = find(self._rows["seq"], seq)
        held = at >= 0
        self._rows[name][at[held]] = values[held]
        return held

    def release(self, *, everything: bool = False) -> Columns:
        """Take out the rows that need not wait any longer; all of them, at the end."""
        rows = self._rows
        if not rows:
            return rows
        waits = may_change(rows) if not everything else np.zeros(len(rows["seq"]), bool)
        surplus = int(np.count_nonzero(waits)) - self._limit
        if surplus > 0:
            waits[np.flatnonzero(waits)[:surplus]] = False
        self._rows = take(rows, waits)
        return take(rows, ~waits)
