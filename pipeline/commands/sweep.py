"""allocsim sweep: simulate traces with every combination of some settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, DEFAULT_WAIT, SETTINGS, WAIT


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
    _wait: WAIT = DEFAULT_WAIT,
    set_: SETTINGS = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes at a time; one a CPU if not given."),
    ] = None,
) -> None:
    """Simulate traces with every combination of some settings, each a run of its own.

    A combination that the database has already is not run again, so a sweep that was interrupted
    goes on where it stopped. Counters and states are stored, events and slabs are not: replay with
    --set gives those of one combination. The runs are printed; the view placement_summary says
    more of them.
    """
    from pipeline.progress import shown
    from pipeline.replay.settings import combinations, parse_settings
    from pipeline.replay.sweeps import sweep_traces
    from pipeline.store.database import reading
    from reports.sections.console import print_losses, print_placements

    wanted = combinations(vary, parse_settings(set_ or []))
    with shown() as progress:
        done = sweep_traces(traces, db, wanted, jobs, progress)
    typer.echo(
        f"{len(done.runs)} combinations: {done.added} added, {len(done.runs) - done.added} there"
        " already",
        err=True,
    )
    with reading(db) as connection:
        print_placements(connection, done.runs, sys.stdout)
        print_losses(connection, done.runs, sys.stdout)
