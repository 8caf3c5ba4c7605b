"""What a side of a comparison is given as, and the runs it stands for."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError, StoreError, UsageError
from pipeline.processes.scratch import scratch
from pipeline.replay.pricing import shipped_pricing
from pipeline.replay.recorded import replay_path
from pipeline.replay.settings import parse_settings
from pipeline.replay.simulated import settings_key
from pipeline.store.database import reading
from pipeline.trace_set.meta import check_meta
from pipeline.trace_set.parts import is_trace_set
from pipeline.trace_set.reader import TraceSet
from reports import queries
from reports.compare.comparison import Run, Side
from reports.render.wording import joined_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from duckdb import DuckDBPyConnection

    from allocsim.refcount.policies import Policy
    from pipeline.processes.progress import Progress
    from pipeline.replay.settings import Settings
    from reports.queries import Row

ALL = "*"  #: FILE:* stands for every run of the file
# NAME@KEY=VALUE@KEY=VALUE: what is given, and the settings to simulate it with.
_MOMENT = r"(?:@[0-9.]+s)?"
_SETTING = rf"@[^@=,]+{_MOMENT}=[^@=,]*{_MOMENT}"
_WITH_SETTINGS = re.compile(rf"(?P<what>.+?)(?P<settings>(?:{_SETTING})+)")


@dataclass(frozen=True, slots=True)
class _SidePart:
    """One recording of a side, as it is given.

    Args:
        text: all that the user wrote of it.
        what: a trace set, a recording, a results file or what is in one.
        settings: what it is to be simulated with; None where none are given.
    """

    text: str
    what: str
    settings: Settings | None

    @property
    def is_trace(self) -> bool:
        """Whether it has to be replayed."""
        path = Path(self.what)
        return path.is_dir() or (path.is_file() and not is_database(path))


@dataclass(frozen=True, slots=True)
class _Found:
    """What a part stands for: a recorded run, and a simulated one of it where there is one."""

    connection: DuckDBPyConnection
    recorded: Row
    simulated: Row | None

    def run(self, *, simulated: bool) -> Run:
        """It as a run of the comparison: of its simulated placement, or of the recorded alone."""
        row = self.simulated if simulated and self.simulated is not None else self.recorded
        return _run(self.connection, row)


class _Databases:
    """The results databases of a comparison, each opened once and closed together."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: dict[Path, DuckDBPyConnection] = {}

    def open(self, path: Path) -> DuckDBPyConnection:
        key = path.resolve()
        if key not in self._open:
            self._open[key] = self._stack.enter_context(reading(path))
        return self._open[key]


@contextmanager
def opened_sides(  # noqa: PLR0913 - what is given, and who looks at it
    names: Sequence[str],
    db: Path,
    policies: Sequence[Policy],
    progress: Progress,
    *,
    simulated: bool = True,
    check: Callable[[list[tuple[str, list[Row]]]], None] = lambda _: None,
) -> Iterator[list[Side]]:
    """The sides that ``names`` stand for, open for as long as the block runs.

    A side has its simulated placement where every side has one: trace sets are simulated on the
    way, a stored run has one if it was replayed with one.

    Args:
        names: one a side; repeats of a side are separated by commas. Each is a trace set or a
            recording, a results file, FILE:RUN, FILE:TRACE, FILE:* or, in ``db``, a trace's name
            or a run's number; with @KEY=VALUE behind it, simulated with that setting.
        db: where names that are no files are looked for.
        policies: what to price the runs with that are replayed on the way, besides what the
            recorded kernels do.
        progress: told how far these are.
        simulated: False: compare what was recorded only.
        check: is given what is known of the sides before anything is replayed, as
            reports.compare.comparable.early wants it; it may refuse them.

    Raises:
        AllocsimError: a name that stands for nothing, or something that cannot be read.
    """
    sides = [(name, _parts(name)) for name in names]
    parts = [part for _, of_side in sides for part in of_side]
    if not simulated and any(part.settings for part in parts):
        raise UsageError("settings change the simulated placement; leave out --placement recorded")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        databases = _Databases(stack)
        found: dict[str, list[_Found]] = {
            part.text: _stored(part, db, databases) for part in parts if not part.is_trace
        }
        traces = [part for part in parts if part.is_trace]
        heads = {part.text: [_head(part)] for part in traces} | {
            text: [_stored_head(each.recorded) for each in several]
            for text, several in found.items()
        }
        check([(name, [head for part in of for head in heads[part.text]]) for name, of in sides])
        # Without settings a simulation is made for the sake of the other sides' only.
        wanted = any(part.settings for part in parts) or (
            simulated and all(each.simulated for several in found.values() for each in several)
        )
        if traces:
            made = folder / "results.duckdb"
            runs = _replayed(traces, made, policies, progress, simulated=wanted)
            connection = databases.open(made)
            rows = {row["run"]: row for row in queries.every_run(connection)}
            for text, (recorded, placed) in runs.items():
                of_it = None if placed is None else rows[placed]
                found[text] = [_Found(connection, rows[recorded], of_it)]
        chosen = [
            (name, tuple(each.run(simulated=wanted) for part in of for each in found[part.text]))
            for name, of in sides
        ]
        labels = _labels(chosen)
        yield [Side(label, runs) for label, (_, runs) in zip(labels, chosen, strict=True)]


def _head(part: _SidePart) -> Row:
    """What is known of a trace set by its meta.json, of a recording by its head."""
    path = Path(part.what)
    if is_trace_set(path):
        meta = TraceSet.open(path).meta
        check_meta(path, meta)
        return _whole(meta)
    from pipeline.ingest.recording import first_look  # noqa: PLC0415 - few are recordings

    looked = first_look(path)
    described, seen = looked or (None, set())
    return {"meta": None, "seen": seen, "described": described}


def _stored_head(row: Row) -> Row:
    return _whole({**row, **json.loads(row["meta"] or "{}")})


def _whole(meta: Row) -> Row:
    recorded = meta.get("recorded_events") or list(meta.get("events", {}))
    return {**meta, "meta": meta, "seen": recorded, "described": recorded}


def _parts(name: str) -> list[_SidePart]:
    parts = [part.strip() for part in name.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"side {name!r}: names nothing")
    return [_part(part) for part in parts]


def _part(text: str) -> _SidePart:
    match = _WITH_SETTINGS.fullmatch(text)
    if match is None or Path(text).exists():
        return _SidePart(text, text, None)
    return _SidePart(text, match["what"], _settings(match["settings"]))


def _settings(text: str) -> Settings:
    """The settings of a part, each behind an @; one may have a moment, behind another."""
    return parse_settings([each[1:] for each in re.findall(_SETTING, text)])


def _replayed(
    parts: Sequence[_SidePart],
    db: Path,
    policies: Sequence[Policy],
    progress: Progress,
    *,
    simulated: bool,
) -> dict[str, tuple[int, int | None]]:
    """Each trace replayed once, and simulated once with each of its settings: runs by part."""
    runs: dict[str, tuple[int, int | None]] = {}
    for what in dict.fromkeys(part.what for part in parts):
        of_it = {part.text: part.settings or {} for part in parts if part.what == what}
        several = {settings_key(each): each for each in of_it.values()} if simulated else {}
        recorded, *placed = replay_path(
            Path(what), db, policies, progress, list(several.values()), shipped_pricing()
        )
        by_key = dict(zip(several, placed, strict=True))
        for text, settings in of_it.items():
            runs[text] = (recorded, by_key.get(settings_key(settings)))
    return runs


def is_database(path: Path) -> bool:
    """Whether a file is one of DuckDB's: its magic stands behind a checksum of eight bytes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _stored(part: _SidePart, db: Path, databases: _Databases) -> list[_Found]:
    """The runs of a results database that a part stands for."""
    name = part.what
    path, wanted = Path(name), None
    if not path.is_file():
        before, colon, after = name.rpartition(":")
        if colon and Path(before).is_file():
            path, wanted = Path(before), after
        elif not db.is_file():
            raise InputError(
                f"{name}: no trace set, recording or results file, and there is no {db} to look in"
            )
        else:
            path, wanted = db, name
    connection = databases.open(path)
    rows = queries.every_run(connection)
    if not rows:
        raise StoreError(f"{path}: holds no run yet; add one with: allocsim replay TRACE")
    by_number = {row["run"]: row for row in rows}
    found = []
    for row in _chosen(rows, path, wanted):
        if row["of_run"] is None:
            found.append(_Found(connection, row, _simulated(rows, row, part, path)))
        elif part.settings is not None:
            raise UsageError(f"{part.text}: run {row['run']} is simulated with {row['settings']}")
        else:
            found.append(_Found(connection, by_number[row["of_run"]], row))
    return found


def _simulated(rows: Sequence[Row], recorded: Row, part: _SidePart, path: Path) -> Row | None:
    """The newest simulation of a recorded run with the settings that are asked for."""
    simulated = [row for row in rows if row["of_run"] == recorded["run"]]
    key = settings_key(part.settings or {})
    found = [row for row in simulated if row["settings"] == key]
    if found:
        return found[-1]
    if part.settings is None:
        return None
    there = ", ".join(dict.fromkeys(row["settings"] for row in simulated)) or "none at all"
    raise UsageError(
        f"{part.text}: {path} has no simulation of run {recorded['run']} with {key}, but {there};"
        " allocsim replay TRACE --set KEY=VALUE adds one"
    )


def _chosen(rows: Sequence[Row], path: Path, wanted: str | None) -> list[Row]:
    """Runs by number or trace; the newest of a trace that was replayed more than once."""
    recorded = [row for row in rows if row["of_run"] is None]
    newest = {row["trace"]: row for row in recorded}
    if wanted == ALL:
        return list(newest.values())
    if wanted is None:
        if len(newest) == 1:
            return list(newest.values())
        raise UsageError(
            f"{path}: holds {', '.join(newest)}; name one with {path}:TRACE or {path}:RUN, or take"
            f" all as repeats of one thing with '{path}:{ALL}'"
        )
    if wanted in newest:
        return [newest[wanted]]
    by_number = {str(row["run"]): row for row in rows}
    if wanted in by_number:
        return [by_number[wanted]]
    runs = f"run{'s' if len(rows) > 1 else ''} {joined_numbers([row['run'] for row in rows])}"
    raise UsageError(
        f"{wanted}: no run or trace of {path}, which has {runs}, of {', '.join(newest)}"
    )


def _run(connection: DuckDBPyConnection, row: Row) -> Run:
    return Run(connection, row, row["own_policy"])


def _labels(sides: Sequence[tuple[str, tuple[Run, ...]]]) -> list[str]:
    """Names of the traces where these tell the sides apart, else what the user wrote."""
    names = [", ".join(dict.fromkeys(_called(run.row) for run in runs)) for _, runs in sides]
    if len(set(names)) == len(names):
        return names
    written = [name for name, _ in sides]
    return written if len(set(written)) == len(written) else names


def _called(row: Row) -> str:
    """A run's trace, with the settings it was simulated with behind it."""
    settings = json.loads(row["settings"] or "{}")
    return "".join([row["trace"], *(f"@{key}={value}" for key, value in settings.items())])
