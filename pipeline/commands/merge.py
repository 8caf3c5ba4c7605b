"""allocsim merge: runs that were kept as units, into a database."""

from __future__ import annotations

import sys
from typing import Annotated

from pipeline.commands.options.common import DB, DEFAULT_DB, DEFAULT_WAIT, WAIT, tell_failed
from pipeline.commands.options.declared import Argument


def merge(
    units: Annotated[
        str,
        Argument(
            metavar="DIR", help="What replay or sweep were given as --units; s3://BUCKET/DIR too."
        ),
    ],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
) -> None:
    """Load runs that replay and sweep have kept as units into a results database.

    The rows are those that the same commands would have put there themselves, with the same numbers
    of runs. A run that the database has already is not added again. Each is added whole or not at
    all; a unit that is damaged, or is none, is a line at the end, and the exit code 1.
    """
    from pipeline.api.runs import merged
    from pipeline.processes.progress import shown
    from reports.render.wording import plural

    with shown() as progress:
        results = merged(units, db, progress=progress)
    results.close()
    runs, added = len(results.asked), len(results.added)
    sys.stdout.write(
        f"{plural(runs, 'unit')}: {added} added, {runs - added} there already; database {db}\n"
    )
    tell_failed(results.failed)
