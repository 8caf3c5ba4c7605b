"""Calls made by a thread come in order, and their errors come back."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from pipeline.processes.background import behind


def test_makes_every_call_in_order_in_one_other_thread() -> None:
    made: list[int] = []
    threads = set()

    def note(number: int) -> None:
        made.append(number)
        threads.add(threading.get_ident())

    with behind() as later:
        for number in range(1000):
            later(partial(note, number))
    assert made == list(range(1000))
    assert len(threads - {threading.get_ident()}) == len(threads) == 1


def test_no_more_calls_wait_than_it_was_told() -> None:
    made: list[int] = []
    with behind(depth=2) as later:
        for number in range(100):
            later(partial(made.append, number))
            assert len(made) >= number - 2  # two wait, and one is being made


def test_an_error_is_raised_by_a_later_call_or_at_the_end() -> None:
    def fail() -> None:
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"), behind() as later:
        later(fail)
    made = []
    with pytest.raises(ValueError, match="no more"), behind() as later:  # noqa: PT012 - the loop
        for number in range(10):
            later(fail)
            made.append(number)
    assert len(made) <= 3


def test_calls_that_wait_are_not_made_after_an_error_of_the_block() -> None:
    made: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go.wait(10)
        made.append("slow")

    with pytest.raises(KeyboardInterrupt), behind() as later:  # noqa: PT012 - in this order
        later(slow)
        later(partial(made.append, "waits"))
        begun.wait(10)
        threading.Timer(0.01, go.set).start()
        raise KeyboardInterrupt
    assert made == ["slow"]
    assert threading.active_count() <= 2  # the timer's may still end
