"""What a command is given as a trace: a trace set, or a recording to be imported on the way."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.trace_set.parts import check_meta, is_trace_set
from pipeline.trace_set.reader import TraceSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.progress import Progress


@contextmanager
def opened(path: Path, progress: Progress) -> Iterator[TraceSet]:
    """The trace set at ``path``; a recording is imported for as long as it is needed.

    Raises:
        InputError: neither is there, or it is damaged.
    """
    must_exist(path)
    if is_trace_set(path):
        trace = TraceSet.open(path)
        check_meta(path, trace.meta)
        yield trace
        return
    with TemporaryDirectory(prefix="allocsim-") as folder:
        imported = import_recording(
            path, Path(folder), progress=progress.step(f"import {path.name}")
        )
        yield TraceSet.open(imported)


def must_exist(path: Path) -> None:
    """Raise an InputError if there is nothing at ``path``."""
    if not path.exists():
        raise InputError(f"{path}: no such trace set or recording")
