"""The page allocator, one event at a time: R4.1 - R4.14 above the buddy of tests/oracle/buddy.py.

Plain Python, to be read beside docs/rules.md. A pcp list is a deque: left end = list head.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from allocsim.page_alloc.paths import PagePath, Pressure
from allocsim.page_alloc.zones import MachineZones, Mt, PageRules, PcpNumbers
from tests.oracle.buddy import PAGEBLOCK_ORDER, Buddy

CHUNK = 1024
BULK = 1  # flag: alloc_pages_bulk (R4.14)
ATOMIC = 2  # flag: cannot sleep, may use reserves (ALLOC_HIGHATOMIC on the slow path, order > 0)
NO_RECLAIM = 4  # flag: fails below the min watermark (allocate_slab's preferred order, R3.7)


def kernel_clamp(value: int, low: int, high: int) -> int:
    """include/linux/minmax.h:__clamp; the order of tests matters where low > high."""
    if value >= high:
        return high
    return max(low, value)


@dataclass
class Outcome:
    path: PagePath
    pfn: int = -1
    pressure: Pressure = Pressure.NONE


@dataclass(frozen=True)
class Request:
    cpu: int
    order: int
    migratetype: int
    highest: int
    flags: int


class Pcp:
    """struct per_cpu_pages of one CPU in one zone."""

    def __init__(self, buddy: Buddy, numbers: PcpNumbers, rules: PageRules) -> None:
        self.buddy = buddy
        self.batch = numbers.batch
        self.high_min, self.high_max = numbers.high_min, numbers.high_max
        self.rules = rules
        self.lists: list[deque[int]] = [deque() for _ in range(14)]
        self.count = 0
        self.high = numbers.high  # R4.12: starts at 0, clamped up on first use
        if self.high:
            self.clamp_high()
        self.alloc_factor = 0
        self.free_count = 0
        self.prev_free_high_order = False

    def clamp_high(self) -> None:
        self.high = min(max(self.high, self.high_min), self.high_max)

    def nr_alloc(self, order: int, *, below_high: bool) -> int:
        """R4.5: blocks to fetch."""
        self.clamp_high()
        if self.high < self.batch:
            return 1
        n = self.batch << self.alloc_factor if order == 0 else self.batch
        if self.high_min != self.high_max and not below_high:
            self.high = min(self.high + n, self.high_max)
        if order == 0:
            limit = max(self.high - self.count - self.batch, self.batch)
            if n <= limit and self.alloc_factor < self.rules.scale_max:
                self.alloc_factor += 1
            n = min(n, limit)
        return max(n >> order, 2) if n > 1 else n

    def nr_high(self, *, free_high: bool, below_high: bool) -> int:
        """R4.8; the zone under reclaim is outside the model."""
        self.clamp_high()
        high = self.high
        if free_high:
            self.high = max(high - (self.batch << self.rules.scale_max), self.high_min)
            return 0
        if self.high_min == self.high_max:
            return high
        if below_high:
            self.high = max(high - max(self.free_count, self.batch), self.high_min)
            return max(self.count, self.high_min)
        if self.count >= high and high < self.free_count + self.batch:
            self.high = min(max(self.free_count + self.batch, self.high_min), self.high_max)
        return high

    def nr_free(self, high: int, *, free_high: bool) -> int:
        """R4.9."""
        if free_high:
            return min(self.count, self.batch << self.rules.scale_max)
        if high < self.batch:
            return 1
        return kernel_clamp(self.free_count, self.batch, high - self.batch)

    def drain(self, pages: int, start: int) -> None:
        """R4.10, free_pcppages_bulk: one hold of zone->lock."""
        self.buddy.count["zone_lock"] += 1
        self.buddy.count["pcp_drain"] += 1
        pages = min(pages, self.count)
        index = start
        while pages > 0:
            while not self.lists[index]:
                index = (index + 1) % 14
            order = index // 3 if index < 12 else PAGEBLOCK_ORDER
            while pages > 0 and self.lists[index]:
                pfn = self.lists[index].pop()
                pages -= 1 << order
                self.count -= 1 << order
                migratetype = self.buddy.type_of(pfn)
                self.buddy.free_one(pfn, order, migratetype)
                self.buddy.count["pcp_drain_blocks"] += 1
                self.buddy.log.append(("drain", pfn, order, migratetype))
            index = (index + 1) % 14

    def drain_all(self, pages: int, start: int) -> None:
        """R4.7: in chunks of batch (7.2) or under one hold (6.12)."""
        while pages > 0 and self.count > 0:
            part = min(pages, self.batch) if self.rules.drain_in_batches else pages
            self.drain(part, start)
            pages -= part


class PageAllocator:
    """All zones and all CPUs; `event` is the one thing to call."""

    def __init__(self, machine: MachineZones) -> None:
        self.machine = machine
        self.rules = machine.rules
        self.classes = len(machine.zones) // machine.memory_nodes.count  # zones of a node
        self.zones = [Buddy(machine, index) for index in range(len(machine.zones))]
        self.pcps = [
            [Pcp(buddy, zone.pcp[cpu], self.rules) for cpu in range(machine.cpus)]
            if zone.managed
            else []
            for buddy, zone in zip(self.zones, machine.zones, strict=True)
        ]
        for z, state in enumerate(machine.states):
            for cpu, index, blocks in state.lists:
                order = index // 3 if index < 12 else PAGEBLOCK_ORDER
                self.pcps[z][cpu].lists[index].extend(blocks)
                self.pcps[z][cpu].count += len(blocks) << order
                self.pcps[z][cpu].clamp_high()  # it has been used before
        self.below_high = [False] * len(self.zones)  # ZONE_BELOW_HIGH
        self.live: dict[int, list] = {}  # page handle -> [pfn, pages left, movable?]
        self.prior_chunks = [list(state.prior) for state in machine.states]
        self.prior_slots: dict[int, tuple[int, int]] = {}  # order -> (next pfn, end) in its chunk

    @property
    def counters(self) -> Counter[str]:
        return sum((zone.count for zone in self.zones), Counter())

    def event(
        self,
        cpu: int,
        op: int,
        page: int = 0,
        order: int = 0,
        migratetype: int = Mt.UNMOVABLE,
        *,
        highest: int | None = None,
        flags: int = 0,
        offset: int = 0,
    ) -> Outcome:
        """op +1 allocates, -1 frees, 0 is the vmstat worker's turn on this CPU (R4.13)."""
        if op > 0:
            highest = len(self.zones) - 1 if highest is None else highest
            return self._alloc(page, Request(cpu, order, migratetype, highest, flags))
        if op < 0:
            return self._free(cpu, page, order, offset)
        for z in range(len(self.zones)):
            if self.pcps[z]:
                self._decay(z, cpu)
        return Outcome(PagePath.DECAY)

    # -- allocation

    def pindex(self, order: int, migratetype: int) -> int | None:
        """R4.1: which pcp list, or None for the orders that have none."""
        if order <= 3:
            return 3 * order + migratetype
        if order == PAGEBLOCK_ORDER and self.rules.thp:
            return 13 if migratetype == Mt.MOVABLE else 12
        return None

    def watermark_ok(self, z: int, order: int, mark: int, highest: int) -> bool:
        """R4.29, zone_watermark_fast, __zone_watermark_ok."""
        buddy = self.zones[z]
        unusable = (1 << order) - 1
        for o, lists in enumerate(buddy.lists):
            unusable += len(lists[Mt.HIGHATOMIC]) << o
        if buddy.free_pages - unusable <= mark + buddy.zone.protection[highest % self.classes]:
            return False
        if order == 0:
            return True
        return any(buddy.lists[o][t] for o in range(order, 11) for t in range(3))

    def _alloc(self, page: int, request: Request) -> Outcome:
        for pressure in Pressure:
            if pressure == Pressure.RECLAIM and request.flags & NO_RECLAIM:
                break  # __alloc_pages_slowpath: the caller is not willing to reclaim
            found = self._from_freelist(request, pressure)
            if found is not None:
                path, pfn = found
                movable = request.migratetype == Mt.MOVABLE
                self.live[page] = [pfn, 1 << request.order, movable]
                if movable:
                    self._count_movable(pfn, 1 << request.order)
                return Outcome(path, pfn, pressure)
        self.live[page] = [-1, 1 << request.order, False]
        return Outcome(PagePath.NO_BLOCK, -1, Pressure.RECLAIM)

    def zonelist(self, highest: int) -> list[int]:
        """R4.35: a node's zones from the highest downwards, then those of the next node."""
        node, top = divmod(highest, self.classes)
        return [
            z
            for near in self.machine.memory_nodes.near[node]
            for z in range(near * self.classes + top, near * self.classes - 1, -1)
            if self.machine.zones[z].managed
        ]

    def _from_freelist(self, request: Request, pressure: Pressure) -> tuple[PagePath, int] | None:
        """get_page_from_freelist: R4.28, R4.29."""
        order, highest = request.order, request.highest
        zonelist = self.zonelist(highest)
        first = pressure == Pressure.NONE
        nofragment = first and bool(zonelist) and zonelist[0] in self.machine.normal
        for keep in (True, False) if nofragment else (False,):
            for z in zonelist:
                if keep and z // self.classes != zonelist[0] // self.classes:
                    break  # locality is worth more than little fragmentation
                zone = self.machine.zones[z]
                if self.below_high[z] or not self.watermark_ok(z, order, zone.wmark_high, highest):
                    self.below_high[z] = True
                    mark = {Pressure.NONE: zone.wmark_low, Pressure.KSWAPD: zone.wmark_min}
                    if pressure in mark and not self.watermark_ok(
                        z, order, mark[pressure], highest
                    ):
                        continue
                found = self._rmqueue(z, request, nofragment=keep, first=first)
                if found is not None:
                    return found
        return None

    def _rmqueue(
        self, z: int, request: Request, *, nofragment: bool, first: bool
    ) -> tuple[PagePath, int] | None:
        """rmqueue: R4.3 - R4.6, then the buddy."""
        buddy = self.zones[z]
        order, migratetype = request.order, request.migratetype
        highatomic = not first and order > 0 and bool(request.flags & ATOMIC)
        index = self.pindex(order, migratetype)
        if index is not None:
            pcp = self.pcps[z][request.cpu]
            if not request.flags & BULK:
                pcp.free_count >>= 1
            path = PagePath.HIT
            if not pcp.lists[index]:
                n = pcp.nr_alloc(order, below_high=self.below_high[z])
                if not (highatomic and self.rules.atomic_past_lists):
                    path = self._rmqueue_bulk(pcp, request, n, nofragment=nofragment)
            if pcp.lists[index]:
                pcp.count -= 1 << order
                return path, pcp.lists[index].popleft()
        buddy.count["zone_lock"] += 1
        if highatomic:
            pfn = buddy.smallest(order, Mt.HIGHATOMIC)
            if pfn is not None:
                return PagePath.BUDDY, pfn
        before = buddy.count["claim"], buddy.count["steal"]
        pfn, _ = buddy.rmqueue(order, migratetype, "own", nofragment=nofragment)
        if pfn is None:
            return None
        return self._fallback_path(buddy, before, PagePath.BUDDY), pfn

    def _rmqueue_bulk(self, pcp: Pcp, request: Request, n: int, *, nofragment: bool) -> PagePath:
        """R4.4: blocks go to the tail, so they are handed out in the order fetched."""
        buddy, order = pcp.buddy, request.order
        pages = pcp.lists[self.pindex(order, request.migratetype)]
        buddy.count["zone_lock"] += 1
        before = buddy.count["claim"], buddy.count["steal"]
        mode = "own"
        fetched = 0
        while fetched < n:
            pfn, mode = buddy.rmqueue(order, request.migratetype, mode, nofragment=nofragment)
            if pfn is None:
                break
            pages.append(pfn)
            fetched += 1
        pcp.count += fetched << order
        if fetched:
            buddy.count["pcp_refill"] += 1
            buddy.count["pcp_refill_blocks"] += fetched
        return self._fallback_path(buddy, before, PagePath.REFILL)

    @staticmethod
    def _fallback_path(buddy: Buddy, before: tuple[int, int], own: PagePath) -> PagePath:
        """REFILL or BUDDY, or what follows it for a claim, or for a steal."""
        if buddy.count["steal"] > before[1]:
            return PagePath(own + 2)
        return PagePath(own + 1) if buddy.count["claim"] > before[0] else own

    # -- free

    def _free(self, cpu: int, page: int, order: int, offset: int) -> Outcome:
        if page in self.live:
            life = self.live[page]
            life[1] -= 1 << order
            if life[1] <= 0:
                del self.live[page]
            if life[0] < 0:  # its allocation failed here, so there is nothing to free
                return Outcome(PagePath.UNPLACED)
            pfn = life[0] + offset
            if life[2]:
                self._count_movable(pfn, -(1 << order))
        else:
            pfn = self._prior_page(order)
            if pfn is None:
                return Outcome(PagePath.UNPLACED)
        z = next(
            z for z, zone in enumerate(self.machine.zones) if zone.start_pfn <= pfn < zone.end_pfn
        )
        buddy = self.zones[z]
        index = self.pindex(order, min(buddy.type_of(pfn), Mt.HIGHATOMIC))
        if index is None:
            buddy.count["zone_lock"] += 1
            buddy.free_block(pfn, order)
            return Outcome(PagePath.BUDDY_FREE, pfn)
        if buddy.type_of(pfn) >= 3:  # R4.2: HIGHATOMIC goes on the movable list
            index = self.pindex(order, Mt.MOVABLE)
        return self._commit(z, cpu, pfn, order, index)

    def _commit(self, z: int, cpu: int, pfn: int, order: int, index: int) -> Outcome:
        """R4.6 - R4.10, free_frozen_page_commit."""
        pcp = self.pcps[z][cpu]
        pcp.alloc_factor >>= 1
        pcp.lists[index].appendleft(pfn)
        pcp.count += 1 << order
        free_high = False
        if 1 <= order <= 3:
            threshold = pcp.batch + (pcp.high_min // 2 if self.rules.free_high_half else 0)
            free_high = (
                pcp.free_count >= threshold
                and pcp.prev_free_high_order
                and (not self.rules.free_high_batch or pcp.count >= pcp.batch)
            )
        pcp.prev_free_high_order = 1 <= order <= 3
        if pcp.free_count < pcp.batch << self.rules.scale_max:
            pcp.free_count += 1 << order
        high = pcp.nr_high(free_high=free_high, below_high=self.below_high[z])
        if pcp.count < high:
            return Outcome(PagePath.PUSH, pfn)
        pcp.drain_all(pcp.nr_free(high, free_high=free_high), index)
        zone = self.machine.zones[z]
        if self.below_high[z] and self.watermark_ok(
            z, 0, zone.wmark_high, len(zone.protection) - 1
        ):
            self.below_high[z] = False
        return Outcome(PagePath.DRAIN, pfn)

    def _decay(self, z: int, cpu: int) -> None:
        """R4.13, decay_pcp_high."""
        pcp = self.pcps[z][cpu]
        if pcp.high > pcp.high_min:
            pcp.high = max(
                pcp.count - (pcp.batch << self.rules.scale_max),
                pcp.high - pcp.high // 8,
                pcp.high_min,
            )
        pcp.drain_all(pcp.count - pcp.high, 0)

    # -- pages

    def _count_movable(self, pfn: int, pages: int) -> None:
        """Movable pages per pageblock (R4.26): pages of movable requests, as far as traced."""
        zone = next(b for b in self.zones if b.zone.start_pfn <= pfn < b.zone.end_pfn)
        sign = 1 if pages > 0 else -1
        for p in range(pfn, pfn + abs(pages)):
            zone.movable_pages[p >> PAGEBLOCK_ORDER] += sign

    def _prior_page(self, order: int) -> int | None:
        """A used page from before the trace (assumed place).

        Each order takes its pages in ascending order out of chunks of 1024 pages; a new chunk is
        the next of the highest zone that has one left.
        """
        pfn, end = self.prior_slots.get(order, (0, 0))
        if pfn == end:
            for z in reversed(range(len(self.zones))):
                if self.prior_chunks[z]:
                    pfn = self.prior_chunks[z].pop(0)
                    end = pfn + CHUNK
                    break
            else:
                return None
        self.prior_slots[order] = (pfn + (1 << order), end)
        return pfn
