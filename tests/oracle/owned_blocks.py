"""Page lists that own page blocks, one block at a time: the proposal R4.34.

Plain Python, to be read beside docs/rules.md. What lies on a CPU's lists is one list of blocks in
the order in which they came.
"""

from __future__ import annotations

from dataclasses import dataclass

from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.zones import MachineZones, Mt, PageRules, PcpNumbers
from tests.oracle.buddy import PAGEBLOCK_ORDER, Buddy
from tests.oracle.page_lists import BULK, Outcome, PageAllocator, Pcp, Request


@dataclass
class Block:
    pfn: int
    order: int
    kind: int
    owned: bool


class OwningPcp(Pcp):
    """The lists of one CPU in one zone; ``owners``, page block -> CPU, is shared by all CPUs."""

    def __init__(
        self, buddy: Buddy, numbers: PcpNumbers, rules: PageRules, cpu: int, owners: dict[int, int]
    ) -> None:
        super().__init__(buddy, numbers, rules)
        self.cpu, self.owners = cpu, owners
        self.blocks: list[Block] = []
        self.given: list[int] = []  # owned page blocks with parts in the buddy

    @staticmethod
    def kind_of(migratetype: int) -> int:
        return migratetype if migratetype < 3 else Mt.MOVABLE

    def put(self, pfn: int, order: int, migratetype: int, *, owned: bool) -> None:
        self.blocks.append(Block(pfn, order, self.kind_of(migratetype), owned))
        self.count += 1 << order

    def freed(self, pfn: int, order: int) -> None:
        owned = self.owners.get(pfn >> PAGEBLOCK_ORDER) == self.cpu
        self.put(pfn, order, self.buddy.type_of(pfn), owned=owned)

    def take(self, order: int, migratetype: int) -> int | None:
        """The last block of the least order that has one; its upper halves stay."""
        able = [
            block
            for block in self.blocks
            if block.order >= order and block.kind == self.kind_of(migratetype)
        ]
        if not able:
            return None
        least = min(block.order for block in able)
        block = [each for each in able if each.order == least][-1]
        self.blocks.remove(block)
        while block.order > order:
            block.order -= 1
            upper = block.pfn + (1 << block.order)
            self.blocks.append(Block(upper, block.order, block.kind, block.owned))
        self.count -= 1 << order
        return block.pfn

    def fill(  # noqa: C901 - the four phases stand one below the other
        self, order: int, migratetype: int, pages: int, *, nofragment: bool
    ) -> None:
        """One hold of zone->lock."""
        buddy = self.buddy
        buddy.count["zone_lock"] += 1
        before, until = len(self.blocks), self.count + pages
        # Phase 0: parts of page blocks that this CPU owns and had given back.
        for number in list(self.given):
            first = number << PAGEBLOCK_ORDER
            if self.count >= until or buddy.type_of(first) != migratetype:
                continue
            self.given.remove(number)
            for pfn in range(first, first + 512):
                size = buddy.order_of.get(pfn)
                if size is not None and size <= PAGEBLOCK_ORDER:
                    self._from_buddy(pfn, size, migratetype)
                    self.put(pfn, size, migratetype, owned=True)
        # Phase 1: whole page blocks of the type.
        while self.count < until:
            pfn = buddy.smallest(PAGEBLOCK_ORDER, migratetype)
            if pfn is None:
                break
            self.owners[pfn >> PAGEBLOCK_ORDER] = self.cpu
            self.put(pfn, PAGEBLOCK_ORDER, migratetype, owned=True)
        # Phase 2: smaller blocks of the type, largest first, owned by nobody.
        for size in reversed(range(order, PAGEBLOCK_ORDER)):
            while self.count < until and buddy.lists[size][migratetype]:
                pfn = next(iter(buddy.lists[size][migratetype]))
                self._from_buddy(pfn, size, migratetype)
                self.put(pfn, size, migratetype, owned=False)
        # Phase 3: as the kernel does, one block.
        if not any(
            block.order >= order and block.kind == self.kind_of(migratetype)
            for block in self.blocks
        ):
            pfn, _ = buddy.rmqueue(order, migratetype, "own", nofragment=nofragment)
            if pfn is not None:
                self.put(pfn, order, migratetype, owned=False)
        if len(self.blocks) > before:
            buddy.count["pcp_refill"] += 1
            buddy.count["pcp_refill_blocks"] += len(self.blocks) - before

    def _from_buddy(self, pfn: int, order: int, migratetype: int) -> None:
        self.buddy._remove(pfn, order, migratetype)
        self.buddy.free_pages -= 1 << order
        self.buddy.count["zone_locked"] += 1

    def drain_all(self, pages: int, _start: int) -> None:
        if pages > 0 and self.count > 0:
            self._merge()
        while pages > 0 and self.count > 0:
            part = min(pages, self.batch) if self.rules.drain_in_batches else pages
            pages -= self._give(min(part, self.count))

    def _merge(self) -> None:
        """Owned buddies become one block, the smallest orders first."""
        for order in range(PAGEBLOCK_ORDER):
            for block in [each for each in self.blocks if each.order == order]:
                mates = [
                    each
                    for each in self.blocks
                    if each.order == order
                    and each.kind == block.kind
                    and each.pfn == block.pfn ^ (1 << order)
                ]
                if block in self.blocks and block.owned and mates and mates[0].owned:
                    self.blocks.remove(block)
                    self.blocks.remove(mates[0])
                    pfn = min(block.pfn, mates[0].pfn)
                    self.blocks.append(Block(pfn, order + 1, block.kind, owned=True))

    def _give(self, pages: int) -> int:
        """One hold of zone->lock; how many pages it gave back."""
        self.buddy.count["zone_lock"] += 1
        self.buddy.count["pcp_drain"] += 1
        given = 0
        while given < pages:
            orders = {block.order for block in self.blocks}
            fit = {order for order in orders if 1 << order <= pages - given}
            order = max(fit) if fit else min(orders)
            kind = min(block.kind for block in self.blocks if block.order == order)
            block = next(b for b in self.blocks if b.order == order and b.kind == kind)
            self.blocks.remove(block)
            self.count -= 1 << order
            given += 1 << order
            self.buddy.free_one(block.pfn, order, self.buddy.type_of(block.pfn))
            self.buddy.count["pcp_drain_blocks"] += 1
            number = block.pfn >> PAGEBLOCK_ORDER
            if block.owned and self._whole(number):
                self.owners.pop(number, None)
                self.given = [each for each in self.given if each != number]
            elif block.owned and self.owners.get(number) == self.cpu and number not in self.given:
                self.given.append(number)
        return given

    def _whole(self, number: int) -> bool:
        first = number << PAGEBLOCK_ORDER
        return self.buddy.order_of.get(first) in {9, 10} or (
            self.buddy.order_of.get((number & ~1) << PAGEBLOCK_ORDER) == 10
        )


class OwningAllocator(PageAllocator):
    """The page allocator with such lists."""

    def __init__(self, machine: MachineZones) -> None:
        super().__init__(machine)
        self.owners: list[dict[int, int]] = [{} for _ in machine.zones]
        before = self.pcps
        self.pcps = [
            [
                OwningPcp(self.zones[z], zone.pcp[cpu], self.rules, cpu, self.owners[z])
                for cpu in range(machine.cpus if zone.managed else 0)
            ]
            for z, zone in enumerate(machine.zones)
        ]
        for z, pcps in enumerate(before):
            for cpu, pcp in enumerate(pcps):
                for index, pages in enumerate(pcp.lists):
                    order, kind = (index // 3, index % 3) if index < 12 else (9, index - 12)
                    for pfn in reversed(pages):
                        self.pcps[z][cpu].put(pfn, order, kind, owned=False)
                        self.pcps[z][cpu].clamp_high()  # it has been used before

    def _rmqueue(
        self, z: int, request: Request, *, nofragment: bool, first: bool
    ) -> tuple[PagePath, int] | None:
        order, migratetype = request.order, request.migratetype
        if self.pindex(order, migratetype) is None:
            return super()._rmqueue(z, request, nofragment=nofragment, first=first)
        pcp, count = self.pcps[z][request.cpu], self.zones[z].count
        if not request.flags & BULK:
            pcp.free_count >>= 1
        pfn = pcp.take(order, migratetype)
        if pfn is not None:
            return PagePath.HIT, pfn
        before = count["claim"], count["steal"]
        pages = pcp.nr_alloc(order, below_high=self.below_high[z]) << order
        pcp.fill(order, migratetype, pages, nofragment=nofragment)
        pfn = pcp.take(order, migratetype)
        if pfn is None:
            return None
        return self._fallback_path(self.zones[z], before, PagePath.REFILL), pfn

    def _commit(self, z: int, cpu: int, pfn: int, order: int, index: int) -> Outcome:
        """To the owner of the page block, if it has one."""
        cpu = self.owners[z].get(pfn >> PAGEBLOCK_ORDER, cpu)
        pcp = self.pcps[z][cpu]
        pcp.freed(pfn, order)
        pcp.count -= 1 << order  # what follows counts it, and puts it on a list that nobody reads
        outcome = super()._commit(z, cpu, pfn, order, index)
        pcp.lists[index].clear()
        return outcome
