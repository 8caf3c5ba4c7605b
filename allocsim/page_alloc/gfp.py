"""From gfp flags to what the page allocator looks at: migratetype, highest zone, urgency.

The bits used here have the same place in 6.1, 6.12 and 7.x (include/linux/gfp_types.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.allocator import ATOMIC
from allocsim.page_alloc.zones import Mt, zone_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import Zone
    from allocsim.tables import Int8, UInt8, UInt64

_DMA, _HIGHMEM, _DMA32, _MOVABLE, _RECLAIMABLE = 0x01, 0x02, 0x04, 0x08, 0x10
_HIGH, _DIRECT_RECLAIM, _NOMEMALLOC = 0x20, 0x400, 0x80000


def migratetypes(gfp: UInt64) -> Int8:
    """Migratetype of each request (R4.2, include/linux/gfp.h:gfp_migratetype).

    Args:
        gfp: gfp flags; the bits looked at are the same in all kernels (u8).

    Returns:
        Mt of each (i1): unmovable, movable or reclaimable.
    """
    bits = ((gfp & np.uint64(_MOVABLE | _RECLAIMABLE)) >> np.uint64(3)).astype(np.int8)
    # Both at once are a bug, which VM_WARN_ON tells of; taken for movable, not for HIGHATOMIC.
    return np.where(bits > Mt.RECLAIMABLE, np.int8(Mt.MOVABLE), bits)


def highest_zones(gfp: UInt64, zones: Sequence[Zone]) -> Int8:
    """Index of the highest zone each request may come from (include/linux/gfp.h:gfp_zone).

    Movable memory needs both __GFP_HIGHMEM and __GFP_MOVABLE; a zone the machine was not built
    with falls to the next: DMA and DMA32 to Normal, Normal to the highest there is. Of a machine of
    several nodes, node 0's.
    """
    classes = zone_classes(zones)
    index = {zone.name: z for z, zone in enumerate(zones[:classes])}
    highest = max(z % classes for z, zone in enumerate(zones) if zone.managed)
    normal = index.get("Normal", highest)
    both = np.uint64(_HIGHMEM | _MOVABLE)
    found = np.full(len(gfp), normal, np.int8)
    found[gfp & both == both] = index.get("Movable", normal)
    found[gfp & np.uint64(_DMA32) != 0] = index.get("DMA32", normal)
    found[gfp & np.uint64(_DMA) != 0] = index.get("DMA", normal)
    return found


def urgency(gfp: UInt64) -> UInt8:
    """page_allocator.ATOMIC where a request of high order would use the atomic reserve.

    mm/page_alloc.c:gfp_to_alloc_flags (7.2): __GFP_HIGH, no direct reclaim, not __GFP_NOMEMALLOC.
    """
    mask = np.uint64(_HIGH | _DIRECT_RECLAIM | _NOMEMALLOC)
    return np.where(gfp & mask == np.uint64(_HIGH), np.uint8(ATOMIC), np.uint8(0))
