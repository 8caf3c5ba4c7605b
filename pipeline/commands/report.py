"""allocsim report: what the runs of a results database come to, the answers first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipeline.commands.options.common import (
    CACHES,
    CPUS,
    DB,
    DEFAULT_DB,
    DEFAULT_WAIT,
    FORCE,
    PIDS,
    SINCE,
    UNTIL,
    WAIT,
)
from pipeline.commands.options.declared import Option
from pipeline.commands.options.formats import (
    FILES,
    FORMATS,
    as_report,
    outputs,
    write,
)
from pipeline.errors import StoreError, UsageError

if TYPE_CHECKING:
    from reports.queries import Row


def report(
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    format_: FORMATS = None,
    output: FILES = None,
    run: Annotated[
        list[int] | None,
        Option(
            metavar="NUMBER",
            help="Report on this run only, or on the one it is simulated of. May be repeated.",
        ),
    ] = None,
    trace: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Report on the runs of this trace only. Likewise."),
    ] = None,
    full: Annotated[
        bool,
        Option("--full", help="With an appendix: everything that is known of each run."),
    ] = False,
    force: FORCE = False,
    since: SINCE = None,
    until: UNTIL = None,
    cpu: CPUS = None,
    pid: PIDS = None,
    cache: CACHES = None,
) -> None:
    """Report on the runs of the results database: all of them, or those that are named.

    First what freezing saves, what could be next, what the model says of sheaves, and what page
    descriptors would do, each with its range, how it is known and its caveat; then the recordings.
    Up to eight have a page each, of more there is a table.

    With --from, --to, --cpu, --pid or --cache: what is told of single lives, of those whose
    allocation is selected.
    """
    from pipeline.outputs import REPORT
    from pipeline.processes.progress import shown
    from pipeline.stat.lives import selected_lives
    from pipeline.stat.selection import selection
    from pipeline.store.database import reading
    from reports import queries
    from reports.sections.build import build
    from reports.sections.selected import selected

    lives = selection(since, until, cpu or [], pid or [], cache or [])
    if lives and full:
        raise UsageError("--full is of whole recordings; leave it out with a selection")
    wanted = outputs(format_ or [], output or [], REPORT, force=force)
    with shown() as progress, reading(db) as connection:
        runs = queries.runs(connection)
        if not runs:
            raise StoreError(f"{db}: holds no run yet; add one with: allocsim replay TRACE")
        every = queries.every_run(connection)
        chosen = chosen_runs(runs, every, run or [], trace or [])
        step = progress.step("asking the database")
        if lives:
            with selected_lives(connection, lives):
                made = selected(connection, chosen, lives.words())
        else:
            made = build(connection, chosen, full=full, step=step)
    write(wanted, lambda how: as_report(made, how))


def chosen_runs(
    runs: list[Row], every: list[Row], numbers: list[int], traces: list[str]
) -> list[Row]:
    """The recorded runs named by number or by trace; all where nothing is named."""
    from reports.queries import recorded_run
    from reports.render.wording import joined_numbers

    known = [row["run"] for row in every]
    for number in (each for each in numbers if each not in known):
        there = f"run{'s' if len(known) > 1 else ''} {joined_numbers(known)}"
        raise UsageError(f"--run {number}: not in the database, which has {there}")
    names = list(dict.fromkeys(row["trace"] for row in runs))
    for name in (each for each in traces if each not in names):
        raise UsageError(f"--trace {name}: not in the database, which has {', '.join(names)}")
    if not numbers and not traces:
        return runs
    wanted = {found["run"] for number in numbers if (found := recorded_run(every, number))}
    return [row for row in runs if row["run"] in wanted or row["trace"] in traces]
