"""Where the direct map begins, by vote (I1).

A slab object lies at base + pfn * page size + offset. The first object handed out after an
mm_page_alloc, on the same CPU by the same task with no other allocation between, usually lies in
that very block, so its address less the block's pfn is the base. With KASLR the base moves, with
5-level paging it begins at 0xff11000000000000; the vote finds either. It is a multiple of what the
architecture aligns it to, so a pair that gives anything else is of an object that does not lie in
the block, and does not vote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocsim.tables import U8, Columns, concat, empty, take
from allocsim.trace.events import Ev

_GIB, _MIB = 1 << 30, 1 << 20
# What the base is a multiple of, by uname -m and page size; 0 stands for all other page sizes.
# x86: kernel_randomize_memory works in PUDs (arch/x86/mm/kaslr.c, 7.2). arm64: PAGE_OFFSET less
# memstart_addr, which is a multiple of ARM64_MEMSTART_ALIGN: a PUD with 4 KiB pages, CONT_PMD with
# 16 KiB, a PMD with 64 KiB (arch/arm64/mm/init.c, 7.2; include/asm/kernel-pgtable.h, 6.12).
# riscv64: PAGE_OFFSET less the start of memory rounded down to a PMD (arch/riscv/mm/init.c:
# setup_bootmem, 7.2).
_ALIGNMENTS = {
    "x86_64": {0: _GIB},
    "aarch64": {65536: 512 * _MIB, 0: _GIB},
    "riscv64": {0: 2 * _MIB},
}
# Of other architectures: the coarsest at which the votes agree.
_TRIED = (_GIB, 512 * _MIB, 2 * _MIB)
_FINEST = np.uint64(min(_TRIED))
_SEEN = {"cpu": "i2", "pid": "i4", "event": "u1", "pfn": "i8", "order": "i4", "ptr": "u8"}


def alignment(arch: str | None, page_size: int) -> int | None:
    """What the direct map's base is a multiple of, in bytes; None where no rule says.

    Args:
        arch: uname -m of the recorded machine; None: not known.
        page_size: bytes of its pages.
    """
    by_size = _ALIGNMENTS.get(arch or "")
    return by_size.get(page_size, by_size[0]) if by_size else None


@dataclass(frozen=True, slots=True)
class DirectMap:
    """The outcome of a vote.

    Args:
        base: virtual address of page frame 0; None if nothing voted.
        votes: allocations that voted for ``base``.
        candidates: allocations that voted.
        alignment: only multiples of this many bytes were voted for; None: nothing voted.
    """

    base: int | None
    votes: int
    candidates: int
    alignment: int | None = None

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
        self._page_size = page_size
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

    def _add(self, block: Columns, ptr: U8) -> None:
        in_block = (ptr >> self._shift) >> block["order"].astype(np.uint64)
        first = in_block << block["order"].astype(np.uint64)
        base = (first - block["pfn"].astype(np.uint64)) << self._shift
        values, counts = np.unique(base[base % _FINEST == 0], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._count[value] = self._count.get(value, 0) + count

    def result(self, arch: str | None = None) -> DirectMap:
        """The base most allocations voted for (the lower one, should two have as many).

        Args:
            arch: uname -m of the recorded machine, which says what the base is a multiple of;
                where no rule does, it is the coarsest alignment at which all votes agree, or else
                the coarsest with any.
        """
        told = alignment(arch, self._page_size)
        found = [self._among(step) for step in ((told,) if told else _TRIED)]
        found = [each for each in found if each.candidates]
        unanimous = (each for each in found if each.votes == each.candidates)
        return next(unanimous, found[0] if found else DirectMap(None, 0, 0))

    def _among(self, step: int) -> DirectMap:
        """The outcome among multiples of ``step`` bytes."""
        count = {base: votes for base, votes in self._count.items() if base % step == 0}
        if not count:
            return DirectMap(None, 0, 0)
        base = min(count, key=lambda value: (-count[value], value))
        return DirectMap(base, count[base], sum(count.values()), step)
