"""allocsim hazards: who touches the count of pages that a policy freezes."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline.commands.options import completion
from pipeline.commands.options.common import DEFAULT_WAIT, WAIT, RowFormat
from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import InputError
from pipeline.processes.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

_ROWS = "FROM hazards WHERE list_contains(?, run) AND list_contains(?, policy)"


def hazards(
    traces: Annotated[list[Path], Argument(metavar="TRACE", help="Trace sets, or recordings.")],
    policy: Annotated[
        list[str] | None,
        Option(
            metavar="NAME|FILE",
            autocompletion=completion.policies,
            help="Policy that freezes pages, or a TOML file; linux-7.2 where none is given. May be"
            " repeated.",
        ),
    ] = None,
    db: Annotated[
        Path | None,
        Option(metavar="FILE", help="Results database to keep the runs in; none by default."),
    ] = None,
    _wait: WAIT = DEFAULT_WAIT,
    format_: Annotated[
        RowFormat, Option("--format", "-f", help="How the rows are written.")
    ] = RowFormat.TABLE,
    stacks: Annotated[
        bool, Option("--stacks", help="Print the stacks of each taker below its row.")
    ] = False,
) -> None:
    """Say which callers touch the reference count of pages that a policy freezes.

    On a kernel that counts the pages: who would break if they were frozen. On one that has frozen
    them: who breaks. A row is a function that took references, with how often and when in the life
    of the page; of CSV and JSON a row of the view hazards, with its stack. The exit code is 1 if
    there is a caller that the policy breaks. It takes page_ref events, and stacks after them to
    say who. Who only reads a count fires no event: the view count_readers names them.
    """
    from pipeline.processes.progress import shown
    from pipeline.replay.pricing import BASELINE, find_policies
    from pipeline.replay.recorded import replay_traces
    from pipeline.store.database import reading
    from reports.console.hazards import print_hazards
    from reports.render.rows import WRITERS

    policies = find_policies(policy or ["linux-7.2"])
    names = [found.name for found in policies if found.name != BASELINE] or [BASELINE]
    with _kept(db) as path:
        with shown() as progress:
            runs = replay_traces(traces, path, policies, progress).runs
        with reading(path) as connection:
            _require_page_refs(connection, runs)
            if format_ is RowFormat.TABLE:
                print_hazards(connection, runs, names, sys.stdout, stacks=stacks)
            else:
                result = connection.execute(f"SELECT * EXCLUDE (run) {_ROWS}", [runs, names])
                heads = [column for column, *_ in result.description or ()]
                WRITERS[format_.value](heads, result.fetchall(), sys.stdout)
            [(broken,)] = connection.execute(
                f"SELECT count(*) {_ROWS} AND breaks", [runs, names]
            ).fetchall()
    if broken:
        sys.exit(1)


@contextmanager
def _kept(db: Path | None) -> Iterator[Path]:
    """The database asked for, or one that is thrown away."""
    if db is not None:
        yield db
        return
    with scratch() as folder:
        yield folder / "results.duckdb"


def _require_page_refs(connection: DuckDBPyConnection, runs: list[int]) -> None:
    without = connection.execute(
        "SELECT trace FROM runs JOIN traces USING (trace_id)"
        " WHERE list_contains(?, run) AND use_how != 'observed'",
        [runs],
    ).fetchall()
    if without:
        raise InputError(
            f"{without[0][0]}: has no page_ref events, so who touches a count is not known;"
            " record page_ref:* too (a kernel with CONFIG_DEBUG_PAGE_REF)"
        )
