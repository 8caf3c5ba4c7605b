"""Processes beside this one: what they return and raise, and that they end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.processes.calls import WorkerEndedError
from pipeline.processes.executor import executor
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pipeline.processes.calls import Finished

#: Begins two workers, of which one works for ever, and is ended by a signal.
PARENT = """
import os, signal, sys, time
from pipeline.processes import signals
from pipeline.processes.executor import executor
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's children ignore it
signals.handle()
with executor(2) as run:
    run.submit(1, os.getpid)
    next(run.completed())
    run.submit(2, time.sleep, 1000)
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(1000)
"""


def called(size: int, *calls: tuple[object, ...]) -> dict[int, Finished]:
    with executor(size) as run:
        for key, call in enumerate(calls):
            run.submit(key, *call)
        return {finished.key: finished for finished in run.completed()}


def test_calls_are_made_elsewhere_and_their_errors_told() -> None:
    done = called(
        2,
        (os.getpid,),
        (pow, 2.0, 100_000),
        (len, b"x" * 10_000_000),
        (print, "what is printed is no answer"),
        (int, "no"),
    )
    assert done[0].result != os.getpid()
    assert isinstance(done[1].error, OverflowError)
    assert (done[2].result, done[3].result) == (10_000_000, None)
    assert isinstance(done[4].error, ValueError)
    assert sorted(key for key in done if done[key].error is None) == [0, 2, 3]


def test_what_follows_from_a_call_may_be_submitted_meanwhile() -> None:
    with executor(1) as run:
        run.submit(0, int)
        found = []
        for finished in run.completed():
            found.append(finished.result)
            if finished.result < 3:
                run.submit(finished.result, int, finished.result + 1)
    assert found == [0, 1, 2, 3]


def test_what_cannot_be_told_to_a_process_is_an_error_of_the_call() -> None:
    done = called(1, (lambda: 0,), (int, "7"))
    assert done[0].error is not None
    assert done[1].result == 7


def test_a_worker_that_is_killed_costs_its_call_alone() -> None:
    done = called(1, (int, "1"), (signal.raise_signal, signal.SIGKILL), (int, "2"))
    assert isinstance(done[1].error, WorkerEndedError)
    assert (done[0].result, done[2].result) == (1, 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_they_end_with_their_parent(number: signal.Signals) -> None:
    # What they share is stderr: it ends when nobody has it open any more.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(number.value)], stderr=subprocess.PIPE, cwd=ROOT
    ) as parent:
        _, said = parent.communicate(timeout=60)
    # The others come out as a KeyboardInterrupt.
    assert parent.returncode == (-number if number == signal.SIGKILL else -signal.SIGINT)
    assert (b"KeyboardInterrupt" in said) == (number != signal.SIGKILL)
