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
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

BIN_BITS = 10
PLACE_BITS = 16
BINS = 1 << BIN_BITS
DRAW_BITS = BIN_BITS + PLACE_BITS  #: bits of a random number that a draw uses
LARGEST = 1 << 46  #: what a table may hold: times 2^16 it must fit 63 bits
UNIT_BITS = 16  #: the unit exponential is in multiples of 2^-16

_BIN_MASK = np.uint64(BINS - 1)
_PLACE_MASK = np.uint64((1 << PLACE_BITS) - 1)
_DIGITS = 25
_FAR = 2


def draw(table: Ints, base: Ints | int, bits: npt.NDArray[np.uint64]) -> Ints:
    """Values drawn from tables of BINS + 1 quantiles each, one behind the other (i8).

    Args:
        table: the tables.
        base: where the table of each draw begins.
        bits: random bits, of which the lowest DRAW_BITS are used.
    """
    at = ((bits >> np.uint64(PLACE_BITS)) & _BIN_MASK).view(np.int64) + base
    low = table[at]
    span: Ints = table[at + 1]
    span -= low
    span *= (bits & _PLACE_MASK).view(np.int64)
    span >>= PLACE_BITS
    span += low
    return span


@cache
def exponential_unit() -> Ints:
    """Quantiles of the exponential distribution of mean 1, times 2^UNIT_BITS (i8).

    The last one is set so that the mean of what is drawn is 1, to a bit: the sum of
    (q[k] + q[k + 1]) / 2 over all bins is BINS.
    """
    with localcontext(Context(prec=_DIGITS)):
        points = [-(1 - Decimal(k) / BINS).ln() * (1 << UNIT_BITS) for k in range(BINS)]
        table = [int(point.to_integral_value()) for point in points]
    return np.array([*table, 2 * (BINS << UNIT_BITS) - 2 * sum(table) + table[0]], np.int64)


def exponential(mean: int) -> Ints:
    """Quantiles of the exponential distribution with a mean, in its unit (i8)."""
    return np.array([q * mean >> UNIT_BITS for q in exponential_unit().tolist()], np.int64)


def lognormal(median: int, sigma: Decimal) -> Ints:
    """Quantiles of the log-normal distribution: exp(sigma * z) * median, at most LARGEST (i8).

    Args:
        median: its median.
        sigma: standard deviation of its logarithm.
    """
    with localcontext(Context(prec=_DIGITS)):
        values = [(sigma * z).exp() * median for z in _normal()]
        return np.array([int(min(value, Decimal(LARGEST))) for value in values], np.int64)


def fixed(value: int) -> Ints:
    """A distribution of one value."""
    return np.full(BINS + 1, value, np.int64)


def from_quantiles(values: Sequence[int], *, lives: bool = False) -> Ints:
    """A distribution by evenly spaced quantiles, the first the least, the last the largest (i8).

    Args:
        values: the quantiles.
        lives: between two that are far apart the logarithm is uniform, as that of lifetimes is
            more nearly, which span decades; else the value itself.
    """
    steps = len(values) - 1
    table = []
    for k in range(BINS + 1):
        at, rest = divmod(k * steps, BINS)
        low = values[at]
        high = values[min(at + 1, steps)]
        table.append(low + (high - low) * rest // BINS)
    if lives:
        _by_ratio(table, values)
    return np.array(table, np.int64)


def _by_ratio(table: list[int], values: Sequence[int]) -> None:
    """Let the table rise by one factor a bin between quantiles that are far apart."""
    steps = len(values) - 1
    with localcontext(Context(prec=_DIGITS)):
        for at, (low, high) in enumerate(pairwise(values)):
            if not 0 < _FAR * low < high:
                continue
            root = Decimal(high) / low
            for _ in range(BIN_BITS):
                root = root.sqrt()
            for k in range(-(-at * BINS // steps), -(-(at + 1) * BINS // steps)):
                table[k] = int(low * root ** (k * steps - at * BINS))


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
