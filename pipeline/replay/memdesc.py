"""What the pages of a run need of descriptors, from its page lives and the machine's snapshots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from allocsim.memdesc.descriptor_caches import DescriptorRequests, DescriptorSlabs
from allocsim.memdesc.live_blocks import LiveBlocks
from allocsim.memdesc.pre_trace_blocks import pre_trace_blocks
from allocsim.memdesc.schemes import sizes, slab_bytes
from allocsim.recording.page_kinds import PageKind
from allocsim.tables import concat, row_of, take
from pipeline.replay import memdesc_lives
from pipeline.store.schema.descriptors import (
    DESCRIPTOR_SLABS,
    LIVE_BLOCKS,
    MACHINES,
    SCHEME_DESCRIPTORS,
    SCHEME_SIZES,
    SCHEMES,
)
from pipeline.trace_set.machine import charges_cgroups, machine_pages, used_pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from allocsim.memdesc.descriptor_caches import DescriptorOutcome
    from allocsim.memdesc.pre_trace_blocks import PreTraceBlocks
    from allocsim.memdesc.schemes import Descriptor, Scheme
    from allocsim.tables import Columns, Int64
    from pipeline.store.load import RunWriter
    from pipeline.store.schema.table import StoreTable
    from pipeline.trace_set.reader import TraceSet

# Blocks there at the start that are kept from a recorded run for its models: 30 bytes each.
_KEPT = 1 << 20
# Allocations and frees in order of time. The keys of older blocks come first. A block found
# allocated anew ends just before that, and one that began at that very time never was.
_REQUESTS = """
WITH lives AS (
    SELECT
        page, page + $first AS key, kinds.descriptor, alloc_ts, alloc_cpu, free_ts, free_cpu,
        coalesce(free_seq, -1) AS free_seq
    FROM memdesc_lives JOIN kinds_described AS kinds ON kinds.page_kind = kind
    WHERE alloc_ts IS NOT NULL AND (free_seq IS NOT NULL OR free_ts IS NULL OR free_ts > alloc_ts)
),
ends AS (
    FROM lives
    UNION ALL
    SELECT
        page, older.key, older.descriptor, alloc_ts, alloc_cpu, free_ts, free_cpu,
        coalesce(free_seq, -1)
    FROM memdesc_lives JOIN older_described AS older USING (page)
)
SELECT alloc_ts AS ts, alloc_cpu AS cpu, descriptor, 1 AS op, key, page AS seq FROM lives
UNION ALL
SELECT free_ts, coalesce(free_cpu, alloc_cpu, 0), descriptor, -1, key, free_seq
FROM ends WHERE free_ts IS NOT NULL
ORDER BY ts, seq, op, key
"""


class Descriptors:
    """What the pages of a trace's runs need of descriptors: of a recorded one, and of its models.

    What the recording and the snapshots show is looked up once for all of them.

    Args:
        trace: what the runs are replays of.
        schemes: the schemes.
    """

    def __init__(self, trace: TraceSet, schemes: Sequence[Scheme]) -> None:
        self._trace = trace
        self._schemes = schemes
        self._known: tuple[int, _Recorded] | None = None

    def add(
        self,
        connection: duckdb.DuckDBPyConnection,
        writer: RunWriter,
        run: int,
        of_run: int | None = None,
    ) -> None:
        """Add what the pages of a run need under each scheme.

        A simulated run has the slabs that the model made; all other pages are the recording's.

        Args:
            connection: the database; the run and its page lives are in it.
            writer: writes into the run.
            run: its number.
            of_run: the recorded run that it simulates; None: it is one.

        Raises:
            InputError: a snapshot of the trace set is damaged.
        """
        recorded = run if of_run is None else of_run
        memdesc_lives.of_recording(connection, recorded)
        known = self._of(connection, recorded)
        at_start, live = known.at_start, known.live
        if of_run is not None:
            memdesc_lives.with_model_slabs(connection, run, of_run)
            at_start = _with_model_slabs(connection, at_start)
            live = live.without(PageKind.SLAB)
            of_slabs = f"WHERE alloc_ts IS NOT NULL AND kind = {int(PageKind.SLAB)}"
            for lives in memdesc_lives.lives(connection, of_slabs):
                live.add(lives)
            for blocks, sure in ((at_start.known, True), (at_start.unsure, False)):
                _add_older(live, take(blocks, blocks["kind"] == PageKind.SLAB), sure=sure)
        writer.rows(MACHINES, [known.machine])
        writer.columns(LIVE_BLOCKS, live.rows())
        outcomes: dict[tuple[Descriptor, ...], DescriptorOutcome] = {}
        slabs: list[Columns] = []
        rows: dict[StoreTable, list[dict[str, Any]]] = {}
        for number, scheme in enumerate(self._schemes):
            outcome = None
            if scheme.descriptors:
                if scheme.descriptors not in outcomes:
                    outcomes[scheme.descriptors] = _replayed(
                        connection, scheme, at_start, known.span
                    )
                outcome = outcomes[scheme.descriptors]
                slabs.append(_slab_columns(number, outcome))
            for table, more in (
                (SCHEMES, [_scheme_row(number, scheme, outcome)]),
                (SCHEME_SIZES, _size_rows(number, scheme)),
                (SCHEME_DESCRIPTORS, _descriptor_rows(number, scheme, outcome, known.span.cpus)),
            ):
                rows.setdefault(table, []).extend(more)
        if slabs:
            writer.columns(DESCRIPTOR_SLABS, concat(slabs))
        for table, each in rows.items():
            writer.rows(table, each)

    def _of(self, connection: duckdb.DuckDBPyConnection, run: int) -> _Recorded:
        """What a recorded run shows, whose lives are being counted on the connection."""
        if self._known is not None and self._known[0] == run:
            return self._known[1]
        known = _recorded(connection, run, self._trace)
        if len(known.at_start.known["pfn"]) <= _KEPT:
            self._known = run, known
        return known


@dataclass(frozen=True, slots=True)
class _Span:
    """When a run begins and ends, its time slices, and the CPUs it is on."""

    first_ts: int
    last_ts: int
    slice_ns: int
    cpus: int

    @property
    def slices(self) -> int:
        """How many time slices it has."""
        return (self.last_ts - self.first_ts) // self.slice_ns + 1


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a recorded run and the snapshots beside it show.

    Args:
        span: when it was.
        at_start: the blocks there when it began.
        live: all its blocks.
        machine: its row of ``machines``.
    """

    span: _Span
    at_start: PreTraceBlocks
    live: LiveBlocks
    machine: dict[str, Any]


def _with_model_slabs(
    connection: duckdb.DuckDBPyConnection, at_start: PreTraceBlocks
) -> PreTraceBlocks:
    """The blocks there at the start, whose slabs end when the model frees some that are older.

    Which of the older slabs of an order the model frees is not known, nor does it matter.
    """
    known = {name: values.copy() for name, values in at_start.known.items()}
    slab = known["kind"] == PageKind.SLAB
    known["page"][slab] = known["end"][slab] = -1
    pre_trace = f"WHERE alloc_ts IS NULL AND kind = {int(PageKind.SLAB)}"
    for lives in memdesc_lives.lives(connection, pre_trace):
        for order in np.unique(lives["order"]).tolist():
            freed = np.flatnonzero(lives["order"] == order)
            there = np.flatnonzero(slab & (known["order"] == order) & (known["page"] < 0))
            there = there[known["end"][there] < 0][: len(freed)]
            freed = freed[: len(there)]
            known["page"][there], known["end"][there] = lives["page"][freed], lives["end"][freed]
            slab[there] = False
    return replace(at_start, known=known)


def _recorded(connection: duckdb.DuckDBPyConnection, run: int, trace: TraceSet) -> _Recorded:
    """What a recorded run and the snapshots beside it show."""
    [(first_ts, last_ts, slice_ns)] = connection.execute(
        "SELECT first_ts, last_ts, slice_ns FROM runs WHERE run = ?", [run]
    ).fetchall()
    span = _Span(first_ts, last_ts, slice_ns, trace.meta["cpus"])
    shown = memdesc_lives.shown(connection, trace)
    machine = machine_pages(trace, shown.highest)
    at_start = pre_trace_blocks(shown.touched, shown.before, shown.after)
    live = LiveBlocks(span.first_ts, span.slice_ns, span.slices)
    memcg = charges_cgroups(trace)
    for lives in memdesc_lives.lives(connection, "WHERE alloc_ts IS NOT NULL"):
        if memcg is False:
            lives["charged"][:] = False
        live.add(lives)
    for blocks, sure in ((at_start.known, True), (at_start.unsure, False)):
        _add_older(live, blocks, sure=sure)
    snapshots = {"before": shown.before, "after": shown.after}
    whence = [when for when, flags in snapshots.items() if flags is not None]
    source, unknown = f"kpageflags {' and '.join(whence)}", 0
    if not whence:
        used = used_pages(trace)
        source = "its frees" if used is None else "meminfo"
        # Untouched pages, and no more than were in use.
        unknown = max(machine.pages - shown.touched.frames_touched(), 0)
        unknown = unknown if used is None else min(unknown, used)
    live.add_unknown(unknown)
    row = {
        "pages": machine.pages,
        "pages_how": int(machine.how),
        "pages_from": machine.source,
        "stock_from": source,
        "stock_blocks": int(np.count_nonzero(at_start.known["kind"] != PageKind.UNKNOWN)),
        "unsure_blocks": len(at_start.unsure["pfn"]),
        "gone_blocks": at_start.gone,
        "unknown_frames": unknown,
        "memcg": memcg,
    }
    return _Recorded(span, at_start, live, row)


def _add_older(live: LiveBlocks, blocks: Columns, *, sure: bool) -> None:
    """Count blocks in that were there when the recording began."""
    rows = len(blocks["pfn"])
    begun = {"start": np.full(rows, -1), "charged": np.zeros(rows, bool)}
    live.add(blocks | begun, sure=sure)


def _replayed(
    connection: duckdb.DuckDBPyConnection, scheme: Scheme, at_start: PreTraceBlocks, span: _Span
) -> DescriptorOutcome:
    """The descriptors' own allocations through SLUB."""
    kinds = [
        (size.page_kind, size.descriptor)
        for size in sizes(scheme)
        if not size.charged and size.descriptor >= 0
    ]
    described = np.full(len(PageKind), -1, np.int64)
    for kind, descriptor in kinds:
        described[kind] = descriptor
    pre_trace = described[at_start.known["kind"]]
    rows = pre_trace >= 0
    of_lives = at_start.known["page"][rows]
    tables = {
        "kinds_described": pa.table(
            {"page_kind": [kind for kind, _ in kinds], "descriptor": [each for _, each in kinds]}
        ),
        "older_described": pa.table(
            {"page": of_lives, "key": np.arange(len(of_lives)), "descriptor": pre_trace[rows]}
        ).filter(pa.array(of_lives != -1)),
    }
    for name, table in tables.items():
        connection.register(name, table)
    try:
        slabs = DescriptorSlabs(scheme, span.cpus, span.first_ts, span.last_ts, span.slice_ns)
        slabs.begin(pre_trace[rows])
        for batch in memdesc_lives.batches(connection, _REQUESTS, {"first": len(of_lives)}):
            slabs.window(
                DescriptorRequests(
                    batch["ts"],
                    np.minimum(batch["cpu"], span.cpus - 1),
                    batch["descriptor"],
                    batch["op"].astype(np.int8),
                    batch["key"],
                )
            )
    finally:
        for name in tables:
            connection.unregister(name)
    return slabs.finish()


def _scheme_row(number: int, scheme: Scheme, outcome: DescriptorOutcome | None) -> dict[str, Any]:
    return {
        "scheme": number,
        "name": scheme.name,
        "doc": scheme.doc,
        "source": scheme.source,
        "word_bytes": scheme.word_bytes,
        "word_known": scheme.word_known,
        "word_source": scheme.word_source,
        "hvo": scheme.hvo,
        "peak_slab_pages": outcome.peak_pages if outcome else 0,
        "peak_ts": outcome.peak_ts if outcome else None,
        "mean_slab_pages": outcome.mean_pages if outcome else 0.0,
        "passes": outcome.passes if outcome else 0,
        "settled": outcome.settled if outcome else True,
    }


def _size_rows(number: int, scheme: Scheme) -> list[dict[str, Any]]:
    rows = [{"scheme": number, **row_of(size)} for size in sizes(scheme)]
    return [
        row | {"descriptor": row["descriptor"] if row["descriptor"] >= 0 else None} for row in rows
    ]


def _descriptor_rows(
    number: int, scheme: Scheme, outcome: DescriptorOutcome | None, cpus: int
) -> list[dict[str, Any]]:
    if outcome is None:
        return []
    return [
        {
            "scheme": number,
            "descriptor": place,
            "name": each.name,
            "bytes": each.bytes,
            "slot_bytes": each.slot,
            "slab_order": shape.order,
            "slab_objects": shape.objects,
            "full_bytes": slab_bytes(scheme, each, cpus),
            **{name: int(values[place]) for name, values in outcome.counts.items()},
        }
        for place, (each, shape) in enumerate(zip(scheme.descriptors, outcome.shapes, strict=True))
    ]


def _slab_columns(number: int, outcome: DescriptorOutcome) -> Columns:
    """Rows of ``descriptor_slabs``: descriptors that are never used have none."""
    used = np.flatnonzero(outcome.slabs.any(axis=1))
    moments = np.arange(outcome.slabs.shape[1], dtype=np.int32)

    def spread(values: Int64) -> Int64:
        return values[used].ravel()

    return {
        "scheme": np.full(len(used) * len(moments), number, np.int16),
        "moment": np.tile(moments, len(used)),
        "descriptor": np.repeat(used, len(moments)).astype(np.int16),
        "objects": spread(outcome.objects),
        "slabs": spread(outcome.slabs),
        "pages": spread(outcome.pages),
    }
