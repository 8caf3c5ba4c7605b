"""Whose page it is: the kinds of page, as data, and the rules that tell them.

Codes are fixed: a new kind takes the next free number. The rules, best first:

1. the stack of the allocation (observed): STACK_RULES, see :func:`kinds_of_stacks`;
2. an object in the page, through the direct map (observed, I1), or page->mapping in a page_ref
   event (observed);
3. the gfp flags and order of the allocation (inferred): GFP_RULES, see :func:`kinds_by_gfp`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.tables import I2, I4, I8, U8


class PageKind(IntEnum):
    """Codes of the column ``page_kind``."""

    UNKNOWN = 0
    SLAB = 1
    LARGE_KMALLOC = 2
    PAGE_TABLE = 3
    ANON = 4
    THP = 5
    PAGE_CACHE = 6
    SHMEM = 7
    PIPE = 8
    SKB_FRAG = 9
    PAGE_POOL = 10
    TLB_BATCH = 11
    VMALLOC = 12
    KERNEL_STACK = 13
    PER_CPU = 14
    GET_FREE_PAGES = 15
    HUGETLB = 16
    ZSMALLOC = 17
    RING_BUFFER = 18
    OTHER = 19
    PAGES_EXACT = 20


KIND_NAMES: tuple[str, ...] = tuple(kind.name.lower() for kind in PageKind)

KIND_DOCS: dict[PageKind, str] = {
    PageKind.UNKNOWN: "Nothing in the recording says whose page it was.",
    PageKind.SLAB: "Slab of a kmem cache or of a kmalloc size class.",
    PageKind.LARGE_KMALLOC: "kmalloc of more than two pages: whole pages.",
    PageKind.PAGE_TABLE: "Page table of any level, user or kernel.",
    PageKind.ANON: "Anonymous memory of a process, order below PMD.",
    PageKind.THP: "Anonymous memory of PMD order (transparent huge page).",
    PageKind.PAGE_CACHE: "Page cache of a file, block-device buffers among it.",
    PageKind.SHMEM: "tmpfs or shared memory.",
    PageKind.PIPE: "Buffer page of a pipe.",
    PageKind.SKB_FRAG: "Data of socket buffers outside slab: fragments, page_frag caches.",
    PageKind.PAGE_POOL: "Receive buffer of a network driver's page_pool.",
    PageKind.TLB_BATCH: "Array in which an unmap gathers pages to free (mmu_gather).",
    PageKind.VMALLOC: "Page behind a vmalloc mapping other than a kernel stack.",
    PageKind.KERNEL_STACK: "Stack of a task.",
    PageKind.PER_CPU: "Page of a per-CPU chunk.",
    PageKind.GET_FREE_PAGES: "Asked for by __get_free_pages, and not known to be of another kind.",
    PageKind.HUGETLB: "Page of the hugetlb pool.",
    PageKind.ZSMALLOC: "Page of a compressed-memory pool.",
    PageKind.RING_BUFFER: "Page of a trace or perf ring buffer.",
    PageKind.OTHER: "No rule here knows its stack or, where none was recorded, its gfp flags.",
    PageKind.PAGES_EXACT: "Asked for by alloc_pages_exact: counted page by page.",
}

# The functions that speak for a kind: a frame matches if its name, without compiler suffixes such
# as .isra.0, is the function. The innermost frame that matches decides, so a slab page taken inside
# a page fault is slab. Of wrappers that serve several kinds, __alloc_pages and __folio_alloc have
# no place here, and the others are fall-backs (_WIDE).
STACK_RULES: dict[PageKind, str] = {
    PageKind.SLAB: "allocate_slab new_slab",  # mm/slub.c (all)
    # In mm/slub.c (6.12, 7.2); the second is 6.1's, in mm/slab_common.c.
    PageKind.LARGE_KMALLOC: (
        "___kmalloc_large_node __kmalloc_large_node kmalloc_large kmalloc_large_node"
    ),
    PageKind.PAGE_TABLE: (
        "pte_alloc_one __pte_alloc_one pte_alloc_one_kernel __pte_alloc __pte_alloc_kernel"
        " pmd_alloc_one __pmd_alloc pud_alloc_one __pud_alloc __p4d_alloc pgd_alloc _pgd_alloc"
        " pagetable_alloc"
        " __change_page_attr_set_clr"  # arch/x86/mm/pat: split_large_page
        " spp_getpage"  # arch/x86/mm/init_64.c: kernel mappings
        " alloc_low_pages"  # arch/x86/mm/init.c: direct map
    ),
    # mm/mmu_gather.c:tlb_next_batch; tlb_remove_table: the batch of tables waiting for RCU
    PageKind.TLB_BATCH: (
        "__tlb_remove_folio_pages_size __tlb_remove_folio_pages __tlb_remove_page_size"
        " tlb_next_batch tlb_remove_table"
    ),
    # fs/pipe.c: pipe_write (6.12), the others (7.2)
    PageKind.PIPE: "pipe_write anon_pipe_write anon_pipe_get_page anon_pipe_get_page_prealloc",
    PageKind.SKB_FRAG: (
        "skb_page_frag_refill"  # net/core/sock.c
        " alloc_skb_with_frags"  # net/core/skbuff.c
        " page_frag_alloc_align __page_frag_alloc_align __page_frag_cache_refill"
    ),
    PageKind.PAGE_POOL: (
        "page_pool_alloc_pages page_pool_alloc_netmems __page_pool_alloc_pages_slow"
        " __page_pool_alloc_netmems_slow"
    ),
    PageKind.KERNEL_STACK: "alloc_thread_stack_node dup_task_struct",  # kernel/fork.c
    # See stack_kind: a stack if asked by fork.
    PageKind.VMALLOC: "__vmalloc_node_range vm_area_alloc_pages",
    PageKind.PER_CPU: "pcpu_populate_chunk pcpu_alloc_pages pcpu_create_chunk",
    PageKind.HUGETLB: (
        "alloc_buddy_hugetlb_folio alloc_buddy_frozen_folio alloc_fresh_hugetlb_folio"
        " only_alloc_fresh_hugetlb_folio alloc_pool_huge_folio alloc_surplus_hugetlb_folio"
        " alloc_migrate_hugetlb_folio"
    ),
    PageKind.ZSMALLOC: "zs_malloc alloc_zspage alloc_zpdesc",
    PageKind.RING_BUFFER: (
        "__rb_allocate_pages rb_allocate_cpu_buffer"  # kernel/trace/ring_buffer.c
        " ring_buffer_alloc_read_page"
        " rb_alloc"  # kernel/events/ring_buffer.c
    ),
    PageKind.SHMEM: (
        "shmem_alloc_folio shmem_alloc_hugefolio shmem_alloc_and_add_folio shmem_get_folio_gfp"
    ),
    PageKind.PAGE_CACHE: (
        "__filemap_get_folio __filemap_get_folio_mpol filemap_alloc_folio page_cache_ra_unbounded"
        " page_cache_ra_order do_read_cache_folio filemap_create_folio filemap_get_pages"
        " ra_alloc_folio grow_dev_folio __getblk_slow"
    ),
    PageKind.THP: (
        "do_huge_pmd_anonymous_page vma_alloc_anon_folio_pmd do_huge_pmd_wp_page"
        " collapse_huge_page alloc_charge_folio"
    ),
    PageKind.ANON: (
        "wp_page_copy do_anonymous_page do_cow_fault do_swap_page alloc_anon_folio"
        " vma_alloc_folio folio_prealloc"
        " __handle_mm_fault"  # the handlers above, inlined
        " copy_page_range"
    ),
    PageKind.GET_FREE_PAGES: "get_zeroed_page get_free_pages __get_free_pages",
    # mm/page_alloc.c:make_alloc_exact
    PageKind.PAGES_EXACT: "alloc_pages_exact alloc_pages_exact_nid",
}

# Asked for by fork, a vmalloc area is a stack: kernel/fork.c:alloc_thread_stack_node is inlined
# into copy_process.
_FORK = frozenset({"copy_process", "dup_task_struct", "alloc_thread_stack_node"})
# Fall-backs: a narrower rule further out goes before them. pgd_alloc calls get_free_pages, and
# do_huge_pmd_anonymous_page vma_alloc_folio (a function of its own on kernels with NUMA).
_WIDE = frozenset({"get_zeroed_page", "get_free_pages", "__get_free_pages", "vma_alloc_folio"})

_SUFFIX = re.compile(r"(_noprof)?(\..*)?$")
_KIND_OF = {name: kind for kind, names in STACK_RULES.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class GfpRule:
    """A kind that gfp flags and order speak for (T9).

    Args:
        kind: the kind.
        needs: bits that are set, by name without ``__GFP_``.
        lacks: bits that are clear; ``*``: all others but HARDWALL, which cpusets add (T9).
        orders: lowest and highest order; _PMD: the order that a PMD maps.
        source: who asks this way.
    """

    kind: PageKind
    needs: str
    lacks: str
    orders: tuple[int, int]
    source: str


_MOST = 16  #: above what any architecture configures (arm64 with 64 KiB pages: 13)
_ANY = (0, _MOST)
_PMD = (-1, -1)  # stands for the order of a block that one PMD maps
_PMD_SHIFT = 3  # a table is a page of 8-byte entries, so a PMD maps page_size / 8 pages

# The first that matches decides. Orders and flags seen in the 6.1, 6.12, 7.2 and 7.3 recordings.
GFP_RULES: tuple[GfpRule, ...] = (
    GfpRule(PageKind.THP, "MOVABLE NOMEMALLOC COMP", "", _PMD, "GFP_TRANSHUGE_LIGHT"),
    GfpRule(
        PageKind.HUGETLB,
        "MOVABLE HIGHMEM COMP NOWARN RETRY_MAYFAIL",
        "NORETRY",
        _PMD,
        "include/linux/hugetlb.h:htlb_alloc_mask, mm/hugetlb.c:alloc_buddy_frozen_folio",
    ),
    GfpRule(PageKind.PAGE_CACHE, "MOVABLE WRITE", "", _ANY, "mm/filemap.c: FGP_WRITE"),
    GfpRule(PageKind.PAGE_CACHE, "MOVABLE NORETRY", "", _ANY, "readahead_gfp_mask"),
    GfpRule(PageKind.PAGE_CACHE, "MOVABLE NOFAIL", "", _ANY, "fs/buffer.c: bdev_getblk"),
    GfpRule(PageKind.PAGE_CACHE, "MOVABLE", "HIGHMEM", _ANY, "block-device mappings"),
    GfpRule(
        PageKind.PAGE_CACHE, "NOFAIL COMP", "HIGHMEM NOWARN", (0, 0), "fs/buffer.c: no movable"
    ),
    GfpRule(PageKind.ANON, "MOVABLE HIGHMEM", "", _ANY, "vma_alloc_folio; shmem looks alike"),
    GfpRule(
        PageKind.PAGE_CACHE,
        "COMP DIRECT_RECLAIM IO",
        "FS ZERO NOWARN HIGHMEM ACCOUNT",
        (0, 0),
        "mm/filemap.c: mappings that a filesystem fills with GFP_NOFS",
    ),
    GfpRule(PageKind.PIPE, "HIGHMEM ACCOUNT", "ZERO", (0, 0), "fs/pipe.c: GFP_HIGHUSER|ACCOUNT"),
    GfpRule(PageKind.VMALLOC, "HIGHMEM", "COMP", _ANY, "mm/vmalloc.c: __GFP_HIGHMEM"),
    GfpRule(
        PageKind.TLB_BATCH, "KSWAPD_RECLAIM NOWARN", "*", (0, 0), "mm/mmu_gather.c: GFP_NOWAIT"
    ),
    GfpRule(
        PageKind.SKB_FRAG,
        "KSWAPD_RECLAIM IO FS COMP NOWARN NORETRY",
        "DIRECT_RECLAIM NOMEMALLOC ZERO",
        (3, 3),
        "net/core/sock.c:skb_page_frag_refill",
    ),
    GfpRule(
        PageKind.SKB_FRAG,
        "KSWAPD_RECLAIM IO FS COMP NOWARN ACCOUNT",
        "DIRECT_RECLAIM NORETRY ZERO",
        (1, 3),
        "net/core/skbuff.c:alloc_skb_with_frags",
    ),
    GfpRule(PageKind.SLAB, "COMP NOWARN NORETRY", "ZERO", (0, 3), "R3.7, mm/slub.c:allocate_slab"),
    GfpRule(
        PageKind.RING_BUFFER,
        "ZERO DIRECT_RECLAIM COMP RETRY_MAYFAIL",
        "NOWARN",
        _ANY,
        "kernel/trace/ring_buffer.c:__rb_allocate_pages",
    ),
    GfpRule(
        PageKind.PAGE_TABLE,
        "ZERO DIRECT_RECLAIM ACCOUNT",
        "NOWARN",
        (0, 1),
        "GFP_PGTABLE_USER; pgd by __get_free_pages (6.12)",
    ),
    GfpRule(
        PageKind.PAGE_TABLE, "ZERO DIRECT_RECLAIM COMP", "NOWARN", (0, 1), "GFP_PGTABLE_KERNEL"
    ),
    GfpRule(PageKind.LARGE_KMALLOC, "COMP", "", (2, _MOST), "mm/slub.c:___kmalloc_large_node"),
    GfpRule(
        PageKind.SKB_FRAG,
        "DIRECT_RECLAIM KSWAPD_RECLAIM IO FS ACCOUNT",
        "*",
        (0, 0),
        "net/core/skbuff.c:alloc_skb_with_frags, order 0",
    ),
)


def plain_name(function: str) -> str:
    """A function's name without _noprof and compiler suffixes such as .isra.0."""
    return _SUFFIX.sub("", function)


def stack_kind(frames: Sequence[str]) -> PageKind:
    """Whose page an allocation with this stack is; OTHER if no rule knows it.

    Args:
        frames: function names, innermost first, with or without compiler suffixes.
    """
    names = [plain_name(frame) for frame in frames]
    known = [name for name in names if name in _KIND_OF]
    narrow = [name for name in known if name not in _WIDE]
    kind = _KIND_OF[(narrow or known)[0]] if known else PageKind.OTHER
    if kind == PageKind.VMALLOC and not _FORK.isdisjoint(names):
        return PageKind.KERNEL_STACK
    return kind


def kinds_of_stacks(stacks: Sequence[Sequence[str]]) -> I2:
    """Kind of each distinct stack, by number; one entry more, UNKNOWN, for stack -1 (i2)."""
    return np.array([*(stack_kind(frames) for frames in stacks), PageKind.UNKNOWN], np.int16)


def pmd_order(page_size: int) -> int:
    """Order of the blocks that THP and hugetlb take: include/linux/pgtable.h:PMD_ORDER (7.2).

    Args:
        page_size: bytes of a page; 9 is the answer for 4 KiB.
    """
    return page_size.bit_length() - 1 - _PMD_SHIFT


def kinds_by_gfp(gfp: I8, order: I4, bits: Mapping[str, int], page_size: int = 4096) -> I2:
    """Kind that flags and order speak for (i2); OTHER where no rule matches.

    ANON without ZERO may as well be tmpfs; see allocsim.recording.shmem_hints.

    Args:
        gfp: gfp flags of allocations.
        order: their orders.
        bits: value of each gfp bit by its name (allocsim.kernels.release).
        page_size: bytes of a page.
    """
    kind = np.full(len(gfp), PageKind.OTHER, np.int16)
    huge = pmd_order(page_size)
    everything = sum(bits.values()) & ~bits["__GFP_HARDWALL"]
    for rule in reversed(GFP_RULES):
        needs = _mask(rule.needs, bits)
        lacks = everything & ~needs if rule.lacks == "*" else _mask(rule.lacks, bits)
        matches = (gfp & (needs | lacks)) == needs
        low, high = (huge, huge) if rule.orders == _PMD else rule.orders
        matches &= (order >= low) & (order <= high)
        kind[matches] = rule.kind
    return kind


def _mask(names: str, bits: Mapping[str, int]) -> int:
    return sum(bits[f"__GFP_{name}"] for name in names.split())


# page_ref events carry page->flags and page->mapping (P1). PG_uptodate and PG_swapbacked have
# these places from 6.1 to 7.3 (include/linux/page-flags.h); only file and anonymous folios are
# uptodate, so mapping is a mapping there and not another user's word.
_UPTODATE = np.uint64(1 << 3)
_SWAPBACKED = np.uint64(1 << 17)
_MAPPING_FLAGS = np.uint64(3)  # 1: anonymous (PAGE_MAPPING_ANON)


def kinds_by_mapping(mapping: U8, flags: U8) -> I2:
    """Kind a page_ref event shows: ANON, SHMEM or PAGE_CACHE; UNKNOWN where it shows none (i2)."""
    kind = np.full(len(mapping), PageKind.UNKNOWN, np.int16)
    shown = (mapping != 0) & ((flags & _UPTODATE) != 0)
    low = mapping & _MAPPING_FLAGS
    kind[shown & (low == 1)] = PageKind.ANON
    file = shown & (low == 0)
    kind[file] = PageKind.PAGE_CACHE
    kind[file & ((flags & _SWAPBACKED) != 0)] = PageKind.SHMEM
    return kind
