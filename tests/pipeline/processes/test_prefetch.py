"""An iterator run ahead in a thread gives the same items, errors, and end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pipeline.processes.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_gives_the_same_items_in_order() -> None:
    assert list(prefetch(range(1000))) == list(range(1000))
    assert list(prefetch([])) == []


def test_raises_the_error_behind_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_is_no_further_ahead_than_it_was_told() -> None:
    made = []
    first = threading.Event()

    def counting() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            first.set()
            yield number

    items = prefetch(counting(), depth=2)
    for taken in range(20):
        next(items)
        # Those waiting, one that waits for room, and one being made.
        assert len(made) <= taken + 2 + 3
    items.close()


def test_stops_when_its_consumer_does() -> None:
    made = []
    before = threading.active_count()

    def endless() -> Iterator[int]:
        number = 0
        while True:
            made.append(number)
            yield number
            number += 1

    items = prefetch(endless())
    assert next(items) == 0
    items.close()
    assert threading.active_count() == before
    assert len(made) <= 4
