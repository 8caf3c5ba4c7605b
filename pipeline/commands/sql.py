"""allocsim sql: ask the results database in SQL."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pipeline.commands.options.common import DB, DEFAULT_DB, DEFAULT_WAIT, WAIT
from pipeline.commands.options.declared import Argument, Option
from pipeline.errors import InputError, UsageError

_SMALLEST, _LARGEST = 16 << 20, 1 << 50  # bytes


class AnswerFormat(StrEnum):
    """How answers are written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"


def sql(
    statement: Annotated[
        str | None,
        Argument(
            metavar="[SQL]", help="Statements, such as: from policy_summary", show_default=False
        ),
    ] = None,
    db: DB = DEFAULT_DB,
    _wait: WAIT = DEFAULT_WAIT,
    file: Annotated[
        Path | None,
        Option(metavar="FILE", help="Take the statements from a file; - is standard input."),
    ] = None,
    trace: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR",
            help="A trace set that the view recorded is to read where it is now: it was moved, or"
            " imported since it was replayed. May be repeated.",
        ),
    ] = None,
    format_: Annotated[
        AnswerFormat,
        Option(
            "--format", "-f", help="How the rows are written; parquet and arrow to a file or pipe."
        ),
    ] = AnswerFormat.TABLE,
    timeout: Annotated[
        float,
        Option(min=0.001, metavar="SECONDS", help="How long a statement may take."),
    ] = 600,
    memory: Annotated[
        str | None,
        Option(
            metavar="SIZE",
            help="How much memory it may take, as in '2 GiB'; if not given 1 GiB, or four fifths"
            " of the machine's or its cgroup's where that is less.",
        ),
    ] = None,
) -> None:
    """Ask the results database in SQL; without a statement, in a shell.

    One or several statements, which ";" ends, are taken from the command line, a file or standard
    input; where that is a terminal they are typed, and .help says what else can be.

    Read-only: a statement can read the tables and views of the database, the trace sets of its runs
    by the view recorded, and no other file. What DuckDB's parser takes for anything else than a
    SELECT, DESCRIBE, SHOW or SUMMARIZE, or an EXPLAIN of one of these, is not run. While it runs,
    DuckDB's access to files is off, and where the system can take it away (Landlock of Linux 5.13,
    macOS's sandbox) that of the process too. DuckDB's dialect, which lets "select * from" be just
    "from".

    Columns of type UBIGINT are addresses: as text they are 0xffff..., and ptr::hugeint is a number.
    """
    from pipeline.store.asking import Question, ask
    from pipeline.store.asking.formats import BINARY

    size = None if memory is None else _size(memory)
    traces = tuple(map(str, trace or []))
    if format_.value in BINARY and sys.stdout.isatty():
        raise UsageError(f"{format_.value} is not for terminals; write it to a file: > FILE")
    text = _statements(statement, file)
    if text is None:
        from pipeline.commands.sql_shell import run_shell

        run_shell(Question(str(db), "", format_.value, timeout, size, traces))
        return
    sys.stdout.flush()
    ask(Question(str(db), text, format_.value, timeout, size, traces), sys.stdout.buffer)


def _statements(statement: str | None, file: Path | None) -> str | None:
    """What is to be run; None: it is typed on a terminal."""
    if statement is not None and file is not None:
        raise UsageError("give either statements or --file, not both")
    if statement is not None:
        return statement
    if file is not None and file != Path("-"):
        try:
            return _decoded(file.read_bytes(), str(file))
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    if file is None and sys.stdin.isatty():
        if not sys.stdout.isatty():
            raise UsageError("no statement is given, and a shell needs a terminal to write to")
        return None
    return _decoded(sys.stdin.buffer.read(), "standard input")


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeError:
        raise UsageError(f"{name}: the statements are not UTF-8; write them so") from None


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
