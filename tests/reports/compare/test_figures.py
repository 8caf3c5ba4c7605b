"""Figures of a comparison: what is drawn is what its rows and distributions say."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from reports.compare.comparison import Change, ChangeVerdict, Distribution
from reports.compare.figures import lives, ratio
from reports.compare.measure import BINS, BINS_PER_DECADE


def test_lives_are_shares_that_lived_no_longer_than_the_end_of_each_slice() -> None:
    first, second = np.zeros(BINS), np.zeros(BINS)
    first[[20, 40]] = 1, 3  # in the bins that begin with 10 and 100 ns
    second[41] = 5
    panel = lives(Distribution("Lifetimes", (first, second)))
    assert panel.edges[0] == pytest.approx(10)
    assert panel.edges[-1] == pytest.approx(10 ** (42 / BINS_PER_DECADE))
    assert len(panel.slices) == len(panel.edges) - 1 == 22
    assert panel.lines["A"] == pytest.approx([25.0] * 20 + [100, 100])
    assert panel.lines["B"] == pytest.approx([0.0] * 21 + [100])
    assert panel.ticks == {10: "10 ns", 100: "100 ns"}


@pytest.mark.parametrize(
    ("change", "low", "high", "verdict", "drawn"),
    [
        (0.5, 0.25, 1.0, ChangeVerdict.DIFFERS, (1.5, 1.25, 2.0, True, "+50.0%, +25.0% .. +100%")),
        (-0.5, nan, nan, ChangeVerdict.UNTESTED, (0.5, None, None, False, "-50.0%")),
        (-1.0, nan, nan, ChangeVerdict.FROZEN, (None, None, None, False, "gone: frozen")),
        (inf, nan, nan, ChangeVerdict.NONE, (None, None, None, False, "new")),
        (nan, nan, nan, ChangeVerdict.FEW, None),
    ],
)
def test_a_change_is_a_ratio_or_a_word(
    change: float,
    low: float,
    high: float,
    verdict: ChangeVerdict,
    drawn: tuple[object, ...] | None,
) -> None:
    assert ratio(Change(change, low, high, nan, nan, verdict)) == drawn
