"""Numbers out of texts that anybody may have written: the one place where they are converted.

Python refuses to convert thousands of decimal digits with an error of its own, converts thousands
of hexadecimal ones into what fits no column, and takes signs, spaces, underscores and digits of
any script; none of these is a number of a recording.
"""

from __future__ import annotations

import re

from pipeline.errors import InputError

MOST = (1 << 63) - 1  #: what a signed column of 64 bits holds
_DIGITS = {10: re.compile(r"[0-9]{1,20}"), 16: re.compile(r"[0-9a-fA-F]{1,16}")}
_SHOWN = 24


def number(text: str, base: int = 10, most: int = MOST) -> int | None:
    """The number that a text is: None if it is none, or more than ``most``.

    Args:
        text: digits, and nothing else.
        base: 10, or 16 (without 0x).
        most: the largest that can be.
    """
    if _DIGITS[base].fullmatch(text) is None:
        return None
    found = int(text, base)
    return found if found <= most else None


def must_be_number(text: str, what: str, base: int = 10, most: int = MOST) -> int:
    """The number that a text is, as ``number``.

    Args:
        text: digits, and nothing else.
        what: the file and what the number is of, for the error.
        base: 10, or 16 (without 0x).
        most: the largest that can be.

    Raises:
        InputError: it is none, or out of range.
    """
    found = number(text, base, most)
    if found is None:
        raise InputError(f"{what} is {shown(text)}, not a number from 0 to {most}")
    return found


def shown(text: str) -> str:
    """A text as an error shows it: its beginning, and nothing that a terminal would act on."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
