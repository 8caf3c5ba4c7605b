"""Per-CPU page lists that own page blocks: a proposal, no kernel's (R4.34).

The lists of a CPU are a small buddy; what is freed goes to the owner of its page block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.page_alloc.buddy import DRAINS, REFILL_BLOCKS, REFILLS, ZONE_LOCK
from allocsim.page_alloc.pcp import Pcp, list_order, list_type
from allocsim.page_alloc.zones import PAGEBLOCK_ORDER, PCP_TYPES, Mt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from allocsim.page_alloc.buddy import Buddy
    from allocsim.page_alloc.zones import PageRules, PcpNumbers


def list_kind(migratetype: int) -> int:
    """The type of a list that a block of a page block of this type goes on."""
    return migratetype if migratetype < PCP_TYPES else int(Mt.MOVABLE)


class OwningPcp(Pcp):
    """The lists of one CPU in one zone.

    Args:
        buddy, numbers, rules: as Pcp has them.
        cpu: the CPU.
        owners: owner of each owned page block of the zone, which all its CPUs share.
    """

    def __init__(
        self, buddy: Buddy, numbers: PcpNumbers, rules: PageRules, cpu: int, owners: dict[int, int]
    ) -> None:
        super().__init__(buddy, numbers, rules)
        self.cpu, self.owners = cpu, owners
        #: Blocks by order and type, the oldest first; whether each is owned.
        self.blocks: list[list[dict[int, bool]]] = [
            [{} for _ in range(PCP_TYPES)] for _ in range(PAGEBLOCK_ORDER + 1)
        ]
        self.given: dict[int, None] = {}  # owned page blocks with parts in the buddy

    def start_with(self, index: int, blocks: Sequence[int]) -> None:
        """Put blocks on an empty list, the newest first; nobody owns them."""
        for pfn in reversed(blocks):
            self._put(pfn, list_order(index), list_type(index), owned=False)

    def put(self, pfn: int, order: int) -> None:
        """A block that is freed."""
        owned = self.owners.get(pfn >> PAGEBLOCK_ORDER) == self.cpu
        self._put(pfn, order, list_kind(self.buddy.type_of(pfn)), owned=owned)

    def _put(self, pfn: int, order: int, kind: int, *, owned: bool) -> None:
        self.blocks[order][kind][pfn] = owned
        self.count += 1 << order

    def take(self, order: int, migratetype: int) -> int:
        """A block off the lists, split here if need be; -1: there is none."""
        kind = list_kind(migratetype)
        for larger in range(order, PAGEBLOCK_ORDER + 1):
            if self.blocks[larger][kind]:
                pfn, owned = self.blocks[larger][kind].popitem()
                for half in range(larger - 1, order - 1, -1):
                    self.blocks[half][kind][pfn + (1 << half)] = owned
                self.count -= 1 << order
                return pfn
        return -1

    def fill(self, order: int, migratetype: int, wanted: int, *, nofragment: bool) -> None:
        """Fill the lists with ``wanted`` pages under one hold, or with one block as R4.4 does."""
        buddy, before = self.buddy, self.count
        buddy.counters[ZONE_LOCK] += 1
        number = 0
        for pfn, size, owned in self._found(order, migratetype, self.count + wanted):
            self._put(pfn, size, list_kind(migratetype), owned=owned)
            number += 1
        if not self._serves(order, migratetype):
            buddy.counters[ZONE_LOCK] -= 1  # the same hold
            for pfn in buddy.fetch(order, migratetype, 1, nofragment=nofragment):
                self._put(pfn, order, list_kind(migratetype), owned=False)
                number += 1
        if self.count > before:
            buddy.counters[REFILLS] += 1
            buddy.counters[REFILL_BLOCKS] += number

    def _serves(self, order: int, migratetype: int) -> bool:
        kind = list_kind(migratetype)
        return any(self.blocks[size][kind] for size in range(order, PAGEBLOCK_ORDER + 1))

    def _found(self, order: int, migratetype: int, until: int) -> Iterator[tuple[int, int, bool]]:
        """Blocks out of the buddy until that many pages are on the lists: pfn, order, owned."""
        buddy = self.buddy
        for block in list(self.given):
            if self.count >= until:
                return
            if buddy.type_of(block << PAGEBLOCK_ORDER) == migratetype:
                del self.given[block]
                for pfn, size in buddy.free_parts(block):
                    buddy.take_part(pfn, size)
                    yield pfn, size, True
        while self.count < until:
            pfn = buddy.smallest(PAGEBLOCK_ORDER, migratetype)
            if pfn < 0:
                break
            self.owners[pfn >> PAGEBLOCK_ORDER] = self.cpu
            yield pfn, PAGEBLOCK_ORDER, True
        for size in range(PAGEBLOCK_ORDER - 1, order - 1, -1):
            while self.count < until and buddy.lists[size][migratetype]:
                yield buddy.smallest(size, migratetype), size, False

    def drain(self, pages: int, start: int) -> None:
        """Give pages back, in holds of a batch; what is owned merges first."""
        del start
        if pages <= 0 or not self.count:
            return
        self._merge()
        while pages > 0 and self.count > 0:
            part = min(pages, self.numbers.batch) if self.rules.drain_in_batches else pages
            pages -= self._give(min(part, self.count))

    def _merge(self) -> None:
        for order in range(PAGEBLOCK_ORDER):
            for kind, blocks in enumerate(self.blocks[order]):
                for pfn in list(blocks):
                    other = pfn ^ (1 << order)
                    if blocks.get(pfn) and blocks.get(other):
                        del blocks[pfn], blocks[other]
                        self.blocks[order + 1][kind][pfn & other] = True

    def _give(self, pages: int) -> int:
        """One hold; how many pages were given back."""
        self.buddy.counters[ZONE_LOCK] += 1
        self.buddy.counters[DRAINS] += 1
        given = 0
        while given < pages:
            sizes = [order for order, row in enumerate(self.blocks) if any(row)]
            fits = [order for order in sizes if 1 << order <= pages - given]
            order = fits[-1] if fits else sizes[0]
            blocks = next(row for row in self.blocks[order] if row)
            pfn = next(iter(blocks))
            owned = blocks.pop(pfn)
            self.count -= 1 << order
            given += 1 << order
            self.buddy.drain([pfn], order)
            if owned:
                self._gave(pfn >> PAGEBLOCK_ORDER)
        return given

    def _gave(self, block: int) -> None:
        """Note that part of an owned page block is in the buddy, or that all of it is."""
        if self.buddy.is_whole(block):
            self.owners.pop(block, None)
            self.given.pop(block, None)
        elif self.owners.get(block) == self.cpu:
            self.given[block] = None
