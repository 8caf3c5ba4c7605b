"""SLUB of 7.2 event by event: sheaves and the barn (R3.10 - R3.24).

The rules as plain loops over columns of numbers (structs), which stand for themselves and can be
compiled as they are (allocsim.slub.columns).

Columns do not grow here. What an event may need at the most is looked for before it is done; where
it is not there, replay() returns, is given it, and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.kernels.slub_rules import KFREE_DRAIN_NS, KFREE_PAGE
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    flush,
    flush_main,
    free_sheaf,
    get_full,
    pop,
    push,
    put_empty,
    put_full,
    refill,
)
from allocsim.slub.sheaves.slab_steps import home_of, new_slab, slab_free, take_first
from allocsim.slub.sheaves.structs import (
    ALLOC_FASTPATH,
    ALLOC_NODE_MISMATCH,
    ALLOC_SLAB,
    ALLOC_SLOWPATH,
    BARN_GET,
    BARN_GET_FAIL,
    BARN_PUT,
    BARN_PUT_FAIL,
    BATCH,
    BATCHED,
    CAPACITY,
    CELLS,
    CREATED,
    DUE,
    EMPTY_COUNT,
    FILLED_BY,
    FREE_FASTPATH,
    FREE_RCU_SHEAF,
    FREE_RCU_SHEAF_FAIL,
    FREE_SLOWPATH,
    FREELIST_CMPXCHG,
    FULL,
    FULL_COUNT,
    GRACE,
    HOME,
    LIST_LOCK,
    LISTED,
    MAIN,
    MAX_EMPTY,
    MAX_FULL,
    MEMORY,
    MEMORY_OF,
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
    RCU_FREE,
    ROOM,
    SHEAF_PREFILL_FAST,
    SHEAF_PREFILL_SLOW,
    SHEAF_RETURN_FAST,
    SHEAF_RETURN_SLOW,
    SHEAF_SIZE,
    SHEAVES_END,
    SIZE,
    SPARE,
    UNUSED_BATCH,
    UNUSED_COUNT,
    WAITING,
    WAITING_LAST,
)

if TYPE_CHECKING:
    from allocsim.slub.columns import Column
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


def first_due(c: SheafState) -> int:
    """When the first grace period of a sheaf of kfree_rcu is over."""
    waiting = c.numbers[WAITING]
    return _NEVER if waiting == NONE else c.sheaves[waiting + DUE]


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


def from_sheaf(c: SheafState, sheaf: int, cpu: int, time: int, max_order: int) -> tuple[int, int]:
    """An object of a prefilled sheaf; of the slow path where it has none."""
    if sheaf == NONE or c.sheaves[sheaf + SIZE] == 0:
        return slow_alloc(c, cpu, NONE, time, max_order)
    return pop(c, sheaf), _PREFILLED


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


# --- free


def may_keep(c: SheafState, cpu: int, found: int) -> bool:
    """Whether an object may go into a CPU's sheaves: mm/slub.c:can_free_to_pcs (7.2), R3.26."""
    return is_local(c, cpu, found) or not c.nodes[c.pcs[cpu + HOME] + MEMORY_OF]


def is_local(c: SheafState, cpu: int, found: int) -> bool:
    """Whether an object lies on a CPU's node."""
    return home_of(c, found >> INDEX_BITS) == c.pcs[cpu + HOME]


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


def slow_free(c: SheafState, cpu: int, found: int, time: int, path: int) -> int:
    """Past the sheaves: mm/slub.c:__slab_free (7.2); the path."""
    c.numbers[FREE_SLOWPATH] += 1
    c.sheaves[CELLS] = found
    slab_free(c, found >> INDEX_BITS, CELLS, CELLS + 1, cpu, time)
    return path


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
