"""Objects carried between windows, against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.slub.live_objects import LiveObjects

STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 9), max_size=12),  # gaps between the handles added
        st.lists(st.integers(0, 200), max_size=12, unique=True),  # which lives to end
        st.booleans(),  # end the youngest first
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from([1, 2, 8, 64, 1000]), st.sampled_from([-50, 0, 10**12]))
def test_like_a_dictionary(
    steps: list[tuple[list[int], list[int], bool]], recent: int, first: int
) -> None:
    live = LiveObjects(recent)
    plain: dict[int, int] = {}
    handle = first
    for gaps, ends, youngest in steps:
        handles = handle + np.cumsum(gaps, dtype=np.int64)
        objects = handles * 3 - 1
        live.add(handles, objects)
        plain.update(zip(handles.tolist(), objects.tolist(), strict=True))
        handle = int(handles[-1]) if gaps else handle
        known = sorted(plain, reverse=youngest)
        ended = [known[at] for at in ends if at < len(known)]
        strangers = [at + handle + 1 for at in ends[:3]] + [first - 7]
        found, was_live = live.take(np.array(ended + strangers, np.int64))
        assert found[: len(ended)].tolist() == [plain.pop(handle) for handle in ended]
        assert was_live.tolist() == [True] * len(ended) + [False] * len(strangers)
