"""Asking a results database in a process of its own, which has no right to write to any file.

What a statement makes that process do - run for ever, take all memory, break DuckDB - ends with it.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass, replace
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from pipeline.errors import BusyError, InputError, OutputError, StoreError, UsageError
from pipeline.processes import signals
from pipeline.processes.workers import begun
from pipeline.store.waiting import patiently

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

_CHILD = "pipeline.store.asking.child"
_PIECE = 1 << 16
_MEMORY_SIGNALS = (signal.SIGKILL, signal.SIGABRT)

#: How the process says which error its line on stderr is of; Python's own codes are 1 and 2.
EXIT_CODES = {StoreError: 3, UsageError: 4, OutputError: 5, BusyError: 6, InputError: 7}
_ERRORS = {code: error for error, code in EXIT_CODES.items()}


@dataclass(frozen=True, slots=True)
class Question:
    """Statements, and how they are to be answered.

    Args:
        db: path of the results database.
        sql: the statements.
        format: how the rows are written: a key of pipeline.store.asking.formats.WRITERS.
        seconds: that each may take, without the time in which its rows are read.
        memory: bytes that they may take; None: 1 GiB, or four fifths of a small machine's.
        traces: folders of trace sets that were moved.
    """

    db: str
    sql: str
    format: str
    seconds: float
    memory: int | None
    traces: tuple[str, ...] = ()


def begin() -> Popen[bytes]:
    """A process that will answer one question; it can be begun before there is one."""
    return begun(_CHILD, PIPE)


def ask(question: Question, out: BinaryIO, by: Callable[[], Popen[bytes]] = begin) -> None:
    """Write the answer to a question; text as UTF-8.

    Args:
        question: it.
        out: where the answer goes.
        by: gives a process that answers it.

    Raises:
        StoreError: the database cannot be used, or time or memory do not suffice.
        UsageError: a statement is not one, is wrong, or may not be run.
        InputError: a trace set that was named is none of the database's.
    """
    try:
        text = os.fsencode(question.sql).decode()  # whatever the locale took its bytes for
    except UnicodeError:
        raise UsageError("the statement is not UTF-8; write it so") from None
    said = replace(question, sql=text)
    patiently(lambda: _ask(said, out, by))


def _ask(question: Question, out: BinaryIO, by: Callable[[], Popen[bytes]]) -> None:
    with signals.undoing(), by() as process:
        try:
            message = _relay(process, json.dumps(asdict(question)).encode(), out)
        finally:
            process.kill()
    if process.returncode:
        raise _error(question, process.returncode, message)


def _relay(process: Popen[bytes], question: bytes, out: BinaryIO) -> str:
    """Write what the process writes, up to its end; returns what it says on stderr."""
    assert process.stdin is not None  # noqa: S101 - so it was opened
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    with process.stdin as asked:
        asked.write(question)
    while piece := os.read(process.stdout.fileno(), _PIECE):
        out.write(piece)
    out.flush()
    message = process.stderr.read().decode("utf-8", "replace")
    process.wait()
    return message


def _error(question: Question, code: int, message: str) -> Exception:
    """What the end of the process means."""
    if code in _ERRORS:
        return _ERRORS[code](message)
    if code == -signal.SIGALRM:
        return StoreError(
            f"{question.db}: no answer within {question.seconds:g} s; ask for less, or give the"
            " statement more with --timeout"
        )
    if -code in _MEMORY_SIGNALS:
        return StoreError(too_much_memory(question.db))
    if code < 0:
        name = signal.Signals(-code).name
        return StoreError(
            f"{question.db}: DuckDB broke on this statement ({name}); the file is as it was"
        )
    return RuntimeError(message)


def too_much_memory(db: Path | str) -> str:
    """What is said where memory does not suffice."""
    return (
        f"{db}: the statement needs more memory than it may take; ask for less, or give it more"
        " with --memory"
    )
