"""How users of pages ask for them: gfp flags, functions on the stack, and how they are freed.

The flags are those that the 6.12 and 7.2 recordings show for each kind (T9); the functions are
those by which allocsim.recording.page_kinds knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from allocsim.kernels.release import GFP_BITS
from allocsim.recording.page_kinds import PageKind

_KERNEL = "IO FS DIRECT_RECLAIM KSWAPD_RECLAIM"
_USER = f"HIGHMEM {_KERNEL} HARDWALL"
_FAULT = ("handle_mm_fault", "exc_page_fault")
_WRITE = ("vfs_write", "ksys_write")


@dataclass(frozen=True, slots=True)
class PageRequestKind:
    """Users of pages.

    Args:
        kind: the kind allocsim.recording.page_kinds finds.
        gfp: gfp flags, without ``__GFP_``; high orders also have COMP where ``compound``.
        frames: functions on the stack, innermost first, behind the allocator's own.
        orders: lowest and highest order they ask for.
        batched: freed through folio batches: each free has an mm_page_free_batched too (T11).
        compound: __GFP_COMP for orders above 0.
        split: freed page by page where the kernel splits what it allocates at high orders: since
            7.0 (R1.26c, T10).
    """

    kind: PageKind
    gfp: str
    frames: tuple[str, ...]
    orders: tuple[int, int] = (0, 0)
    batched: bool = False
    compound: bool = True
    split: bool = False

    def gfp_flags(self, order: int) -> int:
        """The flags of a request of this order."""
        names = self.gfp.split() + (["COMP"] if order and self.compound else [])
        return sum(GFP_BITS[f"__GFP_{name}"] for name in dict.fromkeys(names))


#: By the name a spec gives them.
PAGE_KINDS: dict[str, PageRequestKind] = {
    "anon": PageRequestKind(
        PageKind.ANON,
        f"{_USER} MOVABLE COMP ZERO",
        ("alloc_anon_folio", *_FAULT),
        (0, 8),
        batched=True,
    ),
    "anon-copy": PageRequestKind(
        PageKind.ANON, f"{_USER} MOVABLE COMP", ("wp_page_copy", *_FAULT), batched=True
    ),
    "thp": PageRequestKind(
        PageKind.THP,
        "HIGHMEM MOVABLE IO FS DIRECT_RECLAIM NOWARN COMP NOMEMALLOC HARDWALL",
        ("vma_alloc_anon_folio_pmd", "do_huge_pmd_anonymous_page", *_FAULT),
        (9, 9),
        batched=True,
    ),
    "page-cache": PageRequestKind(
        PageKind.PAGE_CACHE,
        f"{_USER} MOVABLE WRITE COMP",
        ("__filemap_get_folio_mpol", "iomap_write_begin", *_WRITE),
        (0, 9),
        batched=True,
    ),
    "readahead": PageRequestKind(
        PageKind.PAGE_CACHE,
        "HIGHMEM MOVABLE IO DIRECT_RECLAIM KSWAPD_RECLAIM NOWARN NORETRY COMP HARDWALL",
        ("page_cache_ra_order", "filemap_get_pages", "vfs_read"),
        (0, 9),
        batched=True,
    ),
    "shmem": PageRequestKind(
        PageKind.SHMEM,
        f"{_USER} MOVABLE COMP",
        ("shmem_alloc_folio", "shmem_get_folio_gfp", *_WRITE),
        (0, 9),
        batched=True,
    ),
    "page-table": PageRequestKind(
        PageKind.PAGE_TABLE, f"{_KERNEL} ZERO COMP ACCOUNT", ("pte_alloc_one", *_FAULT), (0, 1)
    ),
    "pipe": PageRequestKind(
        PageKind.PIPE, f"{_USER} ACCOUNT", ("anon_pipe_get_page", "anon_pipe_write", *_WRITE)
    ),
    "skb-frag": PageRequestKind(
        PageKind.SKB_FRAG,
        "IO FS KSWAPD_RECLAIM NOWARN NORETRY COMP",
        ("skb_page_frag_refill", "sk_page_frag_refill", "tcp_sendmsg_locked"),
        (0, 3),
    ),
    "page-pool": PageRequestKind(
        PageKind.PAGE_POOL,
        "NOWARN HIGH KSWAPD_RECLAIM",
        ("__page_pool_alloc_netmems_slow", "napi_poll", "net_rx_action"),
        (0, 4),
    ),
    "tlb-batch": PageRequestKind(
        PageKind.TLB_BATCH, "KSWAPD_RECLAIM NOWARN", ("__tlb_remove_folio_pages_size", "unmap_vmas")
    ),
    "vmalloc": PageRequestKind(
        PageKind.VMALLOC,
        f"HIGHMEM {_KERNEL} NOWARN",
        ("vm_area_alloc_pages", "__vmalloc_node_range", "vmalloc"),
        (0, 10),
        compound=False,
        split=True,
    ),
    "kernel-stack": PageRequestKind(
        PageKind.KERNEL_STACK,
        f"HIGHMEM {_KERNEL} ZERO NOWARN",
        ("vm_area_alloc_pages", "dup_task_struct", "copy_process"),
        (0, 2),
        compound=False,
        split=True,
    ),
    "per-cpu": PageRequestKind(
        PageKind.PER_CPU, f"HIGHMEM {_KERNEL} NOWARN", ("pcpu_populate_chunk", "pcpu_alloc")
    ),
    "free-pages": PageRequestKind(
        PageKind.GET_FREE_PAGES, _KERNEL, ("get_free_pages", "sys_call"), (0, 10), compound=False
    ),
    "pages-exact": PageRequestKind(
        PageKind.PAGES_EXACT, _KERNEL, ("alloc_pages_exact", "sys_call"), (0, 10), compound=False
    ),
    "hugetlb": PageRequestKind(
        PageKind.HUGETLB,
        f"HIGHMEM MOVABLE {_KERNEL} NOWARN RETRY_MAYFAIL COMP HARDWALL",
        ("alloc_buddy_frozen_folio", "alloc_pool_huge_folio"),
        (9, 9),
    ),
    "zsmalloc": PageRequestKind(
        PageKind.ZSMALLOC, "HIGHMEM MOVABLE KSWAPD_RECLAIM NOWARN", ("alloc_zpdesc", "zs_malloc")
    ),
    "ring-buffer": PageRequestKind(
        PageKind.RING_BUFFER,
        f"{_KERNEL} ZERO COMP RETRY_MAYFAIL",
        ("__rb_allocate_pages", "ring_buffer_alloc"),
        (0, 10),
    ),
    "other": PageRequestKind(PageKind.OTHER, _KERNEL, ("driver_alloc",), (0, 10), compound=False),
}
