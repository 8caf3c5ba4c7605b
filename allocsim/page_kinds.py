"""Whose page it is: the kinds of page, as data, and the rules that tell them.

Codes are fixed: a new kind takes the next free number. The rules, best first:

1. the stack of the allocation (observed): STACK_RULES, see :func:`kinds_of_stacks`;
2. an object in the page, through the direct map (observed, I1), or page->mapping in a page_ref
   event (observed);
3. the gfp flags and order of the allocation (inferred): GFP_RULES, see :func:`kinds_by_gfp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Kind(IntEnum):
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


KIND_NAMES: tuple[str, ...] = tuple(kind.name.lower() for kind in Kind)

KIND_DOCS: dict[Kind, str] = {
    Kind.UNKNOWN: "Nothing in the recording says whose page it was.",
    Kind.SLAB: "Slab of a kmem cache or of a kmalloc size class.",
    Kind.LARGE_KMALLOC: "kmalloc of more than 8192 bytes: whole pages.",
    Kind.PAGE_TABLE: "Page table of any level, user or kernel.",
    Kind.ANON: "Anonymous memory of a process, order below PMD.",
    Kind.THP: "Anonymous memory of PMD order (transparent huge page).",
    Kind.PAGE_CACHE: "Page cache of a file, block-device buffers among it.",
    Kind.SHMEM: "tmpfs or shared memory.",
    Kind.PIPE: "Buffer page of a pipe.",
    Kind.SKB_FRAG: "Data of socket buffers outside slab: fragments, page_frag caches.",
    Kind.PAGE_POOL: "Receive buffer of a network driver's page_pool.",
    Kind.TLB_BATCH: "Array in which an unmap gathers pages to free (mmu_gather).",
    Kind.VMALLOC: "Page behind a vmalloc mapping other than a kernel stack.",
    Kind.KERNEL_STACK: "Stack of a task.",
    Kind.PER_CPU: "Page of a per-CPU chunk.",
    Kind.GET_FREE_PAGES: "Asked for by __get_free_pages or alloc_pages_exact.",
    Kind.HUGETLB: "Page of the hugetlb pool.",
    Kind.ZSMALLOC: "Page of a compressed-memory pool.",
    Kind.RING_BUFFER: "Page of a trace or perf ring buffer.",
    Kind.OTHER: "Has a stack, and no rule here for it.",
}

# (function, kind): a frame matches if its name, without compiler suffixes such as .isra.0, is
# the function. The innermost frame that matches decides, so a slab page taken inside a page
# fault is slab. Wrappers that serve several kinds (__alloc_pages, __folio_alloc,
# get_free_pages) have no line but the fall-backs at the end.
STACK_RULES: tuple[tuple[str, Kind], ...] = (
    ("allocate_slab", Kind.SLAB),  # mm/slub.c (all)
    ("new_slab", Kind.SLAB),
    ("___kmalloc_large_node", Kind.LARGE_KMALLOC),  # mm/slub.c (6.12, 7.2)
    ("__kmalloc_large_node", Kind.LARGE_KMALLOC),  # mm/slab_common.c (6.1)
    ("kmalloc_large", Kind.LARGE_KMALLOC),
    ("kmalloc_large_node", Kind.LARGE_KMALLOC),
    ("pte_alloc_one", Kind.PAGE_TABLE),
    ("__pte_alloc_one", Kind.PAGE_TABLE),
    ("pte_alloc_one_kernel", Kind.PAGE_TABLE),
    ("__pte_alloc", Kind.PAGE_TABLE),
    ("__pte_alloc_kernel", Kind.PAGE_TABLE),
    ("pmd_alloc_one", Kind.PAGE_TABLE),
    ("__pmd_alloc", Kind.PAGE_TABLE),
    ("pud_alloc_one", Kind.PAGE_TABLE),
    ("__pud_alloc", Kind.PAGE_TABLE),
    ("__p4d_alloc", Kind.PAGE_TABLE),
    ("pgd_alloc", Kind.PAGE_TABLE),
    ("_pgd_alloc", Kind.PAGE_TABLE),
    ("pagetable_alloc", Kind.PAGE_TABLE),
    ("kernel_pgtable_alloc", Kind.PAGE_TABLE),
    ("spp_getpage", Kind.PAGE_TABLE),  # arch/x86/mm/init_64.c: kernel mappings
    ("alloc_low_pages", Kind.PAGE_TABLE),  # arch/x86/mm/init.c: direct map
    ("__tlb_remove_folio_pages_size", Kind.TLB_BATCH),  # mm/mmu_gather.c:tlb_next_batch
    ("__tlb_remove_folio_pages", Kind.TLB_BATCH),
    ("__tlb_remove_page_size", Kind.TLB_BATCH),
    ("tlb_next_batch", Kind.TLB_BATCH),
    ("tlb_remove_table", Kind.TLB_BATCH),  # the batch of tables waiting for RCU
    ("pipe_write", Kind.PIPE),  # fs/pipe.c (6.12)
    ("anon_pipe_write", Kind.PIPE),  # fs/pipe.c (7.2)
    ("anon_pipe_get_page", Kind.PIPE),
    ("anon_pipe_get_page_prealloc", Kind.PIPE),
    ("skb_page_frag_refill", Kind.SKB_FRAG),  # net/core/sock.c
    ("alloc_skb_with_frags", Kind.SKB_FRAG),  # net/core/skbuff.c
    ("page_frag_alloc_align", Kind.SKB_FRAG),
    ("__page_frag_alloc_align", Kind.SKB_FRAG),
    ("__page_frag_cache_refill", Kind.SKB_FRAG),
    ("page_pool_alloc_pages", Kind.PAGE_POOL),
    ("page_pool_alloc_netmems", Kind.PAGE_POOL),
    ("__page_pool_alloc_pages_slow", Kind.PAGE_POOL),
    ("__page_pool_alloc_netmems_slow", Kind.PAGE_POOL),
    ("alloc_thread_stack_node", Kind.KERNEL_STACK),  # kernel/fork.c
    ("dup_task_struct", Kind.KERNEL_STACK),
    ("__vmalloc_node_range", Kind.VMALLOC),  # see stack_kind: a stack if asked by fork
    ("vm_area_alloc_pages", Kind.VMALLOC),
    ("pcpu_populate_chunk", Kind.PER_CPU),
    ("pcpu_alloc_pages", Kind.PER_CPU),
    ("pcpu_create_chunk", Kind.PER_CPU),
    ("alloc_buddy_hugetlb_folio", Kind.HUGETLB),
    ("alloc_buddy_frozen_folio", Kind.HUGETLB),
    ("alloc_fresh_hugetlb_folio", Kind.HUGETLB),
    ("zs_malloc", Kind.ZSMALLOC),
    ("alloc_zspage", Kind.ZSMALLOC),
    ("alloc_zpdesc", Kind.ZSMALLOC),
    ("__rb_allocate_pages", Kind.RING_BUFFER),  # kernel/trace/ring_buffer.c
    ("rb_allocate_cpu_buffer", Kind.RING_BUFFER),
    ("ring_buffer_alloc_read_page", Kind.RING_BUFFER),
    ("rb_alloc", Kind.RING_BUFFER),  # kernel/events/ring_buffer.c
    ("shmem_alloc_folio", Kind.SHMEM),
    ("shmem_alloc_hugefolio", Kind.SHMEM),
    ("shmem_alloc_and_add_folio", Kind.SHMEM),
    ("shmem_get_folio_gfp", Kind.SHMEM),
    ("__filemap_get_folio", Kind.PAGE_CACHE),
    ("__filemap_get_folio_mpol", Kind.PAGE_CACHE),
    ("filemap_alloc_folio", Kind.PAGE_CACHE),
    ("page_cache_ra_unbounded", Kind.PAGE_CACHE),
    ("page_cache_ra_order", Kind.PAGE_CACHE),
    ("do_read_cache_folio", Kind.PAGE_CACHE),
    ("filemap_create_folio", Kind.PAGE_CACHE),
    ("filemap_get_pages", Kind.PAGE_CACHE),
    ("ra_alloc_folio", Kind.PAGE_CACHE),
    ("grow_dev_folio", Kind.PAGE_CACHE),
    ("__getblk_slow", Kind.PAGE_CACHE),
    ("do_huge_pmd_anonymous_page", Kind.THP),
    ("vma_alloc_anon_folio_pmd", Kind.THP),
    ("do_huge_pmd_wp_page", Kind.THP),
    ("collapse_huge_page", Kind.THP),
    ("alloc_charge_folio", Kind.THP),
    ("wp_page_copy", Kind.ANON),
    ("do_anonymous_page", Kind.ANON),
    ("do_cow_fault", Kind.ANON),
    ("do_swap_page", Kind.ANON),
    ("alloc_anon_folio", Kind.ANON),
    ("vma_alloc_folio", Kind.ANON),
    ("folio_prealloc", Kind.ANON),
    ("__handle_mm_fault", Kind.ANON),  # the handlers above, inlined
    ("copy_page_range", Kind.ANON),
    ("get_zeroed_page", Kind.GET_FREE_PAGES),
    ("get_free_pages", Kind.GET_FREE_PAGES),
    ("__get_free_pages", Kind.GET_FREE_PAGES),
    ("alloc_pages_exact", Kind.GET_FREE_PAGES),
)

# Asked for by fork, a vmalloc area is a stack: kernel/fork.c:alloc_thread_stack_node is inlined
# into copy_process.
_FORK = frozenset({"copy_process", "dup_task_struct", "alloc_thread_stack_node"})
# Fall-backs: a narrower rule further out goes before them (pgd_alloc calls get_free_pages).
_WIDE = frozenset({Kind.GET_FREE_PAGES})
