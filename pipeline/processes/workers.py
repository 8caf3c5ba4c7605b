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
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from pipeline.processes.calls import Finished, WorkerEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

_ROOT = Path(__file__).resolve().parents[2]  # where the package pipeline lies


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


class Workers:
    """Calls made by processes of this machine: pipeline.processes.calls.Executor.

    A process that is ended from outside costs the call that it was making, which raises
    WorkerEndedError: most often it took more memory than there is, and would again. The next call
    has a new process.

    Args:
        size: how many processes; each begins with its first call.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size)  # a thread waits for a process each
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        for _ in range(size):
            self._idle.put(None)
        self._begun: list[subprocess.Popen[bytes]] = []
        self._beginning = Lock()
        self._closed = False
        self._finished: SimpleQueue[Finished] = SimpleQueue()
        self._open = 0

    def submit(self, key: Hashable, function: Callable[..., object], *given: object) -> None:
        """Have a call made."""
        self._open += 1
        self._pool.submit(self._make, key, (function, *given))

    def completed(self) -> Iterator[Finished]:
        """The calls as they are done, until none is left."""
        while self._open:
            finished = self._finished.get()
            self._open -= 1
            yield finished

    def close(self) -> None:
        """Give up what is not done, and end the processes."""
        with self._beginning:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._begun:
            process.kill()
        self._pool.shutdown()
        for process in self._begun:
            process.communicate()

    def _make(self, key: Hashable, called: tuple[Any, ...]) -> None:
        process = self._idle.get()
        try:
            if process is None:
                process = self._begin()
            failed, result = _answer(process, called)
        except (OSError, EOFError, pickle.UnpicklingError):
            process = None
            failed, result = True, WorkerEndedError()
        except Exception as error:  # noqa: BLE001 - what is given cannot be pickled
            failed, result = True, error
        finally:
            self._idle.put(process)
        self._finished.put(Finished(key, error=result) if failed else Finished(key, result))

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._beginning:
            if self._closed:
                raise EOFError
            process = begun("pipeline.processes.workers")
            self._begun.append(process)
        return process


def _answer(process: subprocess.Popen[bytes], called: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether a call failed, and what it returned or raised."""
    assert process.stdin is not None  # noqa: S101 - so it was begun
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(pickle.dumps(called))
    process.stdin.flush()
    answer: tuple[bool, Any] = pickle.load(process.stdout)  # noqa: S301 - of our own process
    return answer


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
