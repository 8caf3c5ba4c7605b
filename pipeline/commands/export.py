"""allocsim export: results in the forms of other people's tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from pipeline.commands.options.common import DB, DEFAULT_DB, DEFAULT_WAIT, FORCE, WAIT
from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import UsageError
from pipeline.export.stacks import PROFILES, StackWeight

if TYPE_CHECKING:
    import duckdb

    from pipeline.export.rows import RowSource
    from pipeline.outputs import Output

RUN = Annotated[
    int | None,
    Option(metavar="NUMBER", help="Which run; the only recorded one if not given."),
]
OUTPUT = Annotated[Path, Option("--output", "-o", metavar="FILE", help="Where to; - for stdout.")]
ROWS = Annotated[str, Argument(metavar="NAME", help="A view or a table, such as cache_summary.")]
ROWS_RUN = Annotated[int | None, Option("--run", metavar="NUMBER", help="Rows of this run only.")]
_STDOUT = Path("-")


def perfetto(
    output: OUTPUT,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    run: RUN = None,
    step: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="Of a counter's values within such a time only the last is written, as in '1 ms';"
            " a 4096th of the recording if not given; '1 ns' writes every one.",
        ),
    ] = None,
    lives: Annotated[
        str | None,
        Option(
            metavar="TIME",
            help="With a slice for each object and block of pages that lived at least that long.",
        ),
    ] = None,
    force: FORCE = False,
) -> None:
    """Write a trace for Perfetto: what a run holds and does.

    For ui.perfetto.dev, over time. Counters of live bytes by cache and by kind of page; of the
    simulated run, which is the latest of that recording as it was where --run does not name one,
    how requests were served, and free blocks. A counter's value is exact at the time at which it
    stands. Times are the recording's.
    """
    from pipeline.export.perfetto import write_perfetto
    from pipeline.export.run_pair import run_pair
    from pipeline.outputs import PERFETTO, claimed
    from pipeline.processes.progress import shown

    long = None if lives is None else _time("--lives", lives)
    given = None if step is None else _time("--step", step)
    target = claimed(output, PERFETTO, force=force)
    with _written(target, db) as (connection, file), shown() as progress:
        pair = run_pair(connection, run)
        every = given or max(1, (pair.last_ts - pair.first_ts) // 4096)
        done = write_perfetto(
            connection, pair, file, step=every, long=long, done=progress.step("asking")
        )
    _say(
        target,
        f"{pair.trace}, run {pair.recorded}, "
        + (f"with the model of run {pair.model}" if pair.model else "which was not simulated")
        + f"\n{done.counters:,} counters, {done.samples:,} values (the last in each {every:,} ns)"
        + (f", {done.lives:,} lives of {lives} and longer" if lives else ""),
    )


def speedscope(
    output: OUTPUT,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    run: RUN = None,
    force: FORCE = False,
) -> None:
    """Write a file for speedscope: where memory comes from.

    For speedscope.app. A profile for each weight that allocsim export folded knows. Where the
    recording has no stack of an event, its call site alone stands for it, and the frame outside
    says so.
    """
    from pipeline.export.flame_graphs import write_speedscope
    from pipeline.export.run_pair import run_pair
    from pipeline.outputs import SPEEDSCOPE, claimed

    target = claimed(output, SPEEDSCOPE, force=force)
    with _written(target, db) as (connection, file):
        totals = write_speedscope(connection, run_pair(connection, run), file)
    lines = (f"{weight}: {total:,} {_unit(weight)}" for weight, total in totals.items())
    _say(target, "\n".join(lines))


def folded(
    output: OUTPUT = _STDOUT,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    run: RUN = None,
    weight: Annotated[
        StackWeight,
        Option(
            help="What the number of a line is: bytes of objects or of pages that are live at the"
            " end, or were allocated; of objects, what of that was not asked for (waste); of pages,"
            " locked instructions on their reference counts (operations)."
        ),
    ] = StackWeight.OBJECTS_LIVE,
    force: FORCE = False,
) -> None:
    """Write folded stacks, for flame graphs.

    A line a stack: functions, the outermost first, and a number. The last frame is the cache, or
    the kind of page. Only what was allocated in the recording counts. Where the recording has no
    stack of an event, its call site alone stands for it, and the frame outside says so.
    """
    from pipeline.export.flame_graphs import write_folded
    from pipeline.export.run_pair import run_pair
    from pipeline.outputs import FOLDED, claimed

    target = claimed(output, FOLDED, force=force)
    with _written(target, db) as (connection, file):
        total = write_folded(connection, weight, run_pair(connection, run), file)
    _say(target, f"{PROFILES[weight].title}\n{total:,} {_unit(weight)}")


def parquet(
    name: ROWS,
    output: OUTPUT,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    run: ROWS_RUN = None,
    force: FORCE = False,
) -> None:
    """Write a view or a table as Parquet.

    For DuckDB, pandas, polars and others. Names are text, addresses unsigned whole numbers. What a
    row and each column is stands in the file's metadata, under allocsim.row and allocsim.columns.

    For recorded events, which lie in the trace set, and for what a query answers: allocsim sql
    -f parquet.
    """
    from pipeline.export.rows import write_parquet
    from pipeline.outputs import PARQUET, claimed

    _rows(name, claimed(output, PARQUET, force=force), db, run, write_parquet)


def csv(
    name: ROWS,
    output: OUTPUT = _STDOUT,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    run: ROWS_RUN = None,
    force: FORCE = False,
) -> None:
    """Write a view or a table as CSV.

    Text is quoted, NULL is nothing between two commas, an address is 0x and its digits.
    """
    from pipeline.export.rows import write_csv
    from pipeline.outputs import CSV, claimed

    _rows(name, claimed(output, CSV, force=force), db, run, write_csv)


def _rows(
    name: str,
    target: Output,
    db: Path,
    run: int | None,
    write: Callable[[duckdb.DuckDBPyConnection, RowSource, int | None, BinaryIO], int],
) -> None:
    from pipeline.export.rows import source

    what = source(name)
    with _written(target, db) as (connection, file):
        count = write(connection, what, run, file)
    _say(target, f"{name}: {count:,} rows")


@contextmanager
def _written(target: Output, db: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, BinaryIO]]:
    """A results database, and the file that is made of it."""
    from pipeline.outputs import FOLDED
    from pipeline.store.database import reading

    if target.is_stream and target.kind is not FOLDED and sys.stdout.isatty():
        raise UsageError("not for a terminal; name a file with -o, or pipe it")
    with reading(db) as connection, target.opened() as file:
        yield connection, file


def _say(target: Output, what: str) -> None:
    """What there is now; on stderr where the output itself is on stdout."""
    from pipeline.terminal import printable

    said = printable(what if target.is_stream else f"{target.path}\n{what}")
    (sys.stderr if target.is_stream else sys.stdout).write(f"{said}\n")


def _unit(weight: StackWeight) -> str:
    unit = PROFILES[weight].unit
    return "locked instructions" if unit == "none" else unit


def _time(option: str, text: str) -> int:
    """Nanoseconds, above zero, that an option says."""
    from pipeline.synth.spec.units import TIMES, parse_units

    try:
        value = parse_units(text, TIMES)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from None
    if value == 0:
        raise UsageError(f"{option} {text!r}: longer than nothing")
    return value
