"""What /proc/kpageflags says of page frames: whose they are, and where blocks begin and end.

The kernel exports a word a frame (fs/proc/page.c:stable_page_flags, 6.12 and 7.2; bits in
include/uapi/linux/kernel-page-flags.h). Of a compound page it flags head and tails, so blocks of
several pages show their order; other pages show as blocks of one. It says nothing of pages that
drivers, vmalloc, stacks, pipes or large kmallocs hold, nor of free pages on CPUs' lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_kinds import PageKind

if TYPE_CHECKING:
    from allocsim.tables import Bools, Columns, Int16, UInt64

KPF_UPTODATE = 3
KPF_LRU = 5
KPF_SLAB = 7
KPF_BUDDY = 10
KPF_MMAP = 11
KPF_ANON = 12
KPF_SWAPBACKED = 14
KPF_COMPOUND_TAIL = 16
KPF_HUGE = 17
KPF_THP = 22
KPF_ZERO_PAGE = 24
KPF_PGTABLE = 26
KPF_RESERVED = 32
#: The kinds that the words can show.
SHOWN_KINDS = (
    PageKind.SLAB,
    PageKind.PAGE_TABLE,
    PageKind.ANON,
    PageKind.THP,
    PageKind.PAGE_CACHE,
    PageKind.SHMEM,
    PageKind.HUGETLB,
)


def has(flags: UInt64, bit: int) -> Bools:
    """Which words have a bit."""
    shown: Bools = flags & np.uint64(1 << bit) != 0
    return shown


def kinds_of_flags(flags: UInt64) -> Int16:
    """Kind of page that each word shows (i2); UNKNOWN where it shows none.

    Of a slab or a page table the words that overlap ``mapping`` can look like anything, so these
    two stand above the rest. Only file and anonymous folios are up to date. The zero page is
    reserved and no folio of its own.
    """
    file = (has(flags, KPF_LRU) | has(flags, KPF_MMAP) | has(flags, KPF_UPTODATE)) & ~has(
        flags, KPF_ANON
    )
    kind = np.full(len(flags), PageKind.UNKNOWN, np.int16)
    kind[file] = PageKind.PAGE_CACHE
    kind[file & has(flags, KPF_SWAPBACKED)] = PageKind.SHMEM
    kind[has(flags, KPF_ANON)] = PageKind.ANON
    kind[has(flags, KPF_HUGE)] = PageKind.HUGETLB
    kind[has(flags, KPF_SLAB)] = PageKind.SLAB
    kind[has(flags, KPF_PGTABLE)] = PageKind.PAGE_TABLE
    nobody = has(flags, KPF_BUDDY) | has(flags, KPF_RESERVED) | has(flags, KPF_ZERO_PAGE)
    kind[nobody] = PageKind.UNKNOWN
    return kind


def blocks_of_flags(flags: UInt64) -> Columns:
    """The blocks whose kind the words show: ``pfn`` (i8, rising), ``order`` (i4), ``kind`` (i2).

    Anonymous blocks of PMD order are THP.

    Args:
        flags: words of every page frame, from frame 0.
    """
    tail = has(flags, KPF_COMPOUND_TAIL)
    head = np.flatnonzero(~tail)
    pages = np.diff(head, append=len(flags))
    # Words of neighbours are mostly alike: one of each run is looked at.
    words = flags[head]
    first = np.flatnonzero(np.append(True, words[1:] != words[:-1])[: len(words)])
    kind = np.repeat(kinds_of_flags(words[first]), np.diff(first, append=len(words)))
    shown = kind != PageKind.UNKNOWN
    order = np.log2(pages[shown]).astype(np.int32)
    kind = kind[shown]
    kind[(kind == PageKind.ANON) & (order == 9)] = PageKind.THP
    return {"pfn": head[shown], "order": order, "kind": kind}
