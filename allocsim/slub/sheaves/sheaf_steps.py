"""Sheaves of 7.2, and the barn of a cache: got, given, filled, flushed (R3.13, R3.16, R3.18).

Plain loops over columns of numbers (structs), which can be compiled as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.sheaves.slab_steps import free_bulk, leave_list, new_slab, take_first, to_list
from allocsim.slub.sheaves.structs import (
    CAPACITY,
    CELLS,
    EMPTY,
    EMPTY_COUNT,
    FLUSH_BATCH,
    FREELIST_CMPXCHG,
    FULL,
    FULL_COUNT,
    HEAD,
    LARGEST,
    LIST_LOCK,
    LISTED,
    MEMORY,
    MEMORY_SIZE,
    MIN_ORDER,
    NEXT_SHEAF,
    NONE,
    PAGE_SIZE,
    PAGES,
    PCS_SIZE,
    ROOM,
    SHEAF_ALLOC,
    SHEAF_FLUSH,
    SHEAF_FREE,
    SHEAF_REFILL,
    SHEAVES_END,
    SIZE,
    UNUSED_SHEAF,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafState


def put_full(c: SheafState, sheaf: int) -> None:
    """Give the barn a full sheaf."""
    n = c.numbers
    c.sheaves[sheaf + NEXT_SHEAF], n[FULL] = n[FULL], sheaf
    n[FULL_COUNT] += 1


def get_full(c: SheafState) -> int:
    """Take a full sheaf of the barn, which has one."""
    n, sheaf = c.numbers, c.numbers[FULL]
    n[FULL] = c.sheaves[sheaf + NEXT_SHEAF]
    n[FULL_COUNT] -= 1
    return sheaf


def put_empty(c: SheafState, sheaf: int) -> None:
    """Give the barn an empty sheaf."""
    n = c.numbers
    c.sheaves[sheaf + NEXT_SHEAF], n[EMPTY] = n[EMPTY], sheaf
    n[EMPTY_COUNT] += 1


def empty_sheaf(c: SheafState, cpu: int, time: int, refused: int) -> int:
    """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2); NONE: there is no memory."""
    n, sheaf = c.numbers, c.numbers[EMPTY]
    if sheaf != NONE:
        n[EMPTY] = c.sheaves[sheaf + NEXT_SHEAF]
        n[EMPTY_COUNT] -= 1
        return sheaf
    if refused:
        return NONE
    n[SHEAF_ALLOC] += 1
    sheaf = n[UNUSED_SHEAF]
    if sheaf != NONE:
        n[UNUSED_SHEAF] = c.sheaves[sheaf + NEXT_SHEAF]
    else:
        sheaf = n[SHEAVES_END]
        n[SHEAVES_END] += sheaf_size(c)
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


def sheaf_size(c: SheafState) -> int:
    """Numbers in a sheaf's struct."""
    return CELLS + max(c.numbers[LARGEST], 1)


def note_sheaf(c: SheafState, sheaf: int, cpu: int, time: int, way: int) -> None:
    """Note that a sheaf's memory is asked for, or given back (sheaf_kmalloc)."""
    n, memory = c.numbers, c.memory
    at = n[MEMORY]
    memory[at], memory[at + 1], memory[at + 2] = time, cpu // PCS_SIZE, sheaf // sheaf_size(c) - 1
    memory[at + 3], memory[at + 4] = way, n[PAGES] // PAGE_SIZE
    n[MEMORY] = at + MEMORY_SIZE


def refill(c: SheafState, sheaf: int, cpu: int, time: int, max_order: int) -> bool:
    """Fill a sheaf from the slabs, R3.13; whether it is full: mm/slub.c:refill_sheaf (7.2).

    From partial slabs, whose remainder goes to the tail, then from new ones
    (refill_objects, __slab_try_return_freelist).
    """
    n, sheaves = c.numbers, c.sheaves
    size, capacity = sheaves[sheaf + SIZE], sheaves[sheaf + ROOM]
    got = size
    if n[LISTED]:
        n[LIST_LOCK] += 1
    while n[LISTED] and got < capacity:
        slab = n[HEAD]
        taken = take_first(c, capacity - got, sheaf + CELLS + got)
        got += taken
        n[FREELIST_CMPXCHG] += 1
        if n[HEAD] == slab:
            n[FREELIST_CMPXCHG] += 1
            n[LIST_LOCK] += 1
            leave_list(c, slab)
            to_list(c, slab)
            break
    while got < capacity and n[MIN_ORDER] <= max_order:
        got += new_slab(c, capacity - got, sheaf + CELLS + got, cpu, time, max_order)
    sheaves[sheaf + SIZE] = got
    n[SHEAF_REFILL] += got - size
    return got == capacity


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
