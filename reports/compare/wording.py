"""How changes are written wherever a person reads them, in plain ASCII."""

from __future__ import annotations

from math import isfinite, isnan
from string import ascii_uppercase
from typing import TYPE_CHECKING

from reports.compare.comparison import ChangeVerdict

if TYPE_CHECKING:
    from reports.compare.comparison import Change, Value


def letter(side: int) -> str:
    """What tables call a side: A, B, ..."""
    return ascii_uppercase[side] if side < len(ascii_uppercase) else f"S{side + 1}"


def number(value: float) -> str:
    """A value in four significant digits, M: of millions; a dash where there is none."""
    if isnan(value):
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.4g}M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.001 else f"{value:.1e}"


def valued(value: Value) -> str:
    """A quantity of a side: a number, or a range where it is assumed."""
    if value.assumed:
        return f"{number(value.low)} .. {number(value.high)}"
    return number(value.value)


def percent(change: float) -> str:
    """A relative change: +12 %, gone, new, or times as much where it is more than tenfold."""
    if isnan(change):
        return "-"
    if not isfinite(change):
        return "new"
    if change <= -1:
        return "gone"
    if change > 9:
        return f"x{change + 1:.3g}" if change < 999 else "> x1000"
    return f"{100 * change:+.{0 if abs(change) >= 1 else 1}f}%" if change else "0%"


def interval(change: Change) -> str:
    """The interval of a change, or nothing where there is none or it is exactly the same.

    'any': the data exclude next to no change, neither none left nor a thousandfold.
    """
    if isnan(change.low) or isnan(change.high) or change.verdict is ChangeVerdict.SAME:
        return ""
    if change.low < -0.9995 and change.high > 999:
        return "any"
    return f"{percent(change.low)} .. {percent(change.high)}"


def chance(p: float) -> str:
    """A p value in two digits; nothing where there was no test."""
    if isnan(p):
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"
