"""Prefilled sheaves in 7.2: given out, filled up and taken back (R3.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    flush,
    free_sheaf,
    get_full,
    put_full,
    refill,
)
from allocsim.slub.sheaves.structs import (
    BARN_GET,
    BARN_GET_FAIL,
    BARN_PUT,
    CAPACITY,
    FULL,
    FULL_COUNT,
    HOME,
    MAX_FULL,
    NONE,
    ROOM,
    SHEAF_PREFILL_FAST,
    SHEAF_PREFILL_SLOW,
    SHEAF_RETURN_FAST,
    SHEAF_RETURN_SLOW,
    SIZE,
    SPARE,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafState


def ask_sheaf(  # noqa: PLR0913 - the cache, the request, and what is refused
    c: SheafState, cpu: int, sheaf: int, wanted: int, time: int, max_order: int, refused: int
) -> int:
    """A call for a prefilled sheaf, for more objects in it, or of its return (0); the sheaf.

    mm/slub.c:kmem_cache_prefill_sheaf, kmem_cache_refill_sheaf, kmem_cache_return_sheaf (7.2).
    """
    if sheaf == NONE:
        if wanted == 0:
            return NONE
        return prefill(c, cpu, min(wanted, c.numbers[CAPACITY]), time, max_order, refused)
    if wanted == 0:
        return_sheaf(c, cpu, sheaf, time, max_order)
        return NONE
    if c.sheaves[sheaf + SIZE] < wanted:
        refill(c, sheaf, cpu, time, max_order)
    return sheaf


def prefill(  # noqa: PLR0913 - the cache, the request, and what is refused
    c: SheafState, cpu: int, wanted: int, time: int, max_order: int, refused: int
) -> int:
    """A sheaf with so many objects or more: mm/slub.c:kmem_cache_prefill_sheaf (7.2), R3.16."""
    n, sheaf = c.numbers, c.pcs[cpu + SPARE]
    if sheaf != NONE:
        c.pcs[cpu + SPARE] = NONE
        n[SHEAF_PREFILL_FAST] += 1
    else:
        n[SHEAF_PREFILL_SLOW] += 1
        home = c.pcs[cpu + HOME]
        if c.nodes[home + FULL] != NONE:
            n[BARN_GET] += 1
            sheaf = get_full(c, home)
        else:
            n[BARN_GET_FAIL] += 1
            sheaf = empty_sheaf(c, cpu, time, refused)
    if sheaf == NONE or c.sheaves[sheaf + SIZE] >= wanted:
        return sheaf
    if refill(c, sheaf, cpu, time, max_order):
        return sheaf
    flush(c, sheaf, cpu, time)
    free_sheaf(c, sheaf, cpu, time)
    return NONE


def return_sheaf(c: SheafState, cpu: int, sheaf: int, time: int, max_order: int) -> None:
    """mm/slub.c:kmem_cache_return_sheaf (7.2)."""
    n, home = c.numbers, c.pcs[cpu + HOME]
    if c.sheaves[sheaf + ROOM] != n[CAPACITY]:
        flush(c, sheaf, cpu, time)
        free_sheaf(c, sheaf, cpu, time)
        return
    if c.pcs[cpu + SPARE] == NONE:
        c.pcs[cpu + SPARE] = sheaf
        n[SHEAF_RETURN_FAST] += 1
        return
    n[SHEAF_RETURN_SLOW] += 1
    if c.nodes[home + FULL_COUNT] < n[MAX_FULL] and refill(c, sheaf, cpu, time, max_order):
        n[BARN_PUT] += 1
        put_full(c, home, sheaf)
        return
    flush(c, sheaf, cpu, time)
    free_sheaf(c, sheaf, cpu, time)
