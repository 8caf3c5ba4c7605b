"""The per-CPU page lists of one CPU in one zone: their numbers, and what a slow event does.

A list is a stack with a bottom that opens: allocations and frees work at the top (R4.3), a drain
takes from the bottom (R4.10). The batches of pushes and pops between refills and drains are the
business of page_batch; what changes anything else is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.page_alloc.buddy import DRAINS, ZONE_LOCK
from allocsim.page_alloc.zones import COSTLY_ORDER, PAGEBLOCK_ORDER, PCP_LISTS, PCP_TYPES, Mt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocsim.page_alloc.buddy import Buddy
    from allocsim.page_alloc.zones import PageRules, PcpNumbers
    from allocsim.tables import I8

NO_LIST = 255


def list_index(order: int, migratetype: int, *, thp: bool) -> int:
    """Which of the 14 lists a block belongs on (R4.1, R4.2), or NO_LIST.

    mm/page_alloc.c:order_to_pindex; pageblocks of type HIGHATOMIC go on the movable list.
    """
    if migratetype >= PCP_TYPES:
        migratetype = Mt.MOVABLE
    if order <= COSTLY_ORDER:
        return PCP_TYPES * order + migratetype
    if order == PAGEBLOCK_ORDER and thp:
        return PCP_TYPES * (COSTLY_ORDER + 1) + (migratetype == Mt.MOVABLE)
    return NO_LIST


def list_order(index: int) -> int:
    """Order of the blocks on a list."""
    order = index // PCP_TYPES
    return order if order <= COSTLY_ORDER else PAGEBLOCK_ORDER


def list_type(index: int) -> int:
    """Migratetype of a list; THP's other list takes unmovable and reclaimable blocks."""
    if index == PCP_LISTS - 1:
        return Mt.MOVABLE
    return index % PCP_TYPES


class PageList:
    """One list: cells of a buffer, the oldest block at ``base``, the newest below ``top``.

    ``need(cells)`` is called before the lowest ``cells`` blocks are read, by whoever keeps pushes
    and pops pending (page_batch).
    """

    __slots__ = ("base", "buffer", "need", "order", "top")

    def __init__(self, order: int) -> None:
        self.order = order
        self.buffer: I8 = np.empty(0, np.int64)
        self.base = self.top = 0
        self.need: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return self.top - self.base

    def __deepcopy__(self, _: dict[int, Any]) -> PageList:
        """As deepcopy gives it, but quicker: there are many lists."""
        copied = PageList(self.order)
        copied.buffer = self.buffer.copy()
        copied.base, copied.top, copied.need = self.base, self.top, self.need
        return copied

    def refill(self, blocks: list[int]) -> None:
        """Fill the empty list; the block fetched first is handed out first (R4.4)."""
        self.buffer = np.array(blocks[::-1], np.int64)
        self.base, self.top = 0, len(blocks)

    def push(self, pfn: int) -> None:
        """Put a block on top."""
        if self.top == len(self.buffer):
            self.compact()
            self.room(self.top + 1)
        self.buffer[self.top] = pfn
        self.top += 1

    def pop(self) -> int:
        """Take the top block."""
        self.top -= 1
        return int(self.buffer[self.top])

    def compact(self) -> None:
        """Move the blocks down to cell 0 where drains have left much room below them."""
        if self.base > max(1024, len(self)):
            self.buffer = self.buffer[self.base :].copy()
            self.top -= self.base
            self.base = 0

    def room(self, cells: int) -> None:
        """Make the buffer hold at least ``cells`` cells."""
        if cells > len(self.buffer):
            grown = np.empty(max(2 * cells, 64), np.int64)
            grown[: len(self.buffer)] = self.buffer
            self.buffer = grown

    def oldest(self, count: int) -> list[int]:
        """Take ``count`` blocks from the bottom, oldest first."""
        if self.need is not None:
            self.need(self.base + count)
        taken: list[int] = self.buffer[self.base : self.base + count].tolist()
        self.base += count
        return taken


class Pcp:
    """struct per_cpu_pages: the 14 lists of one CPU in one zone and what steers them."""

    def __init__(self, buddy: Buddy, numbers: PcpNumbers, rules: PageRules) -> None:
        self.buddy, self.numbers, self.rules = buddy, numbers, rules
        self.lists = [PageList(list_order(index)) for index in range(PCP_LISTS)]
        self.count = 0
        # R4.12: 0 until the first use clamps it; nothing can tell the difference.
        self.high = min(max(numbers.high, numbers.high_min), numbers.high_max)
        self.alloc_factor = 0
        self.free_count = 0
        self.prev_free_high = False

    def start_with(self, index: int, blocks: Sequence[int]) -> None:
        """Put blocks on an empty list, the newest first."""
        self.lists[index].refill(list(blocks))
        self.count += len(blocks) << self.lists[index].order

    @property
    def free_count_cap(self) -> int:
        """free_count grows while it is below this (R4.7)."""
        return self.numbers.batch << self.rules.scale_max

    @property
    def free_high_threshold(self) -> int:
        """free_count from which two high-order frees in a row empty the lists (R4.7)."""
        half = self.numbers.high_min // 2 if self.rules.free_high_half else 0
        return self.numbers.batch + half

    def refill_blocks(self, order: int, *, below_high: bool) -> int:
        """How many blocks a refill asks for; high and alloc_factor move (R4.5).

        mm/page_alloc.c:nr_pcp_alloc.
        """
        numbers, batch = self.numbers, self.numbers.batch
        if self.high < batch:
            return 1
        wanted = batch << self.alloc_factor if order == 0 else batch
        if numbers.high_min != numbers.high_max and not below_high:
            self.high = min(self.high + wanted, numbers.high_max)
        if order == 0:
            limit = max(self.high - self.count - batch, batch)
            if wanted <= limit and self.alloc_factor < self.rules.scale_max:
                self.alloc_factor += 1
            wanted = min(wanted, limit)
        return max(wanted >> order, 2) if wanted > 1 else wanted

    def freed(self, order: int, index: int, *, below_high: bool) -> bool:
        """What a free does once its block is on list ``index`` and counted; True: it drained.

        R4.6 - R4.9, mm/page_alloc.c:free_frozen_page_commit, nr_pcp_high, nr_pcp_free (7.2).
        """
        batch = self.numbers.batch
        self.alloc_factor >>= 1
        high_order = 1 <= order <= COSTLY_ORDER
        free_high = (
            high_order
            and self.free_count >= self.free_high_threshold
            and self.prev_free_high
            and (not self.rules.free_high_batch or self.count >= batch)
        )
        self.prev_free_high = high_order
        if self.free_count < self.free_count_cap:
            self.free_count += 1 << order
        high = self._limit(free_high=free_high, below_high=below_high)
        if self.count < high:
            return False
        if free_high:
            pages = min(self.count, self.free_count_cap)
        elif high < batch:
            pages = 1
        elif self.free_count >= high - batch:  # clamp(): the upper bound is looked at first
            pages = high - batch
        else:
            pages = max(self.free_count, batch)
        self.drain(pages, index)
        return True

    def _limit(self, *, free_high: bool, below_high: bool) -> int:
        """Pages at which a free drains (R4.8); reclaim is outside the model."""
        numbers, batch = self.numbers, self.numbers.batch
        high = self.high
        if free_high:
            self.high = max(high - self.free_count_cap, numbers.high_min)
            return 0
        if numbers.high_min == numbers.high_max:
            return high
        if below_high:
            self.high = max(high - max(self.free_count, batch), numbers.high_min)
            return max(self.count, numbers.high_min)
        if self.count >= high and high < self.free_count + batch:
            self.high = min(max(self.free_count + batch, numbers.high_min), numbers.high_max)
        return high

    def decay(self) -> None:
        """The vmstat worker's turn (R4.13, mm/page_alloc.c:decay_pcp_high)."""
        if self.high > self.numbers.high_min:
            self.high = max(
                self.count - self.free_count_cap,
                self.high - (self.high >> 3),
                self.numbers.high_min,
            )
        self.drain(self.count - self.high, 0)

    def drain(self, pages: int, start: int) -> None:
        """Give pages back, oldest of list ``start`` first, then cyclically (R4.10).

        7.2 lets go of zone->lock after every ``batch`` pages and starts at the same list again.
        """
        while pages > 0 and self.count > 0:
            part = min(pages, self.numbers.batch) if self.rules.drain_in_batches else pages
            self._drain_hold(min(part, self.count), start)
            pages -= part

    def _drain_hold(self, pages: int, index: int) -> None:
        """mm/page_alloc.c:free_pcppages_bulk: one hold of zone->lock."""
        counters = self.buddy.counters
        counters[ZONE_LOCK] += 1
        counters[DRAINS] += 1
        while pages > 0:
            pages_list = self.lists[index]
            if pages_list.top > pages_list.base:
                order = pages_list.order
                count = min(len(pages_list), -(-pages >> order))
                self.buddy.drain(pages_list.oldest(count), order)
                pages -= count << order
                self.count -= count << order
            index = (index + 1) % PCP_LISTS
