"""What was recorded: the events of a trace set as a frame, and what is known of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocsim.trace.events import EVENT_NAMES
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import own_policy
from pipeline.replay.trace_source import opened
from pipeline.trace_set.machine import machine_nodes
from reports.console.trace import trace_text

if TYPE_CHECKING:
    import polars as pl

    from pipeline.api.results import PathLike
    from pipeline.trace_set.machine import MemoryNodes


def read_trace(trace: PathLike, *, instance: str | None = None) -> pl.LazyFrame:
    """The events of a trace as they were recorded, one a row, in order of time.

    ``event`` is the tracepoint's name; the other columns are those of the trace set's
    events.parquet (docs/python.md), whose files polars reads itself, as far as they are asked for.

    Args:
        trace: a trace set, or a recording: that is imported first, into a temporary folder which is
            there as long as the frame is.
        instance: trace instance of a trace.dat to read; None: the only one with kmem events.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    import polars as pl

    from pipeline.api.frames import kept

    with ExitStack() as stack:
        found = stack.enter_context(opened(Path(trace), Progress(), instance))
        events = pl.scan_parquet(found.file("events.parquet"), glob=False).with_columns(
            pl.col("event").cat.to(pl.Enum(EVENT_NAMES))
        )
        events.collect_schema()
        return events if found.path == Path(trace) else kept(events, stack.pop_all())


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What a trace says of its recording.

    Attributes:
        meta: the trace set's meta.json, whole: kernel, clock, CPUs, events, losses.
        nodes: memory nodes of its machine, and page allocations on the node of the CPU that asked
            and on others, as far as snapshots tell.
        own_policy: the refcount policy that is the recorded kernel's own; empty: not known.
    """

    meta: dict[str, Any]
    nodes: MemoryNodes
    own_policy: str

    def text(self) -> str:
        """It in lines to read, as the command prints it."""
        return trace_text(self.meta, *self.nodes, own_policy=self.own_policy)


def info(trace: PathLike, *, progress: Progress | None = None) -> TraceInfo:
    """What a trace holds, before it is replayed.

    Args:
        trace: a trace set, or a recording.
        progress: told how far it is, as the command shows it.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    with opened(Path(trace), progress or Progress()) as found:
        return TraceInfo(found.meta, machine_nodes(found), own_policy(found.meta["kernel_release"]))
