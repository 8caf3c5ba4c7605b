"""Nodes of a quantile table: few, and what is drawn between them lies where it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fitting.quantile_nodes import by_rank, by_ratio, mid_table, quantile_nodes, within
from pipeline.fitting.quantile_nodes_text import quantile_nodes_text, times_text
from pipeline.synth.spec.spec_table import SpecTable
from pipeline.synth.tables import BINS, from_quantiles
from tests.conftest import examples

SAMPLES = st.lists(
    st.integers(0, 1 << 40) | st.integers(1, 2000) | st.sampled_from([5, 10_000]),
    min_size=1,
    max_size=60,
)


@examples(150)
@given(SAMPLES)
def test_what_is_drawn_between_nodes_is_within_the_limits(sample):
    table = mid_table(np.sort(np.array(sample)), lives=True)
    low, high = by_ratio(table, 0.05)
    found = quantile_nodes(table, low, high, lives=True)
    assert found.at[0] == 0
    assert found.at[-1] == BINS
    drawn = from_quantiles(found.values.tolist(), found.at.tolist(), lives=True)
    # A value is cut to whole ns where it is drawn.
    assert np.all(drawn >= np.floor(low) - 1)
    assert np.all(drawn <= high)


@examples(100)
@given(SAMPLES, st.integers(1, 10**6))
def test_moments_are_within_their_ranks_and_distance(sample, distance):
    table = mid_table(np.sort(np.array(sample)))
    limits = within(by_rank(table, len(sample)), table, distance)
    found = quantile_nodes(table, *limits)
    drawn = from_quantiles(found.values.tolist(), found.at.tolist())
    assert np.all(drawn >= limits[0] - 1)
    assert np.all(drawn <= limits[1])


def test_what_a_line_tells_needs_no_nodes():
    even = np.arange(0, 10**9, 10**6)
    table = mid_table(even)
    assert quantile_nodes(table, *by_rank(table, len(even))).at.tolist() == [0, BINS]


def test_a_step_has_nodes_on_either_side():
    table = mid_table(np.sort(np.array([10] * 500 + [10**7] * 524)), lives=True)
    found = quantile_nodes(table, *by_ratio(table, 0.05), lives=True)
    assert found.at.tolist() == [0, 499, 501, 1024]
    assert found.values.tolist() == [10, 10, 10**7, 10**7]


@examples(100)
@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=30), st.booleans())
def test_the_text_says_the_nodes_as_nearly_as_matters(values, since):
    values.sort()
    table = from_quantiles(values)
    limits = by_rank(table, len(values))
    found = quantile_nodes(table, *limits)
    said = quantile_nodes_text(found, limits, "times", since=since)
    reader = SpecTable(said, (), {}, "x")
    read = np.array(reader.times("times", 0, 1 << 46, 2)) + reader.time("since", 0, 1 << 46, 0)
    slack = (limits[1] - limits[0])[found.at]
    assert np.all(np.diff(read) >= 0)
    assert np.all(np.abs(read - found.values) <= np.maximum.accumulate(slack) / 20)
    assert said.get("at", [0, BINS]) == found.at.tolist()


def test_a_burst_stays_as_long_as_it_was():
    burst = 500_000_123 + 7_000 * np.arange(50)
    table = mid_table(np.concatenate((np.arange(50) * 10_000_000, burst, 10**9 + burst)))
    limits = by_rank(table, 150)
    found = quantile_nodes(table, *limits)
    said = quantile_nodes_text(found, limits, "times")
    read = np.array(SpecTable(said, (), {}, "x").times("times", 0, 1 << 46, 2))
    assert np.diff(found.values).min() < 500_000
    assert np.diff(read) == pytest.approx(np.diff(found.values), rel=0.06)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0, 1500], "0 1.5 us"),
        ([1, 2, 3], "1 2 3 ns"),
        ([2_000_000_000, 3_000_000_000], "2 3 s"),
        ([1_000_001, 2_000_000], "1.000001 2 ms"),
    ],
)
def test_times_are_in_the_unit_in_which_they_are_shortest(values, text):
    assert times_text(values) == text
