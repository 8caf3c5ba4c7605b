"""How numbers read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.render import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1234567, "1,234,567"), (-12345, "\u221212,345"), (None, "–")],
)
def test_counts_have_thousands_separators(value: int | None, text: str) -> None:
    assert wording.count(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 2, "50.00"),
        (0, 7, "0"),
        (7, 7, "100"),
        (-1, 8, "\u221212.50"),
        (1, 500_000, "0.0002"),
        (1, 10_000_000, "< 0.0001"),
        (999_999, 1_000_000, "> 99.99"),
        (106_003, 1_000_000, "10.60"),
    ],
)
def test_percentages(part: int, whole: int, text: str) -> None:
    assert wording.percent(part, whole) == f"{text}\u202f%"


def test_percentages_of_nothing_and_of_no_value_are_dashes() -> None:
    assert [wording.percent(1, 0), wording.percent(None), wording.percent(1, None)] == ["–"] * 3


@given(part=st.integers(1, 10**15), rest=st.integers(1, 10**15))
def test_a_share_that_is_neither_none_nor_all_never_reads_so(part: int, rest: int) -> None:
    text = wording.percent(part, part + rest)
    assert text not in {"0\u202f%", "0.00\u202f%", "100\u202f%", "100.00\u202f%"}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (7, "7\u202fns"),
        (1_500, "1.500\u202fµs"),
        (2_000_000, "2.000\u202fms"),
        (12_345_678_901, "12.346\u202fs"),
        (None, "–"),
    ],
)
def test_durations_have_a_unit(nanoseconds: int | None, text: str) -> None:
    assert wording.duration(nanoseconds) == text


@given(name=st.text(max_size=80), width=st.integers(3, 60))
def test_a_shortened_name_keeps_both_ends(name: str, width: int) -> None:
    short = wording.shortened(name, width)
    assert len(short) == min(len(name), width)
    if len(name) > width:
        start, end = short.split("…") if short.count("…") == 1 else ("", "")
        assert name.startswith(start)
        assert name.endswith(end)
    else:
        assert short == name


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists(names: list[str], text: str) -> None:
    assert wording.listed(names) == text


def test_plurals() -> None:
    assert [wording.plural(1, "run"), wording.plural(1234, "run")] == ["1 run", "1,234 runs"]
