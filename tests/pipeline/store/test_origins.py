"""Origins: equal events, equal numbers; all that was told of them comes back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.origins import PARTS, Origins

DTYPES = ("u1", "u8", "i8", "i8", "?", "?", "i4", "i1")
# Few values each, so that rows are alike in some; the widest there are among them.
ROW = st.tuples(
    st.integers(0, 3),
    st.sampled_from((0, 0xFFFFFFFF81000010, (1 << 64) - 1)),
    st.sampled_from((0, 1, (1 << 63) - 1)),
    st.sampled_from((0, 64)),
    st.booleans(),
    st.booleans(),
    st.sampled_from((-1, 0, (1 << 31) - 1)),
    st.integers(-1, 6),
)
WINDOWS = st.lists(st.lists(ROW, min_size=1, max_size=30), min_size=1, max_size=4)


def columns(rows: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {
        name: np.array(values, dtype)
        for name, dtype, values in zip(PARTS, DTYPES, zip(*rows, strict=True), strict=True)
    }


def told(origins: Origins) -> dict[int, tuple[int, ...]]:
    found = origins.columns()
    parts = zip(*(found[name].tolist() for name in PARTS), strict=True)
    return dict(zip(found["origin"].tolist(), parts, strict=True))


@given(WINDOWS)
def test_every_event_comes_back(windows: list[list[tuple[int, ...]]]) -> None:
    origins = Origins(7)
    numbers = [origins.of(columns(rows)).tolist() for rows in windows]
    rows = [row for window in windows for row in window]
    known = told(origins)
    assert [known[number] for part in numbers for number in part] == rows
    assert sorted(known) == list(range(7, 7 + len(set(rows))))


def test_another_cache_is_another_origin() -> None:
    origins = Origins(1)
    [number] = origins.of(columns([(2, 5, 60, 64, True, False, -1, 6)])).tolist()
    args = np.array([number, number]), np.array([3, 3]), np.array([4, 4])
    first, second = origins.changed(*args).tolist()
    assert first == second != number
    assert told(origins)[first] == (2, 5, 60, 64, True, False, 3, 4)


def test_what_the_trace_lacks_is_absent() -> None:
    origins = Origins(1)
    events = columns([(0, 5, 60, 64, False, True, 3, 1)])
    origins.of({name: events[name] for name in ("event", "cache", "cache_how")})
    assert set(origins.columns()) == {"origin", "event", "cache", "cache_how"}
    assert set(Origins(1).columns()) >= {"origin", "event"}
