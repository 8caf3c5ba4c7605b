"""The buddy of one zone, one block at a time: R4.20 - R4.27, read beside mm/page_alloc.c (7.2).

Plain Python, to be read beside docs/rules.md. The free lists are OrderedDicts: first entry
= list head.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from allocsim.page_alloc.zones import FALLBACKS, PCP_TYPES, TYPES, MachineZones, Mt

MAX_ORDER = 10
PAGEBLOCK_ORDER = 9
PAGEBLOCK = 512


class Buddy:
    """Free lists per order and type, pageblock types, and the counters of one zone."""

    def __init__(self, machine: MachineZones, index: int) -> None:
        self.zone = machine.zones[index]
        state = machine.states[index]
        self.free_pages = 0
        self.lists: list[list[OrderedDict[int, None]]] = [
            [OrderedDict() for _ in range(TYPES)] for _ in range(MAX_ORDER + 1)
        ]
        self.order_of: dict[int, int] = {}  # first pfn of each free block -> order
        self.first_block = self.zone.start_pfn >> PAGEBLOCK_ORDER
        self.types = list(state.block_types)
        self.movable_pages: Counter[int] = Counter()  # live movable pages, by pageblock
        self.count: Counter[str] = Counter()
        self.log: list[tuple[str | int, ...]] = []
        for pfn, order in state.free:
            self._add(pfn, order, self.type_of(pfn), tail=True)
            self.free_pages += 1 << order

    # -- pageblocks and lists

    def type_of(self, pfn: int) -> int:
        return self.types[(pfn >> PAGEBLOCK_ORDER) - self.first_block]

    def set_type(self, pfn: int, migratetype: int) -> None:
        self.types[(pfn >> PAGEBLOCK_ORDER) - self.first_block] = migratetype

    def _add(self, pfn: int, order: int, migratetype: int, *, tail: bool) -> None:
        self.lists[order][migratetype][pfn] = None
        if not tail:
            self.lists[order][migratetype].move_to_end(pfn, last=False)
        self.order_of[pfn] = order

    def _remove(self, pfn: int, order: int, migratetype: int) -> None:
        del self.lists[order][migratetype][pfn]
        del self.order_of[pfn]

    def _head(self, order: int, migratetype: int) -> int:
        return next(iter(self.lists[order][migratetype]))

    # -- allocation

    def _take(self, pfn: int, low: int, high: int, migratetype: int) -> None:
        """page_del_and_expand: keep the lower part, upper halves to the head (R4.20)."""
        self._remove(pfn, high, migratetype)
        self._expand(pfn, low, high, migratetype)

    def _expand(self, pfn: int, low: int, high: int, migratetype: int) -> None:
        while high > low:
            high -= 1
            self._add(pfn + (1 << high), high, migratetype, tail=False)
            self.count["split"] += 1

    def smallest(self, order: int, migratetype: int) -> int | None:
        """R4.20, __rmqueue_smallest."""
        for current in range(order, MAX_ORDER + 1):
            if self.lists[current][migratetype]:
                pfn = self._head(current, migratetype)
                self._take(pfn, order, current, migratetype)
                self.free_pages -= 1 << order
                self.count["zone_locked"] += 1
                self.log.append(("zone_locked", pfn, order, migratetype))
                return pfn
        return None

    def _fallback(self, order: int, migratetype: int) -> int | None:
        """R4.24, find_suitable_fallback."""
        for other in FALLBACKS[migratetype]:
            if self.lists[order][other]:
                return int(other)
        return None

    def claim(self, order: int, migratetype: int, *, nofragment: bool) -> int | None:
        """R4.26, __rmqueue_claim."""
        lowest = PAGEBLOCK_ORDER if nofragment and order < PAGEBLOCK_ORDER else order
        for current in range(MAX_ORDER, lowest - 1, -1):
            if current < PAGEBLOCK_ORDER // 2 and migratetype == Mt.MOVABLE:
                break  # too low to claim: should_try_claim_block
            other = self._fallback(current, migratetype)
            if other is None:
                continue
            pfn = self._try_to_claim(self._head(current, other), current, order, migratetype, other)
            if pfn is not None:
                self.count["claim"] += 1
                self.log.append(("extfrag", pfn, order, current, migratetype, other))
                return pfn
        return None

    def _try_to_claim(
        self, pfn: int, current: int, order: int, migratetype: int, other: int
    ) -> int | None:
        """R4.26, try_to_claim_block."""
        if current >= PAGEBLOCK_ORDER:
            self._remove(pfn, current, other)
            for block in range(pfn, pfn + (1 << current), PAGEBLOCK):
                self.set_type(block, migratetype)
            self._expand(pfn, order, current, migratetype)
            self.free_pages -= 1 << order
            return pfn
        if self.zone.managed >= 4 * PAGEBLOCK:
            self.count["boost"] += 1
        start = pfn & ~(PAGEBLOCK - 1)
        if start < self.zone.start_pfn or start + PAGEBLOCK > self.zone.end_pfn:
            return None  # the pageblock straddles the zone's edge
        blocks = [p for p in range(start, start + PAGEBLOCK) if p in self.order_of]
        free = sum(1 << self.order_of[p] for p in blocks)
        movable = self.movable_pages[start >> PAGEBLOCK_ORDER]
        if migratetype == Mt.MOVABLE:
            alike = movable
        elif other == Mt.MOVABLE:
            alike = PAGEBLOCK - (free + movable)
        else:
            alike = 0
        if free + alike < PAGEBLOCK // 2:
            self.count["claim_refused"] += 1
            return None
        for block in blocks:
            block_order = self.order_of[block]
            self._remove(block, block_order, other)
            self._add(block, block_order, migratetype, tail=True)
        self.set_type(start, migratetype)
        return self.smallest(order, migratetype)

    def steal(self, order: int, migratetype: int) -> int | None:
        """R4.27, __rmqueue_steal."""
        for current in range(order, MAX_ORDER + 1):
            other = self._fallback(current, migratetype)
            if other is not None:
                pfn = self._head(current, other)
                self._take(pfn, order, current, other)
                self.free_pages -= 1 << order
                self.count["steal"] += 1
                self.log.append(("extfrag", pfn, order, current, migratetype, other))
                return pfn
        return None

    def rmqueue(
        self, order: int, migratetype: int, mode: str, *, nofragment: bool
    ) -> tuple[int | None, str]:
        """R4.25, __rmqueue: the block, and the mode for the next one ("own" or "steal")."""
        if mode == "own":
            pfn = self.smallest(order, migratetype)
            if pfn is not None:
                return pfn, "own"
            pfn = self.claim(order, migratetype, nofragment=nofragment)
            if pfn is not None:
                return pfn, "own"
        if not nofragment:
            pfn = self.steal(order, migratetype)
            if pfn is not None:
                return pfn, "steal"
        return None, mode

    # -- free

    def free_block(self, pfn: int, order: int) -> None:
        """R4.23, split_large_buddy: by pageblocks, each merging by itself."""
        part = min(order, PAGEBLOCK_ORDER)
        for first in range(pfn, pfn + (1 << order), 1 << part):
            self.free_one(first, part, self.type_of(first))

    def free_one(self, pfn: int, order: int, migratetype: int) -> None:
        """R4.21, R4.22, __free_one_page."""
        self.free_pages += 1 << order
        while order < MAX_ORDER:
            buddy = pfn ^ (1 << order)
            if self.order_of.get(buddy) != order:
                break
            if order >= PAGEBLOCK_ORDER:
                buddy_type = self.type_of(buddy)
                if buddy_type != migratetype and (
                    migratetype >= PCP_TYPES or buddy_type >= PCP_TYPES
                ):
                    break
                self._remove(buddy, order, buddy_type)
                self.set_type(buddy, migratetype)
            else:
                self._remove(buddy, order, migratetype)
            self.count["merge"] += 1
            pfn &= buddy
            order += 1
        self._add(pfn, order, migratetype, tail=self._merge_likely(pfn, order))

    def _merge_likely(self, pfn: int, order: int) -> bool:
        """R4.22, buddy_merge_likely: is the buddy of the next higher merge already free?"""
        if order >= MAX_ORDER - 1:
            return False
        higher = pfn & ~(1 << order)
        return self.order_of.get(higher ^ (1 << (order + 1))) == order + 1
