"""A recording, imported and replayed whole: what the tests on real recordings look at."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from allocsim.recording.interpret import FinalResult, RecordingFacts, Replay
from allocsim.tables import Columns, concat
from allocsim.trace.results import EVENT_RESULTS
from pipeline.ingest.recording import import_recording
from pipeline.store.dimensions import functions, stack_names
from pipeline.trace_set.reader import TraceSet


@dataclass(frozen=True)
class Replayed:
    """What a replay of one recording gave, late results applied, beside what the kernel counted."""

    columns: Columns
    recording: RecordingFacts
    meta: dict[str, Any]
    truth: dict[str, Any]
    rows: Columns
    pages: Columns
    final: FinalResult


@functools.lru_cache(maxsize=2)
def replayed(path: Path) -> Replayed:
    """Import and replay a recording folder (the last two are kept)."""
    columns, recording, meta = imported(path)
    rows, pages, final = replay(columns, recording)
    truth = json.loads((path / "truth.json").read_text("utf-8"))
    return Replayed(columns, recording, meta, truth, rows, pages, final)


def replay(
    columns: Columns, recording: RecordingFacts, window: int = 1 << 20
) -> tuple[Columns, Columns, FinalResult]:
    """Rows and page lives, in order of handle, of a replay in windows of so many rows."""
    machine = Replay(recording)
    parts = []
    for start in range(0, len(columns["event"]), window):
        part = {name: values[start : start + window] for name, values in columns.items()}
        parts.append(machine.window(part))
    final = machine.finish()
    nothing = {column.name: np.empty(0, column.dtype) for column in EVENT_RESULTS}
    rows = concat([nothing, *(part.columns for part in parts)])
    for late_results in (*(part.late_results for part in parts), final.late_results):
        for name, (seq, values) in late_results.items():
            rows[name][seq] = values
    pages = concat([*(part.pages for part in parts), final.pages])
    order = np.argsort(pages["page"])
    return rows, {name: values[order] for name, values in pages.items()}, final


def imported(path: Path) -> tuple[Columns, RecordingFacts, dict[str, Any]]:
    """All events of a recording folder, what a replay must know of it, and its meta.json."""
    with TemporaryDirectory() as folder:
        trace = TraceSet.open(import_recording(path, Path(folder)))
        columns = concat(trace.windows())
        slabinfo = (path / "snapshots" / "before" / "slabinfo").read_text("utf-8")
        recording = RecordingFacts(
            release=trace.meta["kernel_release"],
            cache_names=trace.text("cache"),
            stacks=stack_names(trace),
            functions=functions(trace),
            direct_map_base=trace.meta["direct_map"]["base"],
            page_ref=any(name.startswith("page_ref") for name in trace.meta["recorded_events"]),
            kernel_caches={
                name: int(size)
                for name, _, _, size, *_ in map(str.split, slabinfo.splitlines()[2:])
            },
        )
        return columns, recording, trace.meta
