"""kfree_rcu in 7.2: sheaves, and pages of pointers, that wait for a grace period (R3.20, R3.60)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.slub_rules import KFREE_DRAIN_NS, KFREE_PAGE
from allocsim.slub.paths import AllocPath
from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    flush,
    free_sheaf,
    lacks_room,
    pop,
    push,
    put_empty,
    put_full,
)
from allocsim.slub.sheaves.slab_steps import (
    is_local,
    slow_free,
)
from allocsim.slub.sheaves.structs import (
    BARN_PUT,
    BARN_PUT_FAIL,
    BATCH,
    BATCHED,
    CAPACITY,
    DUE,
    EMPTY_COUNT,
    FILLED_BY,
    FREE_RCU_SHEAF,
    FREE_RCU_SHEAF_FAIL,
    FULL_COUNT,
    GRACE,
    HOME,
    MAX_EMPTY,
    MAX_FULL,
    NEXT_SHEAF,
    NONE,
    RCU_FREE,
    ROOM,
    SHEAF_SIZE,
    SHEAVES_END,
    SIZE,
    SPARE,
    UNUSED_BATCH,
    WAITING,
    WAITING_LAST,
)

if TYPE_CHECKING:
    from allocsim.slub.columns import Column
    from allocsim.slub.sheaves.structs import SheafState

_RCU_FREED, _SLOW_FREE = int(AllocPath.RCU_FREE), int(AllocPath.SLOW_FREE)
_REMOTE_FREE = int(AllocPath.REMOTE_FREE)
_NEVER = (1 << 63) - 1


def free_rcu(  # noqa: PLR0913 - the cache, the request, and what is refused
    c: SheafState, cpu: int, found: int, time: int, refused: int, now: int, due: int
) -> int:
    """kfree_rcu: mm/slub.c:__kfree_rcu_sheaf (7.2), R3.20, R3.26; the path.

    ``due`` is when the sheaf comes back if this fills it; NONE: a grace period from now.
    """
    n, pcs, sheaves = c.numbers, c.pcs, c.sheaves
    sheaf = NONE
    if not is_local(c, cpu, found):
        batch(c, cpu, found, now)
        return _REMOTE_FREE
    if n[CAPACITY]:
        sheaf = rcu_sheaf(c, cpu, time, refused)
    if sheaf == NONE:
        # Batches of pointers, freed by kfree_bulk: past all sheaves (R3.19, R3.20).
        n[FREE_RCU_SHEAF_FAIL] += 1
        return slow_free(c, cpu, found, time, _SLOW_FREE)
    n[FREE_RCU_SHEAF] += 1
    push(c, sheaf, found)
    if sheaves[sheaf + SIZE] == n[CAPACITY]:
        sheaves[sheaf + DUE] = now + n[GRACE] if due == NONE else due
        sheaves[sheaf + FILLED_BY] = cpu
        wait(c, sheaf)
        pcs[cpu + RCU_FREE] = NONE
    return _RCU_FREED


def rcu_sheaf(c: SheafState, cpu: int, time: int, refused: int) -> int:
    """A CPU's sheaf for kfree_rcu, which is taken from somewhere if it has none."""
    pcs = c.pcs
    if pcs[cpu + RCU_FREE] == NONE:
        spare = pcs[cpu + SPARE]
        if spare != NONE and c.sheaves[spare + SIZE] == 0:
            pcs[cpu + RCU_FREE], pcs[cpu + SPARE] = spare, NONE
        else:
            pcs[cpu + RCU_FREE] = empty_sheaf(c, cpu, time, refused)
    return pcs[cpu + RCU_FREE]


def batch(c: SheafState, cpu: int, found: int, now: int) -> None:
    """Let an object of kfree_rcu wait in a CPU's page of pointers (R3.60).

    mm/slab_common.c:add_ptr_to_bulk_krc_lock, __schedule_delayed_monitor_work (7.2).
    """
    n, sheaves, page = c.numbers, c.sheaves, c.pcs[cpu + BATCH]
    if page == NONE or now + n[GRACE] >= sheaves[page + DUE]:
        page = n[UNUSED_BATCH]
        if page != NONE:
            n[UNUSED_BATCH] = sheaves[page + NEXT_SHEAF]
        else:
            page = n[SHEAVES_END]
            n[SHEAVES_END] += n[SHEAF_SIZE]
        sheaves[page + SIZE], sheaves[page + ROOM] = 0, BATCHED
        sheaves[page + DUE], sheaves[page + FILLED_BY] = now + KFREE_DRAIN_NS + n[GRACE], cpu
        c.pcs[cpu + BATCH] = page
        wait(c, page)
    push(c, page, found)
    if sheaves[page + SIZE] == KFREE_PAGE:
        c.pcs[cpu + BATCH] = NONE
        no_longer_wait(c, page)
        sheaves[page + DUE] = now + n[GRACE]
        wait(c, page)


def end_batch(c: SheafState, page: int) -> None:
    """A page of pointers that is empty, and the first of what waits, is done with."""
    n, cpu = c.numbers, c.sheaves[page + FILLED_BY]
    n[WAITING] = c.sheaves[page + NEXT_SHEAF]
    if c.pcs[cpu + BATCH] == page:
        c.pcs[cpu + BATCH] = NONE
    c.sheaves[page + NEXT_SHEAF], n[UNUSED_BATCH] = n[UNUSED_BATCH], page


def wait(c: SheafState, sheaf: int) -> None:
    """A full sheaf of kfree_rcu among those that wait, in the order in which they are due."""
    n, sheaves = c.numbers, c.sheaves
    before, behind = n[WAITING_LAST], NONE
    if n[WAITING] == NONE:
        before = NONE
    elif sheaves[before + DUE] > sheaves[sheaf + DUE]:
        before, behind = NONE, n[WAITING]
        while sheaves[behind + DUE] <= sheaves[sheaf + DUE]:
            before, behind = behind, sheaves[behind + NEXT_SHEAF]
    sheaves[sheaf + NEXT_SHEAF] = behind
    if before == NONE:
        n[WAITING] = sheaf
    else:
        sheaves[before + NEXT_SHEAF] = sheaf
    if behind == NONE:
        n[WAITING_LAST] = sheaf


def no_longer_wait(c: SheafState, sheaf: int) -> None:
    """Take a sheaf out of those that wait."""
    n, before, at = c.numbers, NONE, c.numbers[WAITING]
    while at != sheaf:
        before, at = at, c.sheaves[at + NEXT_SHEAF]
    if before == NONE:
        n[WAITING] = c.sheaves[sheaf + NEXT_SHEAF]
    else:
        c.sheaves[before + NEXT_SHEAF] = c.sheaves[sheaf + NEXT_SHEAF]
    if n[WAITING_LAST] == sheaf:
        n[WAITING_LAST] = before


def first_due(c: SheafState) -> int:
    """When the first grace period of a sheaf of kfree_rcu is over."""
    waiting = c.numbers[WAITING]
    return _NEVER if waiting == NONE else c.sheaves[waiting + DUE]


def callbacks(c: SheafState, times: Column, time: int) -> bool:
    """Sheaves whose grace period is over, each on the CPU that filled it; False: lacks room.

    Pages of pointers likewise: mm/slab_common.c:kvfree_rcu_bulk (7.2).
    mm/slub.c:rcu_free_sheaf (7.2), a callback of call_rcu: slabs and the sheaf's memory are freed
    from that CPU.
    """
    n, sheaves = c.numbers, c.sheaves
    while n[WAITING] != NONE and sheaves[n[WAITING] + DUE] <= times[time]:
        if lacks_room(c):
            return False
        sheaf = n[WAITING]
        cpu = sheaves[sheaf + FILLED_BY]
        if sheaves[sheaf + ROOM] == BATCHED:
            if sheaves[sheaf + SIZE]:
                slow_free(c, cpu, pop(c, sheaf), time, _REMOTE_FREE)
            else:
                end_batch(c, sheaf)
            continue
        n[WAITING] = sheaves[sheaf + NEXT_SHEAF]
        if sheaves[sheaf + ROOM] == NONE:
            # mm/slub.c:rcu_free_sheaf_nobarn (7.2), R3.27
            flush(c, sheaf, cpu, time)
            free_sheaf(c, sheaf, cpu, time)
            continue
        home = c.pcs[cpu + HOME]
        if c.nodes[home + FULL_COUNT] < n[MAX_FULL]:
            n[BARN_PUT] += 1
            put_full(c, home, sheaf)
            continue
        n[BARN_PUT_FAIL] += 1
        flush(c, sheaf, cpu, time)
        if c.nodes[home + EMPTY_COUNT] < n[MAX_EMPTY]:
            put_empty(c, home, sheaf)
        else:
            free_sheaf(c, sheaf, cpu, time)
    return True
