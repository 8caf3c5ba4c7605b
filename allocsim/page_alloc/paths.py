"""The way a page request took through the page allocator, and what is counted of it.

Codes and names are others than those of allocsim.slub.paths.AllocPath: one column can hold both.
"""

from __future__ import annotations

from enum import IntEnum


class PagePath(IntEnum):
    """How a page event was served."""

    HIT = 32  #: allocation off the CPU's list
    REFILL = 33  #: the list was empty; blocks of the own type were fetched (R4.4)
    REFILL_CLAIM = 34  #: as REFILL, and a pageblock changed its type for it (R4.26)
    REFILL_STEAL = 35  #: as REFILL, with blocks of pageblocks that keep another type (R4.27)
    BUDDY = 36  #: allocation straight from the buddy, of the own type
    BUDDY_CLAIM = 37
    BUDDY_STEAL = 38
    NO_BLOCK = 39  #: no zone has such a block; the pfn is -1
    PUSH = 40  #: free onto the CPU's list
    DRAIN = 41  #: as PUSH, and the list grew long enough to be drained (R4.7)
    BUDDY_FREE = 42  #: free straight to the buddy
    UNPLACED = 43  #: free of a page the model does not have: no used page is left, or NO_BLOCK
    DECAY = 44  #: the vmstat worker's turn (R4.13): nothing allocated or freed


#: Paths of frees; DECAY is neither that nor an allocation.
FREE_PAGE_PATHS = frozenset(
    {PagePath.PUSH, PagePath.DRAIN, PagePath.BUDDY_FREE, PagePath.UNPLACED, PagePath.DECAY}
)


class Pressure(IntEnum):
    """What the kernel would have had to do first (R4.29): reported, not modelled."""

    NONE = 0
    KSWAPD = 1  #: every zone below its low watermark: kswapd is woken
    RECLAIM = 2  #: every zone below its min watermark: direct reclaim


#: Counters of each zone; zone_lock, pcp_drain_blocks and zone_locked are what ftrace can count.
PAGE_COUNTERS = (
    "zone_lock",  # zone->lock taken
    "pcp_refill",  # rmqueue_bulk calls that brought at least one block
    "pcp_refill_blocks",  # blocks they brought
    "pcp_drain",  # free_pcppages_bulk calls: one zone->lock hold each
    "pcp_drain_blocks",  # mm_page_pcpu_drain (T12)
    "zone_locked",  # mm_page_alloc_zone_locked (T12)
    "split",  # halvings of a block
    "merge",  # joins of two buddies
    "claim",  # mm_page_alloc_extfrag that took a pageblock over, or a free block above it
    "steal",  # mm_page_alloc_extfrag that did not
    "claim_refused",  # pageblocks looked at and left (R4.26: too few free and alike pages)
    "boost",  # watermark boosts asked for (R4.26); the boost itself is left to reclaim, so not made
)
