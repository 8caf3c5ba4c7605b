"""The trace instances of a trace.dat, and which of them is read: the one with kmem events.

``trace-cmd record -B NAME`` records into the buffer of an instance of that name; what comes before
the first -B goes into the top one, which has none (trace-cmd-record(1)). Every instance has a
clock, a page size and CPUs of its own; event formats are the whole file's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.formats import parse_fields
from pipeline.ingest.left_out.other_events import by_name, count_others, listed_events
from pipeline.ingest.trace_dat.clock import Clock
from pipeline.ingest.trace_dat.ring_buffer import PageLayout
from pipeline.ingest.trace_dat.sub_buffers import SubBufferStreams
from pipeline.ingest.trace_dat.windows import cpu_pages, read_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.stream import Stream
    from pipeline.ingest.trace_dat.container import Buffer, TraceDat

#: What the top instance is called here; an instance that has this name comes first.
TOP = "top"
_LOOK = 1 << 20  # bytes looked at in one go for a kmem event


class Instance:
    """The records of one instance, with nothing read yet.

    Args:
        trace: the recording.
        buffer: which of its instances.
        types: the recording's event types.

    Raises:
        InputError: its clock or the layout of its sub-buffers is damaged.
    """

    def __init__(self, trace: TraceDat, buffer: Buffer, types: EventTypes) -> None:
        self.buffer = buffer
        self.clock = Clock.of(trace, buffer.clock)
        fields = parse_fields(trace.header_page, f"{trace.path}: header_page")
        self.layout = PageLayout.of(fields, buffer.page_size, trace.order, trace.path)
        self.cpus = cpu_pages(trace, buffer, self.layout, self.clock)
        self._types = types
        self._where = trace.path
        if buffer.name:
            self._where += f": instance {buffer.name}"

    def streams(self, budget: int) -> Iterator[Stream]:
        """The records of windows of about ``budget`` bytes."""
        maker = SubBufferStreams(self._types, self.layout, self.clock, self._where)
        return (maker.stream(raw) for raw in read_windows(self.cpus, budget))

    def others(self) -> dict[str, int] | None:
        """None as soon as an event that is kept is found; else how many of which there are."""
        counts: dict[int, int] = {}
        for stream in self.streams(_LOOK):
            if np.any(stream.slot < len(self._types.kept)):
                return None
            count_others(stream, counts)
        return by_name(self._types, counts)


def name_of(buffer: Buffer) -> str:
    """What an instance is called."""
    return buffer.name or TOP


def choose(trace: TraceDat, types: EventTypes, wanted: str | None) -> Buffer:
    """The instance to read: the one that is wanted, else the only one with kmem events.

    Args:
        trace: the recording.
        types: its event types.
        wanted: the name of the one that the user wants; None: none was named.

    Raises:
        InputError: there is no such instance, or several or none have kmem events; names them.
    """
    if wanted is not None:
        return _named(trace, wanted)
    filled = [buffer for buffer in trace.buffers if any(cpu.size for cpu in buffer.cpus)]
    if not filled:
        raise InputError(f"{trace.path}: no events in this recording{_texts(trace)}")
    if len(filled) == 1:
        return filled[0]
    others = {name_of(buffer): Instance(trace, buffer, types).others() for buffer in filled}
    found = [buffer for buffer in filled if others[name_of(buffer)] is None]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(map(name_of, found))
        raise InputError(
            f"{trace.path}: kmem events in several trace instances ({names}); choose one with "
            "--instance NAME (of import or replay)"
        )
    there = "; ".join(
        f"instance {name}: {listed_events(other or {})}" for name, other in others.items()
    )
    raise InputError(
        f"{trace.path}: no kmem events in this recording; record those of kmem "
        f"(it has, {there}{_texts(trace)})"
    )


def _named(trace: TraceDat, wanted: str) -> Buffer:
    for name in (wanted, "" if wanted == TOP else wanted):
        for buffer in trace.buffers:
            if buffer.name == name:
                return buffer
    names = ", ".join(map(name_of, trace.buffers)) or "none"
    raise InputError(
        f"{trace.path}: no trace instance {wanted!r} in this recording; it has {names}"
    )


def _texts(trace: TraceDat) -> str:
    """What is said of instances whose data is a latency tracer's text."""
    if not trace.latency:
        return ""
    names = ", ".join(name or TOP for name in trace.latency)
    return f"; only the text of a latency tracer of instance {names}"
