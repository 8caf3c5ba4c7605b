"""Signals that end a command - Ctrl-C, SIGTERM, SIGHUP - and what is undone before it ends.

Where something has to be undone (:func:`undoing`) such a signal is raised as a KeyboardInterrupt.
Elsewhere it ends the process at once: raised in the midst of an import it could come out as any
error.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAID = {signal.SIGINT: "interrupted"}


class _Ends:
    """What is known of the end of this process."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.blocks = 0  # that have something to undo
        self.told: list[Callable[[], object]] = []

    def handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None and number != signal.SIGINT:
            return  # it is being undone already; a terminal's end sends two, say
        self.received = signal.Signals(number)
        for tell in self.told:
            tell()
        if not self.blocks:
            with suppress(OSError):
                os.write(2, f"allocsim: {said(self.received)}\n".encode())
            os._exit(code(self.received))
        raise KeyboardInterrupt


_ends = _Ends()


def handle() -> None:
    """Let the signals do, in this process, what this module says; those ignored stay so."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _ends.handle)


def received() -> signal.Signals | None:
    """The signal that ends this process, if there was one."""
    return _ends.received


def said(number: signal.Signals) -> str:
    """What the command says at its end."""
    return _SAID.get(number, f"ended by {number.name}")


def code(number: signal.Signals) -> int:
    """The exit code, as shells have it."""
    return 128 + number


@contextmanager
def undoing() -> Iterator[None]:
    """A block that undoes what it has begun when it is left by an exception."""
    _ends.blocks += 1
    try:
        yield
    finally:
        _ends.blocks -= 1


@contextmanager
def telling(tell: Callable[[], object]) -> Iterator[None]:
    """A block in which a signal calls ``tell`` first, to end what would not see it.

    DuckDB, which sees one of itself, waits for its worker threads, which it has not told.
    """
    _ends.told.append(tell)
    try:
        yield
    finally:
        _ends.told.remove(tell)


@contextmanager
def interrupting() -> Iterator[None]:
    """A block in which Ctrl-C is a KeyboardInterrupt, and the process need not end."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
