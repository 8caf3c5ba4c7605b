"""Runs of refills and flushes against the same batches one by one."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import SheafShape
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.slabs import Slabs
from allocsim.slub.slabs_bulk import flush_run, refill_run
from tests.conftest import examples


def state(slabs: Slabs) -> tuple[object, ...]:
    return list(slabs.partial.items()), len(slabs.partial), slabs.partial.objects, slabs.created


@examples(150)
@given(
    st.integers(1, 9),
    st.integers(0, 4),
    st.integers(1, 7),
    st.integers(0, 3),
    st.lists(st.tuples(st.booleans(), st.integers(1, 8), st.integers(0, 9)), max_size=12),
)
def test_a_run_is_its_batches_one_by_one(
    objects: int, min_partial: int, want: int, pre_trace: int, runs: list[tuple[bool, int, int]]
) -> None:
    shape = SheafShape("c", 64, 1, objects, 0, max(objects // 2, 1), min_partial, want)
    together = Slabs(shape, Counter(), 3, None)
    free = [
        (-2 - slab, (-2 - slab) << 16 | place) for slab in range(pre_trace) for place in (0, 2, 1)
    ]
    free = [(slab, found) for slab, found in free if found & 0xFFFF < objects]
    together.add_pre_trace([slab for slab, _ in free], [found for _, found in free])
    one_by_one = deepcopy(together)
    # All other objects of the older slabs are out.
    out = [
        (-2 - slab) << 16 | place
        for slab in range(pre_trace)
        for place in range(objects)
        if (-2 - slab, (-2 - slab) << 16 | place) not in free
    ]
    time = 0
    for refills, count, mixing in runs:
        times = list(range(time, time + count))
        time += count
        if refills:
            got, grew = refill_run(together, times, want)
            single = [one_by_one.refill(want, at, MAX_PAGE_ORDER) for at in times]
            assert got.tolist() == [found for found, _ in single]
            assert grew == [at for at, (_, new) in enumerate(single) if new]
            out += got.reshape(-1).tolist()
        else:
            # In the order they were taken, shuffled, or two slabs in turn.
            if mixing > 2:
                np.random.default_rng(mixing).shuffle(out)
            elif mixing == 2:
                out = out[::2] + out[1::2]
            full = min(count, len(out) // want)
            if not full:
                continue
            sheaves = np.array(out[: full * want]).reshape(full, want)
            del out[: full * want]
            flush_run(together, sheaves, times[:full])
            for at, sheaf in zip(times, sheaves.tolist(), strict=False):
                one_by_one.free_bulk(sheaf, at)
        assert state(together) == state(one_by_one)
        assert together.stat == one_by_one.stat
        assert together.pages == one_by_one.pages
