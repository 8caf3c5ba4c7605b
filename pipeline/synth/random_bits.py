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


# 2^64 / g^k for k from 1 to 4, where g^5 = g + 1: the numbers whose multiples fill four dimensions
# most evenly (M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
_STEPS = (0xDB4F0B9175AE2165, 0xBBE0563303A4615F, 0xA0F2EC75A1FE1575, 0x89E182857D9ED688)


def even_bits(
    seed: int, use: Use, key: tuple[int, ...], first: int, count: int
) -> list[npt.NDArray[np.uint64]]:
    """Numbers of 64 bits in four dimensions that fill their range evenly, not by chance (u8).

    Few of them already have the quantiles of all: a sample without sampling error.

    Args:
        seed: the trace's; it shifts the sequence, as ``use`` and ``key`` do.
        use: what for.
        key: of what.
        first: number of the first point in the sequence.
        count: how many.
    """
    at = np.arange(first, first + count, dtype=np.uint64)
    shifts = random_bits(seed, use, key, len(_STEPS))
    return [at * np.uint64(step) + shift for step, shift in zip(_STEPS, shifts, strict=True)]


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
