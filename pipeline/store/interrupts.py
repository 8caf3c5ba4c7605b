"""Ctrl-C while DuckDB works."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    import duckdb


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let a Ctrl-C end a statement of this connection at once.

    Of itself DuckDB 2.0 sees the signal, then waits for its worker threads, which it has not told:
    most long queries go on until they are done. Handlers of somebody else's are left alone, and
    outside the main thread there are no signals.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def tell(number: int, frame: FrameType | None) -> None:
        connection.interrupt()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
