"""Processes beside this one: what they return and raise, and that they end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pipeline.errors import UsageError
from pipeline.processes.workers import WorkerEndedError, workers
from tests.conftest import ROOT

#: Begins two workers, of which one works for ever, and is ended by a signal.
PARENT = """
import os, signal, sys, time
from pipeline.processes import signals
from pipeline.processes.workers import workers
signals.handle()
with workers(2) as submit:
    submit(os.getpid).result()
    submit(time.sleep, 1000)
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(1000)
"""


def fail() -> None:
    raise UsageError("no")


def test_calls_are_made_elsewhere_and_their_errors_raised_here() -> None:
    with workers(2) as submit:
        assert submit(os.getpid).result() != os.getpid()
        with pytest.raises(OverflowError):
            submit(pow, 2.0, 100_000).result()
        assert submit(len, b"x" * 10_000_000).result() == 10_000_000
        assert submit(print, "what is printed is no answer").result() is None


def test_a_worker_that_is_killed_is_told_of() -> None:
    with workers(1) as submit, pytest.raises(WorkerEndedError):
        submit(signal.raise_signal, signal.SIGKILL).result()


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
