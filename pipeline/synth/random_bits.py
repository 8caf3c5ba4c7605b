"""Random bits that depend on the seed and on what they are for, on nothing else.

numpy promises the raw output of a bit generator and of SeedSequence for good, unlike that of the
methods of Generator (NEP 19); so only these are used.
"""

from __future__ import annotations

from enum import IntEnum
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import I8, U8


class BitsUse(IntEnum):
    """What random bits are for: two uses of one window must not share them."""

    ARRIVALS = 0
    CHOICES = 1
    OBJECTS = 2
    ORDER = 3
    STRATA = 4


def random_bits(seed: int, use: BitsUse, key: tuple[int, ...], count: int) -> U8:
    """``count`` random numbers of 64 bits (u8).

    Args:
        seed: the trace's.
        use: what for.
        key: which work, cycle, phase, window, ...: small numbers, not negative.
        count: how many.
    """
    source = np.random.PCG64(np.random.SeedSequence((seed, int(use), *key)))
    return source.random_raw(count)


# 1 / g^k times 2^64 for k from 1 to 4, where g^5 = g + 1: the multiples of 1 / g^k fill four
# dimensions most evenly (M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences",
# 2018).
_STEPS = (0xDB4F0B9175AE2165, 0xBBE0563303A4615F, 0xA0F2EC75A1FE1575, 0x89E182857D9ED688)
DIMENSIONS = len(_STEPS)
PLACE_BITS = 62  #: of what Strata.places gives
_FEW = 256  # slices that are shuffled by chance; more are taken in steps
_MOST = 1 << 31  # slices: their numbers squared fit 63 bits
_JITTER_BITS = 16


class Strata:
    """Numbers that have the quantiles of all numbers: one in each of as many equal slices.

    The n-th of N lies in the slice that a fixed permutation gives n, so the N of them are a sample
    without sampling error, and each dimension is permuted in its own way. Nothing is kept but, for
    few, the permutation.

    Args:
        seed: the trace's.
        key: of what: small numbers, not negative.
        total: how many there are; behind them they begin again, at other places of the slices.
    """

    def __init__(self, seed: int, key: tuple[int, ...], total: int) -> None:
        self._total = min(max(total, 1), _MOST)
        few = self._total if self._total <= _FEW else 0
        bits = random_bits(seed, BitsUse.STRATA, key, (2 + few) * DIMENSIONS)
        self._shifts, self._jitters = bits[: 2 * DIMENSIONS].reshape(2, DIMENSIONS)
        chance = bits[2 * DIMENSIONS :].reshape(DIMENSIONS, few)
        self._orders = chance.argsort(axis=1, kind="stable").astype(np.uint16) if few else None

    def places(self, dimension: int, first: int, count: int, *, steps: bool = False) -> U8:
        """Numbers ``first`` to ``first + count`` of a dimension, from 0 to 2^PLACE_BITS (u8).

        Args:
            dimension: which, from 0.
            first: the first of them.
            count: how many.
            steps: take few in steps too, not by chance: then any stretch of them is about even
                (dimension 1; the others' steps are nearer to a fraction of small numbers).
        """
        number = np.arange(first, first + count, dtype=np.uint64)
        step = np.uint64(_STEPS[dimension])
        jitter = (number * step + self._jitters[dimension]) >> np.uint64(64 - _JITTER_BITS)
        total = np.uint64(self._total)
        number %= total
        if self._orders is not None and not steps:
            number = self._orders[dimension][number].astype(np.uint64)
        else:
            number *= np.uint64(_stride(self._total, dimension))
            number += self._shifts[dimension] >> np.uint64(33)
            number %= total
        width = (1 << PLACE_BITS) // self._total
        number *= np.uint64(width)
        # Halves, so that a place is never at the very edge of its slice.
        number += (2 * jitter + 1) * np.uint64(width >> (_JITTER_BITS + 1))
        return number


def _stride(total: int, dimension: int) -> int:
    """A step that visits all of ``total`` and fills them evenly on the way."""
    wanted = total * _STEPS[dimension] >> 64
    return next(
        at for off in range(total) for at in (wanted + off, wanted - off) if gcd(at, total) == 1
    )


def choices(weights: tuple[int, ...], bits: int) -> I8:
    """A table of 2^bits entries, in which each index has its share of the weights (i8).

    Shares are rounded to the nearest entry, so that a look-up by random bits chooses by weight.
    """
    total, size = sum(weights), 1 << bits
    ends, passed = [], 0
    for weight in weights:
        passed += weight
        ends.append((2 * passed * size + total) // (2 * total))
    return np.searchsorted(np.array(ends), np.arange(size), side="right").astype(np.int64)
