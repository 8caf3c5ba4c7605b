"""Times and sizes as people write them: ``"10 ms"``, ``"4 GiB"``; exact, as whole ns and bytes."""

from __future__ import annotations

import re
from decimal import Decimal

TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_units(text: str, units: dict[str, int]) -> int:
    """The whole number of the smallest unit that a text such as ``1.5 ms`` says.

    Raises:
        ValueError: it is not of that form, or no whole number; names the units.
    """
    match = _FORM.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(
            f"a number and one of {', '.join(units)} is wanted, as in '10 {[*units][1]}'"
        )
    value = Decimal(match[1]) * units[match[2]]
    if value != int(value):
        raise ValueError(f"not a whole number of {next(iter(units))}")
    return int(value)


def write_time(ns: int) -> str:
    """A time as a spec has it: in the largest unit that leaves it whole."""
    unit = next(name for name, size in reversed(TIMES.items()) if ns % size == 0)
    return f"{ns // TIMES[unit]} {unit}"
