"""Simulated placements: the requests of a recorded run through the model, and what comes of it."""

from __future__ import annotations

import json
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from allocsim import __version__
from allocsim.kernels.settings import kernel_profile, shown
from allocsim.slub.locks.visits import PageRows, joined_visits, visits
from pipeline.processes.background import behind
from pipeline.replay.fidelity import what_if
from pipeline.replay.memdesc import Descriptors
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.result_rows import Tally, result_rows
from pipeline.replay.settings import check_page_size, has_copies
from pipeline.replay.world import check, make_world
from pipeline.store.adding import every_cpu, writing
from pipeline.store.dimensions import next_number
from pipeline.store.load import RunWriter
from pipeline.store.lock_rows import lock_rows
from pipeline.store.schema import TABLE_OF
from pipeline.store.schema.placed import PLACED_EVENTS, PLACED_SLABS
from pipeline.store.schema.runs import RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from allocsim.memdesc.schemes import Scheme
    from allocsim.page_alloc.replay import PageSample
    from allocsim.page_alloc.zones import Zone
    from allocsim.recording.requests import RequestWindow
    from allocsim.simulated_window import SimulatedWindow
    from allocsim.slub.locks.visits import Visits
    from allocsim.tables import Columns
    from pipeline.replay.result_rows import Rows
    from pipeline.replay.world import Recorded
    from pipeline.trace_set.reader import TraceSet


_SMALL = 1 << 20  # events


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation gives besides its events and slabs: rows of the small tables.

    Args:
        rows: rows of each table, by its name, without the column ``run``.
        visits: the requests that go to locks.
        machine_how: how the zones are known.
        what_if: why it is not the recorded kernel; None if it is.
    """

    rows: dict[str, Rows]
    visits: Visits
    machine_how: int
    what_if: str | None

    def count(self, counts: Mapping[str, int]) -> None:
        """Add counts of the requests, which whoever made them has."""
        self.rows["quality_counts"] += [{"name": n, "value": v} for n, v in counts.items()]


def simulate(  # noqa: PLR0913 - what, with what, and where it goes
    recorded: Recorded,
    settings: Mapping[str, int],
    windows: Iterable[RequestWindow],
    write: Callable[[RequestWindow, SimulatedWindow], None] | None = None,
    write_slabs: Callable[[Columns], None] | None = None,
    *,
    fast: bool = False,
) -> Outcome:
    """Run a simulation from the beginning of a trace to its end.

    Args:
        recorded: the recorded run the requests are of.
        settings: what the user has set.
        windows: the requests.
        write: called with the placement of every window, where it is wanted.
        write_slabs: called with lives of slabs, as they end and at the end.
        fast: let numba compile what goes event by event; the outcome is the same.

    Raises:
        UsageError: a setting that does not exist, or is out of its range.
    """
    world = make_world(recorded, settings, fast=fast)
    simulation = world.simulation
    tally = Tally(*np.zeros((7, len(world.shapes)), np.int64))
    slices = iter(recorded.slices)
    upcoming = next(slices, None)
    turns = np.array(recorded.turns, np.int64)
    begin = 0
    slice_of = {seq: number for number, seq in recorded.slices}
    samples: list[tuple[int | None, PageSample]] = []
    at_locks: list[Visits] = []
    for requests in map(world.asked, windows):
        due = []
        while upcoming is not None and upcoming[1] < requests.end:
            due.append(upcoming[1])
            upcoming = next(slices, None)
        near = turns[slice(*np.searchsorted(turns, [begin, requests.end]))]
        begin = requests.end
        result = simulation.window(requests.objects, requests.pages, due, near.tolist())
        tally.add(requests, result)
        at_locks.append(_visits(requests, result, world.machine.zones))
        samples += [(slice_of[seq], sample) for seq, sample in result.samples]
        if write is not None:
            write(requests, result)
        if write_slabs is not None:
            write_slabs(result.slabs)
    slabs, last = simulation.finish()
    tally.add_slabs(slabs)
    if write_slabs is not None:
        write_slabs(slabs)
    samples += [(slice_of[seq], sample) for seq, sample in last]
    samples.append((None, simulation.pages.sample(0)))
    counts = (
        world.counts
        | simulation.counts
        | {
            "object_requests": tally.events,
            "requests_on_older_slabs": tally.on_pre_trace_slabs,
            "failed_objects": tally.failed,
            "ignored_frees": tally.ignored,
        }
    )
    return Outcome(
        rows=result_rows(world, slabs, tally, samples, counts),
        visits=joined_visits(at_locks),
        machine_how=int(recorded.zones_how),
        what_if=what_if(recorded, settings),
    )


def _visits(requests: RequestWindow, result: SimulatedWindow, zones: Sequence[Zone]) -> Visits:
    pages, slabs = requests.pages, result.slab_pages
    return visits(
        requests.objects,
        result.objects.path,
        (
            PageRows(result.pages.path, result.pages.pfn, pages.seq, pages.cpu),
            PageRows(result.slab_paths, result.slab_pfns, slabs.seq, slabs.cpu),
        ),
        zones,
    )


def simulate_run(  # noqa: PLR0913 - as add_simulated
    trace: TraceSet,
    db: Path,
    of_run: int,
    settings: Mapping[str, int],
    *,
    window_rows: int,
    schemes: Sequence[Scheme] = (),
    advance: Callable[[float], None] = lambda _: None,
) -> int:
    """Simulate the placement of a recorded run, in a transaction of its own; the run's number.

    Args:
        trace: the trace set the recorded run is of.
        db: the results database that has it.
        of_run: number of the recorded run.
        settings: what the user has set.
        window_rows: events held at once; the results do not depend on it.
        schemes: of page descriptors, for the slabs the model makes.
        advance: told the part that is done, 0 to 1.

    Raises:
        AllocsimError: as add_simulated; nothing has been added then.
    """
    with writing(db) as connection:
        return add_simulated(
            connection,
            trace,
            of_run,
            settings,
            window_rows=window_rows,
            descriptors=Descriptors(trace, schemes) if schemes else None,
            advance=advance,
        )


def add_simulated(  # noqa: PLR0913 - a run is of something, with something, into something
    connection: duckdb.DuckDBPyConnection,
    trace: TraceSet,
    of_run: int,
    settings: Mapping[str, int],
    *,
    window_rows: int,
    descriptors: Descriptors | None = None,
    made_with: str | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> int:
    """Simulate the placement of a recorded run and add it; the new run's number.

    Args:
        connection: the results database that has the recorded run, in a transaction.
        trace: the trace set the recorded run is of.
        of_run: number of the recorded run.
        settings: what the user has set.
        window_rows: events held at once; the results do not depend on it.
        descriptors: of the trace's pages, for the slabs the model makes.
        made_with: pipeline.replay.pricing.digest of what it is replayed with.
        advance: told the part that is done, 0 to 1.

    Raises:
        AllocsimError: a setting is wrong, the trace set is damaged, or the database cannot take
            the run.
    """
    check_page_size(trace)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    # The recorded run is read through a cursor of its own, while this one writes.
    with closing(connection.cursor()) as reader:
        run = next_number(connection, "runs", "run")
        writer = RunWriter(connection, run)
        # To begin threads takes longer than a small run to be read.
        with every_cpu(connection) if trace.rows > _SMALL else nullcontext():
            source = RecordedRun(
                *(reader, of_run, trace, window_rows, lambda part: advance(part / 5)),
                by_site=has_copies(settings, trace),
            )
        check(settings, source.recorded)
        maker, windows = source.requests()

        def told() -> Iterable[RequestWindow]:
            for requests in windows:
                yield requests
                advance(0.2 + 0.8 * requests.end / trace.rows)

        def write(requests: RequestWindow, result: SimulatedWindow) -> None:
            for batch in event_batches(requests, result):
                writer.columns(PLACED_EVENTS, batch)

        with closing(windows), behind() as later:
            outcome = simulate(
                source.recorded,
                settings,
                told(),
                lambda requests, result: later(partial(write, requests, result)),
                lambda slabs: later(partial(writer.columns, PLACED_SLABS, slabs)),
            )
        outcome.count(maker.counts)
        store(connection, writer, of_run, started, window_rows, settings, outcome, made_with)
        if descriptors is not None:
            descriptors.add(connection, writer, run, of_run)
    return run


def event_batches(requests: RequestWindow, result: SimulatedWindow) -> list[Columns]:
    """Rows of ``placed_events``: those of the object events, then those of the page events."""
    objects, pages = result.objects, result.pages
    shown = np.flatnonzero(requests.shown)
    nothing = np.full(len(shown), -1, np.int64)
    none = np.full(len(pages.path), -1, np.int64)
    return [
        {
            "seq": requests.objects.seq[shown],
            "path": objects.path[shown],
            "slab": objects.slab[shown],
            "idx": objects.index[shown],
            "pfn": nothing,
        },
        {
            "seq": requests.pages.seq,
            "path": pages.path,
            "slab": none,
            "idx": none,
            "pfn": pages.pfn,
        },
    ]


def store(  # noqa: PLR0913 - the columns of a run
    connection: duckdb.DuckDBPyConnection,
    writer: RunWriter,
    of_run: int,
    started: str,
    window_rows: int,
    settings: Mapping[str, int],
    outcome: Outcome,
    made_with: str | None = None,
) -> None:
    """Write the row of a simulated run, and its small tables."""
    profile = kernel_profile(settings)
    [about] = connection.execute(
        "SELECT trace_id, events, first_ts, last_ts, slice_ns, own_policy, own_note FROM runs"
        " WHERE run = ?",
        [of_run],
    ).fetchall()
    names = ("trace_id", "events", "first_ts", "last_ts", "slice_ns", "own_policy", "own_note")
    row = dict(zip(names, about, strict=True)) | {
        "started": started,
        "allocsim_version": __version__,
        "window_rows": window_rows,
        "placement": "simulated",
        "of_run": of_run,
        "profile": profile.name,
        "slub": profile.slub.generation.value,
        "settings": settings_key(settings),
        "what_if": outcome.what_if,
        "machine_how": outcome.machine_how,
        "made_with": made_with,
    }
    writer.rows(RUNS, [row])
    slices = (row["first_ts"], row["slice_ns"])
    locks = lock_rows(connection, of_run, slices, outcome.visits, outcome.rows)
    for name, rows in (*outcome.rows.items(), ("lock_waits", locks)):
        writer.rows(TABLE_OF[name], rows)


def settings_key(settings: Mapping[str, int]) -> str:
    """Settings as they are stored: equal settings, equal text."""
    return json.dumps(shown(settings), sort_keys=True)
