"""A trace set without its page_ref events: what a recording of kmem events alone would be.

A spec says nothing of references taken while a page is in use, so a synthetic trace has none of
these events, and the model assumes what a page goes through by its kind. To be compared, the
original must be looked at in the same way.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from allocsim.trace.events import EVENTS
from pipeline.errors import InputError
from pipeline.trace_set.aside import made_aside
from pipeline.trace_set.reader import TraceSet

if TYPE_CHECKING:
    from pathlib import Path

_PAGE_REF = [int(event.code) for event in EVENTS if event.system == "page_ref"]


def without_page_refs(trace: TraceSet, folder: Path) -> TraceSet:
    """The trace set as it is if it has no page_ref events; else a copy without them.

    Args:
        trace: the trace set.
        folder: where to put the copy.

    Raises:
        InputError: it has no other events.
        OutputError: there is no room for it.
    """
    events = trace.meta["events"]
    others = sum(count for name, count in events.items() if not name.startswith("page_ref_"))
    if others == sum(events.values()):
        return trace
    if not others:
        raise InputError(f"{trace.path}: no event but of page_ref: nothing to fit a spec to")
    copy = folder / trace.path.name
    with made_aside(copy, force=False) as aside:
        _copy(trace, aside / copy.name)
    return TraceSet.open(copy)


def _copy(trace: TraceSet, copy: Path) -> None:
    shutil.copytree(trace.path, copy, ignore=shutil.ignore_patterns("events.parquet"))
    codes = pa.array(_PAGE_REF, pa.uint8())
    with parquet.ParquetFile(trace.path / "events.parquet") as source:
        schema = source.schema_arrow
        with parquet.ParquetWriter(copy / "events.parquet", schema, compression="zstd") as target:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                kept = table.filter(pc.invert(pc.is_in(table.column("event"), codes)))
                if kept.num_rows:
                    target.write_table(kept)
    meta = json.loads((copy / "meta.json").read_text("utf-8"))
    for key in ("events", "fields"):
        meta[key] = {k: v for k, v in meta.get(key, {}).items() if not k.startswith("page_ref_")}
    meta["recorded_events"] = list(meta["events"])
    bare = TraceSet.open(copy)
    meta["dropped"] = {**meta["dropped"], "page_ref_events": trace.rows - bare.rows}
    first, last = _ends(copy)
    meta["first_ts"], meta["last_ts"] = first, last
    (copy / "meta.json").write_text(json.dumps(meta), "utf-8")


def _ends(folder: Path) -> tuple[int, int]:
    with parquet.ParquetFile(folder / "events.parquet") as file:
        first = file.read_row_group(0, columns=["ts"]).column("ts")[0].as_py()
        last = file.read_row_group(file.num_row_groups - 1, columns=["ts"]).column("ts")[-1].as_py()
    return int(first), int(last)
