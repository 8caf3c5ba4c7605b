"""How long a lock is held: the lines that are written under it, from cached to far away (R7.3)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Lock(IntEnum):
    """Which lock; the names are those of results."""

    LIST_LOCK = 0  #: of a cache's partial slabs (struct kmem_cache_node)
    BARN = 1  #: of a cache's full and empty sheaves (struct node_barn)
    ZONE = 2  #: of a zone's free lists (struct zone)


#: Cache lines besides the lock's own that one take writes, R7.3. Of a zone: for each block moved to
#: or from a free list, for each halving and for each join.
LINES = {
    Lock.LIST_LOCK: 3,  # mm/slub.c:remove_partial, add_partial: the slab and its neighbours
    Lock.BARN: 4,  # mm/slub.c:barn_replace_full_sheaf: two sheaves and their neighbours
    Lock.ZONE: 4,  # mm/page_alloc.c:__add_to_free_list: the page, its neighbours, the list's head
}


class Hold(NamedTuple):
    """How long one take holds a lock, ns: at least and at most."""

    low: float
    high: float


#: (operation, place) -> least and most, ns: the table of costs.
Costs = dict[tuple[str, str], tuple[float, float]]


def hold(costs: Costs, lines: float) -> Hold:
    """From the locked instruction that takes a lock to the store that releases it.

    Args:
        costs: what operations take, by operation and place of the line.
        lines: lines written while it is held.

    Returns:
        At least: every line is in the CPU's own cache. At most: each was last written by a CPU of
        another package, as was the lock's.
    """
    store_low, store_high = costs["store", "own"]
    taken_low, taken_high = costs["cmpxchg", "own"][0], costs["cmpxchg", "remote"][1]
    line_high = costs["locked", "remote"][1]
    return Hold(taken_low + store_low * (1 + lines), taken_high + store_high + line_high * lines)
