"""The slabs of a cache of 7.2: new, partial, empty (R3.13, R3.15, R3.17, R3.18, R3.22).

Plain loops over columns of numbers (structs), which can be compiled as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.node_partial import INDEX_BITS, NUMBER
from allocsim.slub.sheaves.structs import (
    ALLOC_SLAB,
    BASE,
    BEST_OBJECTS,
    BEST_ORDER,
    CELLS,
    COUNT,
    CREATED,
    FREE,
    FREE_ADD_PARTIAL,
    FREE_REMOVE_PARTIAL,
    FREE_SLAB,
    FREE_SLOWPATH,
    FREELIST_CMPXCHG,
    HEAD,
    HOME,
    KEY,
    KIND,
    LIST_LOCK,
    LISTED,
    MEMORY_OF,
    MIN_OBJECTS,
    MIN_ORDER,
    MIN_PARTIAL,
    NEXT,
    NODE_SIZE,
    NODES,
    NONE,
    ORDER_FALLBACK,
    PAGE_SIZE,
    PAGES,
    PCS_SIZE,
    PREV,
    SMALL,
    TAIL,
    UNUSED,
    UNUSED_COUNT,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafState

LOOKAHEAD = 3  #: mm/slub.c:build_detached_freelist (7.2)


def free_bulk(c: SheafState, first: int, end: int, cpu: int, time: int) -> None:
    """Give a sheaf's objects back, grouped by slab (R3.18); they lie in cells from ``first`` on.

    mm/slub.c:__kmem_cache_free_bulk, build_detached_freelist (7.2). The last object leads;
    scanning backward, objects of its slab join its chain and are compacted to the end, up to
    the third object of another slab.
    """
    cells = c.sheaves
    while end > first:
        same = at = end - 1
        key = cells[same] >> INDEX_BITS
        misses = 0
        while at > first:
            at -= 1
            if cells[at] >> INDEX_BITS == key:
                same -= 1
                if misses:
                    cells[at], cells[same] = cells[same], cells[at]
            else:
                misses += 1
                if misses == LOOKAHEAD:
                    break
        slab_free(c, key, same, end, cpu, time)
        end = same


def slab_free(  # noqa: PLR0913 - the cache, the slab, and who frees what
    c: SheafState, key: int, first: int, end: int, cpu: int, time: int
) -> None:
    """Push a chain of one slab's objects, tail first, on its free list (R3.17).

    mm/slub.c:__slab_free (7.2). The objects lie in cells, the chain's tail last.
    """
    n, slabs = c.numbers, c.slabs
    slab = c.struct_of[key & NUMBER] if key >= 0 else c.older[-2 - key]
    n[FREELIST_CMPXCHG] += 1
    held, count = 0, end - first
    if slab >= 0:
        held = slabs[slab + COUNT]
        count += held
    else:
        n[LIST_LOCK] += 1
        node = home_of(c, key)
        if count == objects_in(c, slab) and c.nodes[node + LISTED] >= n[MIN_PARTIAL]:
            discard(c, key, slab, cpu, time)
            return
        slab = listed_slab(c, key, slab)
        to_list(c, slab, node)
        n[FREE_ADD_PARTIAL] += 1
    slabs[slab + COUNT] = count
    free = slab + FREE + held
    for found in c.sheaves[end - 1 : first - 1 : -1]:
        slabs[free] = found
        free += 1
    if held and count >= n[MIN_OBJECTS] and count == objects_in(c, slabs[slab + KIND]):
        n[LIST_LOCK] += 1
        node = home_of(c, key)
        # nr_partial counts this slab too.
        if c.nodes[node + LISTED] >= n[MIN_PARTIAL]:
            n[FREE_REMOVE_PARTIAL] += 1
            discard(c, key, slabs[slab + KIND], cpu, time)
            unlist(c, slab, node)


def home_of(c: SheafState, key: int) -> int:
    """The node a slab lies on (R3.25)."""
    if c.numbers[NODES] == 1:
        return 0
    return c.node_of[key & NUMBER] if key >= 0 else c.older_node[-2 - key]


def objects_in(c: SheafState, kind: int) -> int:
    """How many objects a slab has."""
    return c.numbers[MIN_OBJECTS if kind == SMALL else BEST_OBJECTS]


def listed_slab(c: SheafState, key: int, kind: int) -> int:
    """A struct for a slab that goes on a list, with no free object yet."""
    n, slabs, slab = c.numbers, c.slabs, c.numbers[UNUSED]
    n[UNUSED] = slabs[slab + NEXT]
    n[UNUSED_COUNT] -= 1
    slabs[slab + KEY], slabs[slab + KIND], slabs[slab + COUNT] = key, kind, 0
    if key >= 0:
        c.struct_of[key & NUMBER] = slab
    else:
        c.older[-2 - key] = slab
    return slab


def unlist(c: SheafState, slab: int, node: int) -> None:
    """Take a slab that has no free object any more, or is freed, off its node's list."""
    n, slabs = c.numbers, c.slabs
    leave_list(c, slab, node)
    key = slabs[slab + KEY]
    if key >= 0:
        c.struct_of[key & NUMBER] = slabs[slab + KIND]
    else:
        c.older[-2 - key] = NONE
    slabs[slab + NEXT], n[UNUSED] = n[UNUSED], slab
    n[UNUSED_COUNT] += 1


def take_first(c: SheafState, node: int, most: int, at: int) -> int:
    """Take up to so many objects of a list's first slab, head first, into cells; how many."""
    slabs, cells, slab = c.slabs, c.sheaves, c.nodes[node + HEAD]
    count = slabs[slab + COUNT]
    taken = min(count, most)
    top = slab + FREE + count - 1
    for found in slabs[top : top - taken : -1]:
        cells[at] = found
        at += 1
    slabs[slab + COUNT] = count - taken
    if taken == count:
        unlist(c, slab, node)
    return taken


def new_slab(  # noqa: PLR0913 - the cache, what is wanted, and what is refused
    c: SheafState, node: int, wanted: int, at: int, cpu: int, time: int, max_order: int
) -> int:
    """Take up to so many objects of a new slab of a node into cells; how many.

    mm/slub.c:allocate_slab, alloc_from_new_slab (7.2). The rest goes to the head of the list. For a
    node without memory the nearest one serves.
    """
    n, cells = c.numbers, c.sheaves
    order, objects, kind = n[BEST_ORDER], n[BEST_OBJECTS], NONE
    if order > max_order:
        order, objects, kind = n[MIN_ORDER], n[MIN_OBJECTS], SMALL
        n[ORDER_FALLBACK] += 1
    number = n[CREATED]
    key = n[BASE] + number
    n[CREATED] += 1
    n[ALLOC_SLAB] += 1
    if n[NODES] > 1:
        node = c.near[node // NODE_SIZE * n[NODES]]
        c.node_of[number] = node
    ask_pages(c, key, kind, cpu, time, +1)
    c.struct_of[number] = kind
    slab = free = NONE
    if wanted < objects:
        slab = listed_slab(c, key, kind)
        to_head(c, slab, node)
        c.slabs[slab + COUNT] = objects - wanted
        free = slab + FREE + objects - wanted
        n[LIST_LOCK] += 1
    taken = 0
    first = number * n[BEST_OBJECTS] % len(c.orders)
    for place in c.orders[first : first + n[BEST_OBJECTS]]:
        if place >= objects:
            continue
        if taken < wanted:
            cells[at + taken] = key << INDEX_BITS | place
            taken += 1
        else:
            free -= 1
            c.slabs[free] = key << INDEX_BITS | place
    return taken


def to_list(c: SheafState, slab: int, node: int) -> None:
    """Put a slab at the tail of a node's partial list."""
    nodes, slabs, tail = c.nodes, c.slabs, c.nodes[node + TAIL]
    slabs[slab + PREV], slabs[slab + NEXT] = tail, NONE
    if tail != NONE:
        slabs[tail + NEXT] = slab
    else:
        nodes[node + HEAD] = slab
    nodes[node + TAIL] = slab
    nodes[node + LISTED] += 1


def to_head(c: SheafState, slab: int, node: int) -> None:
    """Put a slab at the head of a node's partial list."""
    nodes, slabs, head = c.nodes, c.slabs, c.nodes[node + HEAD]
    slabs[slab + PREV], slabs[slab + NEXT] = NONE, head
    if head != NONE:
        slabs[head + PREV] = slab
    else:
        nodes[node + TAIL] = slab
    nodes[node + HEAD] = slab
    nodes[node + LISTED] += 1


def leave_list(c: SheafState, slab: int, node: int) -> None:
    """Take a slab off a node's partial list."""
    nodes, slabs = c.nodes, c.slabs
    before, behind = slabs[slab + PREV], slabs[slab + NEXT]
    if before != NONE:
        slabs[before + NEXT] = behind
    else:
        nodes[node + HEAD] = behind
    if behind != NONE:
        slabs[behind + PREV] = before
    else:
        nodes[node + TAIL] = before
    nodes[node + LISTED] -= 1


def discard(c: SheafState, key: int, kind: int, cpu: int, time: int) -> None:
    """Give an empty slab back to the page allocator."""
    c.numbers[FREE_SLAB] += 1
    ask_pages(c, key, kind, cpu, time, -1)


def ask_pages(  # noqa: PLR0913 - a row of what is asked for
    c: SheafState, key: int, kind: int, cpu: int, time: int, way: int
) -> None:
    """Note that a slab's pages are asked for, or given back."""
    n, pages = c.numbers, c.pages
    at = n[PAGES]
    pages[at], pages[at + 1], pages[at + 2] = time, cpu // PCS_SIZE, key
    pages[at + 3], pages[at + 4] = n[MIN_ORDER if kind == SMALL else BEST_ORDER], way
    pages[at + 5] = home_of(c, key) // NODE_SIZE
    n[PAGES] = at + PAGE_SIZE


def may_keep(c: SheafState, cpu: int, found: int) -> bool:
    """Whether an object may go into a CPU's sheaves: mm/slub.c:can_free_to_pcs (7.2), R3.26."""
    return is_local(c, cpu, found) or not c.nodes[c.pcs[cpu + HOME] + MEMORY_OF]


def is_local(c: SheafState, cpu: int, found: int) -> bool:
    """Whether an object lies on a CPU's node."""
    return home_of(c, found >> INDEX_BITS) == c.pcs[cpu + HOME]


def slow_free(c: SheafState, cpu: int, found: int, time: int, path: int) -> int:
    """Past the sheaves: mm/slub.c:__slab_free (7.2); the path."""
    c.numbers[FREE_SLOWPATH] += 1
    c.sheaves[CELLS] = found
    slab_free(c, found >> INDEX_BITS, CELLS, CELLS + 1, cpu, time)
    return path
