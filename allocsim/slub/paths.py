"""The way an object request took through SLUB."""

from __future__ import annotations

from enum import IntEnum


class AllocPath(IntEnum):
    """What served an allocation or a free (R3.13, R3.15, R3.17, R3.23, R3.24, R3.31 - R3.36)."""

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
    # SLUB of 6.12 (R3.31 - R3.36)
    CPU_SLAB_HIT = 17  #: alloc: from the CPU's own list of free objects of its slab
    CPU_SLAB_REFILL = 18  #: alloc: of its slab still, from what other CPUs had freed to it
    CPU_PARTIAL = 19  #: alloc: the first slab of the CPU's partial list became its slab
    NODE_PARTIAL = 20  #: alloc: the first slab of the node's partial list did
    NEW_SLAB = 21  #: alloc: a new slab did
    CPU_SLAB_PUSH = 22  #: free: of the freeing CPU's slab, onto the CPU's own list
    FREE_FROZEN = 23  #: free: of another CPU's slab
    CPU_PARTIAL_PUT = 24  #: free: the first of a full slab, which went to the CPU's partial list
    CPU_PARTIAL_DRAIN = 25  #: free: the same, and the slabs that were there to the node's list
    SLAB_PUSH = 26  #: free: of a slab that is partly free already
    SLAB_FREED = 27  #: free: likewise, the last one; the slab went back to the page allocator
    # Sheaves, on a machine of several nodes (R3.26)
    REMOTE_FREE = 28  #: free: straight to the slab, which is another node's than the CPU's


#: Paths of frees; the others are those of allocations. SPARE_SWAP is both.
FREE_PATHS = frozenset(
    {
        AllocPath.IGNORED,
        AllocPath.MAIN_PUSH,
        AllocPath.INSTALL_EMPTY,
        AllocPath.BARN_PUT,
        AllocPath.FLUSH,
        AllocPath.FLUSH_MAIN,
        AllocPath.SLOW_FREE,
        AllocPath.RCU_FREE,
        AllocPath.CPU_SLAB_PUSH,
        AllocPath.FREE_FROZEN,
        AllocPath.CPU_PARTIAL_PUT,
        AllocPath.CPU_PARTIAL_DRAIN,
        AllocPath.SLAB_PUSH,
        AllocPath.SLAB_FREED,
        AllocPath.REMOTE_FREE,
    }
)
