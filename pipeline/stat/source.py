"""What is totalled: a trace set, or a recording read straight from its file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from allocsim.tables import take
from allocsim.trace.events import EVENT_COLUMN
from pipeline.processes.prefetch import prefetch
from pipeline.replay.trace_source import must_exist, opened
from pipeline.trace_set.parts import Stacks, is_trace_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from allocsim.tables import Array, Columns, UInt64
    from pipeline.ingest.convert import Conversion
    from pipeline.processes.progress import Progress
    from pipeline.trace_set.column import Values
    from pipeline.trace_set.parts import Symbols, Wanted
    from pipeline.trace_set.reader import TraceSet

_ROWS = 1 << 19  #: of a window of a trace set


class EventSource(Protocol):
    """Events of a trace, window by window, and what it says besides."""

    name: str
    page_size: int

    def windows(self) -> Iterator[Columns]:
        """Columns of the events asked for; nulls are 0, and -1 of stacks and texts."""

    def facts(self) -> dict[str, Any]:
        """What is known of the trace: as meta.json has it; first_ts with the first window."""

    def stacks(self) -> Stacks:
        """Its stacks, once all windows have been read."""

    def symbols(self, addresses: UInt64) -> Symbols:
        """The symbols of some addresses (ascending, each once), likewise."""


@contextmanager
def event_source(
    path: Path, wanted: Wanted, progress: Progress, instance: str | None
) -> Iterator[EventSource]:
    """The events of a trace set or a recording; nothing is written.

    Args:
        path: a trace set, or a recording.
        wanted: which events, and which of their columns.
        progress: told how far it is.
        instance: the trace instance of a recording to read; None: the only one with kmem events.

    Raises:
        InputError: it cannot be read.
        UsageError: an instance is named of what is a trace set already.
    """
    must_exist(path)
    advance = progress.step(f"read {path.name}")
    if is_trace_set(path):
        with opened(path, progress, instance) as trace:
            yield OfTraceSet(trace, wanted, advance)
        return
    from pipeline.ingest.recording import straight  # noqa: PLC0415 - as long as all else takes to load

    with straight(path, wanted, instance) as (name, conversion, let_go):
        yield OfRecording(name, conversion, let_go, advance)


class OfTraceSet:
    """Events of a trace set.

    Args:
        trace: the trace set.
        wanted: which events, and which of their columns.
        advance: told how far it is.
    """

    def __init__(self, trace: TraceSet, wanted: Wanted, advance: Callable[[float], None]) -> None:
        self.name: str = trace.meta["name"]
        self.page_size: int = trace.meta["page_size"]
        self._trace = trace
        self._wanted = wanted
        self._advance = advance

    def windows(self) -> Iterator[Columns]:
        """The events asked for, window by window."""
        return map(self.some, self.whole_windows())

    def whole_windows(self) -> Iterator[Columns]:
        """All events, also those not asked for."""
        done = 0
        for window in prefetch(self._trace.windows(_ROWS, self._wanted.columns)):
            done += len(window["event"])
            yield window
            self._advance(done / self._trace.rows)

    def some(self, window: Columns) -> Columns:
        """Of a window the events asked for."""
        return take(window, np.flatnonzero(np.isin(window["event"], [*self._wanted.events])))

    def facts(self) -> dict[str, Any]:
        """What meta.json says."""
        return self._trace.meta

    def stacks(self) -> Stacks:
        """Its stacks."""
        return self._trace.stacks

    def symbols(self, addresses: UInt64) -> Symbols:
        """The symbols of some addresses."""
        return self._trace.symbols.some(addresses)


class OfRecording:
    """Events of a recording, read once.

    Args:
        name: what its trace set would be called.
        conversion: of the events asked for.
        let_go: to be called after each window.
        advance: told how far it is.
    """

    def __init__(
        self,
        name: str,
        conversion: Conversion,
        let_go: Callable[[], None],
        advance: Callable[[float], None],
    ) -> None:
        self.name = name
        self.page_size = conversion.reader.page_size
        self._conversion = conversion
        self._let_go = let_go
        self._advance = advance

    def windows(self) -> Iterator[Columns]:
        """The events asked for, window by window."""
        for rows, columns in self._conversion.windows():
            yield {name: _dense(name, values, rows) for name, values in columns.items()}
            self._advance(self._conversion.reader.progress)
            self._let_go()

    def facts(self) -> dict[str, Any]:
        """Of meta.json what a recording that is read once can say."""
        reader, counts = self._conversion.reader, self._conversion.counts
        facts = reader.facts()
        return {
            "kernel_release": facts.kernel_release,
            "page_size": reader.page_size,
            "ts_unit": facts.ts_unit,
            "clock": facts.clock,
            "cpus": facts.cpus,
            "lost": facts.lost,
            "comms": facts.comms,
            "first_ts": counts.first_ts,
            "last_ts": counts.last_ts,
            "dropped": {"large_kmalloc_repeats": counts.repeats},
        }

    def stacks(self) -> Stacks:
        """Its stacks."""
        return Stacks(self._conversion.stacks.start, self._conversion.stacks.address)

    def symbols(self, addresses: UInt64) -> Symbols:
        """The symbols of some addresses."""
        return self._conversion.symbols.resolve(addresses)


def _dense(name: str, column: Values, rows: int) -> Array:
    """A column with one value a row, as TraceSet.windows has it."""
    values = column.values
    if column.dictionary is not None and EVENT_COLUMN[name].dtype != "str":
        values = np.asarray(column.dictionary)[values]
    if column.valid is None:
        return values
    missing = -1 if name in ("stack", "cache") else 0
    whole = np.full(rows, missing, values.dtype)
    whole[column.valid] = values
    return whole
