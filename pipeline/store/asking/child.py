"""The process that asks: it reads a question on stdin, gives up its rights, and writes the answers.

Run by :func:`pipeline.store.asking.ask`, as ``python -m pipeline.store.asking.child``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.errors import AllocsimError, StoreError, UsageError
from pipeline.processes.limits import memory as machine_memory
from pipeline.store.asking import EXIT_CODES, Question, too_much_memory
from pipeline.store.asking.formats import BATCH_ROWS, BINARY, writer
from pipeline.store.asking.rights import give_up_files, limit_memory
from pipeline.store.asking.trace_sets import READER_BYTES, find_trace_sets, mentions_recorded
from pipeline.store.database import reading
from pipeline.store.query import asking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.store.asking.trace_sets import RunEvents

_MEMORY = 1 << 30  #: bytes that DuckDB may take where nobody says
_BESIDES = 1 << 29  #: bytes that the process takes besides what DuckDB accounts for
_ROWS_AT_ONCE = 10_000

# DuckDB looks up CPUs and memory when it opens a database, and ends the process where it cannot.
_OF_THE_MACHINE = (Path("/proc"), Path("/sys"))

# A row of every type that DuckDB asks a module of Python's for, which it could not load later.
_EVERY_TYPE = """
    SELECT 1::DECIMAL, uuid(), DATE '2026-01-01', TIME '01:00', TIMESTAMP '2026-01-01',
        INTERVAL 1 DAY, 'a'::BLOB, {'a': [1]}, MAP {1: 2}, '{}'::JSON
"""


class _Clock:
    """Time that may be taken, while it is entered; at its end the process is killed by SIGALRM.

    DuckDB does not look at its clock in every function, nor while it plans.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(self._left, 1e-3))

    def __exit__(self, *_: object) -> None:
        self._left = signal.setitimer(signal.ITIMER_REAL, 0)[0]


def main() -> None:
    """Answer the question on stdin; how it ended is the exit code."""
    Thread(target=_end_with_reader, daemon=True).start()
    question = Question(**json.load(sys.stdin))
    try:
        _answer(question)
        sys.stdout.buffer.flush()
    except AllocsimError as error:
        sys.stderr.write(str(error))
        sys.exit(EXIT_CODES[type(error)])
    except BrokenPipeError:  # whoever asked is gone
        sys.stdout = None


def _end_with_reader() -> None:
    """End this process when whoever reads its answer has ended, by SIGKILL too."""
    answer_to = select.poll()
    answer_to.register(1, 0)  # asked for nothing, it tells of the other end all the same
    answer_to.poll()
    os._exit(0)


def _answer(question: Question) -> None:
    db = Path(question.db)
    memory = question.memory or min(_MEMORY, machine_memory() * 4 // 5)
    _load_types()
    write, binary = writer(question.format), question.format in BINARY
    runs = _recorded_runs(question)
    real = db.resolve()  # DuckDB looks for the log beside what a link leads to
    events = [run.path for run in runs if run.path]
    give_up_files([real, real.with_name(real.name + ".wal"), *_OF_THE_MACHINE, *events])
    limit_memory(memory + _BESIDES + (READER_BYTES if runs else 0))
    try:
        with ExitStack() as stack:
            clock = _Clock(question.seconds)
            with clock:
                asked = stack.enter_context(asking(db, memory, runs))
                several = asked.statements(question.sql)
            if several > 1 and binary:
                raise UsageError(f"{question.format} holds one answer; here are {several}")
            for number in range(several):
                if number:
                    clock = _Clock(question.seconds)
                    sys.stdout.buffer.write(b"\n")
                with clock:
                    answer = asked.batches(number, BATCH_ROWS) if binary else asked.answer(number)
                write(answer, partial(_timed, clock=clock), sys.stdout.buffer)
    except MemoryError:
        raise StoreError(too_much_memory(db)) from None


def _recorded_runs(question: Question) -> list[RunEvents]:
    """Runs whose trace sets may be read; none where the statements cannot ask for any."""
    if not mentions_recorded(question.sql):
        return []
    with reading(Path(question.db), {"temp_directory": ""}) as connection:
        return find_trace_sets(connection, [Path(folder) for folder in question.traces])


def _load_types() -> None:
    """Load, while files can be read, all that DuckDB may need of Python."""
    with duckdb.connect() as connection:
        connection.execute(_EVERY_TYPE).fetchall()


def _timed(rows: Iterator[Any], clock: _Clock) -> Iterable[Any]:
    """Rows, made while the clock runs; it stands while they are written."""
    while True:
        with clock:
            some = list(islice(rows, _ROWS_AT_ONCE))
        if not some:
            return
        yield from some


if __name__ == "__main__":
    main()
