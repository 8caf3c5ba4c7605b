"""Checks on the TOML files that come with allocsim or are the user's own: policies, schemes, costs.

Each names the file, the key and what would do, so that the message is all a user needs.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class DataFileError(ValueError):
    """A data file that cannot be used: which key, in which file, and what would do."""


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
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
