"""Checks on the TOML files that come with allocsim or are anybody's.

Each names the file, the key and what would do, so that the message is all a user needs.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LONGEST = 1 << 20  # letters of a file
_MOST_DOTS = 2000  # in a line: the parser takes the square of the parts of a key
_DEEPEST = 32  # tables and arrays in one another
_LARGEST = 1 << 64


class DataFileError(ValueError):
    """A data file that cannot be used: which key, in which file, and what would do."""


def load(text: str, parse_float: Callable[[str], object] = float) -> dict[str, Any]:
    """The tables of a TOML text, no deeper and with no larger numbers than anything has a use for.

    Args:
        text: TOML.
        parse_float: makes a value of a fraction.

    Raises:
        ValueError: it is no such TOML; says why.
    """
    if len(text) > _LONGEST or max(map(_dots, text.split("\n"))) > _MOST_DOTS:
        raise ValueError(f"it has more than {_LONGEST} letters, or {_MOST_DOTS} dots in a line")
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


def parse(text: str, source: str, keys: Iterable[str]) -> dict[str, Any]:
    """The tables of a file, whose top-level keys are among ``keys`` and which has a good name.

    Args:
        text: TOML.
        source: the file's name, for messages.
        keys: every key it may have.

    Raises:
        DataFileError: it is no TOML, has another key, or no name that can be one.
    """
    try:
        data = load(text)
    except ValueError as error:
        raise DataFileError(f"{source}: not valid TOML: {error}") from None
    only(data, keys, source, "")
    name = text_of(data, "name", source, required=True)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DataFileError(
            f"{source}: name = {name!r}: use letters, digits and . _ - only, e.g. 'my-own'"
        )
    return data


def table(value: object, where: str, source: str) -> Mapping[str, Any]:
    """The value, which must be a table."""
    if not isinstance(value, dict):
        raise DataFileError(f"{source}: {where} = {value!r}: a table is wanted, [{where}]")
    return value


def text_of(
    data: Mapping[str, Any], key: str, source: str, where: str = "", *, required: bool = False
) -> str:
    """The text under a key; empty where it is not there and need not be."""
    value = data.get(key, "")
    place = f"{where}.{key}" if where else key
    if not isinstance(value, str):
        raise DataFileError(f"{source}: {place} = {value!r}: a text is wanted")
    if required and not value:
        raise DataFileError(f'{source}: {place} is missing: give it as {key} = "..."')
    return value


def only(keys: Iterable[str], allowed: Iterable[str], source: str, where: str) -> None:
    """Check that a table has no other keys than these."""
    for key in keys:
        if key not in allowed:
            refuse(source, f"in [{where}], key" if where else "key", key, allowed)


def refuse(source: str, what: str, value: object, allowed: Iterable[str]) -> NoReturn:
    """Say that a value is not known, and which ones are."""
    raise DataFileError(f"{source}: {what} {value!r} is not known; one of: {', '.join(allowed)}")
