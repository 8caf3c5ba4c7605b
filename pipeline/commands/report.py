"""allocsim report: the runs of a results database as a PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, DEFAULT_WAIT, FORCE, WAIT
from pipeline.errors import StoreError, UsageError

if TYPE_CHECKING:
    from reports.queries import Row


def report(
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.pdf", help="The report; - for stdout.")
    ] = Path("out/report.pdf"),
    run: Annotated[
        list[int] | None,
        typer.Option(
            metavar="NUMBER",
            help="Report on this run only, or on the one it is simulated of. May be repeated.",
        ),
    ] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Report on the runs of this trace only. Likewise."),
    ] = None,
    force: FORCE = False,
) -> None:
    """Write a PDF on the runs of the results database: all of them, or those that are named."""
    from pipeline.outputs import PDF, claimed
    from pipeline.store.database import reading
    from reports import queries
    from reports.render.pdf import render
    from reports.sections.build import build

    target = claimed(output, PDF, force=force)
    with reading(db) as connection:
        runs = queries.runs(connection)
        if not runs:
            raise StoreError(f"{db}: holds no run yet; add one with: allocsim replay TRACE")
        every = queries.every_run(connection)
        chosen = _chosen(runs, every, run or [], trace or [])
        pdf = render(build(connection, chosen))
    target.write(pdf)
    if not target.is_stream:
        typer.echo(output)


def _chosen(runs: list[Row], every: list[Row], numbers: list[int], traces: list[str]) -> list[Row]:
    """The recorded runs named by number or by trace; all where nothing is named."""
    from reports.queries import recorded_run

    for option, asked, known in (
        ("--run", numbers, [row["run"] for row in every]),
        ("--trace", traces, list(dict.fromkeys(row["trace"] for row in runs))),
    ):
        for name in asked:
            if name not in known:
                there = ", ".join(str(item) for item in known)
                raise UsageError(f"{option} {name}: not in the database, which has {there}")
    if not numbers and not traces:
        return runs
    wanted = {found["run"] for number in numbers if (found := recorded_run(every, number))}
    return [row for row in runs if row["run"] in wanted or row["trace"] in traces]
