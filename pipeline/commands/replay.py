"""allocsim replay: put traces through the model, and the results into a database."""

from __future__ import annotations

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
    """Replay traces through the model, and add a run for each to the results database."""
    from pipeline.runs import replay_traces

    replay_traces(traces, db, policy)
