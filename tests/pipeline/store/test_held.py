"""Rows that are held back: amended in place, released when settled, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.trace.results import CacheHow
from pipeline.store.held import Held, may_change

if TYPE_CHECKING:
    from allocsim.tables import Columns


def rows(*seqs: int, is_open: bool = True, lifetime: int = -1) -> Columns:
    return {
        "seq": np.array(seqs, np.int64),
        "open": np.full(len(seqs), is_open),
        "lifetime": np.full(len(seqs), lifetime, np.int64),
        "cache_how": np.full(len(seqs), CacheHow.NAMED, np.int8),
    }


def seqs(released: Columns) -> list[int]:
    return released["seq"].tolist() if released else []


def test_open_lives_and_unresolved_caches_may_change() -> None:
    assert may_change(rows(1)).tolist() == [True]
    assert may_change(rows(1, is_open=False)).tolist() == [False]
    unresolved = rows(1, 2, is_open=False)
    unresolved["cache_how"][1] = CacheHow.UNRESOLVED
    assert may_change(unresolved).tolist() == [False, True]


def test_rows_wait_until_their_life_has_ended() -> None:
    held = Held(limit=100)
    assert held.release() == {}
    held.add(rows(1, 4, 6))
    held.add(rows(8, 9))
    assert seqs(held.release()) == []
    known = held.amend("lifetime", np.array([4, 5, 9]), np.array([40, 50, 90]))
    assert known.tolist() == [True, False, True]
    released = held.release()
    assert (seqs(released), released["lifetime"].tolist()) == ([4, 9], [40, 90])
    assert seqs(held.release()) == []
    assert seqs(held.release(everything=True)) == [1, 6, 8]
    assert seqs(held.release(everything=True)) == []


def test_a_life_that_ended_unseen_waits_no_longer() -> None:
    held = Held(limit=100)
    held.add(rows(1, 2))
    held.amend("lifetime", np.array([2]), np.array([-1]))
    released = held.release()
    assert (seqs(released), released["lifetime"].tolist()) == ([2], [-1])


def test_most_rows_wait_until_a_look_is_worth_it() -> None:
    held = Held(limit=100)
    held.add(rows(*range(20)))
    held.amend("lifetime", np.arange(4), np.arange(4))
    assert seqs(held.release()) == []
    held.add(rows(20))
    held.amend("lifetime", np.array([20, 4]), np.array([7, 8]))
    assert seqs(held.release()) == [0, 1, 2, 3, 4, 20]
    assert seqs(held.release(everything=True)) == list(range(5, 20))


def test_of_several_values_for_a_row_the_last_stands() -> None:
    held = Held(limit=100)
    held.add(rows(1, 2))
    held.amend("lifetime", np.array([2, 2, 2]), np.array([5, 6, 7]))
    assert held.release()["lifetime"].tolist() == [7]


def test_a_column_the_table_lacks_is_nobodys() -> None:
    held = Held(limit=100)
    held.add(rows(1))
    assert held.amend("page_kind", np.array([1]), np.array([3])).tolist() == [False]


def test_where_too_many_wait_the_oldest_wait_no_longer() -> None:
    held = Held(limit=2)
    held.add(rows(1, 2, 3, 4))
    held.amend("lifetime", np.array([4]), np.array([1]))
    assert seqs(held.release()) == [1, 4]
    held.add(rows(5, 6))
    assert seqs(held.release()) == [2, 3]
