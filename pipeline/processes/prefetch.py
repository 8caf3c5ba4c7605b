"""Running an iterator ahead of its consumer, in a thread."""

from __future__ import annotations

from queue import Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

T = TypeVar("T")

_END = object()
_POLL = 0.1  # seconds between looks at whether the consumer has gone


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetch(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items, made by a thread that is at most ``depth`` items ahead.

    An error in the thread is raised here, in its place. If the consumer stops early, so does the
    thread, before its next item.
    """
    queue: Queue[object] = Queue(depth)
    gone = Event()

    def put(item: object) -> bool:
        while not gone.is_set():
            try:
                queue.put(item, timeout=_POLL)
            except Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # noqa: BLE001 -- handed to the consumer, which raises it
            put(_Failed(error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc] # the queue holds items of T besides the two marks
    finally:
        gone.set()
        thread.join()
