"""What a cache of 7.2 is made of, as numbers: structs of CPUs, sheaves and slabs (R3.10, R3.22).

As in the kernel, a CPU, a sheaf and a slab are structs, here so many numbers one behind the other:
``sheaves[sheaf + SIZE]`` is sheaf->size. A slab has a struct while it is on the partial list; of
others there is nothing to know but their order (R3.22). An object is its slab's key << 16 | its
place in the slab.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from allocsim.kernels.release import Generation
from allocsim.slub.counters import counted

if TYPE_CHECKING:
    from allocsim.slub.columns import Column

NONE = -1  #: no sheaf, no slab; a slab without a free object
SMALL = -2  #: likewise, of the fallback order
BATCHED = -2  #: no sheaf, but a page of pointers (R3.60)

#: A CPU (struct slub_percpu_sheaves): its sheaves; its node; what kfree_rcu batches.
MAIN, SPARE, RCU_FREE, HOME, BATCH, PCS_SIZE = range(6)
#: A node (struct node_barn, struct kmem_cache_node; R3.25): full and empty sheaves of its barn, by
#: their first one, and how many; its partial list; whether it has memory.
FULL, FULL_COUNT, EMPTY, EMPTY_COUNT, HEAD, TAIL, LISTED, MEMORY_OF, NODE_SIZE = range(9)
#: A sheaf: how many objects it has; the next sheaf, where it is one of a list; the CPU that filled
#: it by kfree_rcu, and when its grace period is over; its own capacity, NONE where it is to go past
#: the barn (R3.27), BATCHED; its objects, the next to be taken last. The first struct is no sheaf
#: but a place for objects on their way.
SIZE, NEXT_SHEAF, FILLED_BY, DUE, ROOM, CELLS = range(6)
#: A slab: its key, as in Placement; NONE or SMALL; free objects; its neighbours on the partial
#: list; its free objects, the head of the free list last.
KEY, KIND, COUNT, NEXT, PREV, FREE = range(6)

COUNTERS = counted(Generation.SHEAVES)
#: Places in ``numbers``: the kernel's counters, in the order of COUNTERS; lists of sheaves, by
#: their first one; where their structs end; slabs made, and how many may be made of the orders at
#: hand; structs without a slab; how much of ``pages`` and ``memory`` is used; the cache's shape and
#: the rules' numbers, of which ``LARGEST`` is the most that its capacity ever is, ``SHEAF_SIZE``
#: how long a sheaf's struct is, ``MOST`` the most slabs that one event puts on a list or takes off
#: it, ``MOST_NEW`` the most it makes, and ``BASE`` the key of its first slab; how many nodes there
#: are.
(
    ALLOC_FASTPATH,
    ALLOC_SLOWPATH,
    FREE_FASTPATH,
    FREE_SLOWPATH,
    SHEAF_REFILL,
    SHEAF_FLUSH,
    SHEAF_ALLOC,
    SHEAF_FREE,
    BARN_GET,
    BARN_GET_FAIL,
    BARN_PUT,
    BARN_PUT_FAIL,
    FREE_RCU_SHEAF,
    FREE_RCU_SHEAF_FAIL,
    SHEAF_PREFILL_FAST,
    SHEAF_PREFILL_SLOW,
    SHEAF_RETURN_FAST,
    SHEAF_RETURN_SLOW,
    ALLOC_SLAB,
    FREE_SLAB,
    ORDER_FALLBACK,
    FREE_ADD_PARTIAL,
    FREE_REMOVE_PARTIAL,
    LIST_LOCK,
    FREELIST_CMPXCHG,
    ALLOC_NODE_MISMATCH,
    UNUSED_SHEAF,
    UNUSED_BATCH,
    WAITING,
    WAITING_LAST,
    SHEAVES_END,
    CREATED,
    ORDERED,
    UNUSED,
    UNUSED_COUNT,
    PAGES,
    MEMORY,
    CAPACITY,
    LARGEST,
    SHEAF_SIZE,
    MOST,
    MOST_NEW,
    BEST_ORDER,
    BEST_OBJECTS,
    MIN_ORDER,
    MIN_OBJECTS,
    MIN_PARTIAL,
    MAX_FULL,
    MAX_EMPTY,
    FLUSH_BATCH,
    GRACE,
    BASE,
    NODES,
    NUMBERS,
) = range(54)
PAGE_SIZE = 6  #: numbers of a page request: event, CPU, slab, order, +1 or -1, node
MEMORY_SIZE = 5  #: of a sheaf made or freed: event, CPU, sheaf, +1 or -1, page requests before it


@dataclass(slots=True)
class SheafState:
    """One cache between events.

    Args:
        numbers: counters, lists, the cache's shape.
        pcs: CPUs, struct by struct.
        nodes: nodes likewise.
        near: of each node the nodes with memory, nearest first, as many as there are.
        sheaves: sheaves likewise.
        slabs: slabs of the partial list likewise.
        struct_of: by number of a slab: its struct, NONE or SMALL.
        node_of: by number of a slab: its node, where there are several.
        older, older_node: the same two of slabs older than the trace, by their keys, -2 downwards.
        orders: places in the order new slabs hand them out, of one slab after the other.
        pages: page requests, one behind the other.
        memory: sheaves made and freed, likewise.
    """

    numbers: Column
    pcs: Column
    nodes: Column
    near: Column
    sheaves: Column
    slabs: Column
    struct_of: Column
    node_of: Column
    older: Column
    older_node: Column
    orders: Column
    pages: Column
    memory: Column


#: The same as a tuple, which is what compiled functions can be given.
SheafColumns = namedtuple(  # type: ignore[misc] # noqa: PYI024 - its fields stand above
    "SheafColumns", SheafState.__slots__
)


class SheafEvents(NamedTuple):
    """A window's events, as CacheEvents has them; a column that is None there is empty.

    Args:
        parent: of a free, the event whose object it is: itself, where that was before the window.
        run: prefilled sheaf of each event, as a place in ``prefilled``.
        prefilled: those sheaves, NONE before they are handed out and after they are returned.
    """

    cpu: Column
    op: Column
    parent: Column
    objects: Column
    path: Column
    max_order: Column
    no_sheaf: Column
    ts: Column
    run: Column
    left: Column
    due: Column
    node: Column
    prefilled: Column
