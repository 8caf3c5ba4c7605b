"""allocsim validate: the model against what the recorded kernel itself counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import DB, DEFAULT_DB, DEFAULT_WAIT, WAIT, RowFormat
from pipeline.commands.options.declared import Argument, Option

_ROWS = "FROM validation WHERE list_contains($1, run) AND ($2 OR ok = false) ORDER BY run, rowid"
_BEYOND = "SELECT count(*) FROM validation WHERE list_contains($1, run) AND ok = false"


def validate(
    traces: Annotated[list[Path], Argument(metavar="TRACE", help="Trace sets, or recordings.")],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    every: Annotated[
        bool, Option("--all", help="Print every row, not only those beyond their bounds.")
    ] = False,
    format_: Annotated[
        RowFormat, Option("--format", "-f", help="How the rows are written.")
    ] = RowFormat.TABLE,
) -> None:
    """Replay traces, and compare with all that their recordings hold.

    The rows are those of the table validation: reference operations against page_ref events, kinds
    of page against kpageflags, slabs against sysfs. The verdict comes first: how many of them could
    have failed and are within their bounds, and the worst. Rows that cannot fail are counted apart:
    what follows from a rule alone, bounds of 100 % or more, intervals so wide that nothing could
    lie outside, what has no bound. With CSV and JSON the verdict goes to stderr. The run is named;
    one that replay has added is compared as it is, and not replayed again.

    A recording from boot on ends before the second snapshot is taken. The requests of the
    first snapshot's reader are replayed once more after its end, in place of the second's.

    The exit code is 1 if a row is beyond its bound, else 0.
    """
    from pipeline.processes.progress import shown
    from pipeline.store.database import reading
    from pipeline.validation.run import validate_traces
    from reports.console.runs import print_losses, print_not_compared
    from reports.console.validation import print_comparisons, print_verdict
    from reports.render.rows import WRITERS

    with shown() as progress:
        done = validate_traces(traces, db, progress)
    runs = done.runs
    to_read = format_ is RowFormat.TABLE
    with done.reported(db), reading(db) as connection:
        print_losses(connection, runs, sys.stderr)
        print_verdict(connection, runs, sys.stdout if to_read else sys.stderr)
        print_not_compared(connection, runs, sys.stdout if to_read else sys.stderr)
        if to_read:
            print_comparisons(connection, runs, sys.stdout, every=every)
        else:
            result = connection.execute(_ROWS, [runs, every])
            names = [name for name, *_ in result.description or ()]
            WRITERS[format_.value](names, result.fetchall(), sys.stdout)
        [(beyond,)] = connection.execute(_BEYOND, [runs]).fetchall()
    if beyond:
        sys.exit(1)
