"""Trace sets with hazards planted into real recordings: events inserted by hand, and marked so."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.trace.events import Ev

Rows = list[dict[str, Any]]


def page_ref(code: Ev, pfn: int, val: int, **fields: int) -> dict[str, Any]:
    """A page_ref event to plant; ``count`` and ``ret`` as the kernel would have them."""
    zero = dict.fromkeys(("page_flags", "mapcount", "mapping", "migratetype"), 0)
    return {"event": int(code), "pfn": pfn, "val": val, **zero, **fields}


def plant(trace: Path, folder: Path, planted: list[tuple[int, dict[str, Any]]]) -> Path:
    """A copy of a trace set with events inserted, called after it with ``-planted``.

    Args:
        trace: the trace set.
        folder: where the copy goes.
        planted: (row, fields) for each: it is put before that row of the trace set, at its time,
            on its CPU and by its task; in order of row.

    Returns:
        The copy. Its meta.json says "synthetic": true and how many events were planted.
    """
    copy = folder / f"{trace.name}-planted"
    shutil.copytree(trace, copy)
    table = parquet.read_table(trace / "events.parquet")
    parts, done = [], 0
    for row, fields in planted:
        like = table.slice(row, 1).to_pylist()[0]
        own = {name: like[name] for name in ("ts", "cpu", "pid", "irq_flags", "metadata")}
        parts += [table.slice(done, row - done), _row(table.schema, own | fields)]
        done = row
    parts.append(table.slice(done))
    whole = pa.concat_tables(parts).unify_dictionaries()
    parquet.write_table(whole, copy / "events.parquet")
    meta = json.loads((copy / "meta.json").read_text("utf-8"))
    meta |= {"name": copy.name, "synthetic": True, "planted": len(planted)}
    (copy / "meta.json").write_text(json.dumps(meta), "utf-8")
    return copy


def _row(schema: pa.Schema, fields: dict[str, Any]) -> pa.Table:
    return pa.table(
        [pa.array([fields.get(field.name)]).cast(field.type) for field in schema], schema=schema
    )
