"""Simulated placement against the oracle of both layers: every event, slab and counter."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2, PROFILES, Profile
from allocsim.page_alloc.zones import MachineZones, all_free, computed_zone
from tests.conftest import examples
from tests.oracle.simulate_both import World, assert_equal
from tests.oracle.simulated import (
    CACHE_ALLOC,
    CACHE_FREE,
    KFREE,
    KMALLOC,
    MILLISECOND,
    PAGE_ALLOC,
    PAGE_FREE,
    Event,
)

SIZES = (64, 512, 2048, 8192)
CPUS = 3
PRE_TRACE_SLABS = 2  # of each cache, at its lowest addresses
SLABS = 24
MOVABLE = 0x08 | 0x02


def world(pages: int, profile: Profile = LINUX_7_2, **given_settings: int) -> World:
    """Four caches over one zone of so many pages, of which an eighth is older than the trace."""
    zone = computed_zone(pages, CPUS)
    shapes = cache_shapes(profile, [(f"c{size}", size) for size in SIZES], CPUS, given_settings)
    machine = MachineZones(
        (zone,), (all_free(zone, reserved=1024),), CPUS, profile.pages, frozenset({0})
    )
    return World(shapes, (0, 0, 2, 0), (0, 0, 0, 0), machine, profile=profile)


@dataclass(repr=False)
class Tape:
    """Events being written down."""

    world: World
    events: list[Event] = field(default_factory=list)
    lived: dict[int, bool] = field(default_factory=dict)  # address -> live?
    born: dict[int, tuple[int, int]] = field(default_factory=dict)  # the same -> event, CPU
    blocks: list[tuple[int, int, int]] = field(default_factory=list)  # event, pfn, order

    def __repr__(self) -> str:
        return f"Tape({self.events})"

    def address(self, cache: int, slot: int) -> int:
        shape = self.world.shapes[cache]
        slab, index = divmod(slot % (SLABS * shape.objects), shape.objects)
        return (cache + 1 << 30) + slab * (4096 << shape.order) + index * shape.size

    def object(
        self,
        cpu: int,
        cache: int,
        slot: int,
        code: int,
        *,
        metadata: bool = False,
        rcu: bool = False,
    ) -> None:
        ptr = self.address(cache, slot)
        seq = len(self.events)
        pre_trace = ptr & 0x3FFFFFFF < PRE_TRACE_SLABS * (4096 << self.world.shapes[cache].order)
        if ptr not in self.lived and pre_trace and not metadata:
            self.world.pre_trace[seq] = code in (KFREE, CACHE_FREE)
        allocates = code in (KMALLOC, CACHE_ALLOC)
        born = self.born.pop(ptr, None)
        if born is not None and allocates:
            # Its free was not traced: it was between then and now, early or late.
            since = (seq - born[0]) * MILLISECOND * (seq % 5) // 4
            self.world.untraced.append((born[0] * MILLISECOND + since, born[0], cache, born[1]))
        if allocates and not metadata:
            self.born[ptr] = seq, cpu
        self.lived[ptr] = allocates
        # When a sheaf comes back that it may fill: at once or later; every fourth is not told.
        due = -1 if seq % 4 == 0 else (seq + seq % 7 * 40) * MILLISECOND
        event = Event(seq, cpu, code, ptr=ptr, cache=cache, metadata=metadata, rcu=rcu, due=due)
        self.events.append(event)

    def page(self, cpu: int, order: int, gfp: int) -> None:
        seq = len(self.events)
        pfn = seq << 10
        self.blocks.append((seq, pfn, order))
        self.events.append(
            Event(seq, cpu, PAGE_ALLOC, pfn=pfn, order=order, gfp=gfp, page=(seq, pfn, False))
        )

    def free_page(self, cpu: int, which: int, *, split: bool, joined: bool = False) -> None:
        born, pfn, order = self.blocks.pop(which % len(self.blocks))
        last = (1 << order) - 1 if split and joined and order else -1
        for part in range(1 << order if split else 1):
            self.events.append(
                Event(
                    len(self.events),
                    cpu,
                    PAGE_FREE,
                    pfn=pfn + part,
                    order=0 if split else order,
                    page=(born, pfn, False),
                    block=0 if last < 0 else order if part == last else -1,
                )
            )

    def other(self, cpu: int, what: int, order: int) -> None:
        """Events that are no requests, or of pages nobody knows."""
        seq = len(self.events)
        self.events.append(
            (
                Event(seq, cpu, KFREE),
                Event(seq, cpu, PAGE_ALLOC, pfn=-1, order=order),
                Event(seq, cpu, PAGE_FREE, pfn=7, order=order),
                Event(seq, cpu, PAGE_ALLOC, pfn=9, order=order, page=(seq, 9, True)),
                Event(seq, cpu, 10),
                Event(seq, cpu, KMALLOC, ptr=1 << 45, cache=None),
                Event(seq, cpu, KFREE, ptr=1 << 45, cache=None),
                Event(seq, cpu, KMALLOC, ptr=1 << 44, large=True),
                Event(seq, cpu, KFREE, ptr=1 << 44, large=True),
                Event(seq, cpu, CACHE_FREE, ptr=1 << 43, unsized=True),
                Event(seq, cpu, CACHE_FREE, ptr=1 << 42, cache=0),
            )[what]
        )


@st.composite
def tapes(  # noqa: C901 - a kind of event each
    draw: st.DrawFn, pages: int, most: int
) -> Tape:
    tape = Tape(world(pages, draw(st.sampled_from(PROFILES))))
    cpus = st.integers(0, CPUS)  # one more than the machine has
    for _ in range(draw(st.integers(1, most))):
        cpu = draw(cpus)
        match draw(st.integers(0, 9)):
            case 0 | 1 | 2 | 3:
                cache = draw(st.integers(0, len(SIZES) - 1))
                first, step = draw(st.integers(0, 400)), draw(st.sampled_from([1, 1, 7, 16]))
                count, run = draw(st.integers(1, 130)), len(tape.events)
                if draw(st.integers(0, 3)) == 0:
                    tape.world.runs |= {run + n: (run, count - n) for n in range(count)}
                for n in range(count):
                    tape.object(cpu, cache, first + n * step, CACHE_ALLOC)
            case 4 | 5 | 6:
                cache = draw(st.integers(0, len(SIZES) - 1))
                first, step = draw(st.integers(0, 400)), draw(st.sampled_from([1, 1, 7, 16]))
                code, rcu = draw(
                    st.sampled_from([(KFREE, False), (CACHE_FREE, False), (KFREE, True)])
                )
                for n in range(draw(st.integers(1, 130))):
                    tape.object(cpu, cache, first + n * step, code, rcu=rcu)
            case 7:
                for _ in range(draw(st.integers(1, 40))):
                    tape.page(
                        cpu,
                        draw(st.sampled_from([0, 0, 1, 3, 4])),
                        draw(st.sampled_from([0, MOVABLE])),
                    )
            case 8:
                for _ in range(draw(st.integers(1, 40))):
                    if tape.blocks:
                        split, joined = draw(st.booleans()), draw(st.booleans())
                        tape.free_page(cpu, draw(st.integers(0, 99)), split=split, joined=joined)
            case _:
                cache = draw(st.integers(0, len(SIZES) - 1))
                slot, code = draw(st.integers(0, 400)), draw(st.sampled_from([KMALLOC, KFREE]))
                tape.object(cpu, cache, slot, code, metadata=True)
                tape.other(cpu, draw(st.integers(0, 10)), draw(st.integers(0, 2)))
                tape.world.turns = [*tape.world.turns, *[len(tape.events) - 1] * cpu]
    return tape


relaxed = examples(
    30,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)


@relaxed
@given(tape=tapes(1 << 15, 14), window=st.sampled_from([1, 37, 1000, 1 << 20]))
def test_model_is_oracle(tape: Tape, window: int) -> None:
    assert_equal(tape.world, tape.events, window, exhaustible=False)


@relaxed
@given(tape=tapes(1 << 11, 8), hogs=st.integers(0, 1024), window=st.sampled_from([1, 64, 1 << 20]))
def test_model_is_oracle_when_pages_run_out(tape: Tape, hogs: int, window: int) -> None:
    """Pages taken beforehand leave little: orders are refused, then slabs, then pages."""
    hungry = Tape(tape.world)
    for _ in range(hogs):
        hungry.page(0, 0, 0)
    shift = len(hungry.events)
    moved = [
        Event(
            event.seq + shift,
            event.cpu,
            event.code,
            event.ptr,
            event.metadata,
            event.cache,
            event.pfn,
            event.order,
            event.gfp,
            None
            if event.page is None
            else (
                None if event.page[0] is None else event.page[0] + shift,
                *event.page[1:],
            ),
            block=event.block,
            large=event.large,
            unsized=event.unsized,
        )
        for event in tape.events
    ]
    tape.world.turns = [turn + shift for turn in tape.world.turns]
    pre_trace = {seq + shift: live for seq, live in tape.world.pre_trace.items()}
    tape.world.pre_trace = pre_trace
    tape.world.untraced = [
        (ts + shift * MILLISECOND, handle + shift, cache, cpu)
        for ts, handle, cache, cpu in tape.world.untraced
    ]
    tape.world.runs = {
        seq + shift: (run + shift, left) for seq, (run, left) in tape.world.runs.items()
    }
    assert_equal(tape.world, hungry.events + moved, window)


@pytest.mark.parametrize("window", [1, 3, 1 << 20])
def test_vfree_gives_the_block_back_that_its_events_free_page_by_page(window: int) -> None:
    # mm/page_alloc.c:__free_contig_range_common (7.2): four times mm_page_free of order 0, then
    # one block of order 2 on top of its list, where the next request finds it (R4.3, R4.31).
    tape = Tape(world(1 << 15))
    tape.page(0, 2, 0)
    tape.free_page(0, 0, split=True, joined=True)
    tape.page(0, 2, 0)
    outcome = assert_equal(tape.world, tape.events, window)
    assert outcome.counts["page_frees_joined"] == 3
    first, freed, again = (outcome.events[seq] for seq in (0, 4, 5))
    assert (freed[0], again[0]) == ("push", "hit")
    assert first[3] == freed[3] == again[3]
    assert not outcome.events.keys() & {1, 2, 3}


@pytest.mark.parametrize(("turns", "drained"), [(0, 0), (1, 0), (2, 40), (30, 515)])
@pytest.mark.parametrize("window", [1, 700, 1 << 20])
def test_turns_of_the_vmstat_worker_shrink_the_lists(turns: int, drained: int, window: int) -> None:
    # Batch 7, high_min 452 / 3 CPUs = 150. 600 single pages are fetched by 7, 14, 28, 56, 112, 224
    # and 224 (R4.5): 665, and high is 150 + 665 = 815. All freed, 665 lie on the list. A turn
    # takes an eighth off high (R4.13): 714, then 625, so that 40 are too many; in the end 150.
    tape = Tape(world(1 << 15))
    for _ in range(600):
        tape.page(0, 0, 0)
    for _ in range(600):
        tape.free_page(0, 0, split=False)
    tape.world.turns = [len(tape.events)] * turns
    tape.other(0, 4, 0)
    outcome = assert_equal(tape.world, tape.events, window)
    assert outcome.zones["pcp_drain_blocks"] == drained


def test_a_slab_s_preferred_order_is_refused_below_min_though_there_is_a_block() -> None:
    # 31,744 pages free, min 362, low 452. 30 blocks of order 10, two of 8, one of 7 and one of 4
    # leave 368: a slab of order 3 would need 368 - 7 above 362 (R4.29), and allocate_slab (R3.7)
    # has taken its right to reclaim. Of the fallback order, 0, two objects fit: 6 slabs fill the
    # sheaf of 12.
    tape = Tape(world(1 << 15))
    for order in [10] * 30 + [8, 8, 7, 4]:
        tape.page(0, order, 0)
    tape.object(0, 2, 40, CACHE_ALLOC)
    outcome = assert_equal(tape.world, tape.events, 1 << 20)
    assert outcome.events[len(tape.events) - 1][0] == "refill_new"
    assert outcome.counters[2]["order_fallback"] == outcome.counters[2]["alloc_slab"] == 6
    assert sorted(slab[1] for slab in outcome.slabs.values()) == [0] * 6


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 100, 1 << 20])
def test_slabs_fall_back_to_a_smaller_order_then_fail_then_recover(window: int) -> None:
    tape = Tape(world(1 << 11))
    for _ in range(1024):
        tape.page(0, 0, 0)
    for which in range(80):
        tape.free_page(1, which, split=False)  # every other one
    for slot in range(140):
        tape.object(1, 2, slot, CACHE_ALLOC)
    for slot in range(24):
        tape.object(0, 3, slot + 8, CACHE_ALLOC)  # not on the older slabs
    for slot in range(24):
        tape.object(1, 3, slot + 8, CACHE_FREE)
    for _ in range(900):
        tape.free_page(1, 0, split=False)
    for slot in range(96):
        tape.object(1, 1, slot, CACHE_ALLOC)
    outcome = assert_equal(tape.world, tape.events, window)
    assert outcome.counts["refused_slab_events"] > 0
    paths = {path for path, *_ in outcome.events.values()}
    assert {"failed", "ignored"} <= paths
    assert sum(counters["order_fallback"] for counters in outcome.counters) > 0
