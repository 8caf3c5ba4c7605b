"""kfree_rcu and prefilled sheaves: the model equals the oracle, and both do what the rules say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import SheafShape, cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from allocsim.slub.columns import can_compile
from allocsim.slub.requests import UNTIL_RETURNED, Op
from tests.conftest import examples
from tests.oracle.slub import GRACE_PERIOD, Slub
from tests.oracle.slub_compare import Trace, assert_equal, by_model

Request = tuple[int, int, int, int, int, int, int, int]


@st.composite
def shapes(draw: st.DrawFn, name: str, capacities: list[int]) -> SheafShape:
    objects = draw(st.integers(1, 6))
    return SheafShape(
        name=name,
        size=64,
        order=1,
        objects=objects,
        min_order=0,
        min_objects=draw(st.integers(1, objects)),
        min_partial=draw(st.integers(0, 3)),
        capacity=draw(st.sampled_from(capacities)),
        max_full_sheaves=draw(st.sampled_from([10, 1, 0])),
        max_empty_sheaves=draw(st.sampled_from([10, 0])),  # 0: as ten are, for short traces
    )


@st.composite
def changes(
    draw: st.DrawFn, caches: list[SheafShape], last: int
) -> list[tuple[int, list[SheafShape]]]:
    """Shapes that caches have from moments on, of which some change nothing."""
    found = []
    for when in sorted(draw(st.lists(st.integers(0, last), max_size=2))):
        caches = [
            replace(
                shape,
                capacity=draw(st.sampled_from([shape.capacity, 0, 1, 2, 5, 9])),
                max_full_sheaves=draw(st.sampled_from([shape.max_full_sheaves, 1])),
                min_partial=draw(st.integers(0, 3)),
            )
            for shape in caches
        ]
        found.append((when, caches))
    return found


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Bursts of every operation on a few caches, two of which hold the others' sheaves.

    In the chain, a sheaf freed to kmalloc-64 may need one of kmalloc-96 in turn.
    """
    chain = ("nodes", "kmalloc-64", "kmalloc-96")
    names = draw(st.sampled_from([("nodes",), chain[:2], ("kmalloc-64", "x", "y"), chain]))
    larger = {"kmalloc-64": [5, 6, 8]} if names == chain else {}
    caches = [draw(shapes(name, larger.get(name, [0, 1, 2, 3, 4]))) for name in names]
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
            if op == Op.ASK_SHEAF:
                # Asked for, asked for more, given, returned: with any of it left out.
                wanted = (length, 9, UNTIL_RETURNED, 0)[at % 4]
                if at % 4 == 2:
                    live[cache].append(seq)
                    requests.append((seq, cpu, cache, Op.FROM_SHEAF, seq, now, run, wanted))
                else:
                    requests.append((seq, cpu, cache, op, -1, now, run, wanted))
            elif op > 0:
                live[cache].append(seq)
                left = length - at if op == Op.FROM_SHEAF else 0
                requests.append((seq, cpu, cache, op, seq, now, run, left))
            elif live[cache]:
                requests.append((seq, cpu, cache, op, live[cache].pop(pick), now, 0, 0))
    if draw(st.booleans()) and requests:
        requests = _interleaved(draw, requests)
    starts = draw(st.lists(st.integers(0, len(requests)), unique=True, max_size=3))
    refusals = [(start, draw(st.sampled_from([-1, 0, 10]))) for start in sorted(starts)]
    return Trace(caches, 2, requests, refusals=refusals)


@st.composite
def changing(draw: st.DrawFn) -> Trace:
    """The same, of caches whose shapes change on the way."""
    trace = draw(traces())
    last = trace.requests[-1][5] + 1 if trace.requests else 1
    return replace(trace, changes=draw(changes(list(trace.shapes), last)))


def _interleaved(draw: st.DrawFn, requests: list[Request]) -> list[Request]:
    """Two tasks at once: the runs of prefilled sheaves of both CPUs between one another."""
    queues = [[r for r in requests if r[1] == cpu] for cpu in (0, 1)]
    born = {r[4]: r[1] for r in requests if r[3] > 0}
    # What one allocates and the other frees would come out of order.
    queues = [[r for r in queue if born.get(r[4], r[1]) == r[1]] for queue in queues]
    kept = {cpu: {-1} | {r[4] for r in queue if r[3] > 0} for cpu, queue in enumerate(queues)}
    queues = [[r for r in queue if r[4] in kept[cpu]] for cpu, queue in enumerate(queues)]
    mixed: list[Request] = []
    handles = {-1: -1}
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


@examples(400)
@given(traces(), st.sampled_from([1, 2, 7, 60, 10_000]))
def test_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window)


@examples(300)
@given(changing(), st.sampled_from([1, 7, 10_000]))
def test_model_equals_oracle_where_caches_change(trace: Trace, window: int) -> None:
    """R3.27: other capacities, barns and min_partial from moments on."""
    assert_equal(trace, window)


def test_a_sheaf_that_is_out_takes_a_whole_slab_after_its_cache_has_smaller_ones() -> None:
    """R3.27, 4: refilled to its own two, it takes the slab with two free objects."""
    shape = SheafShape(
        name="nodes",
        size=64,
        order=1,
        objects=3,
        min_order=0,
        min_objects=1,
        min_partial=0,
        capacity=2,
        max_full_sheaves=10,
        max_empty_sheaves=10,
    )
    run = [(seq, 0, 0, Op.FROM_SHEAF, seq, 1, 0, 7 - seq) for seq in range(6)]
    other = (6, 1, 0, Op.ALLOC, 6, 5, 4, 0)
    last = (7, 0, 0, Op.FROM_SHEAF, 7, 5, 0, 1)
    trace = Trace([shape], 2, [*run, other, last], changes=[(2, [replace(shape, capacity=1)])])
    assert_equal(trace, window=1)
    slabs = [slab for _, slab, _ in by_model(trace, window=1).events[-2:]]
    assert slabs[0] == slabs[1]


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="numba is not installed")
@examples(100)
@given(st.one_of(traces(), changing()), st.sampled_from([1, 7, 10_000]))
def test_compiled_model_equals_oracle(trace: Trace, window: int) -> None:
    assert_equal(trace, window, fast=True)


def dense(seed: int) -> Trace:
    """Short bursts on two CPUs in turn, whose sheaves find no room in any barn.

    Three caches, each the kmalloc cache of the one before it, so that what a callback does goes
    down to the last.
    """
    rng = np.random.default_rng(seed)
    chain = (("nodes", 2), ("kmalloc-64", 5), ("kmalloc-96", 3))
    drawn = [(int(rng.integers(1, 5)), int(rng.integers(2))) for _ in chain]
    barn = [int(most) for most in rng.integers(0, 2, 2)]
    caches = [
        SheafShape(name, 64, 1, objects, 0, objects, min_partial, capacity, *barn)
        for (name, capacity), (objects, min_partial) in zip(chain, drawn, strict=True)
    ]
    live: list[list[int]] = [[], [], []]
    requests: list[Request] = []
    now = 0
    for run in range(150):
        now += int(rng.choice([1, GRACE_PERIOD // 3]))
        cpu, cache = int(rng.integers(2)), int(rng.choice([0, 0, 0, 1, 2]))
        op, length = int(rng.choice([op for op in Op if op])), int(rng.integers(1, 9))
        for left in range(length, 0, -1):
            seq = len(requests)
            if op > 0:
                live[cache].append(seq)
                prefilled = (run, left) if op == Op.FROM_SHEAF else (0, 0)
                requests.append((seq, cpu, cache, op, seq, now, *prefilled))
            elif live[cache]:
                handle = live[cache].pop(int(rng.integers(len(live[cache]))))
                requests.append((seq, cpu, cache, op, handle, now, 0, 0))
    return Trace(caches, 2, requests)


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 50, 10_000])
def test_callbacks_that_go_down_a_chain_of_kmalloc_caches(window: int) -> None:
    for seed in range(20):
        assert_equal(dense(seed), window)


@pytest.mark.parametrize("window", [1, 10_000])
def test_what_a_callback_does_is_done_on_the_cpu_that_filled_its_sheaf(window: int) -> None:
    """R3.20, mm/slub.c:rcu_free_sheaf (7.2): call_rcu calls back on the CPU it was called on.

    CPU 1 fills a sheaf with a whole slab, and CPU 0 has the next event, a grace period later. The
    barn takes nothing: the slab goes back from CPU 1, and so does the sheaf, to kmalloc-64. CPU 1's
    main sheaf there is full, and kfree_rcu took the spare; a new one is kmalloc-96's, for CPU 1.
    """
    caches = [
        SheafShape(name, 64, 1, objects, 0, objects, 0, capacity, 0, 0)
        for name, objects, capacity in (("nodes", 2, 2), ("kmalloc-64", 5, 5), ("kmalloc-96", 1, 3))
    ]
    pre_trace = {100: (-2, 0), 101: (-2, 1), 102: (-3, 0), 200: (-4, 0), 201: (-4, 1)}
    requests = [
        (0, 1, 0, Op.FREE_RCU, 100, 0, 0, 0),
        (1, 1, 1, Op.FREE_RCU, 200, 0, 0, 0),
        (2, 1, 1, Op.FREE, 201, 0, 0, 0),
        (3, 1, 0, Op.FREE_RCU, 101, 0, 0, 0),
        (4, 0, 0, Op.FREE, 102, GRACE_PERIOD, 0, 0),
    ]
    trace = Trace(caches, 2, requests, pre_trace)
    assert_equal(trace, window)
    # Event, CPU, cache, slab, order, way, node.
    assert by_model(trace, window).pages == [
        (0, 1, 2, 2 << 32, 1, +1, 0),
        (0, 1, 1, 1 << 32, 1, +1, 0),
        (4, 1, 0, -2, 1, -1, 0),
        (4, 1, 2, 2 << 32 | 1, 1, +1, 0),
    ]


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


def test_calls_for_a_prefilled_sheaf_do_what_they_say_and_no_more() -> None:
    """R3.16, I13: the spare is filled if it holds fewer than asked, whatever is used of it."""
    slub = Slub(cache_shapes(LINUX_7_2, [("nodes", 256)], 2))
    cache = slub.caches[0]

    def ask(wanted: int) -> int:
        slub.event(0, 0, 0, Op.ASK_SHEAF, -1, 0, 7, wanted)
        return cache.stat["sheaf_refill"]

    assert [ask(3), ask(0)] == [28, 28]
    assert cache.stat["sheaf_return_fast"] == 1
    assert ask(28) == 28, "all of it is there still"
    assert slub.event(1, 0, 0, Op.FROM_SHEAF, 1, 0, 7, UNTIL_RETURNED)[0] == "from_sheaf"
    assert [ask(27), ask(28), ask(0)] == [28, 29, 29], "more is asked of the same sheaf"
    assert (cache.stat["sheaf_prefill_slow"], cache.stat["sheaf_prefill_fast"]) == (1, 1)
    assert not cache.prefilled
