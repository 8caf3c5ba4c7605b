"""The page allocator's machine: zones, their numbers, and what was free when the replay starts.

Data only. A recording's /proc/zoneinfo says the numbers (R4.29: read them, do not compute);
`computed_zone` gives those of R4.11 and R4.12 where no snapshot exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Int64

MAX_PAGE_ORDER = 10
#: By page size, of the architectures that have a choice (arch/arm64/Kconfig:
#: ARCH_FORCE_MAX_ORDER, 6.12): the machine modelled here is that of pages of 4 KiB.
MAX_PAGE_ORDERS = {4096: MAX_PAGE_ORDER, 16384: 11, 65536: 13}
ORDERS = MAX_PAGE_ORDER + 1
PAGEBLOCK_ORDER = 9
PAGEBLOCK = 1 << PAGEBLOCK_ORDER
COSTLY_ORDER = 3  #: PAGE_ALLOC_COSTLY_ORDER: the highest order below a huge page with a pcp list
PCP_LISTS = 14
PRIOR_CHUNK = 1024  #: pages; the largest block


class Mt(IntEnum):
    """Migratetypes of pageblocks (include/linux/mmzone.h). The first three have pcp lists."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3


PCP_TYPES = 3
TYPES = len(Mt)

#: R4.24, mm/page_alloc.c:fallbacks: where a request looks when its own type has nothing.
FALLBACKS = (
    (Mt.RECLAIMABLE, Mt.MOVABLE),
    (Mt.RECLAIMABLE, Mt.UNMOVABLE),
    (Mt.UNMOVABLE, Mt.MOVABLE),
)


@dataclass(frozen=True, slots=True)
class PcpNumbers:
    """One CPU's limits in one zone, in pages (R4.11, R4.12; /proc/zoneinfo pagesets).

    ``high`` is the limit as it stands at the start; 0: not yet raised above high_min.
    """

    batch: int
    high_min: int
    high_max: int
    high: int = 0


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone as /proc/zoneinfo shows it; pages throughout.

    ``protection`` is indexed by the zone class of the request (lowmem_reserve), ``pcp`` by CPU;
    ``node`` is the memory node it is of.
    """

    name: str
    start_pfn: int
    spanned: int
    managed: int
    wmark_min: int
    wmark_low: int
    wmark_high: int
    protection: tuple[int, ...]
    pcp: tuple[PcpNumbers, ...]
    node: int = 0

    @property
    def end_pfn(self) -> int:
        """First pfn behind the zone."""
        return self.start_pfn + self.spanned


@dataclass(frozen=True, slots=True)
class PageRules:
    """What kernel versions and builds differ in.

    Args:
        free_high_half: the free_high threshold is batch + high_min / 2 (7.2), else batch (6.12).
        drain_in_batches: a drain lets go of zone->lock after every batch (7.2), else one hold.
        thp: order-9 lists exist (CONFIG_TRANSPARENT_HUGEPAGE).
        free_high_batch: PCPF_FREE_HIGH_BATCH: the CPU's share of data cache exceeds 3 batches, as
            it does on most machines; free_high then waits for a batch of pages on the lists.
        atomic_past_lists: a request that may use the atomic reserve goes to the buddy where its
            list is empty (7.1), else refills the list as any other (6.19, R4.4).
        scale_max: CONFIG_PCP_BATCH_SCALE_MAX: batches grow to batch << scale_max (R4.5, R4.7).
        own_blocks: the lists own page blocks: no kernel's rule, a proposal (R4.34).
    """

    free_high_half: bool = True
    drain_in_batches: bool = True
    thp: bool = True
    free_high_batch: bool = True
    atomic_past_lists: bool = True
    scale_max: int = 5
    own_blocks: bool = False


@dataclass(frozen=True, slots=True)
class ZoneState:
    """What a zone holds at the start.

    Args:
        free: blocks (pfn, order) on the free lists; of one order and type, head first. The type
            is that of the block's pageblock.
        block_types: migratetype of each pageblock, the first being that of ``start_pfn``.
        prior: first pfns of chunks of PRIOR_CHUNK used pages, which frees of pages from before
            the trace are taken from (assumed places).
        lists: blocks on the pcp lists: (CPU, list index of R4.1, first pfns, newest first).
    """

    free: tuple[tuple[int, int], ...]
    block_types: bytes
    prior: tuple[int, ...] = ()
    lists: tuple[tuple[int, int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class MachineZones:
    """The zones of all nodes, their states, the rules.

    Args:
        zones: node by node, in the kernel's order; each node has zones of all names, of which an
            empty one keeps its place.
        states: what each holds at the start.
        cpus: CPUs.
        rules: what the kernel version does.
        normal: R4.28's condition: requests that prefer one of these zones make a first pass that
            takes no small blocks of another type.
        memory_nodes: the nodes. A machine of one need not say which CPUs are on it.
    """

    zones: tuple[Zone, ...]
    states: tuple[ZoneState, ...]
    cpus: int
    rules: PageRules = field(default_factory=PageRules)
    normal: frozenset[int] = frozenset()
    memory_nodes: Nodes = field(default_factory=lambda: Nodes(()))

    def __post_init__(self) -> None:
        """Check that zones, states and CPUs fit each other."""
        if len(self.zones) != len(self.states):
            raise ValueError(f"{len(self.zones)} zones but {len(self.states)} zone states")
        if len(self.zones) % self.memory_nodes.count:
            raise ValueError(f"{len(self.zones)} zones of {self.memory_nodes.count} nodes")
        for zone in self.zones:
            if zone.managed and len(zone.pcp) < self.cpus:
                raise ValueError(f"zone {zone.name}: pcp numbers for {len(zone.pcp)} CPUs only")

    @property
    def classes(self) -> int:
        """Zones of a node, with and without memory."""
        return len(self.zones) // self.memory_nodes.count


def zone_classes(zones: Sequence[Zone]) -> int:
    """Zones of a node, of zones of as many names as each node has."""
    return len({zone.name for zone in zones})


def node_of_frames(machine: MachineZones, frames: Int64) -> Int64:
    """The node that page frames lie on; of frames in no zone, that of the zone below them (i8)."""
    used = [
        (zone.start_pfn, z // machine.classes)
        for z, zone in enumerate(machine.zones)
        if zone.managed
    ]
    starts, nodes = np.array(sorted(used), np.int64).T
    found: Int64 = nodes[np.maximum(np.searchsorted(starts, frames, side="right") - 1, 0)]
    return found


def block_index(zone: Zone, pfn: int) -> int:
    """Index of a page's pageblock in ``ZoneState.block_types``."""
    return (pfn >> PAGEBLOCK_ORDER) - (zone.start_pfn >> PAGEBLOCK_ORDER)


def pageblocks(zone: Zone) -> int:
    """How many pageblocks a zone touches."""
    if not zone.spanned:
        return 0
    return block_index(zone, zone.end_pfn - 1) + 1


def batch_size(managed: int) -> int:
    """R4.11, mm/page_alloc.c:zone_batchsize: pages moved between a list and the buddy at once."""
    b = min(managed >> 12, 64)
    if b <= 1:
        return 1
    return int((1 << ((b + b // 2).bit_length() - 1)) - 1)


def pcp_numbers(managed: int, wmark_low: int, cpus: int, batch: int | None = None) -> PcpNumbers:
    """R4.12, mm/page_alloc.c:zone_highsize, for a zone all CPUs are local to.

    ``batch`` is that of R4.11 unless given.
    """
    batch = batch_size(managed) if batch is None else batch
    return PcpNumbers(
        batch,
        max(wmark_low // cpus, 4 * batch),
        max(managed // 8 // cpus, 4 * batch),
    )


_LEAST_FOR_HUGE = 512 << 8  #: pages, of 4 KiB


def min_free_pages(lowmem: int, huge_zones: int = 0) -> int:
    """vm.min_free_kbytes, in pages, of a machine with so much low memory where nobody set it.

    mm/page_alloc.c:calculate_min_free_kbytes; where huge pages are enabled, khugepaged wants two
    pageblocks of each zone free, and two for each pair of migratetypes on average, but no more
    than a twentieth of what is above the high watermarks (mm/khugepaged.c:
    set_recommended_min_free_kbytes; 6.12, 7.2). On machines of less than 512 MiB it is not started
    (mm/huge_memory.c:hugepage_init).

    Args:
        lowmem: managed pages of all zones but Movable.
        huge_zones: how many of them have memory; 0: huge pages are not enabled.
    """
    least = min(max(math.isqrt(16 * lowmem * 4), 128), 262144) >> 2
    if lowmem < _LEAST_FOR_HUGE:
        return least
    wanted = PAGEBLOCK * huge_zones * (2 + PCP_TYPES * PCP_TYPES)
    above_high = lowmem - least - 2 * wmark_distance(lowmem, least)
    return max(least, min(wanted, above_high // 20))


def watermarks(
    managed: int, lowmem: int | None = None, huge_zones: int = 0
) -> tuple[int, int, int]:
    """Min, low and high watermark in pages of a zone with its share of all low memory.

    mm/page_alloc.c:__setup_per_zone_wmarks; watermark_scale_factor 10. Arguments as
    min_free_pages has them.
    """
    lowmem = managed if lowmem is None else lowmem
    wmark_min = min_free_pages(lowmem, huge_zones) * managed // lowmem
    distance = wmark_distance(managed, wmark_min)
    return wmark_min, wmark_min + distance, wmark_min + 2 * distance


def wmark_distance(managed: int, share: int, scaled: int | None = None) -> int:
    """Pages from min to low and from low to high watermark of a zone.

    mm/page_alloc.c:__setup_per_zone_wmarks (7.2). ``share`` is the zone's share of
    min_free_kbytes, in pages; ``scaled`` what watermark_scale_factor asks for, 10 if None.
    """
    return max(share >> 2, managed * 10 // 10000 if scaled is None else scaled)


def computed_zone(pages: int, cpus: int, *, start_pfn: int = 0) -> Zone:
    """A zone that holds all memory, with the numbers R4.11, R4.12 and R4.29 give it (assumed)."""
    wmark_min, low, high = watermarks(pages)
    numbers = (pcp_numbers(pages, low, cpus),) * cpus
    return Zone("Normal", start_pfn, pages, pages, wmark_min, low, high, (0,), numbers)


def all_free(zone: Zone, *, reserved: int = 0) -> ZoneState:
    """All of a zone free in blocks as large as alignment allows, but ``reserved`` pages at its end.

    Every pageblock is movable. The reserved pages are what frees of pages from before the trace
    are taken from. Lists are in ascending address order (assumed: boot leaves them so).
    """
    types = bytes([Mt.MOVABLE]) * pageblocks(zone)
    end = zone.end_pfn - reserved
    chunks = range(
        -(-end // PRIOR_CHUNK) * PRIOR_CHUNK, zone.end_pfn - PRIOR_CHUNK + 1, PRIOR_CHUNK
    )
    return ZoneState(tuple(aligned_blocks(zone.start_pfn, end)), types, tuple(chunks))


def aligned_blocks(first: int, end: int) -> list[tuple[int, int]]:
    """The largest aligned blocks (pfn, order) that tile [first, end), ascending."""
    blocks = []
    while first < end:
        order = MAX_PAGE_ORDER
        while first & ((1 << order) - 1) or first + (1 << order) > end:
            order -= 1
        blocks.append((first, order))
        first += 1 << order
    return blocks
