"""Waiting for a results database that another process has."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import BusyError, UsageError
from pipeline.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")
_POLL_S = 0.1
_LONGEST_S = 86400


class _Patience:
    seconds = 0.0  #: what a command's --wait says, for every database it opens


def wait_up_to(seconds: float) -> float:
    """Let this process wait so long for each database that is in use.

    Raises:
        UsageError: less than nothing, no number, or longer than a day.
    """
    if not 0 <= seconds <= _LONGEST_S:
        raise UsageError(f"--wait {seconds:g}: from 0 to {_LONGEST_S} seconds (a day) are possible")
    _Patience.seconds = seconds
    return seconds


def patiently(call: Callable[[], _Answer]) -> _Answer:
    """What a call returns that opens a database, made again as long as that is in use.

    Raises:
        BusyError: it still is.
    """
    until = time.monotonic() + _Patience.seconds
    said = False
    while True:
        try:
            return call()
        except BusyError as error:
            if time.monotonic() >= until:
                raise BusyError(f"{error}; try again when that is done, or --wait longer") from None
            if not said:
                text = printable(str(error))
                sys.stderr.write(f"allocsim: {text}; waiting up to {_Patience.seconds:g} s\n")
                said = True
        time.sleep(_POLL_S)
