"""The buddy of one zone: blocks in and out by the batch (R4.20 - R4.27).

A free list is an OrderedDict of first pfns, its first entry the list's head: add and remove at
either end or in the middle cost the same. Which block is free is a byte a page. Runs of blocks
split off one larger block are taken at once: see `_take_run`.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.page_alloc.paths import PAGE_COUNTERS
from allocsim.page_alloc.zones import (
    FALLBACKS,
    MAX_PAGE_ORDER,
    ORDERS,
    PAGEBLOCK,
    PAGEBLOCK_ORDER,
    PCP_TYPES,
    TYPES,
    Mt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from allocsim.page_alloc.zones import Zone, ZoneState
    from allocsim.tables import Int64, UInt8

_USED = 0xFF
_COUNTER = {name: number for number, name in enumerate(PAGE_COUNTERS)}
ZONE_LOCK = _COUNTER["zone_lock"]
REFILLS, REFILL_BLOCKS = _COUNTER["pcp_refill"], _COUNTER["pcp_refill_blocks"]
DRAINS, DRAIN_BLOCKS = _COUNTER["pcp_drain"], _COUNTER["pcp_drain_blocks"]
ZONE_LOCKED, SPLIT, MERGE = _COUNTER["zone_locked"], _COUNTER["split"], _COUNTER["merge"]
CLAIM, STEAL, REFUSED = _COUNTER["claim"], _COUNTER["steal"], _COUNTER["claim_refused"]
BOOST = _COUNTER["boost"]


class Buddy:
    """Free lists, pageblock types and counters of one zone.

    Args:
        zone: the zone's numbers.
        state: what is free at the start.
        movable: number of live movable pages in the pageblock of that number (pfn >> 9); called
            only where a claim below pageblock order is weighed (R4.26).

    Attributes:
        free_pages: pages on the free lists.
        lists: [order][migratetype] free lists.
        types: migratetype of each pageblock.
        counters: values of PAGE_COUNTERS.
        order_at: of each page, the order of the free block it is the first of; else 0xff.
        mixed: True once a page may lie in a pageblock of another type than the list it was
            fetched for: a steal, or a claim of a pageblock with used pages. The caller clears it.
    """

    def __init__(self, zone: Zone, state: ZoneState, movable: Callable[[int], int]) -> None:
        self.zone = zone
        self.movable = movable
        self.free_pages = 0
        self.lists: list[list[OrderedDict[int, None]]] = [
            [OrderedDict() for _ in range(TYPES)] for _ in range(ORDERS)
        ]
        self._start = zone.start_pfn
        self.order_at = bytearray(b"\xff" * zone.spanned)
        self._first_block = zone.start_pfn >> PAGEBLOCK_ORDER
        self.types = bytearray(state.block_types)
        self._has_highatomic = Mt.HIGHATOMIC in self.types
        self.counters = [0] * len(PAGE_COUNTERS)
        self.mixed = False
        for pfn, order in state.free:
            self.lists[order][self.type_of(pfn)][pfn] = None
            self.order_at[pfn - self._start] = order
            self.free_pages += 1 << order

    def __deepcopy__(self, memo: dict[int, Any]) -> Buddy:
        """As deepcopy gives it, without a look at every block of every free list."""
        copied = copy(self)
        memo[id(self)] = copied
        copied.movable = deepcopy(self.movable, memo)
        copied.lists = [[blocks.copy() for blocks in row] for row in self.lists]
        copied.order_at = self.order_at.copy()
        copied.types = self.types.copy()
        copied.counters = self.counters.copy()
        return copied

    def type_of(self, pfn: int) -> int:
        """Migratetype of a page's pageblock."""
        return self.types[(pfn >> PAGEBLOCK_ORDER) - self._first_block]

    def types_of(self, pfns: Int64) -> UInt8:
        """Migratetype (u1, Mt) of the pageblock that each page frame (i8, of this zone) lies in."""
        table = np.frombuffer(self.types, np.uint8)
        types: UInt8 = table[(pfns >> PAGEBLOCK_ORDER) - self._first_block]
        return types

    def free_blocks(self) -> Int64:
        """Number of free blocks, as /proc/pagetypeinfo counts them: (orders, migratetypes), i8."""
        return np.array([[len(free) for free in row] for row in self.lists], np.int64)

    def usable_pages(self) -> int:
        """Free pages without those reserved for high-order atomic requests (R4.29)."""
        if not self._has_highatomic:  # reserving pageblocks is reclaim's business: not modelled
            return self.free_pages
        reserved = (len(row[Mt.HIGHATOMIC]) << order for order, row in enumerate(self.lists))
        return self.free_pages - sum(reserved)

    # -- allocation

    def fetch(self, order: int, migratetype: int, count: int, *, nofragment: bool) -> list[int]:
        """Up to ``count`` blocks in the order rmqueue_bulk gets them (R4.4, R4.25), one lock hold.

        mm/page_alloc.c:rmqueue_bulk, __rmqueue (7.2). A claim sends the search back to the own
        type; after a steal the rest is stolen without looking at the own type again.
        """
        self.counters[ZONE_LOCK] += 1
        blocks: list[int] = []
        while len(blocks) < count:
            if self._take_run(order, migratetype, count - len(blocks), blocks):
                continue
            claimed = self._claim(order, migratetype, nofragment=nofragment)
            if claimed < 0:
                break
            blocks.append(claimed)
        while len(blocks) < count and not nofragment:
            stolen = self._steal(order, migratetype)
            if stolen < 0:
                break
            blocks.append(stolen)
        return blocks

    def smallest(self, order: int, migratetype: int) -> int:
        """One block of the own type (R4.20), or -1."""
        blocks: list[int] = []
        self._take_run(order, migratetype, 1, blocks)
        return blocks[0] if blocks else -1

    def free_parts(self, block: int) -> list[tuple[int, int]]:
        """Free blocks (pfn, order) inside a pageblock, rising; one that reaches beyond is none."""
        at, end = max(block << PAGEBLOCK_ORDER, self._start), (block + 1) << PAGEBLOCK_ORDER
        parts = []
        while at < end:
            order = self.order_at[at - self._start]
            inside = order <= PAGEBLOCK_ORDER
            if inside:
                parts.append((at, order))
            at += 1 << order if inside else 1
        return parts

    def take_part(self, pfn: int, order: int) -> None:
        """Take a free block off its list; the caller holds the lock."""
        self._remove(pfn, order, self.type_of(pfn))
        self.free_pages -= 1 << order
        self.counters[ZONE_LOCKED] += 1

    def is_whole(self, block: int) -> bool:
        """Whether all of a pageblock is free here."""
        at = (block << PAGEBLOCK_ORDER) - self._start
        pair = (block & ~1) << PAGEBLOCK_ORDER
        whole = self.order_at[at] in {PAGEBLOCK_ORDER, MAX_PAGE_ORDER}
        return whole or (
            pair >= self._start and self.order_at[pair - self._start] == MAX_PAGE_ORDER
        )

    def _take_run(self, order: int, migratetype: int, count: int, blocks: list[int]) -> bool:
        """Append blocks of the own type (R4.20): from one list, or off one larger block.

        Where the smallest block is larger than wanted, all lists between are empty, so the
        following requests are served from its rest in ascending order until it is used up: the
        run is known at once, and what remains of the block is one block an order at most.
        """
        for current in range(order, ORDERS):
            free = self.lists[current][migratetype]
            if free:
                break
        else:
            return False
        if current == order:
            taken = min(count, len(free))
            for _ in range(taken):
                pfn, _ = free.popitem(last=False)
                self.order_at[pfn - self._start] = _USED
                blocks.append(pfn)
        else:
            pfn, _ = free.popitem(last=False)
            self.order_at[pfn - self._start] = _USED
            taken = min(count, 1 << (current - order))
            end = pfn + (taken << order)
            blocks.extend(range(pfn, end, 1 << order))
            self.counters[SPLIT] += (
                taken - 1 + self._put_rest(end, pfn + (1 << current), migratetype)
            )
        self.free_pages -= taken << order
        self.counters[ZONE_LOCKED] += taken
        return True

    def _put_rest(self, pfn: int, end: int, migratetype: int) -> int:
        """Put [pfn, end), the upper rest of one block, on the lists; the number of blocks."""
        blocks = 0
        while pfn < end:
            order = min((pfn & -pfn).bit_length() - 1, (end - pfn).bit_length() - 1)
            self._add_head(pfn, order, migratetype)
            pfn += 1 << order
            blocks += 1
        return blocks

    def _add_head(self, pfn: int, order: int, migratetype: int) -> None:
        free = self.lists[order][migratetype]
        free[pfn] = None
        free.move_to_end(pfn, last=False)
        self.order_at[pfn - self._start] = order

    def _remove(self, pfn: int, order: int, migratetype: int) -> None:
        del self.lists[order][migratetype][pfn]
        self.order_at[pfn - self._start] = _USED

    def _split(self, pfn: int, low: int, high: int, migratetype: int) -> None:
        """Give up all but the lowest part of a block (R4.20, expand)."""
        self.counters[SPLIT] += high - low
        for order in range(high - 1, low - 1, -1):
            self._add_head(pfn + (1 << order), order, migratetype)
        self.free_pages -= 1 << low

    def _fallback(self, order: int, migratetype: int) -> int:
        """First fallback type with a free block of this order (R4.24), or -1."""
        row = self.lists[order]
        for other in FALLBACKS[migratetype]:
            if row[other]:
                return int(other)
        return -1

    def _claim(self, order: int, migratetype: int, *, nofragment: bool) -> int:
        """A block by taking over a pageblock (R4.26, __rmqueue_claim), or -1."""
        lowest = order
        if nofragment and order < PAGEBLOCK_ORDER:
            lowest = PAGEBLOCK_ORDER
        elif migratetype == Mt.MOVABLE:
            # should_try_claim_block: a small movable request may steal, but not claim, here.
            lowest = max(order, PAGEBLOCK_ORDER // 2)
        for current in range(MAX_PAGE_ORDER, lowest - 1, -1):
            other = self._fallback(current, migratetype)
            if other < 0:
                continue
            pfn = next(iter(self.lists[current][other]))
            if current >= PAGEBLOCK_ORDER:
                self._remove(pfn, current, other)
                first = (pfn >> PAGEBLOCK_ORDER) - self._first_block
                for block in range(first, first + (1 << (current - PAGEBLOCK_ORDER))):
                    self.types[block] = migratetype
                self._split(pfn, order, current, migratetype)
            else:
                pfn = self._claim_pageblock(pfn, order, migratetype, other)
                if pfn < 0:
                    continue
            self.counters[CLAIM] += 1
            return pfn
        return -1

    def _claim_pageblock(self, pfn: int, order: int, migratetype: int, other: int) -> int:
        """R4.26, try_to_claim_block below pageblock order: a block, or -1 if too few are alike."""
        if self.zone.managed >= 4 * PAGEBLOCK:
            self.counters[BOOST] += 1
        start = pfn & -PAGEBLOCK
        if start < self.zone.start_pfn or start + PAGEBLOCK > self.zone.end_pfn:
            return -1  # prep_move_freepages_block: the pageblock straddles the zone's edge
        orders = self.order_at[start - self._start : start - self._start + PAGEBLOCK]
        blocks = [(start + at, orders[at]) for at in range(PAGEBLOCK) if orders[at] != _USED]
        free = sum(1 << block_order for _, block_order in blocks)
        movable = self.movable(start >> PAGEBLOCK_ORDER)
        if migratetype == Mt.MOVABLE:
            alike = movable
        elif other == Mt.MOVABLE:
            alike = PAGEBLOCK - (free + movable)
        else:
            alike = 0
        if free + alike < PAGEBLOCK // 2:
            self.counters[REFUSED] += 1
            return -1
        for block, block_order in blocks:
            del self.lists[block_order][other][block]
            self.lists[block_order][migratetype][block] = None
        self.types[(start >> PAGEBLOCK_ORDER) - self._first_block] = migratetype
        self.mixed = True
        return self.smallest(order, migratetype)

    def _steal(self, order: int, migratetype: int) -> int:
        """A block of a fallback type whose pageblock stays what it is (R4.27), or -1."""
        for current in range(order, ORDERS):
            other = self._fallback(current, migratetype)
            if other >= 0:
                pfn = next(iter(self.lists[current][other]))
                self._remove(pfn, current, other)
                self._split(pfn, order, current, other)
                self.counters[STEAL] += 1
                self.mixed = True
                return pfn
        return -1

    # -- free

    def free_block(self, pfn: int, order: int) -> None:
        """One block past the pcp lists (R4.23, split_large_buddy), one lock hold."""
        self.counters[ZONE_LOCK] += 1
        part = min(order, PAGEBLOCK_ORDER)
        self._free(range(pfn, pfn + (1 << order), 1 << part), part)

    def drain(self, pfns: Iterable[int], order: int) -> None:
        """Blocks off a pcp list, oldest first (R4.10); the caller holds the lock."""
        self.counters[DRAIN_BLOCKS] += self._free(pfns, order)

    def _free(self, pfns: Iterable[int], order: int) -> int:
        """Merge each block as far as it goes (R4.21); the number of blocks.

        mm/page_alloc.c:__free_one_page (7.2).
        """
        order_at, start, lists = self.order_at, self._start, self.lists
        types, first_block, spanned = self.types, self._first_block, self.zone.spanned
        merges = number = 0
        for first in pfns:
            pfn, current = first, order
            migratetype = types[(pfn >> PAGEBLOCK_ORDER) - first_block]
            while current < MAX_PAGE_ORDER:
                buddy = pfn ^ (1 << current)
                at = buddy - start
                if not 0 <= at < spanned or order_at[at] != current:
                    break
                if current >= PAGEBLOCK_ORDER:
                    block = (buddy >> PAGEBLOCK_ORDER) - first_block
                    other = types[block]
                    if other != migratetype and (migratetype >= PCP_TYPES or other >= PCP_TYPES):
                        break
                    del lists[current][other][buddy]
                    types[block] = migratetype
                else:
                    del lists[current][migratetype][buddy]
                order_at[at] = _USED
                merges += 1
                pfn &= buddy
                current += 1
            free = lists[current][migratetype]
            free[pfn] = None
            order_at[pfn - start] = current
            if not self._merge_likely(pfn, current):
                free.move_to_end(pfn, last=False)
            number += 1
        self.counters[MERGE] += merges
        self.free_pages += number << order
        return number

    def _merge_likely(self, pfn: int, order: int) -> bool:
        """R4.22, buddy_merge_likely: the block goes to the tail if its next merge has a buddy."""
        if order >= MAX_PAGE_ORDER - 1:
            return False
        at = (pfn & ~(1 << order) ^ (1 << (order + 1))) - self._start
        return 0 <= at < self.zone.spanned and self.order_at[at] == order + 1
