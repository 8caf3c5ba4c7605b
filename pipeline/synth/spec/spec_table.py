"""Values that specs alone have: times, sizes, and matrices of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.toml_data.table import MISSING, TomlTable, shown
from pipeline.synth.spec.units import SIZES, TIMES, parse_units, write_time

if TYPE_CHECKING:
    from allocsim.toml_data.table import Key


class SpecTable(TomlTable):
    """One table of a spec."""

    def time(self, key: Key, low: int, high: int, default: int = MISSING) -> int:
        """A time in ns, written as ``"10 ms"``."""
        value = self._get(key, default)
        return default if value is default else self._time(key, value, low, high)

    def _time(self, key: Key, value: object, low: int, high: int) -> int:
        found = self._units(key, value, TIMES)
        if not low <= found <= high:
            limits = f"from {write_time(low)} to {write_time(high)}"
            self.refuse(key, f"{shown(value)}: a time {limits} is wanted")
        return found

    def times(self, key: str, low: int, high: int, least: int) -> tuple[int, ...]:
        """Times in ns, at least ``least`` of them; or numbers and their unit in one text."""
        value = self._get(key, MISSING)
        if isinstance(value, str):
            *numbers, unit = value.split() or [""]
            if len(numbers) < least:
                self.refuse(key, f"{shown(value)}: {least} numbers and a unit at least are wanted")
            return tuple(self._time(key, f"{number} {unit}", low, high) for number in numbers)
        below = self.elements(key, least)
        return tuple(below.time(at, low, high) for at in below)

    def size(self, key: str, low: int, high: int, default: int) -> int:
        """A size in bytes, written as ``"4 GiB"``."""
        value = self._get(key, default)
        found = default if value is default else self._units(key, value, SIZES)
        if not low <= found <= high:
            limits = f"from {low >> 20} MiB to {high >> 40} TiB"
            self.refuse(key, f"{shown(value)}: a size {limits} is wanted")
        return found

    def _units(self, key: Key, value: object, units: dict[str, int]) -> int:
        if not isinstance(value, str):
            self.refuse(key, f"{shown(value)}: a text such as '10 {[*units][1]}' is wanted")
        try:
            return parse_units(value, units)
        except ValueError as error:
            self.refuse(key, f"{shown(value)}: {error}")

    def weights(self, key: str, size: int) -> tuple[tuple[int, ...], ...]:
        """A square matrix of weights."""
        below = self.elements(key, size)
        rows = tuple(below.wholes(at, 0, 1 << 40, size) for at in below)
        for at, row in enumerate(rows):
            if len(rows) != size or len(row) != size or not sum(row):
                below.refuse(at, f"{size} rows of {size} weights are wanted, not all 0 in any row")
        return rows
