"""Reading values of a TOML table, with errors that say file, line, key and what is allowed."""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.errors import InputError
from pipeline.synth.spec.units import SIZES, TIMES, parse_units, write_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.synth.spec.toml_lines import Path

_MISSING: Any = object()
_LONG = 60  # letters of a value that are shown
_MANY = 24  # names that are listed


class TableReader:
    """One table of a file.

    Args:
        table: its keys and values; numbers with a point are Decimal.
        path: where it stands in the file.
        lines: toml_lines.key_lines of the file.
        source: the file's name.
    """

    def __init__(
        self, table: Mapping[str, Any], path: Path, lines: Mapping[Path, int], source: str
    ) -> None:
        self._table = table
        self._path = path
        self._lines = lines
        self._source = source

    def refuse(self, key: str | int | None, why: str) -> NoReturn:
        """Say what is wrong with a key, or with the table.

        Raises:
            InputError: always.
        """
        path = self._path if key is None else (*self._path, key)
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known, 1)
        name = _written(path)
        said = f"{name + ': ' if name else ''}{why}"
        # One line, whatever stands in a key or a text.
        said = "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)
        raise InputError(f"{self._source}: line {line}: {said}")

    def only(self, *keys: str) -> None:
        """Refuse every key but these."""
        for key in self._table:
            if key not in keys:
                near = get_close_matches(key, keys, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                self.refuse(key, f"no such key; {hint}keys here: {', '.join(keys)}")

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def _get(self, key: str, default: Any) -> Any:  # noqa: ANN401 - any TOML value
        if key not in self._table and default is _MISSING:
            self.refuse(None, f"the key {key} is missing")
        return self._table.get(key, default)

    def text(self, key: str, default: str = _MISSING) -> str:
        """A text."""
        value = self._get(key, default)
        if not isinstance(value, str):
            self.refuse(key, f"{_shown(value)}: a text in quotes is wanted")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"{_shown(value)}: true or false is wanted")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str = _MISSING) -> str:
        """One of some words."""
        value = self.text(key, default)
        if value not in allowed:
            near = get_close_matches(value, allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            self.refuse(key, f"{_shown(value)}: {hint}allowed: {_listed(allowed)}")
        return value

    def whole(self, key: str, low: int, high: int, default: int = _MISSING) -> int:
        """A whole number from ``low`` to ``high``."""
        return self._whole(key, self._get(key, default), low, high)

    def _whole(self, key: str | int, value: object, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, f"{_shown(value)}: a whole number from {low} to {high} is wanted")
        return value

    def number(self, key: str, low: Decimal, high: Decimal, default: Decimal = _MISSING) -> Decimal:
        """A number from ``low`` to ``high``, exact."""
        return self._number(key, self._get(key, default), low, high)

    def _number(self, key: str, value: object, low: Decimal, high: Decimal) -> Decimal:
        found = Decimal(value) if isinstance(value, int) else value
        if isinstance(value, bool) or not isinstance(found, Decimal) or found.is_nan():
            self.refuse(key, f"{_shown(value)}: a number from {low} to {high} is wanted")
        if not low <= found <= high:
            self.refuse(key, f"{_shown(value)}: a number from {low} to {high} is wanted")
        return found

    def time(self, key: str, low: int, high: int, default: int = _MISSING) -> int:
        """A time in ns, written as ``"10 ms"``."""
        value = self._get(key, default)
        return value if value is default else self._time(key, value, low, high)

    def _time(self, key: str | int, value: object, low: int, high: int) -> int:
        found = self._units(key, value, TIMES)
        if not low <= found <= high:
            self.refuse(
                key,
                f"{_shown(value)}: a time from {write_time(low)} to {write_time(high)} is wanted",
            )
        return found

    def times(self, key: str, low: int, high: int, least: int) -> tuple[int, ...]:
        """Times in ns, at least ``least`` of them; or numbers and their unit in one text."""
        value = self._get(key, _MISSING)
        if isinstance(value, str):
            *numbers, unit = value.split() or [""]
            if len(numbers) < least:
                self.refuse(key, f"{_shown(value)}: {least} numbers and a unit at least are wanted")
            return tuple(self._time(key, f"{number} {unit}", low, high) for number in numbers)
        below = TableReader(self._list(key, least), (*self._path, key), self._lines, self._source)
        return tuple(below._time(at, value, low, high) for at, value in below._table.items())

    def size(self, key: str, low: int, high: int, default: int) -> int:
        """A size in bytes, written as ``"4 GiB"``."""
        if key not in self._table:
            return default
        found = self._units(key, self._table[key], SIZES)
        if not low <= found <= high:
            self.refuse(
                key,
                f"{_shown(self._table[key])}: a size from {low >> 20} MiB to {high >> 40} TiB is"
                " wanted",
            )
        return found

    def _units(self, key: str | int, value: object, units: dict[str, int]) -> int:
        if not isinstance(value, str):
            self.refuse(key, f"{_shown(value)}: a text such as '10 {[*units][1]}' is wanted")
        try:
            return parse_units(value, units)
        except ValueError as error:
            self.refuse(key, f"{_shown(value)}: {error}")

    def _list(self, key: str, least: int) -> dict[Any, Any]:
        value = self._get(key, _MISSING)
        if not isinstance(value, list) or len(value) < least:
            self.refuse(key, f"{_shown(value)}: a list of at least {least} is wanted")
        return dict(enumerate(value))

    def wholes(self, key: str, low: int, high: int, least: int = 1) -> tuple[int, ...]:
        """Whole numbers, at least ``least`` of them; a number alone stands for a list of one."""
        if not isinstance(self._get(key, _MISSING), list):
            return (self.whole(key, low, high),)
        below = TableReader(self._list(key, least), (*self._path, key), self._lines, self._source)
        return tuple(below._whole(at, value, low, high) for at, value in below._table.items())

    def numbers(self, key: str, low: Decimal, high: Decimal, least: int = 1) -> tuple[Decimal, ...]:
        """Numbers, at least ``least`` of them; a number alone stands for a list of one."""
        if not isinstance(self._get(key, _MISSING), list):
            return (self.number(key, low, high),)
        below = TableReader(self._list(key, least), (*self._path, key), self._lines, self._source)
        return tuple(below._number(at, value, low, high) for at, value in below._table.items())

    def texts(self, key: str, allowed: Sequence[str] | None = None) -> tuple[str, ...]:
        """Texts, each one of ``allowed`` where that is given; none where the key is missing."""
        if key not in self._table:
            return ()
        below = TableReader(self._list(key, 0), (*self._path, key), self._lines, self._source)
        for at, value in below._table.items():
            if not isinstance(value, str) or (allowed is not None and value not in allowed):
                words = "a text" if allowed is None else f"one of {_listed(allowed) or 'none'}"
                below.refuse(at, f"{_shown(value)}: {words} is wanted")
        return tuple(below._table.values())

    def rows(self, key: str, size: int) -> tuple[tuple[int, ...], ...]:
        """A square matrix of weights."""
        below = TableReader(self._list(key, size), (*self._path, key), self._lines, self._source)
        rows = tuple(below.wholes(at, 0, 1 << 40, size) for at in below._table)
        for at, row in enumerate(rows):
            if len(rows) != size or len(row) != size or not sum(row):
                below.refuse(at, f"{size} rows of {size} weights are wanted, not all 0 in any row")
        return rows

    def table(self, key: str) -> TableReader:
        """A table below this one."""
        value = self._get(key, _MISSING)
        if not isinstance(value, dict):
            self.refuse(key, f"{_shown(value)}: a table is wanted, {{ ... }}")
        return TableReader(value, (*self._path, key), self._lines, self._source)

    def tables(self, key: str, *, required: bool = False) -> list[TableReader]:
        """Tables below this one, in order; a table alone stands for a list of one."""
        value = self._get(key, _MISSING if required else [])
        if isinstance(value, dict):
            return [self.table(key)]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(key, f"{_shown(value)}: a list of tables is wanted")
        if required and not value:
            self.refuse(key, "at least one table is wanted")
        return [
            TableReader(item, (*self._path, key, at), self._lines, self._source)
            for at, item in enumerate(value)
        ]


def _shown(value: object) -> str:
    """A value as it stands in a message: not all of one that is long."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


def _listed(names: Sequence[str]) -> str:
    """Names, the first of them where they are many."""
    shown = [name[:_LONG] for name in names[:_MANY]]
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
