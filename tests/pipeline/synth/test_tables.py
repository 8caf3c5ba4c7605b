"""The tables that lifetimes and arrivals are drawn from, against scipy's distributions."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from pipeline.synth.mixtures import FOREVER, LifeTables
from pipeline.synth.random_bits import PLACE_BITS, BitsUse, Strata, choices, random_bits
from pipeline.synth.spec.model import Entry, Free, Life
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
    bits = random_bits(1, BitsUse.OBJECTS, (0,), 200_000)
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


@pytest.mark.parametrize("total", [1, 2, 5, 100, 256, 257, 1000, 12_345])
def test_of_as_many_numbers_each_slice_has_one(total):
    strata = Strata(1, (3,), total)
    slices = []
    for dimension in range(3):
        places = strata.places(dimension, 0, total)
        # Exact, with Python's integers: which slice of 2^62 each number lies in.
        found = [place * total >> PLACE_BITS for place in places.tolist()]
        assert sorted(found) == list(range(total))
        slices.append(found)
        # In parts as in one, and another time round at other places of the same slices.
        parts = [strata.places(dimension, at, 7) for at in range(0, total, 7)]
        np.testing.assert_array_equal(np.concatenate(parts)[:total], places)
        again = strata.places(dimension, total, total)
        assert [place * total >> PLACE_BITS for place in again.tolist()] == found
    if total >= 100:
        ranks = np.corrcoef([np.arange(total), *slices])
        assert np.abs(ranks - np.eye(4)).max() < 0.3


@pytest.mark.parametrize("total", [12, 50, 200, 256, 5000])
def test_any_stretch_of_what_is_taken_in_steps_is_about_even(total):
    found = Strata(3, (0,), total).places(1, 0, total, steps=True)
    assert len({place * total >> PLACE_BITS for place in found.tolist()}) == total
    # Two CPUs by a half each: how far they get apart on the way.
    apart = np.cumsum(np.where(found < 1 << (PLACE_BITS - 1), 1, -1))
    assert np.ptp(apart) <= 12


def test_components_have_their_shares_and_their_quantiles_exactly():
    lives = (
        Life("quantiles", Decimal(300), (0, 100, 200, 10_000), at=(0, 256, 512, 1024)),
        Life("forever", Decimal(100)),
        Life("fixed", Decimal(200), (20_077,)),
    )
    tables = LifeTables([Entry(lives, Free(), kmalloc=8)])
    drawn, _ = tables.draw_at(np.zeros(600, np.int64), Strata(1, (0,), 600).places(0, 0, 600))
    assert np.count_nonzero(drawn.kind == FOREVER) == 100
    assert np.count_nonzero(drawn.time == 20_077) == 200
    rest = np.sort(drawn.time[(drawn.kind != FOREVER) & (drawn.time != 20_077)])
    assert len(rest) == 300
    # One of each slice of 1/300, so none is more than a slice away.
    for share, value in ((0.25, 100), (0.5, 200)):
        assert np.searchsorted(rest, value) == pytest.approx(share * 300, abs=1)


def test_choices_are_by_weight():
    table = choices((1, 0, 2, 5), 12)
    assert np.bincount(table, minlength=4).tolist() == [512, 0, 1024, 2560]


def test_random_bits_are_those_that_numpy_promises_for_good():
    # NEP 19: SeedSequence and PCG64's raw output do not change.
    assert random_bits(1, BitsUse.ARRIVALS, (0,), 2).tolist() == _BITS
    assert random_bits(1, BitsUse.CHOICES, (0,), 2).tolist() != _BITS
