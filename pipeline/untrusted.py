"""Numbers out of texts that nobody vouches for: every one has a range, and a name for the error.

Python takes digits of any script, spaces, underscores and numbers without end, and refuses some
4,300 digits with an error of its own; a header, a snapshot or a format text has none of these.
"""

from __future__ import annotations

import re

from pipeline.errors import InputError

#: The largest number an array or a database column takes.
INT64 = (1 << 63) - 1
_DECIMAL = re.compile(r"-?[0-9]{1,20}")
_HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F]{1,16}")
_SHOWN = 24


def decimal(text: str, what: str, *, least: int = 0, most: int = INT64) -> int:
    """The whole number a text is, in decimal digits.

    Args:
        text: the digits, and a minus sign where ``least`` is below 0.
        what: file and name of the number, for the error.
        least: the smallest that can be.
        most: the largest that can be.

    Raises:
        InputError: it is none, or out of range.
    """
    value = int(text) if _DECIMAL.fullmatch(text) else None
    return _in_range(value, text, what, (least, most))


def hexadecimal(text: str, what: str, *, most: int = (1 << 64) - 1) -> int:
    """The number a text of up to 16 hexadecimal digits is, with or without 0x; as ``decimal``."""
    value = int(text, 16) if _HEX.fullmatch(text) else None
    return _in_range(value, text, what, (0, most))


def _in_range(value: int | None, text: str, what: str, limits: tuple[int, int]) -> int:
    least, most = limits
    if value is None or not least <= value <= most:
        raise InputError(f"{what} is {shown(text)}, not a number from {least} to {most}")
    return value


def shown(text: str) -> str:
    """A text as an error shows it: its beginning, and nothing that a terminal would act on."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
