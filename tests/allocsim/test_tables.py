"""Sorting, finding and merging, against numpy's own slower ways."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.tables import find, merge_sorted, stable_order

_keys = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 1 << 40), st.integers(0, (1 << 64) - 1))
)


@given(_keys)
def test_stable_order_is_numpy_s_stable_argsort(keys: list[int]) -> None:
    values = np.array(keys, np.uint64)
    assert np.array_equal(stable_order(values), np.argsort(values, kind="stable"))


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_find_gives_the_row_of_each_value_or_minus_one(table: set[int], values: list[int]) -> None:
    rows = sorted(table)
    want = [rows.index(value) if value in table else -1 for value in values]
    assert find(np.array(rows, int), np.array(values, int)).tolist() == want


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_merge_sorted_keeps_order_and_every_row(keys: set[int], middle: int) -> None:
    def table(part: list[int]) -> dict[str, np.ndarray]:
        return {"key": np.array(part, np.int64), "twice": 2 * np.array(part, np.int64)}

    low = sorted(key for key in keys if key % 7 < middle % 7)
    merged = merge_sorted(table(low), table(sorted(keys - set(low))), "key")
    assert merged["key"].tolist() == sorted(keys)
    assert (merged["twice"] == 2 * merged["key"]).all()
