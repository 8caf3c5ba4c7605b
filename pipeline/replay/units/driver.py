"""Units made elsewhere and merged here: in the order of the command, whatever is done first."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.errors import AllocsimError, InputError, UsageError
from pipeline.processes.calls import WorkerEndedError
from pipeline.processes.limits import cpus, memory
from pipeline.replay.units.work import Begun, known_runs, merged
from pipeline.store.adding import Adding
from pipeline.store.dimensions import trace_row
from pipeline.store.units.folder import UnitsFolder
from pipeline.store.units.merging import run_there
from pipeline.store.units.reading import kept_unit
from pipeline.store.units.unit import trace_folder
from pipeline.trace_set.parts import is_trace_set
from pipeline.trace_set.reader import TraceSet
from pipeline.trace_set.remote import uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.processes.calls import Executor, Finished
    from pipeline.replay.done import Done
    from pipeline.replay.units.work import KnownRun
    from pipeline.store.units.reading import KeptUnit

# CPU seconds, by bench/many.py and bench/soak.py. In this process: of a trace of no events, and of
# an event in the recorded and in the simulated run.
_TRACE, _RECORDED, _SIMULATED = 0.3, 0.7e-6, 0.6e-6
# What another process takes more: its start; and writing units and merging them, which is this
# process's to do: of a trace, of an event, and of a simulation that is apart.
_START = 0.8
_UNITS, _EVENT, _APART = 0.36, 0.35e-6, 0.1
_MERGE, _MERGE_APART = 0.17, 0.04
_GAIN = 0.75  # of the time, so that others' CPUs are not taken for little
_BYTES = 1200 << 20  # of memory that a replay takes at the most
_EVENT_BYTES = 40  # of a recording


def default_jobs() -> int:
    """Processes at a time, where nobody says: one a CPU, as far as there is memory for them."""
    return max(1, min(cpus(), memory() // _BYTES))


def pays(paths: Sequence[Path], simulations: int, jobs: int, *, apart: bool) -> bool:
    """Whether other processes are through earlier, their start and the merging included.

    Args:
        paths: trace sets and recordings.
        simulations: how many of each.
        jobs: processes at a time.
        apart: the simulations of a trace need not be in one process.
    """
    several = min(jobs, len(paths) * (simulations if apart else 1))
    if several < 2:
        return False
    events = [_events(path) for path in paths]
    here = [_TRACE + each * (_RECORDED + simulations * _SIMULATED) for each in events]
    together, alone = (1, len(paths) * simulations) if apart else (simulations, 0)
    more = len(paths) * _UNITS + sum(events) * _EVENT + alone * _APART
    longest = max(_TRACE + each * (_RECORDED + together * _SIMULATED) for each in events)
    merging = len(paths) * _MERGE + alone * _MERGE_APART
    elsewhere = max((sum(here) + more) / several, longest, merging) + _START
    return elsewhere < _GAIN * sum(here)


def _events(path: Path) -> float:
    """How many events a trace has, more or less."""
    try:
        if is_trace_set(path):
            meta = json.loads((path / "meta.json").read_text("utf-8"))
            return float(sum(meta["events"].values()))
        files = path.iterdir() if path.is_dir() else [path]
        return max(file.stat().st_size for file in files) / _EVENT_BYTES
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return 0.0  # whoever opens it says what is wrong


@contextmanager
def units_folder(units: str | None, db: Path) -> Iterator[tuple[UnitsFolder, Path]]:
    """Where units are kept, and a folder for what is thrown away at the end of the block.

    Args:
        units: as the user named it; None: they are thrown away too.
        db: the database that they go into, beside which there is room for them.
    """
    folder = UnitsFolder(units if units is not None else str(db.parent))
    with folder.scratch() as place:
        yield folder if units is not None else UnitsFolder(str(place / "units")), place


class Taking:
    """Takes runs that were made elsewhere into a database, one by one.

    Args:
        db: the database.
        folder: the units.
        place: a folder for what is copied.
        done: told each run, and each that failed.
        again: add what is there already, too.
        keep: do not throw a unit away that has been taken.
    """

    def __init__(  # noqa: PLR0913 - from where, into what, and how
        self, db: Path, folder: UnitsFolder, place: Path, done: Done, *, again: bool, keep: bool
    ) -> None:
        self._db, self._folder, self._place = db, folder, place
        self.done, self._again, self._keep = done, again, keep
        self._stack = ExitStack()
        self._results: Adding | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    @property
    def results(self) -> Adding:
        """The database; one opened anew behind a failure."""
        if self._results is None:
            self._results = self._stack.enter_context(Adding(self._db))
        return self._results

    def known(self, paths: Sequence[Path]) -> Iterator[dict[str, list[KnownRun]]]:
        """The runs that need not be made, for each trace; of a recording it is seen later which."""
        known: dict[str, list[KnownRun]] = {}
        if not self._again:
            with self.results.asked() as connection:
                known = known_runs(connection) if connection else {}
        for path in paths:
            folder = _folder_of(path)
            yield known if folder is None else {folder: known.get(folder, [])}

    def take(self, run: int | str, *, asked: bool) -> None:
        """Take a run.

        Args:
            run: its number, if the database has it, or the name of its unit.
            asked: it was asked for, not made for another one's sake.

        Raises:
            InputError: the unit is damaged; nothing has been added then.
        """
        added = False
        if isinstance(run, str):
            name = run
            unit = kept_unit(self._folder.fetched(name, self._place))
            there = self._there(unit)
            added = there is None
            run = self._merged(unit) if there is None else there
            if self._folder.local is None or not self._keep:
                shutil.rmtree(unit.path, ignore_errors=True)
        if asked:
            self.done.runs.append(run)
            if added:
                self.done.added.append(run)

    def _merged(self, unit: KeptUnit) -> int:
        try:
            return merged(unit, self.results)
        except InputError:  # after a failure there are no further transactions
            self._stack.close()
            self._results = None
            raise

    def _there(self, unit: KeptUnit) -> int | None:
        """The number of a unit's run, if it was added meanwhile: by a trace that is named twice."""
        if self._again:
            return None
        with self.results.asked() as connection:
            return run_there(connection, unit.unit) if connection else None


def make_units(  # noqa: PLR0913 - by whom, of what, for whom
    run: Executor,
    begin: Callable[..., Begun],
    works: Sequence[object],
    paths: Sequence[Path],
    taking: Taking,
    advance: Callable[[float], None],
    first: int = 0,
) -> None:
    """Have units made, and take each as soon as it and all before it are there.

    Args:
        run: makes the calls.
        begin: called with the work of each trace.
        works: the traces, in order.
        paths: of these, for what is said of one that failed.
        taking: takes the runs.
        advance: told the part that is done, 0 to 1.
        first: of the runs of a trace, the first that was asked for; those before it are made for
            its sake.
    """
    course = _Course(run, begin, works)
    due, failed = [0, 0], False
    for finished in run.completed():
        course.note(finished)
        while due[0] < len(works) and (runs := course.runs.get(due[0])) is not None:
            while due[1] < len(runs) and (outcome := runs[due[1]]) is not None:
                try:
                    if isinstance(outcome, Exception):
                        raise _said(paths[due[0]], outcome)
                    if not failed:  # what simulates a run that is not there has no line of its own
                        taking.take(outcome, asked=due[1] >= first)
                except (InputError, UsageError, UnitFailedError) as error:
                    taking.done.failed.append(error)
                    failed = failed or not due[1]
                due[1] += 1
            if due[1] < len(runs):
                break
            due, failed = [due[0] + 1, 0], False
            advance(due[0] / len(works))


class UnitFailedError(AllocsimError):
    """A unit that could not be made, for another reason than its input."""


def _said(path: Path, error: Exception) -> AllocsimError:
    if isinstance(error, WorkerEndedError):
        return UnitFailedError(
            f"{path}: the process that replayed it was ended from outside (out of memory?); run the"
            " same command again, perhaps with --jobs 1"
        )
    if isinstance(error, InputError | UsageError):
        return error
    if isinstance(error, AllocsimError):
        return UnitFailedError(str(error))
    raise error


class _Course:
    """How far the units of each trace are: as many traces at a time as there are processes.

    Args:
        run: makes the calls.
        begin: called with the work of each trace.
        works: the traces, in order.
    """

    def __init__(self, run: Executor, begin: Callable[..., Begun], works: Sequence[object]) -> None:
        self._run, self._begin = run, begin
        self._coming = iter(enumerate(works))
        self._missing: dict[int, int] = {}
        self._kept: dict[int, Path | None] = {}
        #: Of each trace that was begun: number, unit or error of each run; None: not yet.
        self.runs: dict[int, list[int | str | Exception | None]] = {}
        for _ in range(run.size):
            self._next()

    def _next(self) -> None:
        for turn, work in self._coming:
            self._run.submit((turn, None), self._begin, work)
            return

    def note(self, finished: Finished) -> None:
        """Note what is done, and have what follows from it made."""
        turn: int
        place: int | None
        turn, place = finished.key  # type: ignore[misc] # as submitted here
        if place is not None:
            self.runs[turn][place] = finished.error or finished.result
            self._missing[turn] -= 1
        elif finished.error is not None:
            self.runs[turn] = [finished.error]
            self._missing[turn] = 0
        else:
            begun: Begun = finished.result
            self.runs[turn] = list(begun.runs)
            self._missing[turn] = len(begun.further)
            self._kept[turn] = begun.kept
            for each, (function, work) in begun.further.items():
                self.runs[turn][each] = None
                self._run.submit((turn, each), function, work)
        if not self._missing[turn]:
            kept = self._kept.get(turn)
            if kept is not None:
                shutil.rmtree(kept, ignore_errors=True)
            self._next()


def _folder_of(path: Path) -> str | None:
    """The folder that units of a trace set have; None: of a recording, or one that is damaged."""
    try:
        return trace_folder(trace_row(TraceSet.open(path))) if is_trace_set(path) else None
    except (InputError, OSError):
        return None  # whoever replays it says what is wrong


def absolute(path: Path) -> Path:
    """A path for processes that are in other folders."""
    if uri(path) is not None:
        return path
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay what they are
