"""Replaying traces into a results database: a run for each, in one transaction each."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from allocsim import __version__
from allocsim.replay import FinalResult, Recording, Replay
from allocsim.results import How
from pipeline.errors import InputError
from pipeline.store.database import writing
from pipeline.store.dimensions import (
    call_site_rows,
    next_number,
    stack_names,
    stack_rows,
    task_rows,
    trace_id,
    trace_row,
)
from pipeline.store.load import RunWriter
from pipeline.store.schema import (
    CACHES,
    CALL_SITES,
    QUALITY_COUNTS,
    RUNS,
    STACKS,
    TASKS,
)
from pipeline.trace_set import TraceSet, is_trace_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WINDOW_ROWS = 1 << 20
_SLICES = 120  # time slices a run is cut into for the timeline


@contextmanager
def opened(path: Path, scratch: Path) -> Iterator[TraceSet]:
    """The trace set at ``path``; a recording is imported into ``scratch`` for as long as needed.

    Raises:
        InputError: nothing there, or neither a trace set nor a recording.
    """
    if not path.exists():
        raise InputError(f"{path}: no such trace set or recording")
    if is_trace_set(path):
        yield TraceSet.open(path)
        return
    from pipeline.ingest.recording import import_recording

    with TemporaryDirectory(prefix=".import-", dir=scratch) as folder:
        yield TraceSet.open(import_recording(path, Path(folder)))


def replay_trace(
    trace: TraceSet,
    db: Path,
    policies: list[Any],
    *,
    window_rows: int = WINDOW_ROWS,
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Replay a trace set and add the run to a results database; returns the run's number.

    Args:
        trace: the trace set.
        db: the results database; made if it is not there.
        policies: refcount policies to price the run with.
        window_rows: events held at once; the results do not depend on it.
        advance: told the number of events after each window.

    Raises:
        AllocsimError: the trace set is damaged, or the database cannot take the run; nothing has
            been added then.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    stacks = stack_names(trace)
    replay = Replay(_recording(trace, stacks))
    with writing(db) as connection:
        run = next_number(connection, "runs", "run")
        writer = RunWriter(connection, run)
        seq = 0
        for window in trace.windows(window_rows):
            result = replay.window(window)
            writer.window(seq, window, result.columns)
            writer.pages(result.pages)
            writer.amend(result.amendments)
            seq += len(window["ts"])
            advance(seq)
        final = replay.finish()
        writer.pages(final.pages)
        writer.amend(final.amendments)
        meta = trace.meta
        writer.rows(
            RUNS,
            [
                {
                    "trace_id": trace_id(connection, trace_row(trace)),
                    "started": started,
                    "allocsim_version": __version__,
                    "window_rows": window_rows,
                    "events": seq,
                    "first_ts": meta["first_ts"],
                    "last_ts": meta["last_ts"],
                    "slice_ns": (meta["last_ts"] - meta["first_ts"]) // _SLICES + 1,
                    "use_how": How.OBSERVED if _has_page_ref(trace) else How.ASSUMED,
                }
            ],
        )
        _dimensions(writer, trace, stacks, final)
        writer.finish()
    return run


def _recording(trace: TraceSet, stacks: list[list[str]]) -> Recording:
    meta = trace.meta
    return Recording(
        release=meta["kernel_release"],
        cache_names=trace.text("cache"),
        stacks=stacks,
        direct_map_base=meta["direct_map"]["base"],
        page_ref=_has_page_ref(trace),
        page_size=meta["page_size"],
    )


def _has_page_ref(trace: TraceSet) -> bool:
    return any(name.startswith("page_ref_") for name in trace.meta["recorded_events"])


def _dimensions(
    writer: RunWriter, trace: TraceSet, stacks: list[list[str]], final: FinalResult
) -> None:
    caches = [
        {"cache": number, "name": name, "object_size": size if size >= 0 else None}
        for number, (name, size) in enumerate(final.caches)
    ]
    counts = [{"name": name, "value": value} for name, value in final.counts.items()]
    writer.rows(CACHES, caches)
    writer.rows(QUALITY_COUNTS, counts)
    writer.rows(CALL_SITES, call_site_rows(trace))
    writer.rows(STACKS, stack_rows(stacks))
    writer.rows(TASKS, task_rows(trace))
