"""Runs of refills and flushes against the same batches one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import SheafShape
from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.slub_rules import SheafRules
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.sheaves.planned import Planned
from allocsim.slub.sheaves.sheaf_steps import flush, refill
from allocsim.slub.sheaves.stepwise import Stepwise
from allocsim.slub.sheaves.structs import CELLS, SIZE
from allocsim.slub.slabs_bulk import flush_run, refill_run
from tests.conftest import examples


def refilled(one_by_one: Stepwise, sheaf: int, time: int) -> tuple[list[int], bool]:
    """What a refill gave, and whether it made a slab; the sheaf is empty again."""
    made = one_by_one.stat["alloc_slab"]
    one_by_one._make_room()
    refill(one_by_one.state, sheaf, 0, time, MAX_PAGE_ORDER)
    size = one_by_one.state.sheaves[sheaf + SIZE]
    one_by_one.put(sheaf, [])
    found = one_by_one.state.sheaves[sheaf + CELLS : sheaf + CELLS + size]
    return found, one_by_one.stat["alloc_slab"] > made


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
    shape = SheafShape("c", 64, 1, objects, 0, max(objects // 2, 1), min_partial, want, 10, 10)
    assert isinstance(LINUX_7_2.slub, SheafRules)
    one_by_one = Stepwise(shape, LINUX_7_2.slub, 3, 1, None, largest=want, fast=False)
    sheaf = one_by_one.sheaf(0)
    free = [
        (-2 - slab, (-2 - slab) << 16 | place) for slab in range(pre_trace) for place in (0, 2, 1)
    ]
    free = [(slab, found) for slab, found in free if found & 0xFFFF < objects]
    keys = np.array([slab for slab, _ in free], np.int64)
    places = np.array([found & 0xFFFF for _, found in free], np.int64)
    one_by_one.seed_free(keys, places, np.full(len(free), -1))
    together = Planned(one_by_one).slabs
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
            single = [refilled(one_by_one, sheaf, at) for at in times]
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
            for at, taken in zip(times, sheaves.tolist(), strict=False):
                one_by_one._make_room()
                one_by_one.put(sheaf, taken)
                flush(one_by_one.state, sheaf, 0, at)
        listed = [(slab, places.tolist()) for slab, places in together.partial.items()]
        assert listed == one_by_one.partial()
        assert together.partial.objects == sum(len(places) for _, places in listed)
        assert together.created == one_by_one.stat["alloc_slab"]
        # Objects in sheaves are counted above the slabs.
        counted = one_by_one.stat | {"sheaf_refill": 0, "sheaf_flush": 0}
        assert +together.stat == +Counter(counted)
    pages = np.array(together.pages, np.int64).reshape(-1, 4)
    assert np.delete(one_by_one.take_pages(), [1, 5], axis=1).tolist() == pages.tolist()
