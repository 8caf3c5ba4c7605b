"""Which cache each event's object is of, as a replay says: it may be known only much later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording import interpret
from allocsim.recording.cache_names import kmalloc_classes
from allocsim.recording.interpret import Replay
from allocsim.trace.events import Ev
from pipeline.processes.prefetch import prefetch
from pipeline.replay.recorded import WINDOW_ROWS, recording_of
from pipeline.stat.labels import WHOLE_PAGES
from pipeline.stat.source import OfTraceSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from allocsim.tables import Columns, Int32
    from allocsim.trace.late_results import LateResults
    from pipeline.trace_set.parts import Wanted
    from pipeline.trace_set.reader import TraceSet


class OfNamedCaches(OfTraceSet):
    """Events of a trace set with the cache of each object.

    Args:
        trace: the trace set.
        wanted: which events, and which of their columns.
        advance: told how far it is.
        folder: for a file of 4 bytes an event.
    """

    def __init__(
        self, trace: TraceSet, wanted: Wanted, advance: Callable[[float], None], folder: Path
    ) -> None:
        super().__init__(trace, wanted, advance)
        self._largest = kmalloc_classes(self.page_size)[-1]
        self.caches, self._of_event = _named(trace, folder, advance)

    def windows(self) -> Iterator[Columns]:
        """The events asked for, window by window, with the column cache."""
        begin = 0
        for window in self.whole_windows():
            end = begin + len(window["event"])
            whole = (window["event"] == Ev.KMALLOC) & (window["bytes_alloc"] > self._largest)
            window["cache"] = np.where(whole, WHOLE_PAGES, self._of_event[begin:end])
            yield self.some(window)
            begin = end


def _named(
    trace: TraceSet, folder: Path, advance: Callable[[float], None]
) -> tuple[list[str], Int32]:
    """Names of caches by number, and the number of each event's; -1: of none, or not known."""
    rows = max(trace.rows, 1)
    caches = np.memmap(folder / "caches", np.int32, "w+", shape=(rows,))
    model, begin = Replay(recording_of(trace)), 0
    for window in prefetch(trace.windows(WINDOW_ROWS, interpret.COLUMNS)):
        found = model.window(window)
        end = begin + len(window["event"])
        caches[begin:end] = found.columns["cache"]
        _amend(caches, found.late_results)
        begin = end
        advance(begin / rows / 2)
    final = model.finish()
    _amend(caches, final.late_results)
    return [name for name, _ in final.caches], caches


def _amend(caches: Int32, late: LateResults) -> None:
    if "cache" in late:
        rows, values = late["cache"]
        caches[rows] = values
