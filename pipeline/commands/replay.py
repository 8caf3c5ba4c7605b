"""allocsim replay: put traces through the model, and the results into a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB


def replay(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE...", help="Trace sets, or recordings.")
    ],
    db: DB = DEFAULT_DB,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Refcount policy: a shipped one, or your own TOML file. May be repeated;"
            " all shipped ones where none is given.",
        ),
    ] = None,
) -> None:
    """Replay traces through the model, and add a run for each to the results database.

    A recording is imported on the way and the trace set thrown away; import it first to keep it.
    What was added is printed: each run under each policy, as in the view policy_summary.
    """
    from pipeline.policies import find_policies
    from pipeline.progress import shown
    from pipeline.runs import replay_traces
    from pipeline.store.database import reading
    from reports.rows import write_table

    policies = find_policies(policy or [])
    with shown() as progress:
        runs = replay_traces(traces, db, policies, progress)
    with reading(db) as connection:
        result = connection.execute(
            "SELECT * FROM policy_summary WHERE list_contains(?, run)", [runs]
        )
        names = [name for name, *_ in result.description or ()]
        write_table(names, result.fetchall(), sys.stdout)
