"""Whether two sides differ by more than their noise: within one run, or over repeats.

Nothing here knows what the numbers mean. Rows are quantities, and each is a ratio of two sums
(operations per event, remote frees per free), so that a longer recording is not a larger one.

One recording a side: the noise is how much the ratio changes from one stretch of the run to
another. Its standard error is that of a circular block bootstrap over time slices (Politis and
Romano 1992): neighbouring slices are alike, so whole blocks are drawn. The change is judged on the
logarithm of the ratio of the two sides, whose error follows by the delta method, by Student's t
with Welch's degrees of freedom, counting blocks, not slices. This is variation within a run; how
much another run of the same thing would differ it cannot say. Two simulations of one recording see
the same slices: there the change itself is drawn, from the same slices of both.

Several recordings a side: the Mann-Whitney rank test, exact where there are no ties, and a
percentile bootstrap of the ratio of the medians.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

LEVEL = 0.05  #: of every test and, less it, of every interval
DRAWS = 1000  #: bootstrap draws for a standard error
MEDIAN_DRAWS = 10_000  #: bootstrap draws for the interval of a ratio of medians
_SEED = 20_260_105  # fixed: the same recordings give the same report


@dataclass(frozen=True, slots=True)
class Sums:
    """One run as sums over time slices.

    Args:
        part: float64 [quantities, slices].
        whole: what ``part`` is divided by, float64 of the same shape.
    """

    part: Floats
    whole: Floats

    def ratio(self) -> Floats:
        """The quantities over the whole run, float64 [quantities]; NaN where the whole is 0."""
        return _ratio(self.part.sum(axis=1), self.whole.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Estimate:
    """The quantities of one side.

    Args:
        value: float64 [quantities]: the ratio of the one run, or the median over repeats.
        low: lower end of its interval; NaN where there is none.
        high: upper end.
        error: standard error within the run; NaN for repeats, which are judged by rank.
        freedom: degrees of freedom of that error.
        draws: float64 [quantities, DRAWS]: the quantities in stretches drawn from the run, the
            same in every run of as many slices; without columns for repeats.
    """

    value: Floats
    low: Floats
    high: Floats
    error: Floats
    freedom: float
    draws: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """One side against the baseline.

    Args:
        low: float64 [quantities]: lower end of the interval of the relative change (0.1 is +10 %);
            NaN where there is none.
        high: upper end.
        p: probability of a difference as large by noise alone; NaN where it cannot be tested.
    """

    low: Floats
    high: Floats
    p: Floats


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def block_length(slices: int) -> int:
    """Slices drawn together: the cube root of their number, the usual rate for a mean."""
    return max(1, round(float(np.cbrt(slices))))


def draw_weights(slices: int) -> Floats:
    """How often each slice is in each draw of a circular block bootstrap: [slices, DRAWS]."""
    length = block_length(slices)
    starts = np.random.default_rng(_SEED).integers(0, slices, (DRAWS, _blocks(slices)))
    drawn = (starts[:, :, None] + np.arange(length)) % slices
    # Slices cut off, so that every draw is as long as the run.
    drawn = drawn.reshape(DRAWS, -1)[:, :slices] + slices * np.arange(DRAWS)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=DRAWS * slices).reshape(DRAWS, slices)
    return weights.T.astype(np.float64)


def _blocks(slices: int) -> int:
    return -(-slices // block_length(slices))


def within_run(sums: Sums) -> Estimate:
    """The quantities of one run, with their variation within it."""
    slices = sums.part.shape[1]
    times = draw_weights(slices)
    return of_draws(sums.ratio(), _ratio(sums.part @ times, sums.whole @ times), slices)


def of_draws(value: Floats, draws: Floats, slices: int) -> Estimate:
    """Quantities of one run, and what they were in stretches drawn from its slices.

    Args:
        value: float64 [quantities].
        draws: float64 [quantities, DRAWS]; NaN where a draw has no value.
        slices: of the run.
    """
    error = _spread(draws)
    # Adding in another order leaves a rest where every slice has the same ratio.
    error[error <= 1e-9 * np.abs(value)] = 0
    freedom = max(_blocks(slices) - 1, 1)
    reach = stats.t.ppf(1 - LEVEL / 2, freedom) * error
    return Estimate(value, np.maximum(value - reach, 0), value + reach, error, freedom, draws)


def _spread(draws: Floats) -> Floats:
    """Standard deviation of the draws that have a value."""
    known = np.isfinite(draws)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, draws, 0).sum(axis=1) / count
    away = np.where(known, draws - mean[:, None], 0)
    result: Floats = np.sqrt((away**2).sum(axis=1) / count)
    return result


def quantile_of_bins(counts: Floats, quantile: float) -> Floats:
    """Where a quantile lies among bins, in bins from the first one's beginning.

    Args:
        counts: float64 [bins, draws]: how many are in each bin.
        quantile: 0 to 1.

    Returns:
        float64 [draws], NaN where nothing is counted; a bin is taken to be evenly filled.
    """
    below = counts.cumsum(axis=0)
    wanted = quantile * below[-1]
    at = (below < wanted).sum(axis=0).clip(max=len(counts) - 1)
    inside = np.take_along_axis(counts, at[None], axis=0)[0]
    before = np.take_along_axis(below, at[None], axis=0)[0] - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below[-1] > 0, at + (wanted - before) / inside, np.nan)


def without_error(estimate: Estimate, rows: npt.NDArray[np.bool_]) -> Estimate:
    """The estimate with no interval for some rows: those of which only a total is known."""
    low, high, error = (
        np.where(rows, np.nan, each) for each in (estimate.low, estimate.high, estimate.error)
    )
    return replace(estimate, low=low, high=high, error=error)


def compare_runs(base: Estimate, other: Estimate) -> Difference:
    """One recording a side: the change against the variation within the two runs."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        change = np.log(other.value / base.value)
        variances = [(side.error / side.value) ** 2 for side in (base, other)]
        both = (base.value > 0) & (other.value > 0)
        # Where one side has none of it there is no logarithm: the plain difference then.
        gone = [side.error**2 for side in (base, other)]
        first, second = (np.where(both, v, g) for v, g in zip(variances, gone, strict=True))
        error = np.sqrt(first + second)
        size = np.abs(np.where(both, change, other.value - base.value))
        freedom = np.where(
            error > 0,
            error**4 / (first**2 / base.freedom + second**2 / other.freedom),
            base.freedom,
        )
        p = np.where(size == 0, 1.0, 2 * stats.t.sf(size / error, freedom))
        p[(size == 0) & (error == 0)] = np.nan  # one and the same number throughout
        reach = stats.t.ppf(1 - LEVEL / 2, freedom) * error
        low = np.where(both, np.expm1(change - reach), np.nan)
        high = np.where(both, np.expm1(change + reach), np.nan)
    unknown = np.isnan(base.value) | np.isnan(other.value)
    return Difference(low, high, np.where(unknown, np.nan, p))


def compare_paired(base: Estimate, other: Estimate) -> Difference:
    """Two runs on one recording: how the change itself varies from one stretch to another."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        change = np.log(other.value / base.value)
        both = (base.value > 0) & (other.value > 0)
        drawn = np.where(both[:, None], np.log(other.draws / base.draws), other.draws - base.draws)
        size = np.abs(np.where(both, change, other.value - base.value))
        error = _spread(drawn)
        error[error <= 1e-9 * size] = 0
        error[np.isnan(base.error) | np.isnan(other.error)] = np.nan
        p = np.where(size == 0, 1.0, 2 * stats.t.sf(size / error, base.freedom))
        p[(size == 0) & (error == 0)] = np.nan  # one and the same number throughout
        reach = stats.t.ppf(1 - LEVEL / 2, base.freedom) * error
        low = np.where(both, np.expm1(change - reach), np.nan)
        high = np.where(both, np.expm1(change + reach), np.nan)
    unknown = np.isnan(size) | np.isnan(error)
    return Difference(low, high, np.where(unknown, np.nan, p))


def over_repeats(values: Floats) -> Estimate:
    """The quantities of a side with repeats.

    Args:
        values: float64 [quantities, repeats].

    Returns:
        The median, and the percentile-bootstrap interval of the median.
    """
    low, high = _percentiles(_medians(values, seed=0))
    value = np.median(values, axis=1)
    return Estimate(value, low, high, np.full(len(value), np.nan), 0, np.empty((len(value), 0)))


def compare_repeats(base: Floats, other: Floats) -> Difference:
    """Several recordings a side: [quantities, repeats] each, of which one may have only one.

    With so few repeats that even the most one-sided order of the values would not be unlikely
    (least_p above LEVEL), p is NaN: there is nothing to test.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = _medians(other, seed=1) / _medians(base, seed=0) - 1
    low, high = _percentiles(np.where(np.isfinite(resampled), resampled, np.nan))
    smallest = least_p(base.shape[1], other.shape[1])
    if smallest > LEVEL:
        return Difference(low, high, np.full(len(base), np.nan))
    p = np.array([_rank_test(a, b, smallest) for a, b in zip(base, other, strict=True)])
    return Difference(low, high, p)


def least_p(first: int, second: int) -> float:
    """The smallest p that a two-sided rank test of so many values a side can give."""
    return 2 / comb(first + second, first)


def _rank_test(base: Floats, other: Floats, smallest: float) -> float:
    if not (np.isfinite(base).all() and np.isfinite(other).all()):
        return float("nan")
    both = np.concatenate((base, other))
    if (both == both[0]).all():
        return float("nan")  # one and the same number throughout
    ties = len(np.unique(both)) < len(both)
    method = "asymptotic" if ties else "exact"
    return max(float(stats.mannwhitneyu(base, other, method=method).pvalue), smallest)


def _medians(values: Floats, seed: int) -> Floats:
    """Medians of values drawn with replacement, [quantities, MEDIAN_DRAWS]."""
    rng = np.random.default_rng(_SEED + seed)
    drawn = rng.integers(0, values.shape[1], (MEDIAN_DRAWS, values.shape[1]))
    return np.array([np.median(row[drawn], axis=1) for row in values]).reshape(-1, MEDIAN_DRAWS)


def _percentiles(resampled: Floats) -> tuple[Floats, Floats]:
    """The interval that LEVEL leaves; NaN where a draw has no value."""
    if not len(resampled):
        return np.empty(0), np.empty(0)
    low, high = np.percentile(resampled, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)], axis=1)
    return low, high


def corrected(p: Floats) -> Floats:
    """Each p after Benjamini and Hochberg's correction; NaN stays, and counts as no test."""
    tested = np.isfinite(p)
    result = np.full(p.shape, np.nan)
    if tested.any():
        result[tested] = stats.false_discovery_control(p[tested], method="bh")
    return result


def geometric_mean(ratios: Floats) -> float:
    """The geometric mean of positive ratios; NaN of none."""
    return float(stats.gmean(ratios)) if len(ratios) else float("nan")
