"""Runs that are made: replay, simulate, sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.api.database import database
from pipeline.api.results import PathLike, Results, opened
from pipeline.errors import UsageError
from pipeline.processes.progress import Progress
from pipeline.processes.scratch import scratch
from pipeline.replay.pricing import Pricing, find_costs, find_policies, find_schemes
from pipeline.replay.settings import combinations, parse_settings
from pipeline.replay.units.merges import merge_all
from pipeline.replay.units.replays import Where, replay_all
from pipeline.replay.units.sweeps import sweep_traces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from pipeline.errors import AllocsimError
    from pipeline.replay.done import Done

#: One trace or several: trace sets, or recordings.
Traces: TypeAlias = PathLike | list[Path] | list[str]
#: Settings by key, ``{"sheaf.capacity": 24}``, or as ``--set`` takes them.
Given: TypeAlias = Mapping[str, int | str] | list[str] | None
#: Settings with the values each takes, or as ``--vary`` takes them.
Varied: TypeAlias = Mapping[str, list[int] | list[str] | list[int | str]] | list[str]

RECORDED, SIMULATED = "recorded", "simulated"
#: The view of sweeps, by what a row of it is.
ROWS = {"run": "placement_summary", "cache": "sheaf_tradeoff"}


def replay(  # noqa: PLR0913 - as the command has them
    traces: Traces,
    db: PathLike | None = None,
    *,
    placement: str = SIMULATED,
    settings: Given = None,
    policies: Sequence[PathLike] = (),
    schemes: Sequence[PathLike] = (),
    costs: PathLike | None = None,
    instance: str | None = None,
    vmlinux: PathLike | None = None,
    again: bool = False,
    jobs: int | None = None,
) -> Results:
    """Replay traces through the model, into a results database.

    A run that the database has already, of the same trace with the same policies, schemes, costs
    and settings, is not made again.

    Args:
        traces: one or several: trace sets, or recordings.
        db: the results database, made if it is not there; None: a temporary one, which is gone
            when the results are closed.
        placement: "simulated": where the model puts things, as a run of its own beside the recorded
            one; "recorded": where the kernel put them, alone.
        settings: numbers of the model that are changed for the simulated run (docs/settings.md).
        policies: refcount policies, shipped ones by name, your own by path; none: the usual five.
        schemes: of page descriptors, likewise; none: all shipped ones.
        costs: table of what operations take, likewise; None: the recorded machine's.
        instance: trace instance of a trace.dat to read; None: the only one with kmem events.
        vmlinux: image of the recorded kernel with DWARF, for file and line of call sites; None:
            their files by function name.
        again: replay what the database has already, too.
        jobs: processes at a time; None: one a CPU, where that pays.

    Returns:
        The database, open. ``asked`` has the numbers of these runs, ``added`` of those that are
        new.

    Raises:
        InputError: a trace that cannot be read.
        UsageError: a setting or a name that does not exist.
        StoreError: a database that cannot be used.
        OutputError: one that cannot be written.
    """
    results = replayed(
        traces,
        db,
        placement=placement,
        settings=settings,
        policies=policies,
        schemes=schemes,
        costs=costs,
        instance=instance,
        vmlinux=vmlinux,
        again=again,
        where=Where(jobs),
    )
    return _whole(results)


def replayed(  # noqa: PLR0913 - as the command has them
    traces: Traces,
    db: PathLike | None = None,
    *,
    placement: str = SIMULATED,
    settings: Given = None,
    policies: Sequence[PathLike] = (),
    schemes: Sequence[PathLike] = (),
    costs: PathLike | None = None,
    instance: str | None = None,
    vmlinux: PathLike | None = None,
    again: bool = False,
    where: Where | None = None,
    progress: Progress | None = None,
) -> Results:
    """As replay; of several traces ``failed`` says which could not be replayed."""
    if placement not in (RECORDED, SIMULATED):
        raise UsageError(f"placement {placement!r}: say {SIMULATED} or {RECORDED}")
    priced_with = find_policies([os.fspath(policy) for policy in policies])
    pricing = Pricing(
        find_schemes([os.fspath(scheme) for scheme in schemes]),
        find_costs(None if costs is None else os.fspath(costs)),
    )
    changed = parse_settings(_texts(settings))
    if placement == RECORDED and changed:
        raise UsageError("settings change the simulated placement; leave out --placement recorded")
    return _made(
        db,
        lambda path: replay_all(
            _paths(traces),
            path,
            priced_with,
            progress or Progress(),
            changed if placement == SIMULATED else None,
            pricing,
            instance,
            vmlinux=None if vmlinux is None else Path(vmlinux),
            again=again,
            where=where,
        ),
    )


def simulate(trace: PathLike, settings: Given = None, db: PathLike | None = None) -> pl.LazyFrame:
    """Where the model puts what a trace allocates: a row an event, as the view placements has it.

    Beside each place stands the one that the recorded kernel chose.

    Args:
        trace: a trace set, or a recording.
        settings: numbers of the model that are changed (docs/settings.md).
        db: a results database to keep the runs in; None: a temporary one, which is there as long as
            the frame is.

    Raises:
        AllocsimError: as replay.
    """
    results = replay(trace, db, settings=settings)
    return results.sql(f"FROM placements WHERE run = {results.asked[-1]}")


def sweep(  # noqa: PLR0913 - as the command has them
    traces: Traces,
    vary: Varied,
    db: PathLike | None = None,
    *,
    settings: Given = None,
    by: str = "run",
    jobs: int | None = None,
    fast: bool = False,
) -> pl.LazyFrame:
    """Simulate traces with every combination of some settings, in processes side by side.

    The recorded kernel as it was, and the settings without what is varied, are always among them.

    Args:
        traces: one or several: trace sets, or recordings.
        vary: settings, and the values each takes; "default": as the kernel has it.
        db: a results database to keep the runs in; None: a temporary one.
        settings: numbers of the model that are the same in all combinations.
        by: "run": a row a combination, as the view placement_summary has it; "cache": a row a cache
            and combination, as sheaf_tradeoff has it.
        jobs: processes at a time; None: one a CPU, where that pays.
        fast: let numba compile the model of SLUB; the outcome is the same.

    Returns:
        The answer, read already, in the order of the combinations, trace by trace.

    Raises:
        AllocsimError: as replay.
    """
    if by not in ROWS:
        raise UsageError(f"by {by!r}: say {' or '.join(ROWS)}")
    with _whole(
        swept(traces, vary, db, settings=settings, where=Where(jobs), fast=fast)
    ) as results:
        runs = list(results.asked)
        wanted = f"list_position({runs}, run)"
        answer = results.sql(f"FROM {ROWS[by]} WHERE {wanted} IS NOT NULL ORDER BY {wanted}")
        return answer.collect().lazy()


def swept(  # noqa: PLR0913 - as the command has them
    traces: Traces,
    vary: Varied,
    db: PathLike | None = None,
    *,
    settings: Given = None,
    where: Where | None = None,
    fast: bool = False,
    progress: Progress | None = None,
) -> Results:
    """The results of a sweep; ``asked`` has the run of every combination, trace by trace.

    Of several traces ``failed`` says which could not be simulated.
    """
    wanted = combinations(_varied(vary), parse_settings(_texts(settings)))
    return _made(
        db,
        lambda path: sweep_traces(
            _paths(traces), path, wanted, where or Where(), progress or Progress(), fast=fast
        ),
    )


def merged(folder: PathLike, db: PathLike, *, progress: Progress | None = None) -> Results:
    """A results database with the units of a folder; ``failed`` says which it could not take."""
    return _made(db, lambda path: merge_all(os.fspath(folder), path, progress or Progress()))


def _whole(results: Results) -> Results:
    """The same, if nothing failed.

    Raises:
        AllocsimError: the first that did; closed then.
    """
    if not results.failed:
        return results
    results.close()
    first, *more = results.failed
    others = f"; and {len(more)} more" if more else ""
    raise type(first)(f"{first}{others}; the others are in {results.path}") from first


def _made(db: PathLike | None, make: Callable[[Path], Done]) -> Results:
    """A results database with runs that are made now."""
    with ExitStack() as stack:
        path = stack.enter_context(scratch()) / "results.duckdb" if db is None else Path(db)
        with database(path).adding():
            done = make(path)
        if done.failed and not done.runs:
            raise _first(done.failed)
        with done.reported(path):
            return opened(Results(path, done, stack.pop_all()))


def _first(failed: Sequence[AllocsimError]) -> AllocsimError:
    """What to say where everything failed."""
    first, *more = failed
    return type(first)(f"{first}; and so {len(more)} more") if more else first


def _paths(traces: Traces) -> list[Path]:
    several = [traces] if isinstance(traces, str | os.PathLike) else traces
    if not several:
        raise UsageError("no trace was named")
    return [Path(each) for each in several]


def _texts(given: Given) -> list[str]:
    """Settings as KEY=VALUE."""
    if not isinstance(given, Mapping):
        return list(given or ())
    return [f"{key}={_value(key, value)}" for key, value in given.items()]


def _varied(given: Varied) -> list[str]:
    """Settings as KEY=VALUE,VALUE."""
    if not isinstance(given, Mapping):
        return list(given)
    return [
        f"{key}={','.join(str(_value(key, value)) for value in values)}"
        for key, values in given.items()
    ]


def _value(key: str, value: object) -> object:
    if isinstance(value, float):
        raise UsageError(
            f"setting {key}={value}: write a version as text, 'MAJOR.MINOR': 7.10 is 7.1 as a"
            " number; all other settings are whole numbers"
        )
    return value
