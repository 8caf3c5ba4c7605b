"""What descriptors would take at the end of a recording, against the snapshot taken behind it.

The two differ by what the recording could not know, in blocks that no event of it contradicts:

* came: blocks that the snapshot shows, and whose first frame the recording has no event of, or saw
  freed last. They were allocated outside of it, or by a call that has no event (T8);
* went: blocks live at the recording's end, seen allocated last or never, that the snapshot does not
  show any more;
* unnamed: blocks that both have and whose kind only the snapshot knows.

All that is left is the model's own: a kind, an order or a life that it has wrong. Whether a page
changed without an event is asked of the raw events, not of the model's lives; and no more pages can
have than vmstat counts beyond the recorded ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.memdesc.pre_trace_blocks import frames_of, pre_trace_blocks
from allocsim.memdesc.schemes import descriptor_bytes, shipped_schemes
from allocsim.recording.kpageflags import SHOWN_KINDS, blocks_of_flags
from allocsim.recording.page_kinds import PageKind
from allocsim.tables import concat, find, take
from pipeline.replay import memdesc_lives
from pipeline.validation.bounds import CountCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from allocsim.tables import I1, I8, Bools, Columns
    from pipeline.replay.memdesc_lives import Shown
    from pipeline.trace_set.reader import TraceSet

SCHEME = "memdesc-8"
KNOWN = "known to both"
_BLOCK = ("pfn", "order", "kind")
_PAGE_EVENTS = """
SELECT pfn, "order", event = 'mm_page_alloc' AS allocates FROM page_events
WHERE run = $run AND event IN ('mm_page_alloc', 'mm_page_free') ORDER BY seq
"""
_PAGES = """
SELECT coalesce(sum(1 << "order") FILTER (event = 'mm_page_alloc'), 0)::BIGINT,
    coalesce(sum(1 << "order") FILTER (event = 'mm_page_free'), 0)::BIGINT
FROM page_events WHERE run = $run
"""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Blocks that need a descriptor or may need one, with what it takes (bytes, i8)."""

    rows: Columns
    bytes: I8

    @classmethod
    def of(cls, rows: Columns) -> _Blocks:
        size = descriptor_bytes(shipped_schemes()[SCHEME], rows["kind"])
        return cls(rows, np.where(rows["kind"] == PageKind.UNKNOWN, 0, size))

    def sum(self, which: Bools | slice = slice(None)) -> int:
        return int(self.bytes[which].sum())

    def pages(self, which: Bools) -> int:
        return int((1 << self.rows["order"][which].astype(np.int64)).sum())


def descriptors(
    connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet
) -> Iterator[CountCheck]:
    """Bytes of descriptors under memdesc-8, in all and as far as the recording can know.

    Nothing without a snapshot of kpageflags behind the recording.

    Args:
        connection: the database.
        run: the run, recorded.
        trace: its trace set.

    Raises:
        InputError: a snapshot is damaged.
    """
    memdesc_lives.of_recording(connection, run)
    shown = memdesc_lives.shown(connection, trace)
    if shown.after is None:
        return
    model, not_shown = _live_at_end(connection, shown)
    kernel = _Blocks.of(blocks_of_flags(shown.after))
    last = _last_events(connection, run, len(shown.touched.first))

    of_kernel = find(kernel.rows["pfn"], model.rows["pfn"])
    shared = np.zeros(len(kernel.bytes), bool)
    shared[of_kernel[of_kernel >= 0]] = True
    seen = last[kernel.rows["pfn"]]
    never, anew = ~shared & (seen == 0), ~shared & (seen < 0)
    went = (of_kernel < 0) & (last[model.rows["pfn"]] >= 0)
    both = of_kernel >= 0
    nameless = both & (model.rows["kind"] == PageKind.UNKNOWN)
    unnamed = int(kernel.bytes[of_kernel[nameless]].sum())

    total, came = kernel.sum(), kernel.sum(never | anew)
    could_not = came + unnamed + model.sum(went)
    yield CountCheck(
        "descriptor_bytes",
        "total",
        total,
        model.sum(),
        f"{_percent(could_not, total)} of it the recording could not know:"
        f" {kernel.sum(never)} bytes of blocks it has no event of, {kernel.sum(anew)} of blocks on"
        f" frames it saw freed last, {unnamed} of pages whose kind it does not tell, and"
        f" {model.sum(went)} of blocks live at its end that the snapshot does not show."
        f" Left out: {not_shown} bytes of kinds that kpageflags do not show.",
        low=model.sum() - model.sum(went),
        high=model.sum() + came + unnamed,
        unobservable=True,
    )
    other = both & ~nameless
    other[other] = model.rows["kind"][other] != kernel.rows["kind"][of_kernel[other]]
    yield CountCheck(
        "descriptor_bytes",
        KNOWN,
        total - came - unnamed,
        model.sum() - model.sum(went),
        f"{int(np.count_nonzero(both))} blocks are live in both; the snapshot calls"
        f" {int(np.count_nonzero(other))} of them another kind.",
    )
    counters = _outside(connection, run, trace)
    if counters is None:
        return
    yield _pages("allocated", counters[0], kernel.pages(never | anew))
    # That a snapshot which cannot show a kind does not show it says nothing.
    visible = np.isin(model.rows["kind"], SHOWN_KINDS)
    yield _pages("freed", counters[1], model.pages(went & visible))


def _live_at_end(connection: duckdb.DuckDBPyConnection, shown: Shown) -> tuple[_Blocks, int]:
    """The model's blocks at the end, and bytes of those of kinds that no snapshot shows."""
    pre_trace = pre_trace_blocks(shown.touched, shown.before, shown.after).known
    parts = [take(pre_trace, pre_trace["end"] < 0)]
    parts += memdesc_lives.lives(connection, "WHERE alloc_ts IS NOT NULL AND free_ts IS NULL")
    rows = concat({name: part[name] for name in _BLOCK} for part in parts)
    visible = np.isin(rows["kind"], SHOWN_KINDS)
    not_shown = _Blocks.of(take(rows, ~visible)).sum()
    # Without a descriptor by the model, but perhaps of a page that has one.
    rows = take(rows, visible | (_Blocks.of(rows).bytes == 0))
    return _Blocks.of(take(rows, np.argsort(rows["pfn"], kind="stable"))), not_shown


def _last_events(connection: duckdb.DuckDBPyConnection, run: int, frames: int) -> I1:
    """What the recording's last event of each frame was: 1 allocation, -1 free, 0 none."""
    last = np.zeros(frames, np.int8)
    for batch in memdesc_lives.batches(connection, _PAGE_EVENTS, {"run": run}):
        way = np.where(batch["allocates"], 1, -1).astype(np.int8)
        pfn, row = frames_of(batch["pfn"], batch["order"])
        inside = pfn < frames
        last[pfn[inside]] = way[row[inside]]  # of several events of a frame, the last one stays
    return last


def _outside(
    connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet
) -> tuple[int, int] | None:
    """Pages allocated and freed between the snapshots without an event, as vmstat counts.

    None if there is no vmstat, or the first was read in the midst of the recording (from boot on).
    PGALLOC and PGFREE count pages of every allocation and free, bulk ones among them
    (mm/page_alloc.c:rmqueue, __alloc_pages_bulk, free_pcppages_bulk's callers; 6.12 and 7.2).
    """
    before, after = (
        _counted(trace.snapshot_text("vmstat", when) or "") for when in ("before", "after")
    )
    if before is None or after is None:
        return None
    recorded = connection.execute(_PAGES, {"run": run}).fetchall()[0]
    outside = [end - start - seen for start, end, seen in zip(before, after, recorded, strict=True)]
    return None if min(outside) < 0 else (outside[0], outside[1])


def _counted(text: str) -> tuple[int, int] | None:
    allocated = re.findall(r"^pgalloc_\w+ (\d+)$", text, re.MULTILINE)
    freed = re.findall(r"^pgfree (\d+)$", text, re.MULTILINE)
    return (sum(map(int, allocated)), sum(map(int, freed))) if allocated and freed else None


def _pages(scope: str, most: int, pages: int) -> CountCheck:
    note = f"At least {pages} pages must have been, and at most {most} were, by vmstat."
    return CountCheck(
        "pages_without_event", scope, most, pages, note, pages, max(pages, most), unobservable=True
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "nothing"
