"""Quantile tables of whole numbers: distributions that are drawn from alike on every machine.

A draw is a look-up: ten random bits choose a bin of the table, sixteen more a place between its
ends. numpy's exp, log and power are not used: their last bit depends on the CPU (SIMD kernels).
The tables are made with decimal, whose ln and exp are correctly rounded everywhere, and from there
on all arithmetic is of whole numbers.

A bin has 1/1024 of the probability. Between its ends the distribution is taken to be uniform, and
what lies beyond the last quantile is cut off: the longest draw of an exponential is 8.8 means.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I8, U8


BIN_BITS = 10
PLACE_BITS = 16
BINS = 1 << BIN_BITS
DRAW_BITS = BIN_BITS + PLACE_BITS  #: bits of a random number that a draw uses
LARGEST = 1 << 46  #: what a table may hold: times 2^16 it must fit 63 bits
UNIT_BITS = 16  #: the unit exponential is in multiples of 2^-16

_BIN_MASK = np.uint64(BINS - 1)
_PLACE_MASK = np.uint64((1 << PLACE_BITS) - 1)
_DIGITS = 25
FAR = 2  #: quantiles of lives whose ratio is larger are far apart


def places(values: Sequence[int], at: Sequence[int]) -> I8:
    """Places of quantiles in 2^-DRAW_BITS of all, by those in 1/BINS or evenly spaced (i8)."""
    if at:
        return np.array(at, np.int64) << PLACE_BITS
    return (np.arange(len(values), dtype=np.int64) << DRAW_BITS) // (len(values) - 1)


def spread(values: I8, ends: I8, number: I8, jitter: I8, count: int) -> I8:
    """The ``number``-th of ``count`` values that have given quantiles, somewhere in its part (i8).

    Args:
        values: the quantiles.
        ends: their places, as ``places`` has them.
        number: the first is 0.
        jitter: where in its part each lies, in 2^-PLACE_BITS.
        count: how many there are.
    """
    whole, rest = np.divmod(number * BINS, max(count, 1))
    at = (whole << PLACE_BITS) + ((rest << PLACE_BITS) + jitter * BINS) // max(count, 1)
    segment = np.searchsorted(ends[1:-1], at, side="right")
    low, begin = values[segment], ends[segment]
    within = ((at - begin) << PLACE_BITS) // (ends[segment + 1] - begin)
    return low + ((values[segment + 1] - low) * within >> PLACE_BITS)


def draw(table: I8, base: I8 | int, bits: U8) -> I8:
    """Values drawn from tables of BINS + 1 quantiles each, one behind the other (i8).

    Args:
        table: the tables.
        base: where the table of each draw begins.
        bits: random bits, of which the lowest DRAW_BITS are used.
    """
    at = ((bits >> np.uint64(PLACE_BITS)) & _BIN_MASK).view(np.int64) + base
    low = table[at]
    span: I8 = table[at + 1]
    span -= low
    span *= (bits & _PLACE_MASK).view(np.int64)
    span >>= PLACE_BITS
    span += low
    return span


@cache
def exponential_unit() -> I8:
    """Quantiles of the exponential distribution of mean 1, times 2^UNIT_BITS (i8).

    The last one is set so that the mean of what is drawn is 1, to a bit: the sum of
    (q[k] + q[k + 1]) / 2 over all bins is BINS.
    """
    with localcontext(Context(prec=_DIGITS)):
        points = [-(1 - Decimal(k) / BINS).ln() * (1 << UNIT_BITS) for k in range(BINS)]
        table = [int(point.to_integral_value()) for point in points]
    return np.array([*table, 2 * (BINS << UNIT_BITS) - 2 * sum(table) + table[0]], np.int64)


def exponential(mean: int) -> I8:
    """Quantiles of the exponential distribution with a mean, in its unit (i8)."""
    return np.array([q * mean >> UNIT_BITS for q in exponential_unit().tolist()], np.int64)


def lognormal(median: int, sigma: Decimal) -> I8:
    """Quantiles of the log-normal distribution: exp(sigma * z) * median, at most LARGEST (i8).

    Args:
        median: its median.
        sigma: standard deviation of its logarithm.
    """
    with localcontext(Context(prec=_DIGITS)):
        values = [(sigma * z).exp() * median for z in _normal()]
        return np.array([int(min(value, Decimal(LARGEST))) for value in values], np.int64)


def fixed(value: int) -> I8:
    """A distribution of one value."""
    return np.full(BINS + 1, value, np.int64)


def from_quantiles(values: Sequence[int], at: Sequence[int] = (), *, lives: bool = False) -> I8:
    """A distribution by its quantiles, the first the least, the last the largest (i8).

    Args:
        values: the quantiles.
        at: their places, rising from 0 to BINS; none: evenly spaced.
        lives: between two that are far apart the logarithm is uniform, as that of lifetimes is
            more nearly, which span decades; else the value itself.
    """
    known = np.array(values, np.int64)
    steps = len(values) - 1
    bins = np.arange(BINS + 1)
    if at:
        places = np.array(at, np.int64)
        segment = np.searchsorted(places[1:-1], bins, side="right")
        passed, width = bins - places[segment], np.diff(places)[segment]
    else:
        segment, passed = np.divmod(bins * steps, BINS)
        segment[-1], passed[-1] = steps - 1, BINS
        width = np.full(BINS + 1, BINS)
    low, high = known[segment], known[segment + 1]
    table: I8 = low + (high - low) * passed // width
    if lives:
        for each in np.flatnonzero((known[:-1] > 0) & (known[:-1] * FAR < known[1:])).tolist():
            rows = np.flatnonzero((segment == each) & (passed < width))
            table[rows] = _by_ratio(values[each], values[each + 1], passed[rows], width[rows])
    return table


def _by_ratio(low: int, high: int, passed: I8, width: I8) -> list[int]:
    """Values that rise by one factor a bin: low * (high / low) ** (passed / width)."""
    if not len(passed):
        return []
    with localcontext(Context(prec=_DIGITS)):
        slope = (Decimal(high) / low).ln() / int(width[0])
        value = low * (slope * int(passed[0])).exp()
        factor = (slope * int(passed[1] - passed[0])).exp() if len(passed) > 1 else Decimal(1)
        found = []
        for _ in passed:
            found.append(int(value))
            value *= factor
    return found


@cache
def _normal() -> tuple[Decimal, ...]:
    """Quantiles of the standard normal distribution, those at the ends 1/8 of a bin inside."""
    ends = (Decimal(1) / (8 * BINS), 1 - Decimal(1) / (8 * BINS))
    inner = (Decimal(k) / BINS for k in range(1, BINS))
    with localcontext(Context(prec=_DIGITS)):
        return tuple(_probit(p) for p in (ends[0], *inner, ends[1]))


# Wichura 1988, algorithm AS 241 (PPND16): relative error 1e-16. Numerators and denominators of the
# two regions that bins reach into, from the highest power down.
_CENTRE_ABOVE = (
    "2509.0809287301226727 33430.575583588128105 67265.770927008700853 45921.953931549871457"
    " 13731.693765509461125 1971.5909503065514427 133.14166789178437745 3.3871328727963666080"
)
_CENTRE_BELOW = (
    "5226.4952788528545610 28729.085735721942674 39307.895800092710610 21213.794301586595867"
    " 5394.1960214247511077 687.18700749205790830 42.313330701600911252 1"
)
_TAIL_ABOVE = (
    "7.7454501427834140764e-4 2.27238449892691845833e-2 2.41780725177450611770e-1"
    " 1.27045825245236838258 3.64784832476320460504 5.76949722146069140550"
    " 4.63033784615654529590 1.42343711074968357734"
)
_TAIL_BELOW = (
    "1.05075007164441684324e-9 5.47593808499534494600e-4 1.51986665636164571966e-2"
    " 1.48103976427480074590e-1 6.89767334985100004550e-1 1.67638483018380384940"
    " 2.05319162663775882187 1"
)


def _probit(p: Decimal) -> Decimal:
    q = p - Decimal("0.5")
    if abs(q) <= Decimal("0.425"):
        r = Decimal("0.180625") - q * q
        return q * _polynomial(_CENTRE_ABOVE, r) / _polynomial(_CENTRE_BELOW, r)
    r = (-min(p, 1 - p).ln()).sqrt() - Decimal("1.6")  # up to p = exp(-25), far below a bin
    z = _polynomial(_TAIL_ABOVE, r) / _polynomial(_TAIL_BELOW, r)
    return -z if q < 0 else z


def _polynomial(coefficients: str, x: Decimal) -> Decimal:
    value = Decimal(0)
    for coefficient in coefficients.split():
        value = value * x + Decimal(coefficient)
    return value
