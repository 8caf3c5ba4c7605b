"""Zones and CPUs put together: which zone serves a request, and what one event does (R4.28, R4.29).

The state of the simulated page allocator and its one-event operations. The replay calls these for
the events that change anything beyond the top of one page list; allocsim.page_alloc.batch skips
over the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from allocsim.page_alloc.buddy import CLAIM, REFILL_BLOCKS, REFILLS, STEAL, ZONE_LOCK, Buddy
from allocsim.page_alloc.owning_pcp import OwningPcp
from allocsim.page_alloc.paths import PagePath, Pressure
from allocsim.page_alloc.pcp import NO_LIST, Pcp, list_index
from allocsim.page_alloc.zones import ORDERS, PAGEBLOCK_ORDER, TYPES, Mt

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocsim.page_alloc.zones import MachineZones


BULK = 1  #: flag: off alloc_pages_bulk (R4.14): does not halve free_count
ATOMIC = 2  #: flag: cannot sleep; high orders may use the reserve once below low (R4.4)
NO_RECLAIM = 4  #: flag: fails below min: the order a slab prefers to its fallback order (R3.7)

_MARKS = ("wmark_low", "wmark_min", None)  # per Pressure


class Request(NamedTuple):
    """What an allocation asks for; ``highest`` is the highest zone it may come from."""

    cpu: int
    order: int
    migratetype: int
    highest: int
    flags: int


class PageAllocator:
    """Zones, pcp lists and flags.

    Args:
        machine: zones and what is free at the start.
        movable: live movable pages in the pageblock of a number, pfn >> 9 (R4.26).
        touch: called with zone and CPU before a pcp list is looked at.
    """

    def __init__(
        self,
        machine: MachineZones,
        movable: Callable[[int], int],
        touch: Callable[[int, int], None],
    ) -> None:
        self.machine = machine
        self.zones = machine.zones
        self._touch = touch

        self.buddies = [
            Buddy(zone, state, movable)
            for zone, state in zip(machine.zones, machine.states, strict=True)
        ]
        #: Owner of each owned page block (R4.34), by zone.
        self.owners: list[dict[int, int]] = [{} for _ in machine.zones]
        self.pcps = [
            [self._pcp(z, cpu) for cpu in range(machine.cpus)] if zone.managed else []
            for z, zone in enumerate(machine.zones)
        ]
        for pcps, state in zip(self.pcps, machine.states, strict=True):
            for cpu, index, blocks in state.lists:
                pcps[cpu].start_with(index, blocks)
        classes, near = machine.classes, machine.memory_nodes.near
        self._zonelists = [
            [
                z
                for node in near[highest // classes]
                for z in range(node * classes + highest % classes, node * classes - 1, -1)
                if self.zones[z].managed
            ]
            for highest in range(len(machine.zones))
        ]
        self.below_high = [False] * len(machine.zones)
        self.lists = [
            [list_index(order, kind, thp=machine.rules.thp) for kind in range(TYPES)]
            for order in range(ORDERS)
        ]

    def _pcp(self, z: int, cpu: int) -> Pcp:
        buddy, numbers, rules = self.buddies[z], self.zones[z].pcp[cpu], self.machine.rules
        if rules.own_blocks:
            return OwningPcp(buddy, numbers, rules, cpu, self.owners[z])
        return Pcp(buddy, numbers, rules)

    def zonelist(self, highest: int) -> list[int]:
        """Zones a request may come from, the preferred one first (R4.35)."""
        return self._zonelists[highest]

    def zone_of(self, pfn: int) -> int:
        """The zone a page lies in.

        Raises:
            ValueError: none of them has it.
        """
        for z, zone in enumerate(self.zones):
            if zone.start_pfn <= pfn < zone.end_pfn:
                return z
        raise ValueError(f"pfn {pfn} lies in no zone")

    # -- watermarks

    def watermark_ok(self, z: int, order: int, mark: int, highest: int) -> bool:
        """Would this zone be used at this watermark (R4.29)?

        mm/page_alloc.c:zone_watermark_fast, __zone_watermark_ok. Free pages are exact here; the
        kernel's own count lags by up to the vm stats threshold of each CPU.
        """
        buddy = self.buddies[z]
        kept = self.zones[z].protection[highest % self.machine.classes]
        if buddy.usable_pages() - ((1 << order) - 1) <= mark + kept:
            return False
        return order == 0 or self.has_block(buddy, order)

    @staticmethod
    def has_block(buddy: Buddy, order: int) -> bool:
        """Is a block of this order or more free for anyone?"""
        return any(row[0] or row[1] or row[2] for row in reversed(buddy.lists[order:]))

    def route(self, order: int, highest: int) -> int:
        """The zone a request is sure to try first and to be let into, or -1.

        -1: no zone is above its low watermark, or trying would set ZONE_BELOW_HIGH somewhere.
        """
        for z in self.zonelist(highest):
            zone = self.zones[z]
            if not self.below_high[z]:
                return z if self.watermark_ok(z, order, zone.wmark_high, highest) else -1
            if self.watermark_ok(z, order, zone.wmark_high, highest):
                return z
            if self.watermark_ok(z, order, zone.wmark_low, highest):
                return z
        return -1

    # -- one event

    def allocate(self, request: Request) -> tuple[int, int, int]:
        """Serve one request: path, pfn (-1: failed), pressure.

        R4.29: first above low, then above min (kswapd would run), then from whatever there is
        (the kernel would reclaim first). mm/page_alloc.c:__alloc_frozen_pages_noprof,
        __alloc_pages_slowpath (7.2).
        """
        for pressure in Pressure:
            if pressure == Pressure.RECLAIM and request.flags & NO_RECLAIM:
                break
            found = self._from_freelist(request, pressure)
            if found is not None:
                return found[0], found[1], pressure
        return PagePath.NO_BLOCK, -1, Pressure.RECLAIM

    def _from_freelist(self, request: Request, pressure: Pressure) -> tuple[int, int] | None:
        """mm/page_alloc.c:get_page_from_freelist: zones in turn; R4.28's pass comes first.

        That pass does not leave the preferred node (R4.35).
        """
        order, highest = request.order, request.highest
        zonelist = self.zonelist(highest)
        nofragment = (
            pressure == Pressure.NONE and bool(zonelist) and zonelist[0] in self.machine.normal
        )
        for keep in (True, False) if nofragment else (False,):
            for z in zonelist:
                if keep and z // self.machine.classes != zonelist[0] // self.machine.classes:
                    break  # locality is worth more than little fragmentation
                zone = self.zones[z]
                if self.below_high[z] or not self.watermark_ok(z, order, zone.wmark_high, highest):
                    self.below_high[z] = True
                    mark = _MARKS[pressure]
                    if mark is not None and not self.watermark_ok(
                        z, order, getattr(zone, mark), highest
                    ):
                        continue
                found = self._rmqueue(z, request, nofragment=keep, slow=pressure > 0)
                if found is not None:
                    return found
        return None

    def _rmqueue(
        self, z: int, request: Request, *, nofragment: bool, slow: bool
    ) -> tuple[int, int] | None:
        """From the zone's pcp list, refilled if need be, else from its buddy (R4.3 - R4.6).

        mm/page_alloc.c:rmqueue, rmqueue_pcplist, __rmqueue_pcplist, rmqueue_buddy (7.2).
        """
        cpu, order, migratetype, _, flags = request
        buddy = self.buddies[z]
        highatomic = slow and order > 0 and bool(flags & ATOMIC)
        index = self.lists[order][migratetype]
        if index != NO_LIST:
            self._touch(z, cpu)
            pcp = self.pcps[z][cpu]
            if not flags & BULK:
                pcp.free_count >>= 1
            if isinstance(pcp, OwningPcp):
                return self._owned(z, pcp, request, nofragment=nofragment)
            pages = pcp.lists[index]
            path = int(PagePath.HIT)
            if not len(pages):
                wanted = pcp.refill_blocks(order, below_high=self.below_high[z])
                if not (highatomic and self.machine.rules.atomic_past_lists):
                    path = self._refill(pcp, index, migratetype, wanted, nofragment=nofragment)
            if len(pages):
                pcp.count -= 1 << order
                return path, pages.pop()
        if highatomic:
            pfn = buddy.smallest(order, Mt.HIGHATOMIC)
            if pfn >= 0:
                buddy.counters[ZONE_LOCK] += 1
                return PagePath.BUDDY, pfn
        before = buddy.counters[CLAIM], buddy.counters[STEAL]
        blocks = buddy.fetch(order, migratetype, 1, nofragment=nofragment)
        if not blocks:
            return None
        return self._how(buddy, before, PagePath.BUDDY), blocks[0]

    def _owned(
        self, z: int, pcp: OwningPcp, request: Request, *, nofragment: bool
    ) -> tuple[int, int] | None:
        """Off lists that own page blocks (R4.34)."""
        order, migratetype = request.order, request.migratetype
        pfn = pcp.take(order, migratetype)
        if pfn >= 0:
            return PagePath.HIT, pfn
        before = pcp.buddy.counters[CLAIM], pcp.buddy.counters[STEAL]
        wanted = pcp.refill_blocks(order, below_high=self.below_high[z]) << order
        pcp.fill(order, migratetype, wanted, nofragment=nofragment)
        pfn = pcp.take(order, migratetype)
        return (self._how(pcp.buddy, before, PagePath.REFILL), pfn) if pfn >= 0 else None

    def _refill(
        self, pcp: Pcp, index: int, migratetype: int, wanted: int, *, nofragment: bool
    ) -> int:
        buddy = pcp.buddy
        before = buddy.counters[CLAIM], buddy.counters[STEAL]
        pages = pcp.lists[index]
        blocks = buddy.fetch(pages.order, migratetype, wanted, nofragment=nofragment)
        if blocks:
            pages.refill(blocks)
            pcp.count += len(blocks) << pages.order
            buddy.counters[REFILLS] += 1
            buddy.counters[REFILL_BLOCKS] += len(blocks)
        return self._how(buddy, before, PagePath.REFILL)

    @staticmethod
    def _how(buddy: Buddy, before: tuple[int, int], own: PagePath) -> int:
        """``own``, or the path behind it for a claim, or for a steal."""
        if buddy.counters[STEAL] > before[1]:
            return own + 2
        return own + (buddy.counters[CLAIM] > before[0])

    def free(self, cpu: int, pfn: int, order: int) -> int:
        """Free one block; the path."""
        z = self.zone_of(pfn)
        buddy = self.buddies[z]
        index = self.lists[order][buddy.type_of(pfn)]
        if index == NO_LIST:
            buddy.free_block(pfn, order)
            return PagePath.BUDDY_FREE
        cpu = self.owners[z].get(pfn >> PAGEBLOCK_ORDER, cpu)
        self._touch(z, cpu)
        pcp = self.pcps[z][cpu]
        if isinstance(pcp, OwningPcp):
            pcp.put(pfn, order)
        else:
            pcp.lists[index].push(pfn)
            pcp.count += 1 << order
        return self.freed(z, cpu, order, index)

    def freed(self, z: int, cpu: int, order: int, index: int) -> int:
        """What follows once a block has been put on list ``index`` and counted; the path."""
        if not self.pcps[z][cpu].freed(order, index, below_high=self.below_high[z]):
            return PagePath.PUSH
        zone = self.zones[z]
        if self.below_high[z] and self.watermark_ok(
            z, 0, zone.wmark_high, len(zone.protection) - 1
        ):
            self.below_high[z] = False
        return PagePath.DRAIN

    def decay(self, cpu: int) -> None:
        """The vmstat worker's turn on one CPU (R4.13)."""
        for z, pcps in enumerate(self.pcps):
            if pcps:
                self._touch(z, cpu)
                pcps[cpu].decay()
