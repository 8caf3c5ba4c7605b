"""A machine of several memory nodes taken as one node with all their memory: a what-if.

The kernel has zones, and caches partial lists, of every node, and which node serves a request
hangs on memory policies that no event tells. Here zones of one name are one zone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import Zone, pcp_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: mm/page_alloc.c:sysctl_lowmem_reserve_ratio (7.2); zones that are not named here keep nothing.
_RESERVE_RATIO = {"DMA": 256, "DMA32": 256, "Normal": 32}


class NodesError(ValueError):
    """Nodes that cannot be taken as one."""


def as_one_node(nodes: Iterable[Sequence[Zone]], cpus: int) -> tuple[Zone, ...]:
    """The zones of one node with the memory of several.

    A zone that one node alone has stays as it is. Of others, sizes and watermarks are added up,
    the CPUs' limits are R4.12's for that size, and a list's ``high`` is the highest on any node.
    Where nodes share their memory so, what zones keep from one another is computed too.

    Args:
        nodes: zones of each node, in the kernel's order.
        cpus: CPUs of the machine.

    Raises:
        NodesError: zones of different names lie among one another.
    """
    parts: dict[str, list[Zone]] = defaultdict(list)
    with_memory = 0
    for zones in nodes:
        with_memory += any(zone.managed for zone in zones)
        for zone in zones:
            parts[zone.name].append(zone)
    merged = [_merged(same, cpus) for same in parts.values()]
    if with_memory < 2:
        return tuple(merged)
    for lower, upper in pairwise(zone for zone in merged if zone.managed):
        if upper.start_pfn < lower.end_pfn:
            raise NodesError(f"zones {lower.name} and {upper.name} lie among one another")
    return tuple(with_reserves(merged))


def _merged(same: Sequence[Zone], cpus: int) -> Zone:
    used = [zone for zone in same if zone.managed]
    if len(used) < 2:
        return (used or same)[0]
    start = min(zone.start_pfn for zone in used)
    managed = sum(zone.managed for zone in used)
    low = sum(zone.wmark_low for zone in used)
    limits = pcp_numbers(managed, low, cpus)
    highs = [
        max(numbers.high for numbers in of_cpu)
        for of_cpu in zip(*(zone.pcp for zone in used), strict=True)
    ]
    return replace(
        used[0],
        start_pfn=start,
        spanned=max(zone.end_pfn for zone in used) - start,
        managed=managed,
        wmark_min=sum(zone.wmark_min for zone in used),
        wmark_low=low,
        wmark_high=sum(zone.wmark_high for zone in used),
        pcp=tuple(replace(limits, high=high) for high in highs),
    )


def with_reserves(zones: Sequence[Zone]) -> Iterable[Zone]:
    """mm/page_alloc.c:setup_per_zone_lowmem_reserve (7.2): pages kept from requests for others."""
    for number, zone in enumerate(zones):
        ratio = _RESERVE_RATIO.get(zone.name, 0)
        above, kept = 0, [0] * len(zones)
        for j in range(number + 1, len(zones)):
            above += zones[j].managed
            kept[j] = above // ratio if ratio and zone.managed else 0
        yield replace(zone, protection=tuple(kept))
