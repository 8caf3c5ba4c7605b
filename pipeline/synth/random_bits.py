"""Random bits that depend on the seed and on what they are for, on nothing else.

numpy promises the raw output of a bit generator and of SeedSequence for good, unlike that of the
methods of Generator (NEP 19); so only these are used.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Use(IntEnum):
    """What random bits are for: two uses of one window must not share them."""

    ARRIVALS = 0
    CHOICES = 1
    OBJECTS = 2
    ORDER = 3


def random_bits(seed: int, use: Use, key: tuple[int, ...], count: int) -> npt.NDArray[np.uint64]:
    """``count`` random numbers of 64 bits (u8).

    Args:
        seed: the trace's.
        use: what for.
        key: which work, cycle, phase, window, ...: small numbers, not negative.
        count: how many.
    """
    source = np.random.PCG64(np.random.SeedSequence((seed, int(use), *key)))
    bits: npt.NDArray[np.uint64] = source.random_raw(count)
    return bits


def choices(weights: tuple[int, ...], bits: int) -> npt.NDArray[np.int64]:
    """A table of 2^bits entries, in which each index has its share of the weights (i8).

    Shares are rounded to the nearest entry, so that a look-up by random bits chooses by weight.
    """
    total, size = sum(weights), 1 << bits
    ends, passed = [], 0
    for weight in weights:
        passed += weight
        ends.append((2 * passed * size + total) // (2 * total))
    return np.searchsorted(np.array(ends), np.arange(size), side="right").astype(np.int64)
