"""allocsim sql: ask the results database a question."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, DEFAULT_WAIT, WAIT, RowFormat
from pipeline.errors import UsageError

_SMALLEST, _LARGEST = 16 << 20, 1 << 50  # bytes


def sql(
    statement: Annotated[
        str, typer.Argument(metavar="SQL", help="One statement, such as: from policy_summary")
    ],
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    format_: Annotated[
        RowFormat, typer.Option("--format", "-f", help="How the rows are written.")
    ] = RowFormat.TABLE,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="How long the statement may take."),
    ] = 600,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="How much memory it may take, as in '2 GiB'; four fifths of the machine's, or of"
            " its cgroup's, if not given.",
        ),
    ] = None,
) -> None:
    """Ask the results database a question in SQL.

    Read-only: a statement can read the tables and views of the database, and no other file. What
    DuckDB's parser takes for anything else than a SELECT, DESCRIBE, SHOW or SUMMARIZE, or an
    EXPLAIN of one of these, is not run. While it runs, DuckDB's access to files is off, and where
    the system can take it away (Landlock of Linux 5.13, macOS's sandbox) that of the process too.
    DuckDB's dialect, which lets "select * from" be just "from".
    """
    from pipeline.store.asking import Question, ask

    sys.stdout.flush()
    size = None if memory is None else _size(memory)
    ask(Question(str(db), statement, format_.value, timeout, size), sys.stdout.buffer)


def _size(text: str) -> int:
    """Bytes that ``--memory`` says."""
    from pipeline.synth.spec.units import SIZES, parse_units

    try:
        size = parse_units(text, SIZES)
    except ValueError as error:
        raise UsageError(f"--memory {text!r}: {error}") from None
    if not _SMALLEST <= size <= _LARGEST:
        raise UsageError(
            f"--memory {text!r}: from {_SMALLEST >> 20} MiB to {_LARGEST >> 40} TiB are possible"
        )
    return size
