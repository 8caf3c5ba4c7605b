"""Where the direct map begins, by vote (I1).

A slab object lies at base + pfn * page size + offset. The first object handed out after an
mm_page_alloc, on the same CPU by the same task with no other allocation between, usually lies in
that very block, so its address less the block's pfn is the base. With KASLR the base moves, with
5-level paging it begins at 0xff11000000000000; the vote finds either. It is a multiple of 1 GiB
(arch/x86/mm/kaslr.c:kernel_randomize_memory works in PUDs), so a pair that gives anything else is
of an object that does not lie in the block, and does not vote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from allocsim.tables import Columns, concat, empty, take
from allocsim.trace.events import Ev

_ALIGNMENT = np.uint64(1 << 30)
_SEEN = {"cpu": "i2", "pid": "i4", "event": "u1", "pfn": "i8", "order": "i4", "ptr": "u8"}


@dataclass(frozen=True, slots=True)
class DirectMap:
    """The outcome of a vote.

    Args:
        base: virtual address of page frame 0; None if nothing voted.
        votes: allocations that voted for ``base``.
        candidates: allocations that voted.
    """

    base: int | None
    votes: int
    candidates: int

    @property
    def share(self) -> float:
        """Part of the votes that ``base`` has, 0 to 1."""
        return self.votes / self.candidates if self.candidates else 0.0


class DirectMapVote:
    """Counts votes over the windows of a trace.

    Args:
        page_size: bytes of a page on the recorded machine.
    """

    def __init__(self, page_size: int = 4096) -> None:
        self._shift = np.uint64(page_size.bit_length() - 1)
        self._last = empty(_SEEN)
        self._count: dict[int, int] = {}

    def window(self, columns: Columns) -> None:
        """Let the allocations of one window vote.

        Args:
            columns: event columns ``event``, ``cpu``, ``pid`` and, where the trace has them,
                ``pfn``, ``order`` and ``ptr``; without these nothing votes.
        """
        if "pfn" not in columns or "ptr" not in columns:
            return
        event = columns["event"]
        allocs = (event == Ev.KMALLOC) | (event == Ev.KMEM_CACHE_ALLOC)
        rows = np.flatnonzero(allocs | (event == Ev.MM_PAGE_ALLOC))
        new = {name: columns[name][rows].astype(dtype) for name, dtype in _SEEN.items()}
        seen = concat([self._last, new])
        seen = take(seen, np.argsort(seen["cpu"], kind="stable"))
        page = np.flatnonzero((seen["event"] == Ev.MM_PAGE_ALLOC) & (seen["pfn"] >= 0))
        page = page[page + 1 < len(seen["cpu"])]
        after = page + 1
        voted = (seen["event"][after] != Ev.MM_PAGE_ALLOC) & (seen["ptr"][after] > 16)
        voted &= seen["cpu"][after] == seen["cpu"][page]
        voted &= seen["pid"][after] == seen["pid"][page]
        self._add(take(seen, page[voted]), seen["ptr"][after[voted]])
        cpu = seen["cpu"]
        self._last = take(seen, np.append(cpu[1:] != cpu[:-1], len(cpu) > 0)[: len(cpu)])

    def _add(self, block: Columns, ptr: npt.NDArray[np.uint64]) -> None:
        in_block = (ptr >> self._shift) >> block["order"].astype(np.uint64)
        first = in_block << block["order"].astype(np.uint64)
        base = (first - block["pfn"].astype(np.uint64)) << self._shift
        values, counts = np.unique(base[base % _ALIGNMENT == 0], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._count[value] = self._count.get(value, 0) + count

    def result(self) -> DirectMap:
        """The base most allocations voted for (the lower one, should two have as many)."""
        if not self._count:
            return DirectMap(None, 0, 0)
        base = min(self._count, key=lambda value: (-self._count[value], value))
        return DirectMap(base, self._count[base], sum(self._count.values()))
