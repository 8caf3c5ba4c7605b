"""allocsim validate: the model against what the recorded kernel itself counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, Format

# A table is for reading; CSV and JSON keep every digit.
_READ = """
    SELECT * REPLACE (
        round(kernel, 3) AS kernel, round(model, 3) AS model,
        round(error_pct, 2) AS error_pct, round(bound_pct, 2) AS bound_pct
    )
    FROM validation WHERE list_contains(?, run)
"""
_WHOLE = "FROM validation WHERE list_contains(?, run)"


def validate(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Trace sets, or recordings.")
    ],
    db: DB = DEFAULT_DB,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How the rows are written.")
    ] = Format.TABLE,
) -> None:
    """Replay traces, and compare with all that their recordings hold.

    The rows are those of the table validation: reference operations against page_ref events, kinds
    of page against kpageflags, slabs against sysfs. Where a quantity has no bound the column ok is
    empty, and the note says why. The exit code is 1 if a difference exceeds its bound.
    """
    from pipeline.progress import shown
    from pipeline.store.database import reading
    from pipeline.validation.run import validate_traces
    from reports.render.rows import WRITERS
    from reports.sections.console import print_losses, print_not_compared

    with shown() as progress:
        runs = validate_traces(traces, db, progress)
    with reading(db) as connection:
        result = connection.execute(_READ if format_ is Format.TABLE else _WHOLE, [runs])
        names = [name for name, *_ in result.description or ()]
        rows = result.fetchall()
        print_losses(connection, runs, sys.stderr)
        print_not_compared(connection, runs, sys.stderr)
    WRITERS[format_.value](names, rows, sys.stdout)
    held = [row[names.index("ok")] for row in rows]
    exceeded = held.count(False)
    typer.echo(
        f"{len(rows)} comparisons: {held.count(True)} within their bound, {exceeded} beyond it,"
        f" {held.count(None)} without one",
        err=True,
    )
    if exceeded:
        raise typer.Exit(1)
