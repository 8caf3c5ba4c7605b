"""What a simulation must know of a recording besides its requests, and the worlds made of it.

Recorded facts come first: sizes, orders and sheaves as /sys/kernel/slab of the recorded machine
had them, zones as /proc had them. What is not recorded follows from the profile's rules. What the
user has set stands above both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.initial_state.assumed_zones import assumed_states, assumed_zones
from allocsim.initial_state.free_blocks import free_pages, raised, with_free_pages
from allocsim.initial_state.node_settings import on_nodes, sets_nodes
from allocsim.initial_state.pcp_lists import LIST_PAGES, for_cpus, with_lists, with_pages
from allocsim.initial_state.slabs import rebuild
from allocsim.initial_state.sysfs_slab import (
    CacheFacts,
    SlabTextError,
    facts_for,
    parse_sysfs_slab,
    recorded_order,
    recorded_shape,
)
from allocsim.initial_state.zoneinfo import (
    ZoneTextError,
    memory_nodes,
    parse_free_pages,
    parse_list_pages,
    parse_nodes,
    parse_pagetypeinfo,
    parse_zoneinfo,
    placed,
)
from allocsim.kernels.cache_shapes import cache_shapes, profile_of
from allocsim.kernels.kmalloc_partitions import NO_SITES, OF_KERNEL, boot_seed, split
from allocsim.kernels.page_settings import page_machine
from allocsim.kernels.profile import DEFAULT
from allocsim.kernels.release import Generation, kernel_at, kernel_of
from allocsim.kernels.settings import (
    PARTITION_SEED,
    PARTITIONS,
    SettingError,
    at_moment,
    check_settings,
    kernel_profile,
    moments,
)
from allocsim.kernels.slub_rules import slab_order
from allocsim.page_alloc.pcp import list_order
from allocsim.page_alloc.zones import Mt, all_free, node_of_frames, zone_classes
from allocsim.simulation import Simulation, SlabPages
from allocsim.slub.freelist_random import freelist_order
from allocsim.trace.results import How
from pipeline.errors import InputError, UsageError
from pipeline.replay.settings import check_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.initial_state.pcp_lists import ListsAtStart
    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.kmalloc_partitions import KmallocSites
    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.page_alloc.zones import MachineZones, Zone, ZoneState
    from allocsim.recording.requests import RequestWindow
    from allocsim.slub.requests import FreeBefore, PreTraceObjects
    from allocsim.tables import Columns, Int32, Int64
    from pipeline.trace_set.reader import TraceSet

SYNTH = "synth"  #: source.format of a synthetic trace set
_UNSEEN_SIZE = 8  # of caches that no request is for
# 1 TiB: the model keeps a byte of each, and account of each 4 MiB that is free.
_MOST_PAGES = 1 << 28
_MOST_CACHES = 1 << 15  # a slab's key has the number of its cache above 47 bits


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded run, as far as simulations of it need to know.

    Args:
        run: number of the run.
        release: uname -r of the recorded kernel.
        cpus: CPUs of the recorded machine.
        caches: name and size in bytes of each cache, by number; size -1: not known, no request
            is for it.
        seen: allocsim.initial_state.slabs.FirstSeen.table.
        slices: (time slice, its first event).
        turns: allocsim.initial_state.vmstat_worker.VmstatTurns: events that turns of
            the vmstat workers precede; none where the trace's clock does not count ns.
        facts: what sysfs says of the caches, by name.
        zones: the recorded zones, or computed ones.
        states: what their buddies held at the start.
        zones_how: whether zones and states were observed, inferred back from a snapshot behind the
            recording, or assumed.
        nodes: the memory nodes ``zones`` are of; one, where those of several are taken as one.
        nodes_how: how it is known which node each CPU is on; OBSERVED where there is one.
        memory_nodes: how many nodes of the recorded machine have memory.
        span: times of the first and the last event [ns]; None where the trace's clock does not
            count ns.
        direct_map: base of the kernel's direct map; None: not known.
        lists: blocks the CPUs' page lists held at the start (zones, CPUs, PCP_LISTS).
        thp: the kernel has page lists of order 9 (R4.1).
        partitions: caches it has of each normal kmalloc cache (R3.51); 1: no copies.
        sites: call sites that requests name in place of their kmalloc cache, by numbers behind
            those of the caches; none where no simulation is to have copies.
    """

    run: int
    release: str
    cpus: int
    caches: Sequence[tuple[str, int]]
    seen: Columns
    slices: Sequence[tuple[int, int]]
    turns: Sequence[int]
    facts: Mapping[str, CacheFacts]
    zones: tuple[Zone, ...]
    states: tuple[ZoneState, ...]
    zones_how: How
    nodes: Nodes
    nodes_how: How
    memory_nodes: int
    span: tuple[int, int] | None
    direct_map: int | None
    lists: Int64
    thp: bool
    partitions: int = 1
    sites: KmallocSites = NO_SITES


@dataclass(frozen=True, slots=True)
class World:
    """What requests are replayed on.

    Args:
        recorded: the recorded run, with the copies of kmalloc's caches that the settings ask for.
        of_request: number of the cache by that of a request (i4).
        simulation: the model, at the beginning of the trace.
        shapes: the caches.
        shapes_how: how each shape is known.
        machine: the zones.
        counts: of slabs and objects older than the trace.
        pre_trace: objects on them that were live.
        free_before: what was free on them.
    """

    recorded: Recorded
    of_request: Int32
    simulation: Simulation
    shapes: list[CacheShape]
    shapes_how: list[How]
    machine: MachineZones
    counts: dict[str, int]
    pre_trace: PreTraceObjects
    free_before: FreeBefore

    @property
    def pre_trace_free(self) -> Int64:
        """Free places on slabs older than the trace, by cache."""
        return np.bincount(self.free_before.cache, minlength=len(self.shapes))

    def asked(self, window: RequestWindow) -> RequestWindow:
        """Requests as they are of these caches."""
        if not len(self.recorded.sites.cache):
            return window
        cache = self.of_request.take(window.objects.cache)
        return window._replace(objects=window.objects._replace(cache=cache))

    def pre_trace_slabs(self) -> Int64:
        """Slabs older than the trace, by cache."""
        seen = self.recorded.seen
        order = np.argsort(seen["seq"])
        live = order[np.searchsorted(seen["seq"][order], self.pre_trace.object)]
        cache = np.concatenate([self.free_before.cache, seen["cache"][live]])
        slab = np.concatenate([self.free_before.slab, self.pre_trace.slab])
        _, first = np.unique(slab, return_index=True)
        return np.bincount(cache[first], minlength=len(self.shapes))


def make_world(recorded: Recorded, settings: Mapping[str, int], *, fast: bool = False) -> World:
    """The model of a recorded run with some settings; ``fast`` as Simulation has it.

    Raises:
        UsageError: a setting that does not exist, or is out of its range.
    """
    plain = len(recorded.caches)
    recorded, of_request = partitioned(recorded, settings)
    profile, machine, shapes, hows = _built(recorded, settings)
    start = recorded.span[0] if recorded.span else 0
    changes = [
        (start + moment, _shapes(profile, recorded, settings, moment)[0])
        for moment in moments(settings)
    ]
    pre_trace, free_before, counts, older_nodes = _pre_trace(
        recorded, shapes, machine.cpus, profile.slub.generation, machine
    )
    counts["list_pages_at_start"] = sum(
        len(blocks) << list_order(index)
        for state in machine.states
        for _, index, blocks in state.lists
    )
    spread = len(recorded.caches) > plain
    counts["kmalloc_sites_spread"] = len(recorded.sites.cache) if spread else 0
    simulation = Simulation(
        profile,
        shapes,
        _slab_pages(recorded, shapes),
        machine,
        pre_trace,
        free_before,
        freelist_order(settings.get("freelist.seed", 0), shapes),
        changes,
        fast=fast,
        older_nodes=older_nodes,
        own_nodes=sets_nodes(settings),
    )
    return World(
        recorded, of_request, simulation, shapes, hows, machine, counts, pre_trace, free_before
    )


def partitioned(recorded: Recorded, settings: Mapping[str, int]) -> tuple[Recorded, Int32]:
    """A recorded run with the copies of kmalloc's caches that settings ask for (R3.52).

    Also the number of the cache by that of a request. Copies are as the caches they are of: what
    is known of these is of them too.

    Raises:
        UsageError: these are more caches than can be simulated.
    """
    found = split(
        [name for name, _ in recorded.caches],
        recorded.sites,
        settings.get(PARTITIONS, recorded.partitions),
        boot_seed(settings.get(PARTITION_SEED, 0)),
        kernel_at(kernel_profile(settings).version).kmalloc_copies,
    )
    if len(found.names) > _MOST_CACHES:
        raise UsageError(
            f"{len(found.names)} slab caches, of which no more than {_MOST_CACHES} are simulated;"
            f" {PARTITIONS}={OF_KERNEL} makes fewer"
        )
    facts = dict(recorded.facts)
    caches = []
    for name, origin in zip(found.names, found.origin.tolist(), strict=True):
        of, size = recorded.caches[origin]
        caches.append((name, size))
        if of in facts:
            facts.setdefault(name, facts[of])
    return replace(recorded, caches=caches, facts=facts), found.of_request


def check(settings: Mapping[str, int], recorded: Recorded) -> None:
    """Say what is wrong with settings before any work is done.

    Raises:
        UsageError: as make_world.
    """
    _built(partitioned(recorded, settings)[0], settings)


def _built(
    recorded: Recorded, settings: Mapping[str, int]
) -> tuple[Profile, MachineZones, list[CacheShape], list[How]]:
    try:
        check_settings(settings, [name for name, _ in recorded.caches])
        check_moments(settings, recorded.span)
        profile = profile_of(settings)
        return profile, _machine(profile, recorded, settings), *_shapes(profile, recorded, settings)
    except SettingError as error:
        raise UsageError(str(error)) from error


def _machine(profile: Profile, recorded: Recorded, settings: Mapping[str, int]) -> MachineZones:
    """The zones with their lists as they were when the recording began."""
    built = replace(profile, pages=replace(profile.pages, thp=recorded.thp))
    lists = for_cpus(recorded.lists, settings.get("cpus", recorded.cpus))
    states = [
        with_lists(zone, state, held) if zone.managed else state
        for zone, state, held in zip(recorded.zones, recorded.states, lists, strict=True)
    ]
    zones, held, nodes = on_nodes(recorded.zones, states, recorded.nodes, recorded.cpus, settings)
    return page_machine(built, zones, held, recorded.cpus, settings, nodes)


def pre_trace_handles(recorded: Recorded) -> Int64:
    """Rising handles of the objects live before the trace; no setting changes them."""
    shapes, _ = _shapes(DEFAULT, recorded, {})
    return _pre_trace(recorded, shapes, recorded.cpus, DEFAULT.slub.generation)[0].object


def _pre_trace(
    recorded: Recorded,
    shapes: Sequence[CacheShape],
    cpus: int,
    generation: Generation,
    machine: MachineZones | None = None,
) -> tuple[PreTraceObjects, FreeBefore, dict[str, int], Int64]:
    orders = [
        recorded_order(
            shape.size,
            recorded.facts.get(shape.name),
            slab_order(DEFAULT.slub, shape.size, recorded.cpus),
        )
        for shape in shapes
    ]
    order = np.array(orders, np.int64)
    node = None
    if machine is not None and machine.memory_nodes.count > 1 and recorded.direct_map is not None:
        frame = (recorded.seen["ptr"] - np.uint64(recorded.direct_map)).astype(np.int64) >> 12
        node = node_of_frames(machine, frame)
    return rebuild(recorded.seen, shapes, order, cpus, generation, node)


def _shapes(
    profile: Profile, recorded: Recorded, settings: Mapping[str, int], moment: int = -1
) -> tuple[list[CacheShape], list[How]]:
    sized = [(name, size if size > 0 else _UNSEEN_SIZE) for name, size in recorded.caches]
    settings = at_moment(settings, moment)
    shapes = cache_shapes(profile, sized, recorded.cpus, settings)
    kernel = kernel_of(recorded.release)
    hows = []
    for number, shape in enumerate(shapes):
        facts = recorded.facts.get(shape.name)
        if facts is not None and facts.slab_size == shape.size:
            told = facts_for(facts, kernel, profile)
            shapes[number] = recorded_shape(shape, told, settings, recorded.cpus)
            hows.append(How.OBSERVED)
        else:
            hows.append(How.INFERRED)
    return shapes, hows


def _slab_pages(recorded: Recorded, shapes: Sequence[CacheShape]) -> SlabPages:
    """R3.7: migratetype and zones of each cache's slab pages."""
    classes = zone_classes(recorded.zones)
    index = {zone.name: number for number, zone in enumerate(recorded.zones[:classes])}
    managed = [number % classes for number, zone in enumerate(recorded.zones) if zone.managed]
    normal = index.get("Normal", max(managed))
    kinds, highest = [], []
    for shape in shapes:
        facts = recorded.facts.get(shape.name, CacheFacts())
        reclaimable = facts.reclaim_account or shape.name.startswith("kmalloc-rcl-")
        dma = facts.cache_dma or shape.name.startswith("dma-kmalloc-")
        kinds.append(Mt.RECLAIMABLE if reclaimable else Mt.UNMOVABLE)
        highest.append(index.get("DMA", normal) if dma else normal)
    return SlabPages(np.array(kinds, np.int8), np.array(highest, np.int8))


def recorded_facts(trace: TraceSet) -> dict[str, CacheFacts]:
    """What the trace set's snapshot of sysfs says of its caches; empty without one."""
    try:
        return parse_sysfs_slab(trace.snapshot_text("sysfs_slab.txt") or "")
    except SlabTextError as error:
        raise InputError(f"{trace.snapshot('sysfs_slab.txt')}: {error}") from error


def recorded_zones(
    trace: TraceSet, highest_pfn: int, *, dma: bool = True
) -> tuple[tuple[Zone, ...], tuple[ZoneState, ...], How, tuple[bool, ...]]:
    """The zones of the recorded machine; without a snapshot, those of one that its pages fit.

    Also what they hold, how that is known, and of each node whether it has memory.

    Raises:
        InputError: the snapshot is not what /proc would say.
    """
    cpus = trace.meta["cpus"]
    zoneinfo = trace.snapshot_text("zoneinfo")
    if zoneinfo is None:
        _check_size(f"{trace.path}: page frame {highest_pfn} would be of", highest_pfn + 1)
        assumed = assumed_zones(highest_pfn, cpus, trace.meta["arch"], dma=dma, thp=has_thp(trace))
        return assumed, assumed_states(assumed), How.ASSUMED, (True,)
    try:
        zones, memory = parse_nodes(zoneinfo, cpus)
        if sum(memory) == 1 and trace.snapshot_text("nodes") is None:
            # No page tells of a CPU on a node without memory.
            zones, memory = parse_zoneinfo(zoneinfo, cpus), (True,)
        held = parse_pagetypeinfo(trace.snapshot_text("pagetypeinfo") or "", apart=len(memory) > 1)
    except ZoneTextError as error:
        raise InputError(f"{trace.snapshot('pagetypeinfo').parent}: {error}") from error
    spanned = sum(zone.spanned for zone in zones)
    _check_size(f"{trace.snapshot('zoneinfo')}: zones with their holes span", spanned)
    states = tuple(
        placed(zone, *held[zone.node, zone.name])
        if (zone.node, zone.name) in held
        else all_free(zone)
        for zone in zones
    )
    return zones, states, How.OBSERVED, memory


def _check_size(what: str, pages: int) -> None:
    if pages > _MOST_PAGES:
        raise InputError(
            f"{what} a machine of {pages / (1 << 28):.1f} TiB, of which no more than 1 is "
            "simulated; replay it with --placement recorded"
        )


def zones_at_start(
    trace: TraceSet, zones: tuple[Zone, ...], lists: Int64, taken: Int64
) -> tuple[tuple[Zone, ...], tuple[ZoneState, ...]] | None:
    """Zones and what their buddies held at the first event, by the snapshot behind the recording.

    Its free pages and what the events took say how many pages there were (inferred). How they lay,
    and how long the CPUs' lists might get, follows from the snapshot before, as if what was taken
    since had been taken page by page (assumed).

    Args:
        trace: the trace set.
        zones: its zones.
        lists: blocks on every CPU's lists at the start, of recorded_lists.
        taken: ListsAtStart.taken of all events.

    Returns:
        None where a snapshot, or events of pages, are missing.

    Raises:
        InputError: a snapshot is not what /proc would say.
    """
    before, after = trace.snapshot_text("pagetypeinfo"), trace.snapshot_text("zoneinfo", "after")
    losses = trace.meta["lost"]
    lost = [*losses["per_cpu"].values(), *losses["sources"]["marks_without_a_number"].values()]
    complete = {"mm_page_alloc", "mm_page_free"} <= set(trace.meta["recorded_events"])
    if before is None or after is None or not complete or any(lost):
        return None
    try:
        held = parse_pagetypeinfo(before, apart=len(zones) > zone_classes(zones))
    except ZoneTextError as error:
        raise InputError(f"{trace.snapshot('pagetypeinfo').parent}: {error}") from error
    cpus = trace.meta["cpus"]
    apart = len(zones) > zone_classes(zones)
    free = parse_free_pages(after, apart=apart)
    listed = parse_list_pages(after, cpus, apart=apart)
    at_start: list[Zone] = []
    states: list[ZoneState] = []
    for zone, lists_of, net in zip(zones, lists, taken.tolist(), strict=True):
        key = zone.node, zone.name
        if not zone.managed or key not in free or key not in held:
            at_start.append(zone)
            states.append(placed(zone, *held[key]) if key in held else all_free(zone))
            continue
        pages = free[key] + sum(listed[key]) + net - int((lists_of * LIST_PAGES).sum())
        blocks, types = held[key]
        between = free_pages(blocks) - pages
        at_start.append(replace(zone, pcp=raised(zone.pcp, between // cpus)))
        states.append(placed(zone, *with_free_pages(blocks, types, max(pages, 0))))
    return tuple(at_start), tuple(states)


def recorded_lists(trace: TraceSet, zones: Sequence[Zone], found: ListsAtStart) -> Int64:
    """Blocks on every CPU's page lists at the start: (zones, CPUs, PCP_LISTS).

    By the recording's first refills (inferred). Where the snapshot counts more pages, the rest is
    put on lists that no refill was seen of (assumed). A synthetic trace has no events of refills,
    and its snapshot is all there was.
    """
    lists = found.held.copy()
    if trace.meta["source"]["format"] == SYNTH:
        lists[:] = 0
    counted = parse_list_pages(
        trace.snapshot_text("zoneinfo") or "",
        trace.meta["cpus"],
        apart=len(zones) > zone_classes(zones),
    )
    for z, zone in enumerate(zones):
        key = zone.node, zone.name
        if zone.managed and key in counted:
            lists[z] = with_pages(lists[z], found.refilled[z], np.array(counted[key]))
    return lists


def recorded_nodes(trace: TraceSet) -> int:
    """Memory nodes of the recorded machine, by its zoneinfo; one without a snapshot (assumed)."""
    return memory_nodes(trace.snapshot_text("zoneinfo") or "") or 1


def has_thp(trace: TraceSet) -> bool:
    """Whether the kernel was built with transparent huge pages, by its vmstat; yes without one."""
    vmstat = trace.snapshot_text("vmstat")
    return vmstat is None or "thp_fault_alloc" in vmstat
