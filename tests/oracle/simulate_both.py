"""The simulated placement by the model and by the oracle, in the same words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.initial_state.slabs import FirstSeen, rebuild
from allocsim.kernels.cache_shapes import AskedShape, CpuSlabShape
from allocsim.kernels.profile import LINUX_7_2
from allocsim.page_alloc.paths import PAGE_COUNTERS, PagePath
from allocsim.recording.rcu_sheaves import SheavesDue
from allocsim.recording.requests import (
    LEFT_OUT,
    UNKNOWN_CACHE,
    UNSIZED_CACHE,
    WHOLE_PAGES,
    RecordedObjects,
    RecordedPages,
    RecordedRequests,
)
from allocsim.recording.untraced import SheafRuns, Untraced, UntracedFrees
from allocsim.simulation import Simulation, SlabPages
from allocsim.slub.paths import AllocPath
from tests.oracle.simulated import CACHE_ALLOC, CACHE_FREE, KMALLOC, PAGE_FREE, Event, Simulated
from tests.oracle.slub_compare import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.zones import MachineZones
    from allocsim.recording.requests import RequestWindow
    from allocsim.simulated_window import SimulatedWindow

REQUEST_COUNTS = (
    "metadata_events",
    "inferred_frees",
    "recorded_requests",
    *LEFT_OUT,
    "failed_page_allocations_left_out",
    "unknown_page_frees",
    "page_frees_joined",
)


@dataclass
class World:
    """What both are told: caches, zones, and which events are of older slabs, with their kind."""

    shapes: Sequence[CacheShape]
    kinds: Sequence[int]
    highest: Sequence[int]
    machine: MachineZones
    pre_trace: dict[int, bool] = field(default_factory=dict)  # seq -> live before the trace
    untraced: list[tuple[int, int, int, int]] = field(
        default_factory=list
    )  # ts, handle, cache, CPU
    runs: dict[int, tuple[int, int]] = field(default_factory=dict)  # seq -> run, left
    turns: Sequence[int] = ()  # events that turns of the vmstat workers precede
    profile: Profile = LINUX_7_2
    direct_map: int = 0
    own_nodes: bool = False
    copies: dict[int, int] = field(default_factory=dict)  # kmalloc -> copy of its cache (R3.52)


@dataclass
class Outcome:
    events: dict[int, tuple[str, int, int, int]]
    slabs: dict[int, list[Any]]
    counters: list[dict[str, int]]
    zones: dict[str, int]
    counts: dict[str, int]


def plain_pre_trace(
    world: World, events: Sequence[Event]
) -> tuple[dict[int, tuple[int, int]], list[tuple[int, int, int, int]], list[int]]:
    """Older objects, free places, and nodes of older slabs, as Slub's oracle wants them."""
    keys: dict[tuple[int, int], int] = {}
    live: dict[int, tuple[int, int]] = {}
    free: dict[int, list[tuple[int, int, int, int]]] = {}
    held: list[tuple[int, int, int, int]] = []
    sheaves: Counter[tuple[int, int]] = Counter()
    owners: dict[int, int] = {}
    known = set()
    for event in events:
        if event.seq not in world.pre_trace or event.ptr in known:
            continue
        known.add(event.ptr)
        assert event.cache is not None
        shape = world.shapes[event.cache]
        length = 4096 << shape.order
        base = event.ptr - event.ptr % length
        index, rest = divmod(event.ptr - base, shape.size)
        if rest or index >= shape.objects:
            continue
        key = keys.setdefault((event.cache, base), -2 - len(keys))
        if world.pre_trace[event.seq]:
            live[event.seq] = (key, index)
        else:
            # What a CPU takes first lay in its main sheaf, as much as that holds.
            cpu = event.cpu % world.machine.cpus
            below = shape.cpu_slabs if isinstance(shape, AskedShape) else shape
            if isinstance(below, CpuSlabShape):
                # The first slabs it takes from were its own, and on its partial list.
                if key not in owners:
                    sheaves[event.cache, cpu] += 1
                    own = sheaves[event.cache, cpu] <= 1 + below.cpu_partial_slabs
                    owners[key] = cpu if own else -1
                row = (event.cache, key, index, owners[key])
                (held if owners[key] >= 0 else free.setdefault(key, [])).append(row)
                continue
            sheaves[event.cache, cpu] += 1
            if sheaves[event.cache, cpu] <= shape.capacity:
                held.append((event.cache, key, index, cpu))
            else:
                free.setdefault(key, []).append((event.cache, key, index, -1))
    nodes = [_node(world, base - world.direct_map) for _, base in keys]
    return live, [row for key in sorted(free, reverse=True) for row in free[key]] + held, nodes


def _node(world: World, address: int) -> int:
    """The node of what lies at an address of the direct map."""
    zones = enumerate(world.machine.zones)
    below = [z for z, zone in zones if zone.managed and zone.start_pfn <= address >> 12]
    return max(below, default=0) // world.machine.classes


def by_oracle(world: World, events: Sequence[Event], *, exhaustible: bool) -> Outcome:
    live, free, older_node = plain_pre_trace(world, events)
    oracle = Simulated(
        world.shapes,
        world.kinds,
        world.highest,
        world.machine,
        live,
        free,
        untraced=sorted(world.untraced),
        runs=world.runs,
        exhaustible=exhaustible,
        turns=world.turns,
        profile=world.profile,
        older_node=older_node,
        own_nodes=world.own_nodes,
    )
    placed = oracle.run(
        [replace(event, cache=world.copies.get(event.seq, event.cache)) for event in events]
    )
    return Outcome(
        placed.events,
        placed.slabs,
        [counted(cache.counters) for cache in oracle.slub.caches],
        {name: oracle.pages.counters[name] for name in PAGE_COUNTERS},
        {
            name: placed.counts[name]
            for name in (*REQUEST_COUNTS, "refused_slab_events", "refused_pages")
        },
    )


def by_model(world: World, events: Sequence[Event], window: int) -> Outcome:
    seen = FirstSeen()
    pre_trace_events = [event for event in events if event.seq in world.pre_trace]
    for event in pre_trace_events:
        seen.add(
            {
                "ptr": np.array([event.ptr], np.uint64),
                "seq": np.array([event.seq]),
                "cache": np.array([event.cache], np.int32),
                "cpu": np.array([event.cpu], np.int16),
                "live": np.array([world.pre_trace[event.seq]]),
            }
        )
    orders = np.array([shape.order for shape in world.shapes])
    generation = world.profile.slub.generation
    pre_trace, free_before, *_ = rebuild(
        seen.table, world.shapes, orders, world.machine.cpus, generation
    )
    simulation = Simulation(
        world.profile,
        world.shapes,
        SlabPages(np.array(world.kinds, np.int8), np.array(world.highest, np.int8)),
        world.machine,
        pre_trace,
        free_before,
    )
    told = [(event.seq, event.due) for event in events if event.rcu]
    due = SheavesDue(*np.array(told, np.int64).reshape(-1, 2).T)
    maker = RecordedRequests(world.machine.zones, pre_trace.object, due)
    outcome = Outcome({}, {}, [], {}, {})
    lives = []
    objects = plain_lives(events)
    for begin in range(0, len(events), window):
        part = events[begin : begin + window]
        requests = maker.window(*_columns(part, objects), _untraced(world, events[:begin], part))
        turns = [turn for turn in world.turns if begin <= turn < begin + window]
        result = simulation.window(requests.objects, requests.pages, turns=turns)
        _note(outcome, requests, result)
        lives.append(result.slabs)
    lives.append(simulation.finish()[0])
    for slabs in lives:
        for row in zip(*(column.tolist() for column in slabs.values()), strict=True):
            named = dict(zip(slabs, row, strict=True))
            assert named["slab"] not in outcome.slabs
            outcome.slabs[named["slab"]] = [
                named[name] for name in ("cache", "order", "pfn", "alloc_seq", "free_seq")
            ]
    counters = simulation.slub.counters()
    outcome.counters = [
        counted({name: int(values[number]) for name, values in counters.items()})
        for number in range(len(world.shapes))
    ]
    outcome.zones = simulation.pages.counters
    outcome.counts = {name: maker.counts[name] for name in REQUEST_COUNTS} | {
        name: simulation.counts[name] for name in ("refused_slab_events", "refused_pages")
    }
    return outcome


def _untraced(world: World, before: Sequence[Event], part: Sequence[Event]) -> Untraced:
    """What the events of a window do not say."""
    since = before[-1].ts if before else -1
    frees = [free for free in sorted(world.untraced) if since < free[0] <= part[-1].ts]
    ts, object_, cache, cpu = np.array(frees, np.int64).reshape(-1, 4).T
    runs = [(e.seq, *world.runs[e.seq]) for e in part if e.seq in world.runs]
    seq, run, left = np.array(runs, np.int64).reshape(-1, 3).T
    return Untraced(
        UntracedFrees(ts, object_, cache.astype(np.int32), cpu.astype(np.int16)),
        SheafRuns(seq, run, left.astype(np.int32)),
    )


def plain_lives(events: Sequence[Event]) -> dict[int, int]:
    """Event -> the first of its object's life, of those that have an object."""
    live: dict[int, int] = {}
    found = {}
    for event in events:
        if event.code > CACHE_FREE or event.ptr <= 16:
            continue
        if event.code in (KMALLOC, CACHE_ALLOC):
            live[event.ptr] = found[event.seq] = event.seq
        else:
            found[event.seq] = live.pop(event.ptr, event.seq)
    return found


def _cache(event: Event) -> int:
    if event.cache is not None:
        return event.cache
    return WHOLE_PAGES if event.large else UNSIZED_CACHE if event.unsized else UNKNOWN_CACHE


def _columns(events: Sequence[Event], objects: dict[int, int]) -> tuple[Any, ...]:
    """What RecordedRequests.window takes, of events that follow one another."""
    columns = {
        "ts": np.array([event.ts for event in events]),
        "cpu": np.array([event.cpu for event in events], np.int16),
        "event": np.array([event.code for event in events], np.uint8),
        "pfn": np.array([event.pfn for event in events]),
        "order": np.array([event.order for event in events], np.int32),
        "gfp_flags": np.array([event.gfp for event in events], np.uint64),
        "probe": np.array([int(event.rcu) for event in events], np.uint8),
        "metadata": np.array([event.metadata for event in events]),
    }
    cache = np.array([_cache(event) for event in events], np.int32)
    paged = [e for e in events if e.page is not None and KMALLOC + 4 <= e.code <= PAGE_FREE]
    pages = RecordedPages(
        np.array([e.seq for e in paged], np.int64),
        np.array([-1 if e.page[0] is None else e.page[0] for e in paged], np.int64),
        np.array([e.page[1] for e in paged], np.int64),
        np.array([e.page[2] for e in paged], bool),
        np.array([e.block for e in paged], np.int8),
    )
    life = np.array([objects.get(event.seq, -1) for event in events], np.int64)
    return columns, events[0].seq, RecordedObjects(cache, life), pages


def _note(outcome: Outcome, requests: RequestWindow, result: SimulatedWindow) -> None:
    objects = result.objects
    for seq, shown, path, slab, index in zip(
        requests.objects.seq.tolist(),
        requests.shown.tolist(),
        objects.path.tolist(),
        objects.slab.tolist(),
        objects.index.tolist(),
        strict=True,
    ):
        if shown:
            outcome.events[seq] = (AllocPath(path).name.lower(), slab, index, -1)
    for seq, path, pfn in zip(
        requests.pages.seq.tolist(),
        result.pages.path.tolist(),
        result.pages.pfn.tolist(),
        strict=True,
    ):
        outcome.events[seq] = (PagePath(path).name.lower(), -1, -1, pfn)


def assert_equal(
    world: World, events: Sequence[Event], window: int, *, exhaustible: bool = True
) -> Outcome:
    """Run both; the oracle's outcome."""
    wanted = by_oracle(world, events, exhaustible=exhaustible)
    got = by_model(world, events, window)
    for event in events:
        assert got.events.get(event.seq) == wanted.events.get(event.seq), event
    assert got.slabs == wanted.slabs
    assert got.counters == wanted.counters
    assert got.zones == wanted.zones
    assert got.counts == wanted.counts
    return wanted
