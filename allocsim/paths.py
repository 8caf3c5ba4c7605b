"""The way an object request took through SLUB, and the counters the kernel keeps of it."""

from __future__ import annotations

from enum import IntEnum


class Path(IntEnum):
    """What served an allocation or a free (spec 3.2, R3.13, R3.15, R3.17)."""

    IGNORED = 0  #: free of an object whose allocation failed in the model
    MAIN_HIT = 1  #: alloc: top of the main sheaf
    SPARE_SWAP = 2  #: alloc or free: main and spare changed places
    BARN_GET = 3  #: alloc: a full sheaf of the barn became main
    REFILL_PARTIAL = 4  #: alloc: a sheaf was refilled, from slabs of the partial list alone
    REFILL_NEW = 5  #: alloc: a sheaf was refilled, with at least one new slab
    SLOW_PARTIAL = 6  #: alloc: one object from the first slab of the partial list
    SLOW_NEW = 7  #: alloc: one object from a new slab
    FAILED = 8  #: alloc: the page allocator had no slab to give
    MAIN_PUSH = 9  #: free: onto the main sheaf
    INSTALL_EMPTY = 10  #: free: there was no spare; main became it, an empty sheaf became main
    BARN_PUT = 11  #: free: the full main went to the barn
    FLUSH = 12  #: free: the barn was full, spare's objects went to their slabs
    FLUSH_MAIN = 13  #: free: no empty sheaf to be had, main's objects went to their slabs
    SLOW_FREE = 14  #: free: straight to the slab
    FROM_SHEAF = 15  #: alloc: out of a prefilled sheaf (R3.16); in none of the kernel's counters
    RCU_FREE = 16  #: free: by kfree_rcu, into the CPU's rcu_free sheaf (R3.20)


#: Paths of frees; the others are those of allocations. SPARE_SWAP is both.
FREE_PATHS = frozenset(
    {
        Path.IGNORED,
        Path.MAIN_PUSH,
        Path.INSTALL_EMPTY,
        Path.BARN_PUT,
        Path.FLUSH,
        Path.FLUSH_MAIN,
        Path.SLOW_FREE,
        Path.RCU_FREE,
    }
)

#: Names of /sys/kernel/slab/*/ with CONFIG_SLUB_STATS, and their units: sheaf_refill and
#: sheaf_flush count objects, barn_* and sheaf_alloc, sheaf_free sheaves (without the main sheaves
#: every CPU gets when a cache is made); free_rcu_sheaf objects, sheaf_prefill_* and sheaf_return_*
#: prefilled sheaves. ``list_lock`` is ours: acquisitions of the node's
#: list_lock.
COUNTERS = (
    "alloc_fastpath",
    "alloc_slowpath",
    "free_fastpath",
    "free_slowpath",
    "free_add_partial",
    "free_remove_partial",
    "alloc_slab",
    "free_slab",
    "order_fallback",
    "free_rcu_sheaf",
    "free_rcu_sheaf_fail",
    "sheaf_flush",
    "sheaf_refill",
    "sheaf_alloc",
    "sheaf_free",
    "barn_get",
    "barn_get_fail",
    "barn_put",
    "barn_put_fail",
    "sheaf_prefill_fast",
    "sheaf_prefill_slow",
    "sheaf_return_fast",
    "sheaf_return_slow",
    "list_lock",
)
