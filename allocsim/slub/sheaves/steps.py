"""SLUB of 7.2 event by event: sheaves and the barn (R3.10 - R3.24).

The rules as plain loops over columns of numbers (structs), which stand for themselves and can be
compiled as they are (allocsim.slub.columns).

Columns do not grow here. What an event may need at the most is looked for before it is done; where
it is not there, replay() returns, is given it, and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.prefilled_steps import ask_sheaf, prefill, return_sheaf
from allocsim.slub.sheaves.rcu_steps import callbacks, first_due, free_rcu
from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    flush,
    flush_main,
    free_sheaf,
    get_full,
    lacks_room,
    pop,
    push,
    put_empty,
    put_full,
    refill,
)
from allocsim.slub.sheaves.slab_steps import (
    home_of,
    is_local,
    may_keep,
    new_slab,
    slow_free,
    take_first,
)
from allocsim.slub.sheaves.structs import (
    ALLOC_FASTPATH,
    ALLOC_NODE_MISMATCH,
    ALLOC_SLAB,
    ALLOC_SLOWPATH,
    BARN_GET,
    BARN_GET_FAIL,
    BARN_PUT,
    BARN_PUT_FAIL,
    CAPACITY,
    CELLS,
    FREE_FASTPATH,
    FREE_RCU_SHEAF,
    FREELIST_CMPXCHG,
    FULL,
    FULL_COUNT,
    HOME,
    LIST_LOCK,
    LISTED,
    MAIN,
    MAX_FULL,
    MEMORY_OF,
    MIN_ORDER,
    MIN_PARTIAL,
    NODE_SIZE,
    NODES,
    NONE,
    PCS_SIZE,
    RCU_FREE,
    ROOM,
    SHEAF_PREFILL_FAST,
    SHEAF_RETURN_FAST,
    SIZE,
    SPARE,
)

if TYPE_CHECKING:
    from allocsim.slub.sheaves.structs import SheafEvents, SheafState

_ALLOC, _FREE = int(Op.ALLOC), int(Op.FREE)
_FROM_SHEAF, _FREE_RCU = int(Op.FROM_SHEAF), int(Op.FREE_RCU)
_ASK_SHEAF = int(Op.ASK_SHEAF)
_IGNORED, _HIT, _PUSH = (int(AllocPath[name]) for name in ("IGNORED", "MAIN_HIT", "MAIN_PUSH"))
_SWAPPED, _GOT = int(AllocPath.SPARE_SWAP), int(AllocPath.BARN_GET)
_REFILLED, _REFILLED_NEW = int(AllocPath.REFILL_PARTIAL), int(AllocPath.REFILL_NEW)
_SLOW, _SLOW_NEW = int(AllocPath.SLOW_PARTIAL), int(AllocPath.SLOW_NEW)
_REFUSED, _INSTALLED = int(AllocPath.FAILED), int(AllocPath.INSTALL_EMPTY)
_PUT, _FLUSHED = int(AllocPath.BARN_PUT), int(AllocPath.FLUSH)
_FLUSHED_MAIN, _SLOW_FREE = int(AllocPath.FLUSH_MAIN), int(AllocPath.SLOW_FREE)
_PREFILLED, _RCU_FREED = int(AllocPath.FROM_SHEAF), int(AllocPath.RCU_FREE)
_REMOTE_FREE = int(AllocPath.REMOTE_FREE)
_NEVER = (1 << 63) - 1


def replay(  # noqa: C901, PLR0912, PLR0915 - what most events do stands in the loop itself
    c: SheafState, e: SheafEvents, begin: int
) -> int:
    """Replay events from one on; the one to go on with, which needs room, or their number."""
    n, pcs, sheaves = c.numbers, c.pcs, c.sheaves
    (
        cpus,
        ops,
        parents,
        objects,
        paths,
        orders,
        no_sheaf,
        times,
        runs,
        left,
        dues,
        asked,
        prefilled,
    ) = e
    capacity, end = n[CAPACITY], len(ops)
    any_node, one_node = len(asked) == 0, n[NODES] == 1
    hits = pushes = rcu_frees = prefills = returns = 0
    next_due = first_due(c)
    for at in range(begin, len(ops)):
        if next_due <= times[at]:
            if not callbacks(c, times, at):
                end = at
                break
            next_due = first_due(c)
        cpu, op = cpus[at] * PCS_SIZE, ops[at]
        if op == _ALLOC:
            main = pcs[cpu + MAIN]
            size = sheaves[main + SIZE]
            if size and (any_node or asked[at] < 0):
                # mm/slub.c:alloc_from_pcs (7.2)
                sheaves[main + SIZE] = size - 1
                objects[at] = sheaves[main + CELLS + size - 1]
                paths[at] = _HIT
                hits += 1
                continue
        elif op > 0:
            sheaf, spare = prefilled[runs[at]], pcs[cpu + SPARE]
            if sheaf == NONE and spare != NONE and sheaves[spare + SIZE] >= min(left[at], capacity):
                # mm/slub.c:kmem_cache_prefill_sheaf (7.2)
                prefilled[runs[at]] = sheaf = spare
                pcs[cpu + SPARE] = spare = NONE
                prefills += 1
            if (
                sheaf != NONE
                and sheaves[sheaf + SIZE]
                and (left[at] > 1 or (spare == NONE and sheaves[sheaf + ROOM] == capacity))
            ):
                # mm/slub.c:kmem_cache_alloc_from_sheaf_noprof (7.2)
                size = sheaves[sheaf + SIZE] - 1
                sheaves[sheaf + SIZE] = size
                objects[at] = sheaves[sheaf + CELLS + size]
                paths[at] = _PREFILLED
                if left[at] <= 1:
                    # mm/slub.c:kmem_cache_return_sheaf (7.2)
                    prefilled[runs[at]], pcs[cpu + SPARE] = NONE, sheaf
                    returns += 1
                continue
        elif op < 0:
            found = objects[parents[at]] if parents[at] >= 0 else objects[at]
            objects[at] = found
            if found == FAILED:
                paths[at] = _IGNORED
                continue
            if op == _FREE:
                main = pcs[cpu + MAIN]
                size = sheaves[main + SIZE]
                if size < capacity and (one_node or may_keep(c, cpu, found)):
                    # mm/slub.c:free_to_pcs (7.2)
                    sheaves[main + CELLS + size] = found
                    sheaves[main + SIZE] = size + 1
                    paths[at] = _PUSH
                    pushes += 1
                    continue
            else:
                sheaf = pcs[cpu + RCU_FREE]
                if sheaf != NONE:
                    size = sheaves[sheaf + SIZE] + 1
                    if size < capacity and (one_node or is_local(c, cpu, found)):
                        # mm/slub.c:__kfree_rcu_sheaf (7.2)
                        sheaves[sheaf + CELLS + size - 1] = found
                        sheaves[sheaf + SIZE] = size
                        paths[at] = _RCU_FREED
                        rcu_frees += 1
                        continue
        if lacks_room(c):
            end = at
            break
        max_order = orders[at] if len(orders) else MAX_PAGE_ORDER
        refused = no_sheaf[at] if len(no_sheaf) else 0
        if op == _ASK_SHEAF:
            sheaf = prefilled[runs[at]]
            if capacity or sheaf != NONE:
                sheaf = ask_sheaf(c, cpu, sheaf, left[at], at, max_order, refused)
                prefilled[runs[at]] = sheaf
            paths[at] = _IGNORED
        elif op == _FROM_SHEAF and (capacity or prefilled[runs[at]] != NONE):
            sheaf = prefilled[runs[at]]
            if sheaf == NONE:
                sheaf = prefill(c, cpu, min(left[at], capacity), at, max_order, refused)
            elif sheaves[sheaf + SIZE] == 0:
                refill(c, sheaf, cpu, at, max_order)  # mm/slub.c:kmem_cache_refill_sheaf
            objects[at], paths[at] = from_sheaf(c, sheaf, cpu, at, max_order)
            if sheaf != NONE and left[at] <= 1:
                return_sheaf(c, cpu, sheaf, at, max_order)
                sheaf = NONE
            prefilled[runs[at]] = sheaf
        elif op > 0:
            node = NONE if any_node else asked[at]
            objects[at], paths[at] = alloc(c, cpu, node, at, max_order, refused)
        elif op == _FREE:
            paths[at] = free(c, cpu, objects[at], at, refused)
        else:
            due = dues[at] if len(dues) else NONE
            paths[at] = free_rcu(c, cpu, objects[at], at, refused, times[at], due)
            next_due = first_due(c)
    n[ALLOC_FASTPATH] += hits
    n[FREE_FASTPATH] += pushes
    n[FREE_RCU_SHEAF] += rcu_frees
    n[SHEAF_PREFILL_FAST] += prefills
    n[SHEAF_RETURN_FAST] += returns
    return end


# --- allocation


def alloc(  # noqa: C901, PLR0913 - the cache, the request, and what is refused
    c: SheafState, cpu: int, node: int, time: int, max_order: int, refused: int
) -> tuple[int, int]:
    """An object where the main sheaf has none, or of a node; and the path: R3.23, R3.25.

    mm/slub.c:alloc_from_pcs, __pcs_replace_empty_main (7.2).
    """
    n, pcs, sheaves, home = c.numbers, c.pcs, c.sheaves, c.pcs[cpu + HOME]
    main, spare = pcs[cpu + MAIN], pcs[cpu + SPARE]
    if node != NONE and node * NODE_SIZE != home:
        n[ALLOC_NODE_MISMATCH] += 1
        return slow_alloc(c, cpu, node, time, max_order)
    if sheaves[main + SIZE]:
        path = _HIT
    elif n[CAPACITY] == 0:
        return slow_alloc(c, cpu, node, time, max_order)
    elif spare != NONE and sheaves[spare + SIZE]:
        pcs[cpu + MAIN], pcs[cpu + SPARE] = spare, main
        path = _SWAPPED
    elif c.nodes[home + FULL] != NONE:
        n[BARN_GET] += 1
        put_empty(c, home, main)
        pcs[cpu + MAIN] = get_full(c, home)
        path = _GOT
    else:
        n[BARN_GET_FAIL] += 1
        pcs[cpu + SPARE] = NONE
        if spare == NONE:
            spare = empty_sheaf(c, cpu, time, refused)
        if spare == NONE:
            return slow_alloc(c, cpu, node, time, max_order)
        made = n[ALLOC_SLAB]
        if not refill(c, spare, cpu, time, max_order):
            flush(c, spare, cpu, time)
            free_sheaf(c, spare, cpu, time)
            return slow_alloc(c, cpu, node, time, max_order)
        pcs[cpu + MAIN], pcs[cpu + SPARE] = spare, main
        path = _REFILLED_NEW if n[ALLOC_SLAB] > made else _REFILLED
    main = pcs[cpu + MAIN]
    if node != NONE:
        found = sheaves[main + CELLS + sheaves[main + SIZE] - 1]
        if home_of(c, found >> INDEX_BITS) != home:
            n[ALLOC_NODE_MISMATCH] += 1
            return slow_alloc(c, cpu, node, time, max_order)
    n[ALLOC_FASTPATH] += 1
    return pop(c, main), path


def slow_alloc(c: SheafState, cpu: int, asked: int, time: int, max_order: int) -> tuple[int, int]:
    """One object by the slow path, R3.15, and the path: mm/slub.c:___slab_alloc (7.2).

    Of a node asked for its list and its pages come before the lists of others.
    """
    n, nodes = c.numbers, c.nodes
    n[ALLOC_SLOWPATH] += 1
    node = c.pcs[cpu + HOME] if asked == NONE else asked * NODE_SIZE
    found = node
    if nodes[node + LISTED] == 0:
        tries = asked != NONE and nodes[node + MEMORY_OF] and n[MIN_ORDER] <= max_order
        found = NONE if tries else any_list(c, cpu)
    if found != NONE:
        n[LIST_LOCK] += 1
        n[FREELIST_CMPXCHG] += 1
        take_first(c, found, 1, CELLS)
        return c.sheaves[CELLS], _SLOW
    if n[MIN_ORDER] > max_order:
        return FAILED, _REFUSED
    new_slab(c, node, 1, CELLS, cpu, time, max_order)
    return c.sheaves[CELLS], _SLOW_NEW


def any_list(c: SheafState, cpu: int) -> int:
    """The nearest node with more partial slabs than it keeps; NONE: none.

    mm/slub.c:get_from_any_partial (7.2).
    """
    n = c.numbers
    if n[NODES] > 1:
        first = c.pcs[cpu + HOME] // NODE_SIZE * n[NODES]
        for node in c.near[first : first + n[NODES]]:
            if node != NONE and c.nodes[node + LISTED] > n[MIN_PARTIAL]:
                return node
    return NONE


def from_sheaf(c: SheafState, sheaf: int, cpu: int, time: int, max_order: int) -> tuple[int, int]:
    """An object of a prefilled sheaf; of the slow path where it has none."""
    if sheaf == NONE or c.sheaves[sheaf + SIZE] == 0:
        return slow_alloc(c, cpu, NONE, time, max_order)
    return pop(c, sheaf), _PREFILLED


# --- free


def free(c: SheafState, cpu: int, found: int, time: int, refused: int) -> int:
    """A free where the main sheaf is full, or may not have the object; the path: R3.24.

    mm/slub.c:slab_free, __pcs_replace_full_main (7.2).
    """
    n, pcs, sheaves, home = c.numbers, c.pcs, c.sheaves, c.pcs[cpu + HOME]
    main, spare = pcs[cpu + MAIN], pcs[cpu + SPARE]
    if not may_keep(c, cpu, found):
        return slow_free(c, cpu, found, time, _REMOTE_FREE)
    if n[CAPACITY] == 0:
        return slow_free(c, cpu, found, time, _SLOW_FREE)
    if spare != NONE and sheaves[spare + SIZE] < n[CAPACITY]:
        pcs[cpu + MAIN], pcs[cpu + SPARE] = spare, main
        path = _SWAPPED
    elif spare != NONE and c.nodes[home + FULL_COUNT] >= n[MAX_FULL]:
        n[BARN_PUT_FAIL] += 1
        flush(c, spare, cpu, time)
        pcs[cpu + MAIN], pcs[cpu + SPARE] = spare, main
        path = _FLUSHED
    else:
        empty = empty_sheaf(c, cpu, time, refused)
        if spare != NONE:
            n[BARN_PUT if empty != NONE else BARN_PUT_FAIL] += 1
        if empty == NONE:
            flush_main(c, main, cpu, time)
            path = _FLUSHED_MAIN
        elif spare == NONE:
            pcs[cpu + MAIN], pcs[cpu + SPARE] = empty, main
            path = _INSTALLED
        else:
            put_full(c, home, main)
            pcs[cpu + MAIN] = empty
            path = _PUT
    n[FREE_FASTPATH] += 1
    push(c, pcs[cpu + MAIN], found)
    return path
