"""A cache of 7.2 whose sheaves are replaced by others of another capacity (R3.27).

No released kernel does this: its parts are those of kmem_cache_shrink (R3.21).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.slub.sheaves.rcu_steps import wait
from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    flush,
    flush_main,
    free_sheaf,
    get_full,
    lacks_room,
)
from allocsim.slub.sheaves.structs import (
    BATCHED,
    CAPACITY,
    DUE,
    EMPTY,
    EMPTY_COUNT,
    FILLED_BY,
    FULL,
    GRACE,
    MAIN,
    NEXT_SHEAF,
    NODE_SIZE,
    NONE,
    RCU_FREE,
    ROOM,
    SHEAF_SIZE,
    SHEAVES_END,
    SIZE,
    SPARE,
    WAITING,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafState


def drop_cpu(c: SheafState, cpu: int, now: int) -> bool:
    """Take a CPU's sheaves from it, on that CPU; False: lacks room, to be called again.

    mm/slub.c:pcs_flush_all (7.2), which leaves main with the CPU: here it goes too.
    """
    pcs = c.pcs
    for which in (SPARE, RCU_FREE, MAIN):
        sheaf = pcs[cpu + which]
        if sheaf == NONE:
            continue
        if lacks_room(c):
            return False
        if which == RCU_FREE:
            wait_past_barn(c, sheaf, cpu, now)
        elif c.numbers[CAPACITY]:
            (flush_main if which == MAIN else flush)(c, sheaf, cpu, 0)
            free_sheaf(c, sheaf, cpu, 0)
        pcs[cpu + which] = NONE
    return True


def wait_past_barn(c: SheafState, sheaf: int, cpu: int, now: int) -> None:
    """Let a CPU's rcu_free sheaf wait for its grace period."""
    c.sheaves[sheaf + DUE], c.sheaves[sheaf + FILLED_BY] = now + c.numbers[GRACE], cpu
    wait(c, sheaf)


def drop_barns(c: SheafState) -> bool:
    """Empty the barns, on CPU 0; False: lacks room, to be called again.

    mm/slub.c:barn_shrink (7.2). What waits for a grace period goes past the barn from now on.
    """
    nodes, sheaves = c.nodes, c.sheaves
    for node in range(0, len(nodes), NODE_SIZE):
        while nodes[node + FULL] != NONE:
            if lacks_room(c):
                return False
            sheaf = get_full(c, node)
            flush(c, sheaf, 0, 0)
            free_sheaf(c, sheaf, 0, 0)
        while nodes[node + EMPTY] != NONE:
            if lacks_room(c):
                return False
            sheaf = nodes[node + EMPTY]
            nodes[node + EMPTY] = sheaves[sheaf + NEXT_SHEAF]
            nodes[node + EMPTY_COUNT] -= 1
            free_sheaf(c, sheaf, 0, 0)
    sheaf = c.numbers[WAITING]
    while sheaf != NONE:
        if sheaves[sheaf + ROOM] != BATCHED:
            sheaves[sheaf + ROOM] = NONE
        sheaf = sheaves[sheaf + NEXT_SHEAF]
    return True


def new_main(c: SheafState, cpu: int) -> None:
    """Give a CPU an empty main sheaf, allocated on CPU 0: mm/slub.c:init_percpu_sheaves (7.2)."""
    n = c.numbers
    if n[CAPACITY]:
        c.pcs[cpu + MAIN] = empty_sheaf(c, 0, 0, 0)
        return
    # The one that all CPUs share, which is nobody's memory (R3.11).
    sheaf = n[SHEAVES_END]
    n[SHEAVES_END] += n[SHEAF_SIZE]
    c.sheaves[sheaf + SIZE], c.sheaves[sheaf + ROOM] = 0, 0
    c.pcs[cpu + MAIN] = sheaf
