"""allocsim sql: ask the results database a question."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pipeline.commands.common import DB, DEFAULT_DB, Format


def sql(
    statement: Annotated[
        str, typer.Argument(metavar="SQL", help="One statement, such as: from policy_summary")
    ],
    db: DB = DEFAULT_DB,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How the rows are written.")
    ] = Format.TABLE,
) -> None:
    """Ask the results database a question in SQL.

    Read-only: a statement can read the tables and views of the database, and no other file.
    DuckDB's dialect, which lets "select * from" be just "from".
    """
    from pipeline.store.query import answer
    from reports.render.rows import WRITERS

    with answer(db, statement) as (names, rows):
        WRITERS[format_.value](names, rows, sys.stdout)
