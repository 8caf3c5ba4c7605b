"""When sheaves of kfree_rcu came back: worked by hand (I12)."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.recording.rcu_sheaves import (
    NEVER,
    UNKNOWN,
    Callbacks,
    RcuFrees,
    sheaves_due,
)

CPU, OTHER = 0, 1


def due(
    frees: list[tuple[int, int, int]],
    callbacks: list[tuple[int, int, int, int]],
    inferred: dict[tuple[int, int], int] | None = None,
) -> list[int]:
    """Of frees (ts, CPU, cache), with callbacks (ts, CPU, cache, objects)."""
    ts, cpu, cache = np.array(frees, np.int64).reshape(-1, 3).T
    found = sheaves_due(
        RcuFrees(10 * np.arange(len(frees)), ts, cpu, cache),
        Callbacks(*np.array(callbacks, np.int64).reshape(-1, 4).T),
        inferred or {},
    )
    assert found.of(found.seq + 1).tolist() == [UNKNOWN] * len(frees)
    return found.of(found.seq).tolist()


def of_one(*times: int, cpu: int = CPU, cache: int = 3) -> list[tuple[int, int, int]]:
    return [(ts, cpu, cache) for ts in times]


def test_callbacks_give_back_what_was_passed_first() -> None:
    """Sheaves of two; the fifth object's is not full when the trace ends."""
    callbacks = [(30, CPU, 3, 2), (50, CPU, 3, 2)]
    assert due(of_one(1, 2, 3, 40, 41), callbacks) == [30, 30, 50, 50, NEVER]


def test_a_sheaf_that_is_flushed_early_has_fewer() -> None:
    callbacks = [(30, CPU, 3, 1), (50, CPU, 3, 2)]
    assert due(of_one(1, 2, 3), callbacks) == [30, 50, 50]


def test_each_cpu_and_each_cache_has_its_own() -> None:
    frees = sorted(of_one(1, 2) + of_one(3, 4, cpu=OTHER) + of_one(5, 6, cache=4))
    callbacks = [(20, CPU, 4, 2), (21, OTHER, 3, 2), (22, CPU, 3, 2)]
    assert due(frees, callbacks) == [22, 22, 21, 21, 20, 20]


def test_no_callback_comes_before_its_objects() -> None:
    """Two sheaves were filled before the trace: their callbacks are not of what it shows."""
    callbacks = [(2, CPU, 3, 2), (3, CPU, 3, 2), (30, CPU, 3, 2)]
    assert due(of_one(1, 10, 11), callbacks) == [30, 30, NEVER]


def test_sheaves_that_came_back_before_callbacks_were_seen_are_not_told() -> None:
    """Four sheaves are full when the first callback is seen, and the last leaves none waiting."""
    callbacks = [(60, CPU, 3, 2), (61, CPU, 3, 2)]
    assert due(of_one(1, 2, 3, 4, 50, 51, 52, 53), callbacks) == [UNKNOWN] * 4 + [60, 60, 61, 61]


def test_frees_from_before_the_probes_fill_the_first_sheaf() -> None:
    """Sheaves of four, the first of which had three: its callback gives back one probed object.

    Without the three the two callbacks would give back more than was passed: the first one's sheaf
    would have been filled before.
    """
    frees, callbacks = of_one(1, 2, 3, 4, 31, 41), [(30, CPU, 3, 4), (40, CPU, 3, 4)]
    assert due(frees, callbacks, {(CPU, 3): 3}) == [30, 40, 40, 40, 40, NEVER]
    assert due(frees, callbacks, {(OTHER, 3): 3, (CPU, 4): 3}) == [40] * 4 + [NEVER] * 2


@pytest.mark.parametrize("callbacks", [[], [(30, CPU, 4, 2)], [(30, OTHER, 3, 2)]])
def test_without_a_callback_of_its_own_nothing_is_known(
    callbacks: list[tuple[int, int, int, int]],
) -> None:
    assert due(of_one(1, 2), callbacks) == [UNKNOWN, UNKNOWN]


def test_caches_without_a_name_are_not_told_apart() -> None:
    assert due(of_one(1, 2, cache=-1), [(30, CPU, -1, 2)]) == [UNKNOWN, UNKNOWN]
