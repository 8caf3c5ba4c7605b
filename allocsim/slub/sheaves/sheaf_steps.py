"""Sheaves of 7.2, and the barn of a cache: got, given, filled, flushed (R3.13, R3.16, R3.18).

Plain loops over columns of numbers (structs), which can be compiled as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.sheaves.slab_steps import free_bulk, leave_list, new_slab, take_first, to_list
from allocsim.slub.sheaves.structs import (
    CAPACITY,
    CELLS,
    CREATED,
    EMPTY,
    EMPTY_COUNT,
    FLUSH_BATCH,
    FREELIST_CMPXCHG,
    FULL,
    FULL_COUNT,
    HEAD,
    HOME,
    LIST_LOCK,
    LISTED,
    MEMORY,
    MEMORY_SIZE,
    MIN_ORDER,
    MIN_PARTIAL,
    MOST,
    MOST_NEW,
    NEXT_SHEAF,
    NODE_SIZE,
    NODES,
    NONE,
    ORDERED,
    PAGE_SIZE,
    PAGES,
    PCS_SIZE,
    ROOM,
    SHEAF_ALLOC,
    SHEAF_FLUSH,
    SHEAF_FREE,
    SHEAF_REFILL,
    SHEAF_SIZE,
    SHEAVES_END,
    SIZE,
    UNUSED_COUNT,
    UNUSED_SHEAF,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafState


def put_full(c: SheafState, node: int, sheaf: int) -> None:
    """Give a node's barn a full sheaf."""
    nodes = c.nodes
    c.sheaves[sheaf + NEXT_SHEAF], nodes[node + FULL] = nodes[node + FULL], sheaf
    nodes[node + FULL_COUNT] += 1


def get_full(c: SheafState, node: int) -> int:
    """Take a full sheaf of a node's barn, which has one."""
    nodes, sheaf = c.nodes, c.nodes[node + FULL]
    nodes[node + FULL] = c.sheaves[sheaf + NEXT_SHEAF]
    nodes[node + FULL_COUNT] -= 1
    return sheaf


def put_empty(c: SheafState, node: int, sheaf: int) -> None:
    """Give a node's barn an empty sheaf."""
    nodes = c.nodes
    c.sheaves[sheaf + NEXT_SHEAF], nodes[node + EMPTY] = nodes[node + EMPTY], sheaf
    nodes[node + EMPTY_COUNT] += 1


def empty_sheaf(c: SheafState, cpu: int, time: int, refused: int) -> int:
    """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2); NONE: there is no memory."""
    n, nodes, node = c.numbers, c.nodes, c.pcs[cpu + HOME]
    sheaf = nodes[node + EMPTY]
    if sheaf != NONE:
        nodes[node + EMPTY] = c.sheaves[sheaf + NEXT_SHEAF]
        nodes[node + EMPTY_COUNT] -= 1
        return sheaf
    if refused:
        return NONE
    n[SHEAF_ALLOC] += 1
    sheaf = n[UNUSED_SHEAF]
    if sheaf != NONE:
        n[UNUSED_SHEAF] = c.sheaves[sheaf + NEXT_SHEAF]
    else:
        sheaf = n[SHEAVES_END]
        n[SHEAVES_END] += n[SHEAF_SIZE]
    c.sheaves[sheaf + SIZE], c.sheaves[sheaf + ROOM] = 0, n[CAPACITY]
    note_sheaf(c, sheaf, cpu, time, +1)
    return sheaf


def free_sheaf(c: SheafState, sheaf: int, cpu: int, time: int) -> None:
    """mm/slub.c:free_empty_sheaf (7.2); the struct of one of another capacity is not used again."""
    n = c.numbers
    n[SHEAF_FREE] += 1
    if c.sheaves[sheaf + ROOM] == n[CAPACITY]:
        c.sheaves[sheaf + NEXT_SHEAF], n[UNUSED_SHEAF] = n[UNUSED_SHEAF], sheaf
    note_sheaf(c, sheaf, cpu, time, -1)


def note_sheaf(c: SheafState, sheaf: int, cpu: int, time: int, way: int) -> None:
    """Note that a sheaf's memory is asked for, or given back (sheaf_kmalloc)."""
    n, memory = c.numbers, c.memory
    at = n[MEMORY]
    memory[at], memory[at + 1], memory[at + 2] = time, cpu // PCS_SIZE, sheaf // n[SHEAF_SIZE] - 1
    memory[at + 3], memory[at + 4] = way, n[PAGES] // PAGE_SIZE
    n[MEMORY] = at + MEMORY_SIZE


def refill(c: SheafState, sheaf: int, cpu: int, time: int, max_order: int) -> bool:
    """Fill a sheaf from the slabs, R3.13; whether it is full: mm/slub.c:refill_sheaf (7.2).

    From the own node's partial slabs, then from those of others that have more than they keep
    (R3.25), then from new ones (refill_objects, __refill_objects_any).
    """
    n, sheaves, home = c.numbers, c.sheaves, c.pcs[cpu + HOME]
    size, capacity = sheaves[sheaf + SIZE], sheaves[sheaf + ROOM]
    got = from_list(c, home, sheaf, size)
    if got < capacity and n[NODES] > 1:
        first = home // NODE_SIZE * n[NODES]
        for node in c.near[first : first + n[NODES]]:
            if node != NONE and got < capacity and c.nodes[node + LISTED] > n[MIN_PARTIAL]:
                got = from_list(c, node, sheaf, got)
    while got < capacity and n[MIN_ORDER] <= max_order:
        got += new_slab(c, home, capacity - got, sheaf + CELLS + got, cpu, time, max_order)
    sheaves[sheaf + SIZE] = got
    n[SHEAF_REFILL] += got - size
    return got == capacity


def from_list(c: SheafState, node: int, sheaf: int, got: int) -> int:
    """Fill a sheaf from a node's partial slabs, whose remainder goes to the tail; its objects.

    mm/slub.c:__refill_objects_node, __slab_try_return_freelist (7.2).
    """
    n, nodes, capacity = c.numbers, c.nodes, c.sheaves[sheaf + ROOM]
    if nodes[node + LISTED]:
        n[LIST_LOCK] += 1
    while nodes[node + LISTED] and got < capacity:
        slab = nodes[node + HEAD]
        got += take_first(c, node, capacity - got, sheaf + CELLS + got)
        n[FREELIST_CMPXCHG] += 1
        if nodes[node + HEAD] == slab:
            n[FREELIST_CMPXCHG] += 1
            n[LIST_LOCK] += 1
            leave_list(c, slab, node)
            to_list(c, slab, node)
            break
    return got


def flush(c: SheafState, sheaf: int, cpu: int, time: int) -> None:
    """mm/slub.c:sheaf_flush_unused (7.2)."""
    size = c.sheaves[sheaf + SIZE]
    c.numbers[SHEAF_FLUSH] += size
    free_bulk(c, sheaf + CELLS, sheaf + CELLS + size, cpu, time)
    c.sheaves[sheaf + SIZE] = 0


def flush_main(c: SheafState, main: int, cpu: int, time: int) -> None:
    """mm/slub.c:sheaf_try_flush_main (7.2): from its top, a batch at a time."""
    n, sheaves = c.numbers, c.sheaves
    while sheaves[main + SIZE]:
        size = sheaves[main + SIZE]
        rest = max(size - n[FLUSH_BATCH], 0)
        sheaves[main + SIZE] = rest
        n[SHEAF_FLUSH] += size - rest
        free_bulk(c, main + CELLS + rest, main + CELLS + size, cpu, time)


def pop(c: SheafState, sheaf: int) -> int:
    """An object of a sheaf that has one."""
    size = c.sheaves[sheaf + SIZE] - 1
    c.sheaves[sheaf + SIZE] = size
    return c.sheaves[sheaf + CELLS + size]


def push(c: SheafState, sheaf: int, found: int) -> None:
    """Put an object into a sheaf that has room."""
    size = c.sheaves[sheaf + SIZE]
    c.sheaves[sheaf + CELLS + size] = found
    c.sheaves[sheaf + SIZE] = size + 1


def lacks_room(c: SheafState) -> bool:
    """Whether one more event may need more than there is.

    It may fill two sheaves, and empty one: into slabs that were on no list, if there are as many.
    """
    n = c.numbers
    most, new = n[MOST], n[MOST_NEW]
    return (
        (n[UNUSED_COUNT] < most and n[UNUSED_COUNT] < n[CREATED] + len(c.older) + new + 4)
        or n[CREATED] + new > n[ORDERED]
        or n[SHEAVES_END] + 4 * n[SHEAF_SIZE] > len(c.sheaves)
        or n[PAGES] + PAGE_SIZE * (most + new) > len(c.pages)
        or n[MEMORY] + 4 * MEMORY_SIZE > len(c.memory)
    )
