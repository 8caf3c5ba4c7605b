"""Messages made a column at a time, read back a byte at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.protobuf import message, messages
from tests.oracle.protobuf import fields

NUMBERS = st.integers(0, 2**64 - 1)


def test_the_format_pages_own_examples() -> None:
    # https://protobuf.dev/programming-guides/encoding: Test1 {a: 150}, Test2 {b: "testing"},
    # Test3 {c: {a: 150}}.
    assert message({1: 150}).hex() == "089601"
    assert message({2: b"testing"}).hex() == "120774657374696e67"
    assert message({3: message({1: 150})}).hex() == "1a03089601"


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), NUMBERS, st.binary())
def test_every_row_says_what_it_was_given(
    rows: list[tuple[int, int]], same: int, text: bytes
) -> None:
    left, right = np.array(rows, np.uint64).T
    inner = messages(len(rows), {3: right, 70: text})
    made = messages(len(rows), {1: left, 15: inner, 2: same})
    assert made.shape[0] == len(rows)
    assert len({len(row.tobytes()) for row in made}) == 1
    for row, (a, b) in zip(made, rows, strict=True):
        found = fields(row.tobytes())
        assert (found[1], found[2]) == ([a], [same])
        assert fields(found[15][0]) == {3: [b], 70: [text]}


def test_no_rows_are_no_bytes() -> None:
    assert messages(0, {1: np.zeros(0, np.uint64), 2: b"x"}).size == 0
