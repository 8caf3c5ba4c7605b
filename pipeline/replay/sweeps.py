"""Sweeps: one recorded run simulated with many settings, in processes side by side."""

from __future__ import annotations

import os
from concurrent.futures import as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from allocsim.slub.columns import can_compile
from pipeline.errors import AllocsimError, OutputError, StoreError, UsageError
from pipeline.processes.limits import cpus
from pipeline.processes.scratch import scratch
from pipeline.processes.workers import WorkerEndedError, workers
from pipeline.replay.done import Done
from pipeline.replay.fidelity import own_settings
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import WINDOW_ROWS, replay_trace
from pipeline.replay.request_files import read_requests, write_requests
from pipeline.replay.settings import check_for_trace, distinct
from pipeline.replay.simulated import settings_key, simulate, store
from pipeline.replay.trace_source import must_exist, opened
from pipeline.replay.world import check
from pipeline.store.adding import writing
from pipeline.store.database import reading
from pipeline.store.dimensions import find_trace, next_number, trace_row
from pipeline.store.load import RunWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipeline.processes.progress import Progress
    from pipeline.replay.settings import Settings
    from pipeline.replay.simulated import Outcome
    from pipeline.replay.world import Recorded
    from pipeline.trace_set.reader import TraceSet

_AGAIN = "what was done is stored: run the same command again"


def sweep_traces(  # noqa: PLR0913 - what a sweep is of, and what it adds to
    paths: Sequence[Path],
    db: Path,
    combinations: Sequence[Settings],
    jobs: int | None,
    progress: Progress,
    *,
    fast: bool = False,
) -> Done:
    """Simulate traces with every combination of settings that the database does not have.

    The recorded kernel as it was is always among them. Each is in the database, for good, as soon
    as it is done.

    Args:
        paths: trace sets, or recordings.
        db: the results database; made if it is not there.
        combinations: the settings.
        jobs: processes at a time; None: one a CPU.
        progress: told how far it is.
        fast: let numba compile the model of SLUB; the outcome is the same.

    Returns:
        The run of every combination, trace by trace; their recorded runs are not among them.

    Raises:
        AllocsimError: a trace that cannot be read, settings that are wrong, or a database that
            cannot take the runs.
    """
    if fast and not can_compile():
        raise UsageError("--fast needs numba, which is not installed: pip install 'allocsim[fast]'")
    for path in paths:
        must_exist(path)
    done = Done()
    # Made though nothing may be missing: with it goes what a killed sweep left that had stored all.
    with scratch() as folder:
        for path in paths:
            with opened(path, progress) as trace:
                for settings in combinations:
                    check_for_trace(settings, trace)
                own = own_settings(trace.meta["kernel_release"] or "")
                wanted = distinct([own, *combinations])
                _sweep_trace(trace, db, wanted, jobs or cpus(), progress, folder, done, fast=fast)
    return done


def _sweep_trace(  # noqa: PLR0913 - what a sweep is of, and what it adds to
    trace: TraceSet,
    db: Path,
    combinations: Sequence[Settings],
    jobs: int,
    progress: Progress,
    folder: Path,
    done: Done,
    *,
    fast: bool,
) -> None:
    name = trace.meta["name"]
    of_run, there = _runs_there(trace, db)
    missing = [settings for settings in combinations if settings_key(settings) not in there]
    if missing and of_run is None:
        advance = progress.step(f"replay {name}")
        of_run = replay_trace(trace, db, find_policies([]), shipped_pricing(), advance=advance)
    if missing and of_run is not None:
        with reading(db) as connection:
            # Each process holds a window: half of those of one simulation.
            source = RecordedRun(connection, of_run, trace, WINDOW_ROWS)
            for settings in missing:
                check(settings, source.recorded)
            maker, windows = source.requests()
            try:
                write_requests(folder, windows)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise OutputError(f"{folder.parent}: cannot be written to ({reason})") from None
        step = progress.step(f"sweep {name}")
        asked = _Asked(source.recorded, folder, maker.counts, fast)
        _simulate_all(asked, missing, jobs, db, step)
        _, there = _runs_there(trace, db)
        done.added += [there[settings_key(settings)] for settings in missing]
    done.runs += [there[settings_key(settings)] for settings in combinations]


def _runs_there(trace: TraceSet, db: Path) -> tuple[int | None, dict[str, int]]:
    """The latest recorded run of a trace, and its simulated ones by their settings."""
    if not db.is_file():
        return None, {}
    with reading(db) as connection:
        number = find_trace(connection, trace_row(trace))
        recorded = connection.execute(
            "SELECT max(run) FROM runs WHERE trace_id = ? AND placement = 'recorded'", [number]
        ).fetchall()[0][0]
        simulated = connection.execute(
            "SELECT settings, max(run) FROM runs"
            " WHERE trace_id = ? AND placement = 'simulated' GROUP BY settings",
            [number],
        ).fetchall()
    return recorded, dict(simulated)


@dataclass(frozen=True)
class _Asked:
    """The requests of a recorded run: in a folder, and how many there are of what; and how."""

    recorded: Recorded
    folder: Path
    counts: Mapping[str, int]
    fast: bool


def _simulate_all(
    asked: _Asked,
    combinations: Sequence[Settings],
    jobs: int,
    db: Path,
    advance: Callable[[float], None],
) -> None:
    try:
        with workers(min(jobs, len(combinations))) as submit:
            futures = {
                submit(_simulated, asked.recorded, asked.folder, settings, asked.fast): settings
                for settings in combinations
            }
            for count, future in enumerate(as_completed(futures), 1):
                started, outcome = future.result()
                outcome.count(asked.counts)
                _add(db, asked.recorded.run, futures[future], started, outcome)
                advance(count / len(combinations))
    except WorkerEndedError:
        raise AllocsimError(
            f"{db}: a process of the sweep was ended from outside (out of memory?); {_AGAIN},"
            " perhaps with --jobs 1"
        ) from None
    except (OutputError, StoreError) as error:
        raise type(error)(f"{error}; {_AGAIN}") from error


def _simulated(
    recorded: Recorded,
    folder: Path,
    settings: Settings,
    fast: bool,
) -> tuple[str, Outcome]:
    """In a process of its own: when it began, and what came of it."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return started, simulate(recorded, settings, read_requests(folder), fast=fast)


def _add(db: Path, of_run: int, settings: Settings, started: str, outcome: Outcome) -> None:
    with writing(db) as connection:
        writer = RunWriter(connection, next_number(connection, "runs", "run"))
        store(connection, writer, of_run, started, WINDOW_ROWS, settings, outcome)
