"""Page lists that own page blocks: the model against the oracle, and what the text promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.page_alloc.paths import PAGE_COUNTERS
from allocsim.page_alloc.zones import (
    MachineZones,
    Mt,
    PageRules,
    PcpNumbers,
    all_free,
    computed_zone,
)
from tests.allocsim.page_alloc.test_replay import (
    SLOW,
    Trace,
    machines,
    random_trace,
    run_model,
    traces,
)
from tests.conftest import examples
from tests.oracle.owned_blocks import OwningAllocator


def owning(machine: MachineZones) -> MachineZones:
    return replace(machine, rules=replace(machine.rules, own_blocks=True))


def one_zone(cpus: int, pages: int = 1 << 15, **rules: bool) -> MachineZones:
    """A zone, all free, whose CPUs may hold up to four page blocks."""
    zone = computed_zone(pages, cpus)
    zone = replace(zone, pcp=(PcpNumbers(63, 1024, 2048),) * cpus)
    return MachineZones((zone,), (all_free(zone),), cpus, PageRules(**rules))


def assert_same(machine: MachineZones, trace: Trace, window: int) -> None:
    oracle = OwningAllocator(machine)
    expected = []
    for cpu, op, page, order, migratetype, highest, flags, offset in trace.rows:
        found = oracle.event(
            cpu, op, page, order, migratetype, highest=highest, flags=flags, offset=offset
        )
        expected.append((int(found.path), found.pfn, int(found.pressure)))
    model, found, _ = run_model(machine, trace, window)
    for row, (want, have) in enumerate(zip(expected, found, strict=True)):
        assert have == want, (row, trace.rows[row])
    assert model.counters == {name: oracle.counters[name] for name in PAGE_COUNTERS}
    for z, buddy in enumerate(oracle.zones):
        mine = model.allocator.buddies[z]
        assert mine.free_pages == buddy.free_pages
        assert [[list(kind) for kind in row] for row in mine.lists] == [
            [list(kind) for kind in row] for row in buddy.lists
        ]
        assert model.allocator.owners[z] == oracle.owners[z]
        for cpu, pcp in enumerate(oracle.pcps[z]):
            assert model.allocator.pcps[z][cpu].count == pcp.count


@pytest.mark.slow
@examples(40, suppress_health_check=SLOW)
@given(st.data())
def test_the_model_equals_the_oracle(data: st.DataObject) -> None:
    machine = owning(data.draw(machines()))
    trace = data.draw(traces(machine))
    assert_same(machine, trace, data.draw(st.sampled_from([1, 13, 10_000])))


@pytest.mark.parametrize("window", [100, 10_000])
def test_mixed_traffic_equals_the_oracle(window: int) -> None:
    assert_same(owning(one_zone(2)), random_trace(3, 1_500, 2), window)


def test_a_refill_owns_a_page_block_and_its_frees_go_home() -> None:
    trace = Trace()
    trace.alloc(cpu=0)
    trace.free(cpu=1, which=0)
    model, _, _ = run_model(owning(one_zone(2)), trace, 10)
    allocator = model.allocator
    assert list(allocator.owners[0].values()) == [0]
    assert [pcp.count for pcp in allocator.pcps[0]] == [512, 0]
    assert model.counters["zone_lock"] == 1


def purged(cpus: int, rounds: int) -> Trace:
    """Every CPU but the last allocates, the last frees it all: a purger thread."""
    trace = Trace()
    for _ in range(rounds):
        for cpu in range(cpus - 1):
            for _ in range(300):
                trace.alloc(cpu)
        while trace.live:
            trace.free(cpus - 1, 0)
    return trace


def test_a_purger_takes_zone_lock_next_to_never() -> None:
    machine, trace = one_zone(4), purged(4, 12)
    today, _, _ = run_model(machine, trace, 1000)
    proposed, _, _ = run_model(owning(machine), trace, 1000)
    # Each allocating CPU gets its one page block once, and what is purged comes back to it.
    assert proposed.counters["zone_lock"] == 3
    assert today.counters["zone_lock"] > 100
    assert [pcp.count for pcp in proposed.allocator.pcps[0]] == [512, 512, 512, 0]


def test_a_page_block_that_is_given_back_whole_has_no_owner() -> None:
    machine = owning(one_zone(1))
    trace = Trace()
    for _ in range(6 * 512):
        trace.alloc()
    while trace.live:
        trace.free(0, 0)
    for _ in range(200):  # the vmstat worker takes the limit down to high_min: two page blocks
        trace.tick(0)
    model, _, _ = run_model(machine, trace, 500)
    allocator = model.allocator
    assert allocator.pcps[0][0].count <= 1024
    assert len(allocator.owners[0]) <= 2
    assert allocator.buddies[0].free_pages + allocator.pcps[0][0].count == 1 << 15
    unowned = np.setdiff1d(np.arange(1 << 6), list(allocator.owners[0]))
    assert all(
        allocator.buddies[0].is_whole(int(block) + (machine.zones[0].start_pfn >> 9))
        for block in unowned[:4]
    )


def test_types_stay_apart() -> None:
    trace = Trace()
    for kind in (Mt.MOVABLE, Mt.UNMOVABLE, Mt.MOVABLE):
        trace.alloc(0, 0, kind)
    model, out, _ = run_model(owning(one_zone(1)), trace, 10)
    types = [model.allocator.buddies[0].type_of(pfn) for _, pfn, _ in out]
    assert types == [Mt.MOVABLE, Mt.UNMOVABLE, Mt.MOVABLE]
