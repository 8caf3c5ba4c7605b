"""The page allocator's model against the oracle: event by event, counter by counter."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from allocsim.page_alloc import batch
from allocsim.page_alloc import replay as page_replay
from allocsim.page_alloc.nodes import Nodes
from allocsim.page_alloc.paths import PAGE_COUNTERS
from allocsim.page_alloc.replay import PageReplay
from allocsim.page_alloc.zones import (
    MachineZones,
    Mt,
    PageRules,
    PcpNumbers,
    Zone,
    ZoneState,
    aligned_blocks,
    all_free,
    computed_zone,
)
from tests.conftest import examples
from tests.oracle.page_lists import PageAllocator as Oracle

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = ("cpu", "op", "page", "order", "migratetype", "highest", "flags", "offset")


@dataclass(repr=False)
class Trace:
    """Page events being written down, and what is live."""

    rows: list[tuple[int, ...]] = field(default_factory=list)
    live: list[tuple[int, int]] = field(default_factory=list)  # page, order
    pages: int = 0

    def __repr__(self) -> str:
        short = [str(row) for row in self.rows]
        return f"Trace({'; '.join([*short[:3], '...', *short[-3:]]) if len(short) > 8 else short})"

    def alloc(
        self,
        cpu: int = 0,
        order: int = 0,
        migratetype: int = Mt.MOVABLE,
        highest: int = 0,
        flags: int = 0,
    ) -> None:
        self.rows.append((cpu, 1, self.pages, order, migratetype, highest, flags, 0))
        self.live.append((self.pages, order))
        self.pages += 1

    def free(self, cpu: int, which: int) -> None:
        page, order = self.live.pop(which % len(self.live))
        self.rows.append((cpu, -1, page, order, 0, 0, 0, 0))

    def free_split(self, cpu: int, which: int) -> None:
        page, order = self.live.pop(which % len(self.live))
        for offset in range(1 << order):
            self.rows.append((cpu, -1, page, 0, 0, 0, 0, offset))

    def free_prior(self, cpu: int, order: int) -> None:
        self.rows.append((cpu, -1, 1 << 40, order, 0, 0, 0, 0))

    def tick(self, cpu: int) -> None:
        self.rows.append((cpu, 0, 0, 0, 0, 0, 0, 0))

    def columns(self) -> dict[str, np.ndarray]:
        table = np.array(self.rows, np.int64).reshape(-1, len(COLUMNS))
        return {name: table[:, at] for at, name in enumerate(COLUMNS)}


Row = tuple[int, int, int]  # path, pfn, pressure
Blocks = list[list[int]]  # free blocks [order][type]


def run_oracle(machine: MachineZones, trace: Trace) -> tuple[Oracle, list[Row], list[Blocks]]:
    oracle = Oracle(machine)
    out = []
    states = []
    for cpu, op, page, order, migratetype, highest, flags, offset in trace.rows:
        states.append([[len(t) for t in row] for row in oracle.zones[0].lists])
        found = oracle.event(
            cpu, op, page, order, migratetype, highest=highest, flags=flags, offset=offset
        )
        out.append((int(found.path), found.pfn, int(found.pressure)))
    return oracle, out, states


def run_model(
    machine: MachineZones, trace: Trace, window: int, samples: Iterable[int] = ()
) -> tuple[PageReplay, list[Row], list[Blocks]]:
    model = PageReplay(machine)
    columns = trace.columns()
    out, taken = [], []
    for first in range(0, len(trace.rows), window):
        part = {name: column[first : first + window] for name, column in columns.items()}
        wanted = [row - first for row in samples if first <= row < first + window]
        results, sampled = model.window(part, wanted)
        out += list(
            zip(
                results.path.tolist(),
                results.pfn.tolist(),
                results.pressure.tolist(),
                strict=True,
            )
        )
        taken += [sample.free_blocks[0].tolist() for sample in sampled]
    return model, out, taken


def assert_same(machine: MachineZones, trace: Trace, window: int) -> PageReplay:
    oracle, expected, states = run_oracle(machine, trace)
    samples = list(range(0, len(trace.rows), 7))
    model, found, taken = run_model(machine, trace, window, samples)
    for row, (want, have) in enumerate(zip(expected, found, strict=True)):
        assert have == want, (row, trace.rows[row])
    assert taken == [states[row] for row in samples]
    assert model.counters == {name: oracle.counters[name] for name in PAGE_COUNTERS}
    for z, buddy in enumerate(oracle.zones):
        mine = model.allocator.buddies[z]
        assert mine.free_pages == buddy.free_pages
        assert list(mine.types) == buddy.types
        for order in range(11):
            for kind in range(4):
                assert list(mine.lists[order][kind]) == list(buddy.lists[order][kind])
        for cpu, pcp in enumerate(oracle.pcps[z]):
            other = model.allocator.pcps[z][cpu]
            assert (other.count, other.free_count, other.alloc_factor) == (
                pcp.count,
                pcp.free_count,
                pcp.alloc_factor,
            )
            assert other.high == max(pcp.high, min(pcp.high_min, pcp.high_max))
            for index, pages in enumerate(pcp.lists):
                stack = other.lists[index]
                assert stack.buffer[stack.base : stack.top].tolist() == list(pages)[::-1]
    assert model.allocator.below_high == oracle.below_high
    return model


# -- machines


@st.composite
def machines(draw: st.DrawFn) -> MachineZones:
    cpus = draw(st.integers(1, 3))
    flags = [draw(st.booleans()) for _ in range(5)]
    rules = PageRules(*flags, scale_max=draw(st.sampled_from([5, 5, 0, 2])))
    zones, states = [], []
    names = draw(st.sampled_from([["Normal"], ["DMA32", "Normal"], ["DMA", "DMA32", "Normal"]]))
    memory = draw(
        st.sampled_from([(True,)] * 3 + [(True, True), (True, False), (False, True, True)])
    )
    at = 0
    for node, number in product(range(len(memory)), range(len(names))):
        name = names[number]
        if not memory[node] or (node and number < len(names) - 1 and draw(st.booleans())):
            zones.append(Zone(name, 0, 0, 0, 0, 0, 0, (), ()))
            states.append(ZoneState((), b""))
            continue
        blocks = draw(st.integers(2, 6))
        start, pages = at + draw(st.sampled_from([0, 0, 1, 512])), 512 * blocks
        at += 4096
        batch = draw(st.sampled_from([1, 3, 7, 15]))
        high_min = draw(st.integers(2, 12)) * batch
        high_max = high_min + draw(st.sampled_from([0, 8 * batch, 64 * batch]))
        high = draw(st.sampled_from([0, 0, high_min + 3, high_max + 5]))
        low = draw(st.sampled_from([0, 20, pages // 4]))
        marks = (low // 2, low, low + draw(st.sampled_from([0, 40, pages // 2])))
        protection = tuple(
            draw(st.sampled_from([0, 50])) if highest > number else 0
            for highest in range(len(names))
        )
        zones.append(
            Zone(
                name,
                start,
                pages,
                pages,
                *marks,
                protection,
                (PcpNumbers(batch, high_min, high_max, high),) * cpus,
            )
        )
        # A block of order 10 has one type, so pageblocks come in pairs of equal type here.
        kinds = [draw(st.sampled_from([0, 1, 1, 1, 2, 3])) for _ in range(blocks + 2)]
        kinds = [kinds[n & ~1] for n in range(start // 512 % 2, start // 512 % 2 + blocks + 1)]
        holes = draw(st.sampled_from([0, 300, pages - 40]))
        free = aligned_blocks(start + holes, start + pages)
        if draw(st.booleans()):  # fragmented: every second page of a range free
            free = [(pfn, order) for pfn, order in free if order > 3]
            free += [
                (pfn, 0)
                for pfn in range(start + holes + 1, start + pages, 2)
                if not any(b <= pfn < b + (1 << o) for b, o in free)
            ]
        chunks = tuple(range(-(-start // 1024) * 1024, start + holes - 1023, 1024))
        lists = []
        if holes == 300 and not start % 512:  # used pages at the zone's start, order 0 and 3
            lists = [(0, draw(st.sampled_from([0, 1])), tuple(range(start, start + 9)))]
            lists += [(cpus - 1, 10, (start + 16, start + 32))]
        states.append(ZoneState(tuple(free), bytes(kinds), chunks, tuple(lists)))
    last = range(len(names) - 1, len(zones), len(names))
    normal = frozenset(z for z in last if draw(st.booleans()))
    of_cpu = tuple(draw(st.integers(0, len(memory) - 1)) for _ in range(cpus))
    nodes = Nodes(of_cpu, memory)
    return MachineZones(tuple(zones), tuple(states), cpus, rules, normal, nodes)


@st.composite
def traces(draw: st.DrawFn, machine: MachineZones) -> Trace:
    """Bursts of one kind of event each: shrinking drops bursts first."""
    trace = Trace()
    cpu = st.integers(0, machine.cpus - 1)
    top = len(machine.zones) - 1
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from("aaaafffpsmtm"))
        count = draw(st.sampled_from([1, 2, 5, 20, 60]))
        where = draw(cpu)
        order = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 3, 4, 8, 9, 10]))
        migratetype = draw(st.sampled_from([0, 1, 1, 2]))
        highest = draw(st.integers(0, top)) if draw(st.booleans()) else top
        flags = draw(st.sampled_from([0, 0, 0, 1, 2, 3]))
        which = draw(st.sampled_from([-1, 0, 7, 12345]))
        for _ in range(count):
            if kind == "a":
                trace.alloc(where, order, migratetype, highest, flags)
            elif kind == "t":
                trace.tick(where)
                break
            elif kind == "p":
                trace.free_prior(where, order)
            elif kind == "m":  # allocate and free in turn
                trace.alloc(where, order, migratetype, highest, flags)
                trace.free(draw(cpu) if count < 5 else where, which)
            elif trace.live and kind == "f":
                trace.free(where, which)
            elif trace.live and kind == "s" and trace.live[-1][1] <= 4:
                trace.free_split(where, -1)
    return trace


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@examples(100, suppress_health_check=SLOW)
@given(st.data())
def test_the_model_equals_the_oracle(data: st.DataObject) -> None:
    machine = data.draw(machines())
    trace = data.draw(traces(machine))
    assert_same(machine, trace, data.draw(st.sampled_from([1, 13, 200, 10_000])))


@pytest.mark.slow
@examples(100, suppress_health_check=SLOW)
@given(st.data())
def test_batches_equal_the_oracle_where_events_one_by_one_would_be_cheaper(
    data: st.DataObject,
) -> None:
    machine = data.draw(machines())
    trace = data.draw(traces(machine))
    with (
        patch.multiple(page_replay, _SETUP=-10_000, CROWDED=0),
        patch.multiple(batch, CROWDED=0),
    ):
        assert_same(machine, trace, data.draw(st.sampled_from([13, 200, 10_000])))


def random_trace(seed: int, events: int, cpus: int) -> Trace:
    """Steady traffic: what is live swings, so that lists run empty and full."""
    rng = np.random.default_rng(seed)
    trace = Trace()
    target = 500
    while len(trace.rows) < events:
        if rng.random() < 0.002:
            target = int(rng.integers(0, 3000))
        cpu = int(rng.integers(cpus))
        grow = len(trace.live) < target
        if rng.random() < (0.7 if grow else 0.3) or not trace.live:
            order = int(rng.integers(4)) if rng.random() < 0.3 else 0
            trace.alloc(cpu, order, int(rng.choice([0, 1, 1, 2])))
        else:
            trace.free(cpu, int(rng.integers(len(trace.live))) if rng.random() < 0.5 else -1)
    return trace


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window", [1000, 100_000])
def test_long_random_traffic(seed: int, window: int) -> None:
    zone = computed_zone(1 << (15 + seed % 3), 2)
    machine = MachineZones((zone,), (all_free(zone),), 2, PageRules(free_high_half=bool(seed & 1)))
    assert_same(machine, random_trace(seed, 20_000, 2), window)


def test_a_handle_that_does_not_ascend_is_refused() -> None:
    zone = computed_zone(1 << 15, 1)
    model = PageReplay(MachineZones((zone,), (all_free(zone),), 1))
    with pytest.raises(ValueError, match="must ascend"):
        model.window({"op": np.array([1, 1]), "cpu": np.zeros(2, int), "page": np.array([5, 5])})


@pytest.mark.parametrize("name", ["cpu", "order", "migratetype", "highest"])
def test_a_request_the_machine_does_not_know_is_named(name: str) -> None:
    zone = computed_zone(1 << 15, 1)
    model = PageReplay(MachineZones((zone,), (all_free(zone),), 1))
    columns = {"op": np.array([1, 1]), "cpu": np.zeros(2, int), "page": np.array([5, 6])}
    columns[name] = np.array([0, 11])
    with pytest.raises(ValueError, match=f"page event 1: {name} 11 is not in 0 to"):
        model.window(columns)


def test_pages_are_conserved_and_memory_is_bounded_by_live_pages() -> None:
    zone = computed_zone(1 << 16, 2)
    machine = MachineZones((zone,), (all_free(zone),), 2)
    trace = random_trace(9, 30_000, 2)
    model, out, _ = run_model(machine, trace, 1000)
    live = sum(1 << order for _, order in trace.live)
    on_lists = sum(pcp.count for pcp in model.allocator.pcps[0])
    assert model.allocator.buddies[0].free_pages + on_lists + live == 1 << 16
    assert len(model.lives.page) == len(trace.live)
    cells = sum(len(pages.buffer) for pcp in model.allocator.pcps[0] for pages in pcp.lists)
    assert cells < 4 * (1 << 16) // 8
    taken = [pfn for (path, pfn, _), row in zip(out, trace.rows, strict=True) if row[1] > 0]
    assert min(taken) >= 0
