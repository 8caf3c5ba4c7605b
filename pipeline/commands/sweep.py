"""allocsim sweep: simulate traces with every combination of some settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, SETTINGS


def sweep(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Trace sets, or recordings.")
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE,VALUE...",
            help="A number of the model, and the values it takes. May be repeated: every"
            " combination is simulated.",
        ),
    ],
    db: DB = DEFAULT_DB,
    set_: SETTINGS = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes at a time; one a CPU if not given."),
    ] = None,
) -> None:
    """Simulate traces with every combination of some settings, each a run of its own.

    A combination that the database has already is not run again, so a sweep that was interrupted
    goes on where it stopped. Counters and states are stored, events and slabs are not: replay with
    --set gives those of one combination. The runs are printed, as in the view placement_summary.
    """
    from pipeline.progress import shown
    from pipeline.settings import combinations, parse_settings
    from pipeline.store.database import reading
    from pipeline.sweeps import sweep_traces
    from reports.rows import write_table

    wanted = combinations(vary, parse_settings(set_ or []))
    with shown() as progress:
        done = sweep_traces(traces, db, wanted, jobs, progress)
    typer.echo(
        f"{len(done.runs)} combinations: {done.added} added, {len(done.runs) - done.added} there"
        " already",
        err=True,
    )
    with reading(db) as connection:
        result = connection.execute(
            "FROM placement_summary WHERE list_contains($1, run) ORDER BY list_position($1, run)",
            [done.runs],
        )
        names = [name for name, *_ in result.description or ()]
        write_table(names, result.fetchall(), sys.stdout)
