"""What a fit looks at: lives of objects and pages, as the requests of a recorded run have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.cache_shapes import SheafShape
from allocsim.recording.page_kinds import PageKind
from allocsim.recording.requests import UNKNOWN_PAGE
from allocsim.slub.requests import Op
from allocsim.tables import find
from pipeline.fitting.lives import Observed, PreTraceLives, PreTraceSlabs, TracedLives
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.world import make_world
from pipeline.synth.births import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from allocsim.tables import I8, U8, Array
    from pipeline.replay.world import Recorded, World
    from pipeline.trace_set.reader import TraceSet

    Columns = tuple[Array, ...]

_PRE_TRACE = """
SELECT seq, cpu, cache FROM object_events
WHERE run = ? AND event IN ('kfree', 'kmem_cache_free') AND object = seq AND cache IS NOT NULL
ORDER BY seq
"""
_MADE = "SELECT cache, slab_allocs FROM placed_caches WHERE run = ?"
_ALLOCATIONS = """
SELECT cache, count(*) FROM object_events
WHERE run = ? AND event IN ('kmalloc', 'kmem_cache_alloc') AND cache IS NOT NULL GROUP BY cache
"""
_KINDS = """
SELECT alloc_seq AS seq, enum_code(page_kind) AS kind FROM pages
WHERE run = ? AND alloc_seq IS NOT NULL
"""
_KINDS_OF_FREES = """
SELECT seq, enum_code(page_kind) AS kind FROM page_events
WHERE run = ? AND event = 'mm_page_free'
"""


def observe(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    simulated: int,
    trace: TraceSet,
    window_rows: int,
) -> Observed:
    """Look at a recorded run.

    Args:
        connection: the database that has it.
        run: its number.
        simulated: number of the run that simulates it.
        trace: the trace set it is of.
        window_rows: events held at once.
    """
    source = RecordedRun(connection, run, trace, window_rows)
    first_ts = trace.meta["first_ts"]
    looked_at = list(trace.windows(window_rows, {"ts", "call_site"}))
    times = in_order(np.concatenate([window["ts"] for window in looked_at]) - first_ts)
    sites = [window.get("call_site", np.zeros(len(window["ts"]), "u8")) for window in looked_at]
    _, windows = source.requests()
    objects: list[Columns] = []
    pages: list[Columns] = []
    for window in windows:
        asked, page = window.objects, window.pages
        out_of = np.zeros(len(asked.seq), np.int64) if asked.run is None else asked.run
        sheaf = np.where(asked.op == Op.FROM_SHEAF, out_of, -1)
        objects.append(
            (asked.seq, asked.cpu, asked.op, asked.object, asked.cache, window.shown, sheaf)
        )
        pages.append((page.seq, page.cpu, page.op, page.page, page.order, page.offset))
    world = make_world(source.recorded, {})
    lives, _ = _lives(_joined(objects), times, np.concatenate(sites))
    of_pages, pre_trace_pages, pieces = _pages(connection, run, _joined(pages), times)
    made = dict(connection.execute(_MADE, [simulated]).fetchall())
    pre_trace, handles = _pre_trace_objects(connection, run, source.recorded, times)
    return Observed(
        name=trace.meta["name"],
        recorded=source.recorded,
        length=int(times[-1]) + 1,
        events=len(times),
        objects=lives,
        pre_trace_objects=pre_trace,
        pre_trace_slabs=_pre_trace_slabs(world, pre_trace, handles, made),
        pages=of_pages,
        pre_trace_pages=pre_trace_pages,
        unsized=sum(
            count
            for cache, count in connection.execute(_ALLOCATIONS, [run]).fetchall()
            if source.recorded.caches[cache][1] <= 0
        ),
        pieces=pieces,
        managed=sum(zone.managed for zone in source.recorded.zones),
        free=sum(1 << order for state in source.recorded.states for _, order in state.free),
    )


def in_order(times: I8) -> I8:
    """Times of events in their order, with those of one time 1 ns after each other.

    A clock may stand still for many events: of the trace clock "local" where the TSC is not stable,
    until the next tick (kernel/sched/clock.c:sched_clock_local, 6.12). Allocated and freed in turn,
    a hundred objects are never alive together; all of one time, they would be. Where the next time
    is nearer than there are events, they share what is between, and may be of one time still.

    Args:
        times: ns, ascending (i8).

    Returns:
        ns (i8), of the same length, ascending.
    """
    first = np.flatnonzero(np.diff(times, prepend=-1))
    alike = np.diff(first, append=len(times))
    room = np.append(np.diff(times[first]), np.iinfo(np.int64).max // max(len(times), 1))
    place = np.arange(len(times)) - np.repeat(first, alike)
    spread = np.repeat(np.minimum(alike, room), alike)
    found: I8 = times + place * spread // np.repeat(alike, alike)
    return found


def _joined(parts: list[Columns]) -> list[Array]:
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _lives(columns: list[Array], times: I8, sites: U8) -> tuple[TracedLives, I8]:
    """Lives of requests (seq, cpu, op, handle, what, traced, run), and frees without a birth."""
    seq, cpu, op, handle, what, traced, run = columns
    born, freed = np.flatnonzero(op > 0), np.flatnonzero(op < 0)
    at = np.searchsorted(handle[born], handle[freed])
    at[at == len(born)] = 0
    known = handle[born][at] == handle[freed] if len(born) else np.zeros(len(freed), np.bool_)
    death = np.full(len(born), NEVER, np.int64)
    free_cpu = cpu[born].astype(np.int64)
    shown = np.ones(len(born), np.bool_)
    # Backwards, so that of several frees of one block the first counts.
    rows, ends = at[known][::-1], freed[known][::-1]
    death[rows] = times[seq[ends]]
    free_cpu[rows] = cpu[ends]
    shown[rows] = traced[ends]
    lives = TracedLives(
        times[seq[born]],
        death,
        cpu[born].astype(np.int64),
        free_cpu,
        what[born].astype(np.int64),
        shown,
        sites[seq[born]],
        run[born],
    )
    return lives, freed[~known]


def _pre_trace_objects(
    connection: duckdb.DuckDBPyConnection, run: int, recorded: Recorded, times: I8
) -> tuple[PreTraceLives, I8]:
    """Ends of older objects, and the events that are these."""
    found = connection.execute(_PRE_TRACE, [run]).fetchnumpy()
    seq, cpu, cache = (np.ma.getdata(column).astype(np.int64) for column in found.values())
    sized = np.array([size > 0 for _, size in recorded.caches], np.bool_)[cache]
    return PreTraceLives(times[seq[sized]], cpu[sized], cache[sized]), seq[sized]


def _pre_trace_slabs(
    world: World, pre_trace: PreTraceLives, handles: I8, made: Mapping[int, int]
) -> list[PreTraceSlabs]:
    """Slabs older than the trace, by cache."""
    slab = np.append(world.pre_trace.slab, -1)[find(world.pre_trace.object, handles)]
    free = world.free_before
    return [
        PreTraceSlabs(
            slab[pre_trace.what == number],
            free.slab[free.cache == number],
            free.cpu[free.cache == number].astype(np.int64),
            shape.objects,
            1 << shape.order,
            shape.capacity if isinstance(shape, SheafShape) else 0,
            made.get(number, 0),
        )
        for number, shape in enumerate(world.shapes)
    ]


def _pages(
    connection: duckdb.DuckDBPyConnection, run: int, columns: list[Array], times: I8
) -> tuple[TracedLives, PreTraceLives, int]:
    seq, cpu, op, page, order, _ = columns
    kind = np.full(len(times), int(PageKind.UNKNOWN), np.int64)
    for sql in (_KINDS, _KINDS_OF_FREES):
        found = connection.execute(sql, [run]).fetchnumpy()
        kind[np.ma.getdata(found["seq"])] = np.ma.getdata(found["kind"])
    what = kind[seq] << 8 | order
    none = np.zeros(len(times), np.uint64)
    shown, no_run = np.ones(len(seq), np.bool_), np.full(len(seq), -1)
    lives, without = _lives([seq, cpu, op, page, what, shown, no_run], times, none)
    unknown = without[page[without] == UNKNOWN_PAGE]
    pre_trace = PreTraceLives(times[seq[unknown]], cpu[unknown].astype(np.int64), what[unknown])
    ended = int(np.count_nonzero(lives.death != NEVER))
    return lives, pre_trace, int(np.count_nonzero(op < 0)) - ended - len(unknown)
