"""The statistics against distributions whose truth is known, and against hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.compare import statistics
from reports.compare.statistics import LEVEL, Sums

ROWS, SLICES = 4000, 120


def noise(rng: np.random.Generator, rate: float) -> Sums:
    """Rows of one process: events by chance, each of which counts by chance."""
    whole = rng.poisson(50, (ROWS, SLICES)).astype(float)
    return Sums(rng.poisson(rate, (ROWS, SLICES)).astype(float), whole)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 2.0, 20.0])
def test_within_runs_five_rows_in_a_hundred_differ_by_chance(rate: float) -> None:
    rng = np.random.default_rng(int(rate * 2))
    spread = statistics.compare_runs(
        statistics.within_run(noise(rng, rate)), statistics.within_run(noise(rng, rate))
    )
    # 4,000 independent rows: four standard deviations of their number are 1.4 %.
    assert (spread.p <= LEVEL).mean() == pytest.approx(LEVEL, abs=0.014)
    covered = (spread.low <= 0) & (spread.high >= 0)
    assert covered.mean() == pytest.approx(1 - LEVEL, abs=0.014)


def test_neighbouring_slices_that_are_alike_are_no_more_evidence_than_they_are() -> None:
    rng = np.random.default_rng(3)

    def bursts() -> Sums:
        rates = np.repeat(rng.gamma(4, 1, (ROWS, SLICES // 3)), 3, axis=1)
        return Sums(rng.poisson(rates).astype(float), np.full((ROWS, SLICES), 50.0))

    first, second = bursts(), bursts()
    p = statistics.compare_runs(statistics.within_run(first), statistics.within_run(second)).p
    assert (p <= LEVEL).mean() < 0.09
    # Slices taken for independent would say that about one row in five differs.
    alone = stats.ttest_ind(first.part, second.part, axis=1).pvalue
    assert (alone <= LEVEL).mean() > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [4, 5, 8])
def test_over_repeats_no_more_than_five_in_a_hundred_differ_by_chance(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    p = statistics.compare_repeats(
        rng.normal(5, 1, (600, repeats)), rng.normal(5, 1, (600, repeats))
    ).p
    # The test is exact: its true level is at most 5 %, here 2.9 %, 3.2 % and 5.0 %.
    assert 0.005 < (p <= LEVEL).mean() < 0.086


@pytest.mark.slow
def test_a_planted_change_is_found_and_its_size_is_covered() -> None:
    rng = np.random.default_rng(9)
    base, other = noise(rng, 20), noise(rng, 25)
    spread = statistics.compare_runs(statistics.within_run(base), statistics.within_run(other))
    assert (spread.p < 0.001).mean() > 0.99
    covered = (spread.low <= 0.25) & (spread.high >= 0.25)
    assert covered.mean() == pytest.approx(0.95, abs=0.014)


def test_what_is_gone_has_no_ratio_and_is_found() -> None:
    counts = np.ones((1, SLICES))
    some = statistics.within_run(
        Sums(np.random.default_rng(1).poisson(3.0, (1, SLICES)) + 0.0, counts)
    )
    none = statistics.within_run(Sums(np.zeros((1, SLICES)), counts))
    spread = statistics.compare_runs(some, none)
    assert spread.p[0] < 1e-6
    assert np.isnan(spread.low[0])


def test_equal_sides_are_p_one_and_constants_are_not_tested() -> None:
    part = np.vstack([np.arange(SLICES) % 7, np.full(SLICES, 3)]).astype(float)
    one = statistics.within_run(Sums(part, np.ones((2, SLICES))))
    p = statistics.compare_runs(one, one).p
    assert p[0] == 1
    assert np.isnan(p[1])


@pytest.mark.parametrize(
    ("first", "second", "least"), [(3, 3, 0.1), (4, 4, 2 / 70), (1, 20, 2 / 21), (5, 5, 2 / 252)]
)
def test_least_p_is_that_of_values_wholly_apart(first: int, second: int, least: float) -> None:
    assert statistics.least_p(first, second) == pytest.approx(least)
    apart = stats.mannwhitneyu(np.arange(first), 100 + np.arange(second), method="exact").pvalue
    assert apart == pytest.approx(least)


def test_too_few_repeats_are_not_tested() -> None:
    p = statistics.compare_repeats(np.array([[1.0, 2, 3]]), np.array([[7.0, 8, 9]])).p
    assert np.isnan(p).all()


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=30))
def test_the_correction_is_the_textbooks(values: list[float]) -> None:
    p = np.array(values)
    tested = np.sort(p[np.isfinite(p)])
    count = len(tested)
    steps = [tested[at] * count / (at + 1) for at in range(count)]
    wanted = [min([1.0, *steps[at:]]) for at in range(count)]
    found = statistics.corrected(p)
    assert np.isnan(found).tolist() == np.isnan(p).tolist()
    assert np.sort(found[np.isfinite(found)]) == pytest.approx(wanted)


def test_geometric_mean_of_a_half_and_a_double_is_one() -> None:
    assert statistics.geometric_mean(np.array([0.5, 2.0])) == pytest.approx(1)
    assert np.isnan(statistics.geometric_mean(np.array([])))
