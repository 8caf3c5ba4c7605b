"""TOML that comes with allocsim or is anybody's: bounded, read with checks, and written."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST = 1 << 20  #: letters of a file
_MOST_DOTS = 2000  # in a line: the parser takes the square of the parts of a key
_DEEPEST = 32  # tables and arrays in one another
_LARGEST = 1 << 64


def load(text: str, parse_float: Callable[[str], object] = float) -> dict[str, Any]:
    """The tables of a TOML text, no deeper and with no larger numbers than anything has a use for.

    Args:
        text: TOML.
        parse_float: makes a value of a fraction.

    Raises:
        ValueError: it is no such TOML; says why.
    """
    if len(text) > LONGEST or max(map(_dots, text.split("\n"))) > _MOST_DOTS:
        raise ValueError("it is too long")
    try:
        data = tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError("too many brackets in one another") from None
    except ArithmeticError:  # of Decimal
        raise ValueError("a fraction in it cannot be") from None
    values: list[Any] = [data]
    for _ in range(_DEEPEST):
        values = [each for value in values for each in _inside(value)]
        large = [value for value in values if type(value) is int and abs(value) >= _LARGEST]
        if large:  # which may have more digits than Python prints
            raise ValueError(f"a number of {large[0].bit_length()} bits is too large")
    if values:
        raise ValueError("too many tables in one another")
    return data


def _dots(line: str) -> int:
    return line.count(".")


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
