"""kfree_rcu and prefilled sheaves: the model equals the oracle, and both do what the spec says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.profile import LINUX_7_2, CacheShape, cache_shapes, with_settings
from allocsim.requests import Op
from tests.oracle.slub import GRACE_PERIOD, Slub
from tests.oracle.slub_compare import Trace, assert_equal, by_model

Request = tuple[int, int, int, int, int, int, int, int]


@st.composite
def shapes(draw: st.DrawFn, name: str) -> CacheShape:
    objects = draw(st.integers(1, 6))
    return CacheShape(
        name=name,
        size=64,
        order=1,
        objects=objects,
        min_order=0,
        min_objects=draw(st.integers(1, objects)),
        min_partial=draw(st.integers(0, 3)),
        capacity=draw(st.sampled_from([0, 1, 2, 3, 4])),
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Bursts of every operation on a few caches, two of which are homes of the others' sheaves."""
    names = draw(st.sampled_from([("nodes",), ("nodes", "kmalloc-64"), ("kmalloc-64", "x", "y")]))
    caches = [draw(shapes(name)) for name in names]
    live: list[list[int]] = [[] for _ in caches]
    requests: list[Request] = []
    now = 0
    bursts = st.tuples(
        st.integers(0, len(caches) - 1),
        st.integers(0, 1),
        st.sampled_from(list(Op)),
        st.integers(1, 12),
        st.sampled_from([0, -1]),
        st.sampled_from([1, GRACE_PERIOD // 6, GRACE_PERIOD]),
    )
    drawn = draw(st.lists(bursts, max_size=40))
    for run, (cache, cpu, op, length, pick, pause) in enumerate(drawn):
        now += pause
        for at in range(length):
            seq = len(requests)
            if op > 0:
                live[cache].append(seq)
                left = length - at if op == Op.FROM_SHEAF else 0
                requests.append((seq, cpu, cache, op, seq, now, run, left))
            elif live[cache]:
                requests.append((seq, cpu, cache, op, live[cache].pop(pick), now, 0, 0))
    if draw(st.booleans()) and requests:
        requests = _interleaved(draw, requests)
    starts = draw(st.lists(st.integers(0, len(requests)), unique=True, max_size=3))
    refusals = [(start, draw(st.sampled_from([-1, 0, 10]))) for start in sorted(starts)]
    changed = draw(st.sampled_from([{}, {"barn.full_sheaves": 1}, {"barn.full_sheaves": 0}]))
    profile = with_settings(LINUX_7_2, changed)
    return Trace(caches, 2, requests, refusals=refusals, profile=profile)


def _interleaved(draw: st.DrawFn, requests: list[Request]) -> list[Request]:
    """Two tasks at once: the runs of prefilled sheaves of both CPUs between one another."""
    queues = [[r for r in requests if r[1] == cpu] for cpu in (0, 1)]
    born = {r[4]: r[1] for r in requests if r[3] > 0}
    # What one allocates and the other frees would come out of order.
    queues = [[r for r in queue if born[r[4]] == r[1]] for queue in queues]
    kept = {cpu: {r[4] for r in queue if r[3] > 0} for cpu, queue in enumerate(queues)}
    queues = [[r for r in queue if r[4] in kept[cpu]] for cpu, queue in enumerate(queues)]
    mixed: list[Request] = []
    handles: dict[int, int] = {}
    now = 0
    while any(queues):
        which = draw(st.integers(0, 1))
        queue = queues[which] or queues[1 - which]
        _, cpu, cache, op, handle, ts, run, left = queue.pop(0)
        now = max(now, ts)
        seq = len(mixed)
        if op > 0:
            handles[handle] = seq
        mixed.append((seq, cpu, cache, op, handles[handle], now, run, left))
    return mixed


@settings(max_examples=400, deadline=None)
@given(traces(), st.sampled_from([1, 2, 7, 10_000]))
def test_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


def rcu_frees(count: int, pause: int) -> list[Request]:
    """``count`` allocations, all freed by kfree_rcu, and one more allocation after a pause."""
    requests: list[Request] = [(i, 0, 0, Op.ALLOC, i, 0, 0, 0) for i in range(count)]
    requests += [(count + i, 0, 0, Op.FREE_RCU, i, 0, 0, 0) for i in range(count)]
    requests.append((2 * count, 0, 0, Op.ALLOC, 2 * count, pause, 0, 0))
    return requests


@pytest.mark.parametrize(("pause", "puts"), [(GRACE_PERIOD - 1, 0), (GRACE_PERIOD, 2)])
def test_sheaves_of_kfree_rcu_come_to_the_barn_full_after_a_grace_period(
    pause: int, puts: int
) -> None:
    """R3.20: two sheaves of 60 wait, the third is not full and has no timer."""
    trace = Trace(cache_shapes(LINUX_7_2, [("c", 64)], 2), 1, rcu_frees(130, pause))
    [counters] = by_model(trace, 1000).counters
    assert counters["free_rcu_sheaf"] == 130
    assert (counters["barn_put"], counters["sheaf_flush"]) == (puts, 0)


def test_the_eleventh_full_sheaf_is_flushed() -> None:
    """R3.20: the barn takes ten; the sheaf itself is kept, as an empty one."""
    trace = Trace(cache_shapes(LINUX_7_2, [("c", 4096)], 2), 1, rcu_frees(11 * 4, GRACE_PERIOD))
    [counters] = by_model(trace, 1000).counters
    assert (counters["barn_put"], counters["barn_put_fail"]) == (10, 1)
    assert (counters["sheaf_flush"], counters["sheaf_free"]) == (4, 0)


def test_a_prefilled_sheaf_is_the_spare_and_comes_back_partly_full() -> None:
    """R3.16: taken as it is, topped up to its capacity, in no statistic of allocations."""
    shapes = cache_shapes(LINUX_7_2, [("nodes", 256)], 2)
    assert shapes[0].capacity == 28
    slub = Slub(shapes)
    for left in (3, 2, 1):
        assert slub.event(3 - left, 0, 0, Op.FROM_SHEAF, 3 - left, 0, 7, left)[0] == "from_sheaf"
    cache = slub.caches[0]
    spare = cache.pcs[0].spare
    assert spare is not None
    assert len(spare.objects) == 28 - 3
    wanted = {"sheaf_refill": 28, "sheaf_prefill_slow": 1, "barn_get_fail": 1, "sheaf_alloc": 1}
    assert {name: cache.stat[name] for name in wanted} == wanted
    assert cache.stat["sheaf_return_fast"] == 1
    assert not cache.stat["alloc_fastpath"] + cache.stat["alloc_slowpath"]
    # Main is empty, so the next allocation swaps; the next prefill gets the empty old main.
    assert slub.event(3, 0, 0, Op.ALLOC, 3)[0] == "spare_swap"
    slub.event(4, 0, 0, Op.FROM_SHEAF, 4, 0, 8, 1)
    assert cache.stat["sheaf_prefill_fast"] == 1
    assert cache.stat["sheaf_refill"] == 56
