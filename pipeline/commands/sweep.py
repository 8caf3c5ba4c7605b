"""allocsim sweep: simulate traces with every combination of some settings."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pipeline.commands.options import completion
from pipeline.commands.options.common import (
    CLUSTER,
    DB,
    DEFAULT_DB,
    DEFAULT_WAIT,
    JOBS,
    SETTINGS,
    UNITS,
    WAIT,
    tell_failed,
)
from pipeline.commands.options.declared import Argument, Option


class By(StrEnum):
    """What a row of the answer is."""

    RUN = "run"
    CACHE = "cache"


def sweep(
    traces: Annotated[list[Path], Argument(metavar="TRACE", help="Trace sets, or recordings.")],
    vary: Annotated[
        list[str],
        Option(
            metavar="KEY=VALUE,VALUE...",
            autocompletion=completion.settings,
            help="A number of the model, and the values it takes; default: as the kernel has it."
            " May be repeated: every combination is simulated.",
        ),
    ],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    set_: SETTINGS = None,
    by: Annotated[
        By,
        Option(help="A row a combination, or one for each of the caches that move most."),
    ] = By.RUN,
    jobs: JOBS = None,
    units: UNITS = None,
    cluster: CLUSTER = None,
    fast: Annotated[
        bool,
        Option(
            "--fast",
            help="Let numba compile the model of SLUB, which takes a second a process: the outcome"
            " is the same. Needs allocsim[fast].",
        ),
    ] = False,
) -> None:
    """Simulate traces with every combination of some settings, each a run of its own.

    The recorded kernel as it was, and the settings without what is varied, are always among them. A
    combination that the database has already is not run again, so a sweep that was interrupted
    goes on where it stopped. Counters and states are stored, events and slabs are not: replay with
    --set gives those of one combination. The runs are printed; the view placement_summary says
    more of them.
    """
    from pipeline.api.runs import swept
    from pipeline.processes.progress import shown
    from pipeline.replay.units.replays import Where
    from reports.console.runs import print_swept

    where = Where(jobs, units, cluster)
    with shown() as progress:
        results = swept(traces, vary, db, settings=set_, where=where, fast=fast, progress=progress)
    runs, added = len(results.asked), len(results.added)
    sys.stderr.write(f"{runs} combinations: {added} added, {runs - added} there already\n")
    with results, results.asking() as connection:
        print_swept(connection, results.asked, sys.stdout, by_cache=by is By.CACHE)
    tell_failed(results.failed)
