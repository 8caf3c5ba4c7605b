"""Reading values of a TOML table, with errors that say file, line, key and what is allowed."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, Self

from allocsim.toml_data.lines import key_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from allocsim.toml_data.lines import Path

Key = str | int  #: of a table; the place of an element of a list
NAME = "1 to 100 letters, digits and . _ - are wanted, as in 'my-own'"
MISSING: Any = object()  #: in place of a default: the key must be there
_LONG = 60  # letters of a value that are shown
_MANY = 24  # names that are listed


class DataFileError(ValueError):
    """A file that cannot be used: which key of which line, and what would do."""


def is_name(name: str) -> bool:
    """Whether what a file describes may be called so: folders and files bear such names."""
    fit = all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    return fit and 0 < len(name) <= 100 and name[0] not in ".-"


class TomlTable:
    """One table of a file.

    Args:
        values: its keys and values; numbers with a point are Decimal.
        path: where it stands in the file.
        lines: key_lines of the file.
        source: the file's name.
    """

    def __init__(
        self, values: Mapping[Any, Any], path: Path, lines: Mapping[Path, int], source: str
    ) -> None:
        self._values = values
        self._path = path
        self._lines = lines
        self._source = source

    @classmethod
    def parse(cls, text: str, source: str, *keys: str) -> Self:
        """The table that a file is, which has a name, and keys among ``keys`` and ``name`` only.

        Args:
            text: TOML.
            source: the file's name, for messages.
            keys: every key it may have.

        Raises:
            DataFileError: it is no TOML, has another key, or no name that can be one.
        """
        try:
            data = tomllib.loads(text, parse_float=Decimal)
        except ValueError as error:  # TOMLDecodeError is one; so is a number of too many digits
            raise DataFileError(f"{source}: not valid TOML: {error}") from None
        except RecursionError:
            raise DataFileError(
                f"{source}: not valid TOML: too many brackets in one another"
            ) from None
        table = cls(data, (), key_lines(text), source)
        table.only("name", *keys)
        name = table.text("name")
        if not is_name(name):
            table.refuse("name", f"{shown(name)}: {NAME}")
        return table

    def refuse(self, key: Key | None, why: str) -> NoReturn:
        """Say what is wrong with a key, or with the table.

        Raises:
            DataFileError: always.
        """
        path = self._path if key is None else (*self._path, key)
        known = path
        while known not in self._lines:
            known = known[:-1]
        line = self._lines[known]
        name = _written(path)
        said = f"{name + ': ' if name else ''}{why}"
        # One line, whatever stands in a key or a text.
        said = "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)
        raise DataFileError(f"{self._source}: line {line}: {said}")

    def only(self, *keys: str) -> None:
        """Refuse every key but these."""
        for key in self._values:
            if key not in keys:
                hint = did_you_mean(key, keys)
                self.refuse(key, f"no such key; {hint}keys here: {', '.join(keys)}")

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def _get(self, key: Key, default: Any) -> Any:  # noqa: ANN401 - any TOML value
        if key not in self._values and default is MISSING:
            self.refuse(None, f"the key {key} is missing")
        return self._values.get(key, default)

    def elements(self, key: Key, least: int = 0) -> Self:
        """A list of at least ``least`` elements, as a table whose keys are their places."""
        value = self._get(key, MISSING)
        if not isinstance(value, list) or len(value) < least:
            size = f" of at least {least}" if least else ""
            self.refuse(key, f"{shown(value)}: a list{size} is wanted")
        return self._below(key, values=dict(enumerate(value)))

    def _below(self, *keys: Key, values: Mapping[Any, Any]) -> Self:
        return type(self)(values, (*self._path, *keys), self._lines, self._source)

    def text(self, key: Key, default: str = MISSING) -> str:
        """A text; one that must be there is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or not (value or default is not MISSING):
            self.refuse(key, f"{shown(value)}: a text in quotes is wanted")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"{shown(value)}: true or false is wanted")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str = MISSING) -> str:
        """One of some words, or the default."""
        value = self.text(key, default)
        if value not in allowed and value != default:
            hint = did_you_mean(value, allowed)
            self.refuse(key, f"{shown(value)}: {hint}allowed: {_listed(allowed)}")
        return value

    def whole(
        self,
        key: Key,
        low: int,
        high: int,
        default: int = MISSING,
        *,
        what: str = "a whole number",
    ) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, f"{shown(value)}: {what} from {low} to {high} is wanted")
        return value

    def wholes(self, key: Key, low: int, high: int, least: int = 1) -> tuple[int, ...]:
        """Whole numbers, at least ``least`` of them; a number alone stands for a list of one."""
        if not isinstance(self._get(key, MISSING), list):
            return (self.whole(key, low, high),)
        below = self.elements(key, least)
        return tuple(below.whole(at, low, high) for at in below)

    def number(
        self,
        key: Key,
        low: Decimal,
        high: Decimal,
        default: Decimal = MISSING,
        *,
        what: str = "a number",
    ) -> Decimal:
        """A number from ``low`` to ``high``, exact."""
        value = self._get(key, default)
        found = Decimal(value) if isinstance(value, int) else value
        if not isinstance(found, Decimal) or isinstance(value, bool) or found.is_nan():
            self.refuse(key, f"{shown(value)}: {what} from {low} to {high} is wanted")
        if not low <= found <= high:
            self.refuse(key, f"{shown(value)}: {what} from {low} to {high} is wanted")
        return found

    def numbers(self, key: str, low: Decimal, high: Decimal) -> tuple[Decimal, ...]:
        """Numbers, at least one; a number alone stands for a list of one."""
        if not isinstance(self._get(key, MISSING), list):
            return (self.number(key, low, high),)
        below = self.elements(key, 1)
        return tuple(below.number(at, low, high) for at in below)

    def texts(
        self, key: str, allowed: Collection[str] | None = None, least: int = 0
    ) -> tuple[str, ...]:
        """Texts, each one of ``allowed`` where that is given; a missing key has none."""
        if key not in self._values and not least:
            return ()
        below = self.elements(key, least)
        for at in below:
            value = below.text(at, "")
            if allowed is not None and value not in allowed:
                words = _listed(allowed) or "none"
                below.refuse(at, f"{shown(value)}: one of {words} is wanted")
        return tuple(below.text(at, "") for at in below)

    def table(self, key: Key, *, required: bool = False) -> Self:
        """A table below this one; an empty one where the key is missing and need not be there."""
        value = self._get(key, MISSING if required else {})
        if not isinstance(value, dict):
            self.refuse(key, f"{shown(value)}: a table is wanted, {{ ... }}")
        return self._below(key, values=value)

    def named_tables(self, key: str, names: Collection[str] | None = None) -> dict[str, Self]:
        """The tables of a table below this one, by their names (``named``)."""
        return self.table(key).named(names)

    def named(self, names: Collection[str] | None = None) -> dict[str, Self]:
        """The tables in this one, by name; all keys are such, of ``names`` where they are given."""
        if names is not None:
            self.only(*names)
        return {name: self.table(name) for name in self._values}

    def tables(self, key: str, *, required: bool = False) -> list[Self]:
        """Tables below this one, in order; a table alone stands for a list of one."""
        value = self._get(key, MISSING if required else [])
        if isinstance(value, dict):
            return [self.table(key)]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(key, f"{shown(value)}: a list of tables is wanted")
        if required and not value:
            self.refuse(key, "at least one table is wanted")
        return [self._below(key, at, values=item) for at, item in enumerate(value)]


def did_you_mean(word: str, words: Collection[str]) -> str:
    """A hint at the word that was meant, with a blank behind it; empty: none is near."""
    near = get_close_matches(word, words, n=1)
    return f"did you mean {near[0]}? " if near else ""


def shown(value: object) -> str:
    """A value as it stands in a message: not all of one that is long."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


def _listed(names: Collection[str]) -> str:
    """Names, the first of them where they are many."""
    shown = [name[:_LONG] for name in names][:_MANY]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _written(path: Path) -> str:
    text = ""
    for part in path:
        plain = isinstance(part, int) or all(c.isalnum() or c in "_-" for c in part)
        shown = str(part) if plain else repr(part)
        shown = shown if len(shown) <= _LONG else shown[: _LONG - 3] + "..."
        text += f"[{part}]" if isinstance(part, int) else f".{shown}"
    return text.removeprefix(".")
