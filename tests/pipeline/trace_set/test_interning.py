"""Codes for values, texts and stacks are exact, however many there are and however they collide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.raw import strings
from pipeline.ingest.raw.strings import StringInterner
from pipeline.ingest.stacks import stacks
from pipeline.trace_set.interning import Interner

NUMBERS = st.integers(0, (1 << 64) - 1)


@given(st.lists(st.lists(st.one_of(NUMBERS, st.integers(0, 20)), max_size=50), max_size=6))
def test_codes_mean_the_values_they_were_given_for(windows: list[list[int]]) -> None:
    interner = Interner()
    seen: dict[int, int] = {}
    for window in windows:
        values = np.array(window, np.uint64)
        codes = interner.codes(values)
        assert interner.values[codes].tolist() == window
        for value, code in zip(window, codes.tolist(), strict=True):
            assert seen.setdefault(value, code) == code
    assert len(interner) == len(seen)


@pytest.mark.parametrize("count", [1, 1999, 2001, 70_000])
def test_any_number_of_values(count: int) -> None:
    dice = np.random.default_rng(count)
    values = dice.integers(0, 1 << 64, count, dtype=np.uint64)
    interner = Interner()
    for part in np.array_split(np.concatenate([values, values[::-1]]), 5):
        codes = interner.codes(part)
        assert (interner.values[codes] == part).all()
    assert len(interner) == len(np.unique(values))


def test_values_without_any_free_slots_are_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A table of two slots cannot hold ten values apart.
    monkeypatch.setattr("pipeline.trace_set.interning._MIN_BITS", 1)
    monkeypatch.setattr("pipeline.trace_set.interning._MAX_BITS", 1)
    values = np.arange(10, dtype=np.uint64) << np.uint64(60)
    interner = Interner()
    codes = interner.codes(values)
    assert (interner.values[codes] == values).all()


def _texts(words: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    encoded = [word.encode() + b"\0" for word in words]
    # What lies behind a text must not matter.
    data = b"".join(word + b"\xee" * 3 for word in encoded) + b"\xdd" * 64
    length = np.array([len(word) for word in encoded], np.int64)
    start = np.cumsum(length + 3) - length - 3
    return np.frombuffer(data, np.uint8), start, length


NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=90))


@given(st.lists(NAMES, max_size=4))
def test_texts_come_back(windows: list[list[str]]) -> None:
    interner = StringInterner()
    for words in windows:
        codes = interner.codes(*_texts(words))
        assert [interner.texts[code] for code in codes] == words
    assert len(set(interner.texts)) == len(interner.texts)


def test_texts_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "_MULTIPLIERS", np.zeros(1 << 13, np.uint64))
    words = ["kmalloc-8", "kmalloc-16", "a", "", "kmalloc-8", "x" * 40, "y" * 40]
    interner = StringInterner()
    for _ in range(2):
        assert [interner.texts[code] for code in interner.codes(*_texts(words))] == words


@pytest.mark.parametrize("one_hash", [False, True])
def test_stacks_come_back(monkeypatch: pytest.MonkeyPatch, *, one_hash: bool) -> None:
    if one_hash:
        monkeypatch.setattr(stacks, "_digest", lambda _, count: np.zeros(len(count), np.uint64))
    reader = stacks.StackReader(stacks.EventTypes(), 8, lambda _: None)
    some = [[1, 2, 3], [1, 2], [], [3, 2, 1], [1, 2, 3], [2, 1], []]
    for window in (some, some[::-1], [[9]], some):
        frames = np.array([frame for stack in window for frame in stack], np.uint64)
        count = np.array([len(stack) for stack in window], np.int64)
        numbers = reader._number(frames, count).tolist()
        found = [reader.address[reader.start[n] : reader.start[n + 1]].tolist() for n in numbers]
        assert found == window
        assert len(set(numbers)) == len({tuple(stack) for stack in window})
