"""Run the oracle and the model over the same requests, and say where they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.slub_rules import AskedRules, CpuSlabRules
from allocsim.slub.asked_sheaves.cache import AskedSheaves
from allocsim.slub.cpu_slabs import steps
from allocsim.slub.cpu_slabs.cache import CpuSlabs
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import FreeBefore, ObjectRequests, PreTraceObjects, Refusals
from allocsim.slub.sheaves import cache as sheaf_cache
from allocsim.slub.sheaves.cache import SheafCache
from allocsim.slub.sheaves.sheaf_kmalloc import sheaf_kmalloc_caches
from allocsim.slub.slub import Slub
from tests.oracle.asked_sheaves import AskedSheaves as AskedSheavesOracle
from tests.oracle.cpu_slabs import CpuSlabs as CpuSlabsOracle
from tests.oracle.slub import Sheaf
from tests.oracle.slub import Slub as Oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.cpu_slabs.steps import CpuSlabState
    from tests.oracle.slub import Cache


@dataclass
class Trace:
    """Requests (seq, cpu, cache, op, handle, perhaps ts, run, left, due, node), and the world."""

    shapes: Sequence[CacheShape]
    cpus: int
    requests: Sequence[tuple[int, ...]]
    pre_trace: dict[int, tuple[int, int]] = field(default_factory=dict)
    free_before: list[tuple[int, int, int, int]] = field(default_factory=list)
    refusals: list[tuple[int, int]] = field(default_factory=list)
    freelist_order: Callable[[int, int, int], Sequence[int]] | None = None
    profile: Profile = LINUX_7_2
    changes: list[tuple[int, Sequence[CacheShape]]] = field(default_factory=list)
    nodes: Nodes | None = None
    older_nodes: Sequence[int] = ()


@dataclass
class Outcome:
    """What came of a trace; the rest as its end left it.

    `partial`: the nodes' lists, one behind the other, of (slab, free list). `cpus`: of cpu slabs
    only, cache by cache and CPU by CPU the slab, its two free lists, and the partial list.
    """

    events: list[tuple[str, int, int]]
    pages: list[tuple[int, ...]]
    counters: list[dict[str, int]]
    in_sheaves: list[int]
    partial: list[list[tuple[int, list[int]]]]
    cpus: list[list[tuple[int, list[int], list[int], list[tuple[int, list[int]]]]]] = field(
        default_factory=list
    )


NO_CPU_SLAB: tuple[int, list[int], list[int], list[tuple[int, list[int]]]] = (-1, [], [], [])


def by_oracle(trace: Trace) -> Outcome:
    def max_order(seq: int) -> int:
        return next((order for start, order in reversed(trace.refusals) if start <= seq), 10)

    extra = {} if trace.freelist_order is None else {"freelist_order": trace.freelist_order}
    rules = trace.profile.slub
    if isinstance(rules, CpuSlabRules):
        machine = CpuSlabsOracle(
            trace.shapes,
            max_order=max_order,
            existing=trace.pre_trace,
            free_before=trace.free_before,
            nodes=trace.nodes,
            older_node=trace.older_nodes,
            **extra,
        )
        return _of_cpu_slabs(machine, trace)
    kmalloc_caches = [sheaf_kmalloc_caches(rules, trace.shapes)]
    if isinstance(rules, AskedRules):
        asked = AskedSheavesOracle(
            trace.shapes,
            max_order=max_order,
            existing=trace.pre_trace,
            free_before=trace.free_before,
            kmalloc_caches=kmalloc_caches[0],
            nodes=trace.nodes,
            older_node=trace.older_nodes,
            **extra,
        )
        return _of_asked(asked, trace)
    for _, later in trace.changes:
        kmalloc_caches.append(sheaf_kmalloc_caches(rules, later, kmalloc_caches))
    oracle = Oracle(
        trace.shapes,
        max_order=max_order,
        existing=trace.pre_trace,
        free_before=trace.free_before,
        cpus=trace.cpus,
        kmalloc_caches=kmalloc_caches[0],
        changes=[
            (*each, theirs) for each, theirs in zip(trace.changes, kmalloc_caches[1:], strict=True)
        ],
        flush_batch=rules.flush_batch,
        nodes=trace.nodes,
        older_node=trace.older_nodes,
        **extra,
    )
    events = [oracle.event(*request) for request in trace.requests]
    counters = [counted(cache.stat) for cache in oracle.caches]
    in_sheaves = [_in_sheaves(cache) for cache in oracle.caches]
    partial = [
        [(slab.number, slab.free) for node in cache.nodes for slab in node.partial]
        for cache in oracle.caches
    ]
    return Outcome(events, oracle.pages, counters, in_sheaves, partial)


def _of_asked(machine: AskedSheavesOracle, trace: Trace) -> Outcome:
    events = [machine.event(*request) for request in trace.requests]
    below = _of_cpu_slabs(machine.below, replace(trace, requests=[]))
    return replace(
        below,
        events=events,
        counters=[counted(cache.counters) for cache in machine.caches],
        in_sheaves=[_in_sheaves(cache) for cache in machine.caches],
    )


def _in_sheaves(cache: Cache) -> int:
    """Objects in all sheaves of a cache."""
    of_cpus = [(pcs.main, pcs.spare, pcs.rcu_free) for pcs in cache.pcs.values()]
    sheaves = [sheaf for each in of_cpus for sheaf in each if sheaf]
    sheaves += [sheaf for node in cache.nodes for sheaf in node.full]
    waiting = [each for _, _, each in cache.after_grace if isinstance(each, Sheaf)]
    sheaves += [*cache.prefilled.values(), *waiting]
    return sum(len(sheaf.objects) for sheaf in sheaves)


def _of_cpu_slabs(machine: CpuSlabsOracle, trace: Trace) -> Outcome:
    events = [machine.event(*request) for request in trace.requests]
    outcome = Outcome(events, machine.pages, [], [0] * len(machine.caches), [])
    for cache in machine.caches:
        outcome.counters.append(counted(cache.stat))
        outcome.partial.append(
            [(slab.number, slab.freelist) for node in cache.nodes for slab in node.partial]
        )
        found = []
        for number in range(trace.cpus):
            cpu = cache.cpus.get(number)
            if cpu is None:
                found.append(NO_CPU_SLAB)
                continue
            slab, remote = (-1, []) if cpu.slab is None else (cpu.slab.number, cpu.slab.freelist)
            listed = [(each.number, each.freelist) for each in cpu.partial]
            found.append((slab, cpu.freelist, remote, listed))
        outcome.cpus.append(found)
    return outcome


def counted(stat: Mapping[str, int]) -> Counter[str]:
    """The counters that counted anything; others are 0."""
    return Counter({name: value for name, value in stat.items() if value})


def windows(count: int, size: int) -> Iterator[slice]:
    return (slice(begin, min(begin + size, count)) for begin in range(0, count, size))


def by_model(trace: Trace, window: int, *, fast: bool = False, planned_from: int = 1) -> Outcome:
    """What the model makes of it, of which windows from so many events on are planned."""
    with patch.object(sheaf_cache, "MANY", planned_from):
        return _by_model(trace, window, fast=fast)


def _by_model(trace: Trace, window: int, *, fast: bool) -> Outcome:
    width = len(trace.requests[0]) if trace.requests else 5
    columns = np.array(trace.requests, np.int64).reshape(-1, width).T
    requests = ObjectRequests(
        columns[0],
        columns[1].astype(np.int16),
        columns[2].astype(np.int32),
        columns[3].astype(np.int8),
        columns[4],
        *columns[5:7],
        *columns[7:8].astype(np.int32),
        *columns[8:9],
        *columns[9:].astype(np.int16),
    )
    handles = np.array(list(trace.pre_trace), np.int64)
    places = np.array(list(trace.pre_trace.values()), np.int64).reshape(-1, 2)
    pre_trace = PreTraceObjects(handles, places[:, 0], places[:, 1])
    free = np.array(trace.free_before, np.int64).reshape(-1, 4).T
    refusals = Refusals(
        np.array([seq for seq, _ in trace.refusals], np.int64),
        np.array([order for _, order in trace.refusals], np.int8),
    )
    slub = Slub(
        trace.profile,
        trace.shapes,
        trace.cpus,
        FreeBefore(*free),
        trace.freelist_order,
        trace.changes,
        fast=fast,
        nodes=trace.nodes,
        older_nodes=np.array(trace.older_nodes, np.int64),
    )
    outcome = Outcome([], [], [], [], [])
    for part in windows(len(trace.requests), window):
        placed, pages = slub.window(
            requests.part(part),
            pre_trace,
            refusals if trace.refusals else None,
        )
        names = [AllocPath(code).name.lower() for code in placed.path.tolist()]
        outcome.events += zip(names, placed.slab.tolist(), placed.index.tolist(), strict=True)
        outcome.pages += zip(*(column.tolist() for column in pages), strict=True)
    counters = slub.counters()
    outcome.counters = [
        counted({name: int(values[number]) for name, values in counters.items()})
        for number in range(len(trace.shapes))
    ]
    outcome.in_sheaves = [
        slub.with_sheaves[number].in_sheaves() if number in slub.with_sheaves else 0
        for number in range(len(slub.caches))
    ]
    for cache in slub.caches:
        below = cache.below if isinstance(cache, AskedSheaves) else cache
        if isinstance(below, CpuSlabs):
            state = below.state
            heads = state.nodes[steps.HEAD :: steps.NODE_SIZE]
            outcome.partial.append([each for head in heads for each in _listed(state, head)])
            outcome.cpus.append([_cpu(state, cpu) for cpu in range(trace.cpus)])
            continue
        assert isinstance(cache, SheafCache)
        partial = cache.partial()
        outcome.partial.append([(slab, places[::-1]) for slab, places in partial])
    return outcome


def _cpu(
    state: CpuSlabState, cpu: int
) -> tuple[int, list[int], list[int], list[tuple[int, list[int]]]]:
    first = cpu * steps.CPU_SIZE
    slab, own, partial, _ = state.cpus[first : first + steps.CPU_SIZE]
    listed = _listed(state, partial)
    if slab == steps.NONE:
        return -1, [], [], listed
    remote = state.slabs[slab + steps.FREE]
    key = state.slabs[slab + steps.KEY]
    return key, _chain(state, slab, own), _chain(state, slab, remote), listed


def _listed(state: CpuSlabState, slab: int) -> list[tuple[int, list[int]]]:
    """The slabs of a list from one on, with their free lists."""
    found, slabs = [], state.slabs
    while slab != steps.NONE:
        free = _chain(state, slab, slabs[slab + steps.FREE])
        found.append((slabs[slab + steps.KEY], free))
        slab = slabs[slab + steps.NEXT]
    return found


def _chain(state: CpuSlabState, slab: int, place: int) -> list[int]:
    """The places of a free list from one on."""
    found = []
    while place != steps.NONE:
        found.append(place)
        place = state.slabs[slab + steps.LINKS + place]
    return found


def _places(objects: Sequence[int]) -> list[int]:
    """Indices of objects on their slab, of a list whose head is last."""
    return [found & 0xFFFF for found in reversed(objects)]


def assert_equal(trace: Trace, window: int, *, fast: bool = False, planned_from: int = 1) -> None:
    wanted = by_oracle(trace)
    got = by_model(trace, window, fast=fast, planned_from=planned_from)
    for request, want, have in zip(trace.requests, wanted.events, got.events, strict=True):
        assert have == want, request
    assert got.pages == wanted.pages
    assert got.counters == wanted.counters
    assert got.in_sheaves == wanted.in_sheaves
    assert got.partial == wanted.partial
    assert got.cpus == wanted.cpus
