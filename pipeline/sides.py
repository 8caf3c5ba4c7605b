"""What a side of a comparison is given as, and the runs it stands for."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from allocsim.kernel import kernel_of
from pipeline.errors import InputError, StoreError, UsageError
from pipeline.runs import replay_traces
from pipeline.store.database import reading
from reports import queries
from reports.comparison import Run, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection

    from allocsim.policies import Policy
    from pipeline.progress import Progress
    from reports.queries import Row

ALL = "*"  #: FILE:* stands for every run of the file


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
def opened_sides(
    names: Sequence[str], db: Path, policies: Sequence[Policy], progress: Progress
) -> Iterator[list[Side]]:
    """The sides that ``names`` stand for, open for as long as the block runs.

    Args:
        names: one a side; repeats of a side are separated by commas. Each is a trace set or a
            recording, a results file, FILE:RUN, FILE:TRACE, FILE:* or, in ``db``, a trace's name
            or a run's number.
        db: where names that are no files are looked for.
        policies: what to price the runs with that are replayed on the way.
        progress: told how far these are.

    Raises:
        AllocsimError: a name that stands for nothing, or something that cannot be read.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="allocsim-")))
        databases = _Databases(stack)
        traces = _traces(names)
        replayed: dict[str, Run] = {}
        if traces:
            scratch = folder / "results.duckdb"
            runs = replay_traces([Path(name) for name in traces], scratch, policies, progress)
            connection = databases.open(scratch)
            rows = {row["run"]: row for row in queries.every_run(connection)}
            replayed = {
                name: _run(connection, rows[run]) for name, run in zip(traces, runs, strict=True)
            }
        sides = []
        for name in names:
            found: list[Run] = []
            for part in _parts(name):
                found += [replayed[part]] if part in replayed else _stored(part, db, databases)
            sides.append((name, tuple(found)))
        labels = _labels(sides)
        yield [Side(label, found) for label, (_, found) in zip(labels, sides, strict=True)]


def _parts(name: str) -> list[str]:
    parts = [part.strip() for part in name.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"side {name!r}: names nothing")
    return parts


def _traces(names: Sequence[str]) -> list[str]:
    """What is to be replayed, each once."""
    parts = [part for name in names for part in _parts(name)]
    return list(dict.fromkeys(part for part in parts if _is_trace(Path(part))))


def _is_trace(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and not is_database(path))


def is_database(path: Path) -> bool:
    """Whether a file is one of DuckDB's: its magic stands behind a checksum of eight bytes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(12)[8:] == b"DUCK"
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _stored(name: str, db: Path, databases: _Databases) -> list[Run]:
    """The runs of a results database that a name stands for."""
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
    return [_run(connection, row) for row in _chosen(rows, path, wanted)]


def _chosen(rows: Sequence[Row], path: Path, wanted: str | None) -> list[Row]:
    """Runs by number or trace; the newest of a trace that was replayed more than once."""
    recorded = [row for row in rows if not row.get("of_run")]
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
    known = ", ".join(newest)
    raise UsageError(f"{wanted}: no run or trace of {path}, which has {known}")


def _run(connection: DuckDBPyConnection, row: Row) -> Run:
    release = row["kernel_release"]
    try:
        own = f"linux-{kernel_of(release).paths}"
    except ValueError as error:
        raise InputError(f"{row['trace']}: {error}") from error
    return Run(connection, row, own)


def _labels(sides: Sequence[tuple[str, tuple[Run, ...]]]) -> list[str]:
    """Names of the traces where these tell the sides apart, else what the user wrote."""
    names = [", ".join(dict.fromkeys(run.row["trace"] for run in runs)) for _, runs in sides]
    if len(set(names)) == len(names):
        return names
    written = [name for name, _ in sides]
    return written if len(set(written)) == len(written) else names
