"""How numbers and lists are written wherever a person reads them."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

NARROW = "\u202f"  #: narrow no-break space, between a number and its unit
MISSING = "–"  #: shown where there is no value
MINUS = "\u2212"
ENDS = ("low", "high")  #: how the names of columns end that hold a range
#: How a statement is known -> its mark; the marks read by their fill, without colour.
MARKS = {"observed": "●", "inferred": "◐", "assumed": "○", "unknown": "?"}

_EXACT = 10_000  #: counts below this are written out, in ranges too
_RANGE = re.compile("(?<=\\w) \u2013 (?=\\d)")
_DURATIONS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))


def count(value: int | None) -> str:
    """A whole number with thousands separators; a dash where there is none."""
    return MISSING if value is None else f"{value:,}".replace("-", MINUS)


def percent(part: float | None, whole: float | None = 100) -> str:
    """``part`` as a percentage of ``whole``.

    Two digits after the point, more only where a small share would otherwise read as zero; a
    share that is not exactly 0 % or 100 % never reads as if it were. A dash where either number
    is missing or the whole is zero.
    """
    if part is None or not whole:
        return MISSING
    share = 100 * part / whole
    size = abs(share)
    if size in {0, 100}:
        digits = f"{size:.0f}"
    elif size < 0.01:
        digits = f"{size:.1g}" if size >= 0.0001 else "< 0.0001"
    elif 99.99 < size < 100:
        digits = "> 99.99"
    else:
        digits = f"{size:.2f}"
    sign = MINUS if share < 0 else ""
    return f"{sign}{digits}{NARROW}%"


def between(low: int | None, high: int | None) -> str:
    """A count that is assumed to lie between two; the plain count where these are equal.

    Of large ones three digits, rounded outwards: an assumption carries no more.
    """
    if low == high or low is None or high is None:
        return count(low)
    return span(_about(low, math.floor), _about(high, math.ceil))


def _about(value: int, towards: Callable[[float], int]) -> str:
    if abs(value) < _EXACT:
        return count(value)
    size, word = next(
        each for each in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= each[0]
    )
    digits = max(2 - math.floor(math.log10(abs(value) / size)), 0)
    step = size / 10**digits
    return f"{towards(value / step) * step / size:,.{digits}f}".replace("-", MINUS) + word


def span(first: str, last: str) -> str:
    """Two written numbers as a range: a dash would be read as a sign where one has a minus."""
    return f"{first} to {last}" if MINUS in first + last else f"{first} \u2013 {last}"


def unbroken(text: str) -> str:
    """The text with ranges that stay on one line: a dash at its start would be read as a sign."""
    return _RANGE.sub(f"{NARROW}\u2013{NARROW}", text)


def percent_between(low: float | None, high: float | None) -> str:
    """A percentage that lies between two; the plain one where they read alike."""
    first, last = percent(low), percent(high)
    return first if first == last else span(first.removesuffix(f"{NARROW}%"), last)


def ranged(row: Mapping[str, Any], name: str) -> str:
    """A count of a view that has columns for its least and its most."""
    return between(*(row.get(f"{name}_{end}") for end in ENDS))


def percent_ranged(row: Mapping[str, Any], name: str) -> str:
    """A percentage of such a view."""
    return percent_between(*(row.get(f"{name}_{end}") for end in ENDS))


def duration(nanoseconds: int | None) -> str:
    """A length of time in the largest unit that leaves at least 1 before the point."""
    if nanoseconds is None:
        return MISSING
    for size, unit in _DURATIONS:
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:,.3f}{NARROW}{unit}"
    return f"{nanoseconds:,}{NARROW}ns"


def times(low: float, high: float) -> str:
    """Two times in the unit that fits the larger."""
    largest = max(abs(low), abs(high))
    units = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
    size, unit = next((each for each in units if largest >= each[0]), units[-1])
    first, second = (f"{value / size:,.3g}".replace("-", MINUS) for value in (low, high))
    both = first if first == second else f"{first} to {second}"
    return f"{both}{NARROW}{unit}"


def plural(number: int, noun: str, several: str = "") -> str:
    """``1 recording``, ``2 recordings``; ``several`` where the plural is not noun + s."""
    return f"{count(number)} {noun if number == 1 else several or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def joined_numbers(numbers: Sequence[int]) -> str:
    """Numbers, rising, with runs of three and more joined: ``0, 2–5 and 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts: list[str] = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run)
    return listed(parts)


def kinds(names: Iterable[str]) -> str:
    """Kinds of page as a sentence says them: ``large kmalloc and slab``."""
    return listed([name.replace("_", " ") for name in names])


def largest(parts: Mapping[str, Sequence[int]], most: int, rest: str) -> dict[str, Sequence[int]]:
    """The parts with the largest sums, largest first; beyond ``most`` they are one, ``rest``."""
    order = sorted((name for name in parts if any(parts[name])), key=lambda n: (-sum(parts[n]), n))
    if len(order) <= most:
        return {name: parts[name] for name in order}
    others = [sum(values) for values in zip(*(parts[n] for n in order[most - 1 :]), strict=True)]
    return {name: parts[name] for name in order[: most - 1]} | {rest: others}


def shortened(name: str, width: int) -> str:
    """``name`` in at most ``width`` characters: its middle gives way to an ellipsis.

    Both ends of a kernel symbol carry meaning (``__pfx``, ``_noprof``, ``.constprop.0``).
    """
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


def trace_word(run: Mapping[str, Any]) -> str:
    """What a run's trace is called in a sentence: a synthetic one is no recording.

    Args:
        run: row of queries.runs.
    """
    return "synthetic trace" if run["source_format"] == "synth" else "recording"


def mib(value: float) -> str:
    """Bytes in MiB, with two decimals and a real minus."""
    return f"{value / (1 << 20):,.2f}".replace("-", MINUS)


def mib_between(low: float, high: float) -> str:
    """Bytes in MiB that lie between two; the plain number where they read alike."""
    first, last = mib(low), mib(high)
    return first if first == last else span(first, last)


def kib(value: float) -> str:
    """Bytes in KiB, with one decimal and a real minus."""
    return f"{value / (1 << 10):,.1f}".replace("-", MINUS)


def visible(text: str) -> str:
    """``text`` with a replacement character for what steers a terminal, a page or the eye.

    Control characters, halves of surrogate pairs, and marks that turn the direction of writing; a
    name may hold any of them. Line breaks become spaces.
    """
    return "".join(
        " " if char in "\n\r\t\u2028\u2029" else "\ufffd" if _steers(char) else char
        for char in text
    )


def _steers(char: str) -> bool:
    category = unicodedata.category(char)
    return (
        category in {"Cc", "Cs"}
        or (category == "Cf" and char not in "\u200b\u00ad")
        or char in "\ufffe\uffff"  # no XML holds these
    )
