"""A window of events, and results of earlier rows that only a later window makes known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import I8, Array

if TYPE_CHECKING:
    from allocsim.tables import Columns

LateResults = dict[str, tuple[I8, Array]]


class LateResultCollector:
    """Collects late results, column by column."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[I8, Array]]] = {}

    def add(self, seq: I8, **values: Array | int) -> None:
        """Give rows of the trace new values.

        Args:
            seq: rows of the trace.
            values: for each column of EVENT_RESULTS that changes, its values or their one value.
        """
        if not len(seq):
            return
        for name, value in values.items():
            full = np.broadcast_to(np.asarray(value), seq.shape)
            self._parts.setdefault(name, []).append((seq, full))

    def drain(self) -> LateResults:
        """What was collected, as (rows, values) of each column; the collection starts anew.

        Should a row have come twice, the later value stands last.
        """
        parts, self._parts = self._parts, {}
        return {
            name: (
                np.concatenate([seq for seq, _ in pieces]),
                np.concatenate([value for _, value in pieces]),
            )
            for name, pieces in parts.items()
        }


@dataclass(frozen=True, slots=True)
class EventWindow:
    """Consecutive events of a trace.

    Args:
        columns: event columns, row for row; those the trace lacks are absent.
        seq: row of the trace of the first event.
        late: takes results of rows of earlier windows.
    """

    columns: Columns
    seq: int
    late: LateResultCollector
