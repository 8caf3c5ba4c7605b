"""What is done in a process: the runs of a trace, each made into a unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocsim import __version__
from pipeline.errors import UsageError
from pipeline.processes.malloc_tuning import keep_freed_memory
from pipeline.processes.progress import Progress
from pipeline.replay.done import Done
from pipeline.replay.pricing import digest
from pipeline.replay.recorded import replay_and_simulate
from pipeline.replay.settings import check_for_trace
from pipeline.replay.simulated import settings_key
from pipeline.replay.trace_source import opened
from pipeline.store.adding import Adding
from pipeline.store.dimensions import trace_row
from pipeline.store.schema.runs import TRACES
from pipeline.store.units.folder import UnitsFolder
from pipeline.store.units.merging import merge_unit
from pipeline.store.units.reading import kept_unit
from pipeline.store.units.unit import TRACE_COLUMNS, RunUnit, trace_folder
from pipeline.store.units.writing import write_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from allocsim.refcount.policies import Policy
    from pipeline.replay.pricing import Pricing
    from pipeline.replay.settings import Settings
    from pipeline.store.units.reading import KeptUnit

#: A run that a database has: its number, made_with and settings.
KnownRun = tuple[int, str | None, str | None]


@dataclass(frozen=True)
class Begun:
    """What is known of the runs of a trace once it has been opened and replayed.

    Args:
        runs: of each, in order: its number in the database, or the name of its unit.
        further: calls that make those units that are not there yet, by their place in ``runs``.
        kept: a folder that these calls read, to be removed behind them; None: there is none.
    """

    runs: list[int | str]
    further: dict[int, tuple[Callable[..., str], object]] = field(default_factory=dict)
    kept: Path | None = None


@dataclass(frozen=True)
class ReplayWork:
    """A trace to be replayed and simulated.

    Args:
        path: a trace set, or a recording.
        turn: its place in the command.
        several: settings of a simulated run each.
        policies: what to price the recorded run with.
        pricing: what else to price it with.
        instance: the trace instance of a recording; None: the only one.
        units: where units are kept.
        known: runs that the database has, by the folder of their trace.
        version: of allocsim, which asks.
    """

    path: Path
    turn: int
    several: Sequence[Settings]
    policies: Sequence[Policy]
    pricing: Pricing | None
    instance: str | None
    units: str
    known: Mapping[str, Sequence[KnownRun]]
    version: str = __version__


def replay_units(work: ReplayWork) -> Begun:
    """Make the units of a trace that are neither in the database nor there.

    Raises:
        AllocsimError: as pipeline.replay.recorded.replay_traces.
    """
    same_version(work.version)
    keep_freed_memory()
    folder = UnitsFolder(work.units)
    with opened(work.path, Progress(), work.instance) as trace:
        for settings in work.several:
            check_for_trace(settings, trace)
        row = trace_row(trace)
        made_with = digest(work.policies, work.pricing)
        recorded = RunUnit(row, None, made_with)
        units = [recorded, *(_simulated(recorded, settings) for settings in work.several)]
        there = {
            (with_, settings): run for run, with_, settings in work.known.get(trace_folder(row), ())
        }
        runs = [there.get((unit.made_with, unit.settings), unit.name) for unit in units]
        missing = [run for run in runs if isinstance(run, str) and not folder.has(run)]
        if missing:
            several = [
                settings
                for settings, run in zip(work.several, runs[1:], strict=True)
                if run in missing
            ]
            with folder.scratch() as place, Adding(place / "results.duckdb") as results:
                if folder.has(recorded.name):
                    merged(kept_unit(folder.fetched(recorded.name, place)), results)
                done = Done()
                replay_and_simulate(
                    trace,
                    results,
                    work.policies,
                    Progress(),
                    several,
                    work.pricing,
                    done,
                    again=False,
                )
                with results.asked() as connection:
                    assert connection is not None  # noqa: S101 - it has been added to
                    for run in done.added:
                        [key] = connection.execute(
                            "SELECT settings FROM runs WHERE run = ?", [run]
                        ).fetchall()
                        at = [unit.settings for unit in units].index(key[0])
                        put(connection, run, (work.turn, at), folder, place)
    return Begun(runs)


def same_version(version: str) -> None:
    """Refuse to work for another version, whose units would be others."""
    if version != __version__:
        raise UsageError(
            f"a worker has allocsim {__version__}, the command that asks {version}: install the"
            " same one"
        )


def _simulated(recorded: RunUnit, settings: Settings) -> RunUnit:
    made_with = recorded.made_with
    return RunUnit(recorded.trace, settings_key(settings), made_with, made_with)


def merged(unit: KeptUnit, results: Adding) -> int:
    """Add the run of a unit to a database, in a transaction of its own; its number there."""
    with results.transaction() as connection:
        return merge_unit(connection, unit)


def put(
    connection: duckdb.DuckDBPyConnection,
    run: int,
    turn: tuple[int, int],
    folder: UnitsFolder,
    place: Path,
) -> str:
    """Keep a run of a database as a unit; its name.

    Args:
        connection: the database.
        run: number of the run.
        turn: which trace of its command, and which run of that.
        folder: where units are kept.
        place: a scratch folder of that one's.
    """
    made = place / f"unit-{run}"
    unit = write_unit(connection, run, turn, made)
    folder.put(made, unit.name)
    return unit.name


def known_runs(connection: duckdb.DuckDBPyConnection) -> dict[str, list[KnownRun]]:
    """The runs of a database, in order, by the folder that their trace has among units."""
    names = ", ".join(f'"{column.name}"' for column in TRACE_COLUMNS)
    folders: dict[int, str] = {}
    for number, *values in connection.execute(
        f"SELECT trace_id, {names} FROM {TRACES.sql_name}"  # noqa: S608 - of the schema
    ).fetchall():
        row: dict[str, Any] = dict(
            zip([column.name for column in TRACE_COLUMNS], values, strict=True)
        )
        folders[number] = trace_folder(row)
    known: dict[str, list[KnownRun]] = {}
    for number, *run in connection.execute(
        "SELECT trace_id, run, made_with, settings FROM runs ORDER BY run"
    ).fetchall():
        known.setdefault(folders[number], []).append((run[0], run[1], run[2]))
    return known
