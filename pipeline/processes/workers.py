"""Processes that work beside this one, and end with it whatever ends it.

Each is a new Python: a forked one would share the state of DuckDB's and Arrow's threads. It is in a
session of its own, so that the terminal's signals are its parent's alone, and reads its calls from
a pipe, whose end is that of the parent, by SIGKILL too.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from pipeline.processes import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

_ROOT = Path(__file__).resolve().parents[2]  # where the package pipeline lies


class WorkerEndedError(Exception):
    """A process was ended from outside."""


def begun(module: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """A process that runs a module of ours, with pipes to its stdin and from its stdout.

    Args:
        module: its name.
        stderr: where it writes what it has to say, as Popen has it; None: where this process does.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(  # noqa: S603 - -P: modules in the current folder are nobody's
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )


@contextmanager
def workers(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """What gives calls to ``count`` processes, and returns their futures; as Executor.submit.

    A future raises what the call did, or WorkerEndedError. What is not done when the block ends is
    given up.
    """
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    processes: list[subprocess.Popen[bytes]] = []
    pool = ThreadPoolExecutor(count)  # a thread waits for a process each
    with signals.undoing():
        try:
            for _ in range(count):
                process = begun("pipeline.processes.workers")
                processes.append(process)
                idle.put(process)
            yield lambda *called: pool.submit(_call, idle, called)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            pool.shutdown()
            for process in processes:
                process.communicate()


def _call(idle: SimpleQueue[subprocess.Popen[bytes]], called: tuple[Any, ...]) -> object:
    process = idle.get()
    assert process.stdin is not None  # noqa: S101 - so it was begun
    assert process.stdout is not None  # noqa: S101
    try:
        pickle.dump(called, process.stdin)
        process.stdin.flush()
        failed, result = pickle.load(process.stdout)  # noqa: S301 - of our own process
    except (OSError, EOFError, pickle.UnpicklingError):
        raise WorkerEndedError from None
    finally:
        idle.put(process)
    if failed:
        raise result
    return result


def main() -> None:
    """In such a process: make the calls that come in, one after the other."""
    calls: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a call prints is no answer
    Thread(target=_listen, args=(calls,), daemon=True).start()
    while True:
        function, *arguments = calls.get()
        try:
            answer = (False, function(*arguments))
        except Exception as error:  # noqa: BLE001 - raised by the parent
            answer = (True, error)
        pickle.dump(answer, answers)
        answers.flush()


def _listen(calls: SimpleQueue[tuple[Any, ...]]) -> None:
    try:
        while True:
            calls.put(pickle.load(sys.stdin.buffer))  # noqa: S301 - of our own parent
    except (EOFError, pickle.UnpicklingError):
        os._exit(0)


if __name__ == "__main__":
    main()
