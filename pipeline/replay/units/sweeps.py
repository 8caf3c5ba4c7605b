"""Sweeps: recorded runs simulated with many settings, here or in processes side by side."""

from __future__ import annotations

import os
import pickle
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from allocsim import __version__
from allocsim.slub.columns import can_compile
from pipeline.errors import OutputError, StoreError, UsageError
from pipeline.processes.executor import executor
from pipeline.processes.malloc_tuning import keep_freed_memory
from pipeline.processes.progress import Progress
from pipeline.processes.scratch import scratch
from pipeline.replay.done import Done
from pipeline.replay.fidelity import own_settings
from pipeline.replay.pricing import digest, find_policies, shipped_pricing
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import WINDOW_ROWS, add_recorded
from pipeline.replay.settings import check_for_trace, distinct, has_copies
from pipeline.replay.simulated import settings_key, simulate, store
from pipeline.replay.trace_source import must_exist, opened
from pipeline.replay.units.driver import Taking, absolute, default_jobs, make_units, units_folder
from pipeline.replay.units.request_files import read_requests, write_requests
from pipeline.replay.units.work import Begun, known_runs, merged, put, same_version
from pipeline.replay.world import check
from pipeline.store.adding import Adding, every_cpu
from pipeline.store.dimensions import next_number, trace_id, trace_row
from pipeline.store.load import RunWriter
from pipeline.store.schema import create_tables
from pipeline.store.schema.runs import RUNS
from pipeline.store.units.folder import UnitsFolder
from pipeline.store.units.reading import kept_unit
from pipeline.store.units.unit import RunUnit, trace_folder
from pipeline.trace_set.machine import cpu_topology

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pipeline.replay.settings import Settings
    from pipeline.replay.simulated import Outcome
    from pipeline.replay.units.replays import Where
    from pipeline.replay.units.work import KnownRun
    from pipeline.replay.world import Recorded
    from pipeline.trace_set.machine import CpuPlace
    from pipeline.trace_set.reader import TraceSet

_AGAIN = "what was done is stored: run the same command again"
_RECORDED = "recorded"  # the file of a Recorded among those of its requests
_TIMES = "times.parquet"  # when its events were, beside it
_COPY_TIMES = """
COPY (
    SELECT run, seq, ts FROM internal.object_facts WHERE run = {run}
    UNION ALL SELECT run, seq, ts FROM page_events WHERE run = {run}
) TO '{file}' (FORMAT parquet)
"""


def sweep_traces(  # noqa: PLR0913 - what a sweep is of, what it adds to, and where
    paths: Sequence[Path],
    db: Path,
    combinations: Sequence[Settings],
    where: Where,
    progress: Progress,
    *,
    fast: bool = False,
) -> Done:
    """Simulate traces with every combination of settings that the database does not have.

    The recorded kernel as it was is always among them. Each is in the database, for good, as soon
    as it and those before it are done.

    Args:
        paths: trace sets, or recordings.
        db: the results database; made if it is not there.
        combinations: the settings.
        where: where units are made and kept.
        progress: told how far it is.
        fast: let numba compile the model of SLUB; the outcome is the same.

    Returns:
        The run of every combination, trace by trace; their recorded runs are not among them.

    Raises:
        AllocsimError: a trace that cannot be read, settings that are wrong, or a database that
            cannot take the runs; of one trace of several it is noted in ``failed``.
    """
    if fast and not can_compile():
        raise UsageError("--fast needs numba, which is not installed: pip install 'allocsim[fast]'")
    for path in paths:
        must_exist(path)
    done = Done()
    if not where.elsewhere(paths, len(combinations), apart=True):
        coming = list(paths)
        # Made though nothing may be missing: with it goes what a killed sweep left.
        with scratch() as folder:
            while coming:
                with Adding(db) as results, done.without_the_failed(paths):
                    while coming:
                        with opened(coming.pop(0), progress) as trace:
                            _sweep_here(
                                trace, results, combinations, progress, folder, done, fast=fast
                            )
        return done
    jobs = where.jobs or default_jobs()
    with (
        units_folder(where.units, db) as (folder_of_units, place),
        Taking(
            db, folder_of_units, place, done, again=False, keep=where.units is not None
        ) as taking,
        executor(min(jobs, len(paths) * (len(combinations) + 1)), where.cluster) as run,
    ):
        if folder_of_units.local is None:
            raise UsageError(
                f"--units {where.units}: a sweep's processes share a folder of a file system; merge"
                " into one of those, or replay each setting with --set"
            )
        works = [
            SweepWork(absolute(path), turn, combinations, folder_of_units.where, place, known, fast)
            for turn, (path, known) in enumerate(zip(paths, taking.known(paths), strict=True))
        ]
        step = progress.step(f"sweep {len(paths)} traces")
        make_units(run, begin_sweep, works, paths, taking, step, first=1)
    return done


def wanted_of(trace: TraceSet, combinations: Sequence[Settings]) -> list[Settings]:
    """The settings a trace is simulated with, the recorded kernel's own first; each once.

    Raises:
        UsageError: one does not fit the trace.
    """
    for settings in combinations:
        check_for_trace(settings, trace)
    return distinct([own_settings(trace.meta["kernel_release"] or ""), *combinations])


@dataclass(frozen=True)
class _Asked:
    """The requests of a recorded run: in a folder, and how many there are of what; and how."""

    recorded: Recorded
    folder: Path
    counts: Mapping[str, int]
    fast: bool

    def outcome(self, settings: Settings) -> Outcome:
        """What comes of simulating it."""
        requests = read_requests(self.folder)
        outcome = simulate(self.recorded, settings, requests, fast=self.fast)
        outcome.count(self.counts)
        return outcome


def _ask(  # noqa: PLR0913 - of what, for what, and how
    connection: duckdb.DuckDBPyConnection,
    of_run: int,
    trace: TraceSet,
    missing: Sequence[Settings],
    folder: Path,
    *,
    fast: bool,
) -> _Asked:
    """Write the requests of a recorded run into a folder.

    Raises:
        UsageError: settings that do not fit it.
        OutputError: the folder cannot be written to.
    """
    with closing(connection.cursor()) as reader:
        by_site = any(has_copies(settings, trace) for settings in missing)
        source = RecordedRun(reader, of_run, trace, WINDOW_ROWS, by_site=by_site)
        for settings in missing:
            check(settings, source.recorded)
        maker, windows = source.requests()
        try:
            write_requests(folder, windows)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OutputError(f"{folder.parent}: cannot be written to ({reason})") from None
    return _Asked(source.recorded, folder, maker.counts, fast)


def _sweep_here(  # noqa: PLR0913 - what a sweep is of, and what it adds to
    trace: TraceSet,
    results: Adding,
    combinations: Sequence[Settings],
    progress: Progress,
    folder: Path,
    done: Done,
    *,
    fast: bool,
) -> None:
    """All runs of a trace in this process, straight into the database."""
    name = trace.meta["name"]
    combinations = wanted_of(trace, combinations)
    of_run, there = _runs_there(trace, results)
    missing = [settings for settings in combinations if settings_key(settings) not in there]
    if missing and of_run is None:
        advance = progress.step(f"replay {name}")
        with results.transaction() as connection:
            of_run = add_recorded(
                connection, trace, find_policies([]), shipped_pricing(), WINDOW_ROWS, advance
            )
    if missing and of_run is not None:
        step = progress.step(f"sweep {name}")
        with results.asked() as asked_of:
            assert asked_of is not None  # noqa: S101 - it has the recorded run
            asked = _ask(asked_of, of_run, trace, missing, folder, fast=fast)
        try:
            for count, settings in enumerate(missing, 1):
                started = _now()
                outcome = asked.outcome(settings)
                done.added.append(_add(results, of_run, settings, started, outcome))
                step(count / len(missing))
        except (OutputError, StoreError) as error:
            raise type(error)(f"{error}; {_AGAIN}") from error
        _, there = _runs_there(trace, results)
    done.runs += [there[settings_key(settings)] for settings in combinations]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _runs_there(trace: TraceSet, results: Adding) -> tuple[int | None, dict[str, int]]:
    """The latest recorded run of a trace, and its simulated ones by their settings."""
    folder = trace_folder(trace_row(trace))
    with results.asked() as connection:
        known = known_runs(connection).get(folder, []) if connection else []
    return _latest(known)[0], {key: run for run, _, key in known if key is not None}


def _latest(known: Sequence[KnownRun]) -> tuple[int | None, str | None]:
    """The latest recorded run, and what it was made with."""
    recorded = [(run, made_with) for run, made_with, settings in known if settings is None]
    return recorded[-1] if recorded else (None, None)


def _add(results: Adding, of_run: int, settings: Settings, started: str, outcome: Outcome) -> int:
    with results.transaction() as connection:
        run = next_number(connection, "runs", "run")
        writer = RunWriter(connection, run)
        store(connection, writer, of_run, started, WINDOW_ROWS, settings, outcome)
    return run


@dataclass(frozen=True)
class SweepWork:
    """A trace to be simulated with many settings.

    Args:
        path: a trace set, or a recording.
        turn: its place in the command.
        combinations: the settings.
        units: where units are kept.
        place: a folder for requests, which all processes see.
        known: runs that the database has, by the folder of their trace.
        fast: let numba compile the model of SLUB.
        version: of allocsim, which asks.
    """

    path: Path
    turn: int
    combinations: Sequence[Settings]
    units: str
    place: Path
    known: Mapping[str, Sequence[KnownRun]]
    fast: bool
    version: str = __version__


@dataclass(frozen=True)
class _OneWork:
    """One combination: what it simulates, and where its unit goes.

    Args:
        folder: the requests.
        settings: the combination.
        turn: its trace's place in the command, and its own among those of the trace.
        units: where units are kept.
        version: of allocsim, which asks.
    """

    folder: Path
    settings: Settings
    turn: tuple[int, int]
    units: str
    version: str


@dataclass(frozen=True)
class _Shared:
    """What all simulations of a recorded run need of it, besides its requests."""

    asked: _Asked
    trace: dict[str, Any]
    topology: Sequence[CpuPlace]
    run: tuple[Any, ...]  # its row of ``runs``
    costs: Sequence[tuple[Any, ...]]  # those of ``cost_ops``


def begin_sweep(work: SweepWork) -> Begun:
    """Make the recorded run's unit, if it is nowhere, and what its simulations need of it.

    Raises:
        AllocsimError: as sweep_traces.
    """
    same_version(work.version)
    keep_freed_memory()
    folder = UnitsFolder(work.units)
    with opened(work.path, Progress()) as trace:
        combinations = wanted_of(trace, work.combinations)
        row = trace_row(trace)
        known = work.known.get(trace_folder(row), ())
        of_run, made_with = _latest(known)
        if of_run is None:
            made_with = digest(find_policies([]), shipped_pricing())
        there = {key: run for run, _, key in known if key is not None}
        recorded = RunUnit(row, None, made_with).name
        runs: list[int | str] = [recorded if of_run is None else of_run]
        for settings in combinations:
            key = settings_key(settings)
            runs.append(there.get(key) or RunUnit(row, key, None, made_with).name)
        missing = {
            place: settings
            for place, settings in enumerate(combinations, 1)
            if not (isinstance(runs[place], int) or folder.has(str(runs[place])))
        }
        if not missing and (of_run is not None or folder.has(recorded)):
            return Begun(runs)
        requests = work.place / f"requests-{work.turn}"
        requests.mkdir()
        with folder.scratch() as place, Adding(place / "results.duckdb") as results:
            if folder.has(recorded):
                run = merged(kept_unit(folder.fetched(recorded, place)), results)
            else:
                with results.transaction() as connection:
                    run = add_recorded(
                        connection,
                        trace,
                        find_policies([]),
                        shipped_pricing(),
                        WINDOW_ROWS,
                        lambda _: None,
                    )
            with results.asked() as connected:
                assert connected is not None  # noqa: S101 - it has the run
                if of_run is None and not folder.has(recorded):
                    put(connected, run, (work.turn, 0), folder, place)
                with every_cpu(connected):
                    asked = _ask(
                        connected, run, trace, list(missing.values()), requests, fast=work.fast
                    )
                connected.execute(_COPY_TIMES.format(run=run, file=_quoted(requests / _TIMES)))
                costs = connected.execute("SELECT * FROM cost_ops WHERE run = ?", [run]).fetchall()
                [about] = connected.execute("SELECT * FROM runs WHERE run = ?", [run]).fetchall()
        at = [column.name for column in RUNS.columns].index("made_with")
        about = (*about[:at], made_with, *about[at + 1 :])
        shared = _Shared(asked, row, cpu_topology(trace), about, costs)
        (requests / _RECORDED).write_bytes(pickle.dumps(shared))
        further = {
            place: (
                simulate_unit,
                _OneWork(requests, settings, (work.turn, place), work.units, work.version),
            )
            for place, settings in missing.items()
        }
    return Begun(runs, dict(further), requests)


def _quoted(path: Path) -> str:
    """A path within an SQL text."""
    return str(path).replace("'", "''")


def simulate_unit(work: _OneWork) -> str:
    """Simulate one combination, and keep the run as a unit; its name.

    Raises:
        AllocsimError: as sweep_traces.
    """
    same_version(work.version)
    keep_freed_memory()
    # Of a process of this command, in a folder that is this user's alone.
    shared: _Shared = pickle.loads((work.folder / _RECORDED).read_bytes())  # noqa: S301
    started = _now()
    outcome = shared.asked.outcome(work.settings)
    folder = UnitsFolder(work.units)
    with folder.scratch() as place, closing(duckdb.connect()) as connection:
        create_tables(connection)
        number = trace_id(connection, shared.trace, shared.topology)
        names = [column.name for column in RUNS.columns]
        row = dict(zip(names, shared.run, strict=True)) | {"run": 1, "trace_id": number}
        marks = ", ".join("?" * len(names))
        connection.execute(f"INSERT INTO runs VALUES ({marks})", list(row.values()))  # noqa: S608
        if shared.costs:
            marks = ", ".join("?" * len(shared.costs[0]))
            connection.executemany(f"INSERT INTO cost_ops VALUES ({marks})", shared.costs)  # noqa: S608
        # What a simulation asks of the events of its recorded run, read where it lies.
        connection.execute("DROP TABLE internal.object_facts")
        times = _quoted(work.folder / _TIMES)
        connection.execute(f"CREATE VIEW internal.object_facts AS FROM read_parquet('{times}')")
        store(connection, RunWriter(connection, 2), 1, started, WINDOW_ROWS, work.settings, outcome)
        return put(connection, 2, work.turn, folder, place)
