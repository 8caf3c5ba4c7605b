"""What a command is given as a trace: a trace set, or a recording to be imported on the way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import InputError, UsageError
from pipeline.processes.scratch import scratch
from pipeline.trace_set.meta import check_meta
from pipeline.trace_set.parts import is_trace_set
from pipeline.trace_set.reader import TraceSet
from pipeline.trace_set.remote import fetched, uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.processes.progress import Progress


@contextmanager
def opened(path: Path, progress: Progress, instance: str | None = None) -> Iterator[TraceSet]:
    """The trace set at ``path``; a recording is imported for as long as it is needed.

    Args:
        path: a trace set, or a recording; what a URI names is copied for as long.
        progress: told how far the import is.
        instance: the trace instance of a recording to read; None: the only one with kmem events.

    Raises:
        InputError: neither is there, or it is damaged.
        UsageError: an instance is named of what is a trace set already.
    """
    must_exist(path)
    if uri(path) is not None:
        with scratch() as folder, opened(fetched(path, folder), progress, instance) as trace:
            trace.recording = path
            yield trace
        return
    if is_trace_set(path):
        if instance is not None:
            raise UsageError(
                f"{path}: a trace set holds one trace instance; --instance goes with a recording"
            )
        trace = TraceSet.open(path)
        check_meta(path, trace.meta)
        yield trace
        return
    from pipeline.ingest.recording import import_recording  # noqa: PLC0415 - as long as all else takes to load

    with scratch() as folder:
        imported = import_recording(
            path,
            folder,
            instance=instance,
            progress=progress.step(f"import {path.name}"),
        )
        trace = TraceSet.open(imported)
        trace.recording = path
        yield trace


def must_exist(path: Path) -> None:
    """Raise an InputError if there is nothing at ``path``; what a URI names is not looked for."""
    if uri(path) is None and not path.exists():
        raise InputError(f"{path}: no such trace set or recording")
