"""The tables that lifetimes and arrivals are drawn from, against scipy's distributions."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from pipeline.synth.random_bits import Use, choices, random_bits
from pipeline.synth.tables import (
    BINS,
    UNIT_BITS,
    draw,
    exponential_unit,
    from_quantiles,
    lognormal,
)

_BITS = [9441442522235856127, 17532960557476522086]
INNER = np.arange(1, BINS) / BINS


def test_the_exponential_table_is_the_exponential_distribution():
    unit = exponential_unit() / (1 << UNIT_BITS)
    np.testing.assert_allclose(unit[1:-1], stats.expon.ppf(INNER), atol=2**-UNIT_BITS)
    assert ((unit[1:] + unit[:-1]) / 2).mean() == 1  # to the last bit


@pytest.mark.parametrize("sigma", ["0.1", "1", "2.5"])
def test_the_lognormal_table_is_the_lognormal_distribution(sigma):
    table = lognormal(10**6, Decimal(sigma))
    wanted = stats.lognorm.ppf(INNER, float(sigma), scale=10**6)
    np.testing.assert_allclose(table[1:-1], wanted, rtol=1e-9, atol=1)


def test_quantiles_are_met_and_uniform_between():
    table = from_quantiles((0, 1000, 1000, 9000))
    bits = random_bits(1, Use.OBJECTS, (0,), 200_000)
    drawn = draw(table, 0, bits)
    assert drawn.min() >= 0
    assert drawn.max() <= 9000
    share = [np.mean(drawn < limit) for limit in (500, 1000, 5000)]
    np.testing.assert_allclose(share, [1 / 6, 1 / 3, 5 / 6], atol=0.005)


def test_between_quantiles_of_lives_that_are_far_apart_the_logarithm_is_uniform():
    table = from_quantiles((0, 100, 150, 10_000, 40_960_000), lives=True)
    at = np.arange(BINS + 1)
    np.testing.assert_allclose(
        table[at <= 512], np.interp(at[at <= 512], (0, 256, 512), (0, 100, 150)), atol=1
    )
    wanted = np.exp(np.interp(at[at >= 512], (512, 768, 1024), np.log((150, 10_000, 40_960_000))))
    np.testing.assert_allclose(table[at >= 512], wanted, rtol=1e-9, atol=1)


def test_choices_are_by_weight():
    table = choices((1, 0, 2, 5), 12)
    assert np.bincount(table, minlength=4).tolist() == [512, 0, 1024, 2560]


def test_random_bits_are_those_that_numpy_promises_for_good():
    # NEP 19: SeedSequence and PCG64's raw output do not change.
    assert random_bits(1, Use.ARRIVALS, (0,), 2).tolist() == _BITS
    assert random_bits(1, Use.CHOICES, (0,), 2).tolist() != _BITS
