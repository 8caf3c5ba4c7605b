"""Running calls behind whoever makes them, in a thread."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def behind(depth: int = 1) -> Iterator[Callable[[Callable[[], object]], None]]:
    """A function that has calls made by one thread, one after the other, in the order given.

    It returns at once unless ``depth`` calls wait behind the one being made. All have been made
    when the block ends; if it ends with an error, those that still wait are not made. An error of
    a call is raised where a later one is given, or at the end of the block.
    """
    given: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1) as thread:

        def give(call: Callable[[], object]) -> None:
            while len(given) > depth:
                given.popleft().result()
            given.append(thread.submit(call))

        try:
            yield give
            while given:
                given.popleft().result()
        except BaseException:
            thread.shutdown(cancel_futures=True)
            raise
