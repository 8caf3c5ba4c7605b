"""SLUB of 6.18 event by event, of a cache that asked for sheaves: these, above cpu slabs (R3.45).

The rules as plain loops over columns of numbers, which can be compiled as they are: those of the
sheaves (allocsim.slub.sheaves.structs), whose slabs are not used, and those of the cpu slabs
(allocsim.slub.cpu_slabs.steps). What stands here is where 6.18 differs from both.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED
from allocsim.slub.cpu_slabs import steps as cpu_slab_steps
from allocsim.slub.cpu_slabs.bulk_steps import (
    alloc_bulk,
    alloc_one,
    free_bulk,
    free_one,
    lacks_bulk_room,
)
from allocsim.slub.node_partial import INDEX_BITS, NUMBER
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.rcu_steps import batch, end_batch, wait
from allocsim.slub.sheaves.sheaf_steps import (
    empty_sheaf,
    free_sheaf,
    get_full,
    pop,
    push,
    put_empty,
    put_full,
)
from allocsim.slub.sheaves.structs import (
    ALLOC_FASTPATH,
    BARN_GET,
    BARN_GET_FAIL,
    BARN_PUT,
    BARN_PUT_FAIL,
    BATCHED,
    CAPACITY,
    CELLS,
    DUE,
    EMPTY_COUNT,
    FILLED_BY,
    FLUSH_BATCH,
    FREE_FASTPATH,
    FREE_RCU_SHEAF,
    FREE_RCU_SHEAF_FAIL,
    FULL,
    FULL_COUNT,
    GRACE,
    HOME,
    MAIN,
    MAX_EMPTY,
    MAX_FULL,
    MEMORY,
    MEMORY_OF,
    MEMORY_SIZE,
    NEXT_SHEAF,
    NODE_SIZE,
    NODES,
    NONE,
    PAGES,
    PCS_SIZE,
    RCU_FREE,
    ROOM,
    SHEAF_FLUSH,
    SHEAF_PREFILL_FAST,
    SHEAF_PREFILL_SLOW,
    SHEAF_REFILL,
    SHEAF_RETURN_FAST,
    SHEAF_RETURN_SLOW,
    SHEAF_SIZE,
    SHEAVES_END,
    SIZE,
    SPARE,
    WAITING,
)

if TYPE_CHECKING:
    from allocsim.slub.columns import Column
    from allocsim.slub.cpu_slabs.steps import CpuSlabState
    from allocsim.slub.sheaves.structs import SheafEvents, SheafState

_CPU_SIZE = cpu_slab_steps.CPU_SIZE
_SLAB_NODE, _SLAB_HOME = cpu_slab_steps.NODE, cpu_slab_steps.HOME
_SLAB_NODE_SIZE = cpu_slab_steps.NODE_SIZE
_SLAB_PAGES, _SLABS_MADE = cpu_slab_steps.PAGES, cpu_slab_steps.ALLOC_SLAB
_ALLOC, _FREE, _ASK_SHEAF = int(Op.ALLOC), int(Op.FREE), int(Op.ASK_SHEAF)
_IGNORED, _HIT, _PUSH = (int(AllocPath[name]) for name in ("IGNORED", "MAIN_HIT", "MAIN_PUSH"))
_SWAPPED, _GOT = int(AllocPath.SPARE_SWAP), int(AllocPath.BARN_GET)
_REFILLED, _REFILLED_NEW = int(AllocPath.REFILL_PARTIAL), int(AllocPath.REFILL_NEW)
_INSTALLED, _PUT = int(AllocPath.INSTALL_EMPTY), int(AllocPath.BARN_PUT)
_FLUSHED, _FLUSHED_MAIN = int(AllocPath.FLUSH), int(AllocPath.FLUSH_MAIN)
_PREFILLED, _RCU_FREED = int(AllocPath.FROM_SHEAF), int(AllocPath.RCU_FREE)
_REMOTE_FREE = int(AllocPath.REMOTE_FREE)


@dataclass(slots=True)
class AskedState:
    """One cache between events.

    Args:
        above: its sheaves.
        below: its cpu slabs.
    """

    above: SheafState
    below: CpuSlabState


#: The same as a tuple, which is what compiled functions can be given.
AskedColumns = namedtuple("AskedColumns", ("above", "below"))  # noqa: PYI024 - as its fields


def replay(s: AskedState, e: SheafEvents, begin: int) -> int:
    """Replay events from one on; the one to go on with, which needs room, or their number."""
    b = s.above
    n, pcs, sheaves = b.numbers, b.pcs, b.sheaves
    cpus, ops, parents, objects, paths, times = e.cpu, e.op, e.parent, e.objects, e.path, e.ts
    any_node, one_node = len(e.node) == 0, n[NODES] == 1
    for at in range(begin, len(ops)):
        waiting = n[WAITING]
        if waiting != NONE and sheaves[waiting + DUE] <= times[at] and not callbacks(s, times, at):
            return at
        cpu, op = cpus[at], ops[at]
        main = pcs[cpu * PCS_SIZE + MAIN]
        if op == _ALLOC and sheaves[main + SIZE] and (any_node or e.node[at] < 0):
            # mm/slub.c:alloc_from_pcs (6.18)
            objects[at], paths[at] = pop(b, main), _HIT
            n[ALLOC_FASTPATH] += 1
            continue
        if op < 0:
            found = objects[parents[at]]
            objects[at] = found
            if found == FAILED:
                paths[at] = _IGNORED
                continue
            room = sheaves[main + SIZE] < n[CAPACITY]
            if op == _FREE and room and (one_node or is_local(s, cpu, found)):
                # mm/slub.c:free_to_pcs (6.18)
                push(b, main, found)
                n[FREE_FASTPATH] += 1
                paths[at] = _PUSH
                continue
        if lacks_room(s, cpu):
            return at
        paths[at] = slow(s, e, at)
    return len(ops)


def slow(s: AskedState, e: SheafEvents, at: int) -> int:
    """An event that the main sheaf does not serve as it stands; the path."""
    cpu, op = e.cpu[at], e.op[at]
    max_order = e.max_order[at] if len(e.max_order) else MAX_PAGE_ORDER
    refused = e.no_sheaf[at] if len(e.no_sheaf) else 0
    if op == _FREE:
        return free(s, cpu, e.objects[at], at, refused)
    if op < 0:
        due = e.due[at] if len(e.due) else NONE
        return free_rcu(s, cpu, e.objects[at], at, refused, e.ts[at], due)
    if op == _ALLOC:
        node = e.node[at] if len(e.node) else NONE
        e.objects[at], path = alloc(s, cpu, node, at, max_order, refused)
        return path
    sheaf, sheaves = e.prefilled[e.run[at]], s.above.sheaves
    if op == _ASK_SHEAF:
        e.prefilled[e.run[at]] = ask_sheaf(s, cpu, sheaf, e.left[at], at, max_order, refused)
        return _IGNORED
    if sheaf == NONE:
        wanted = min(e.left[at], s.above.numbers[CAPACITY])
        sheaf = prefill(s, cpu, wanted, at, max_order, refused)
    elif sheaves[sheaf + SIZE] == 0:
        refill(s, sheaf, cpu, at, max_order)
    if sheaf != NONE and sheaves[sheaf + SIZE]:
        e.objects[at], path = pop(s.above, sheaf), _PREFILLED
    else:
        e.objects[at], path = alloc_one(s.below, cpu * _CPU_SIZE, NONE, at, max_order)
    if sheaf != NONE and e.left[at] <= 1:
        return_sheaf(s, cpu, sheaf, at, max_order)
        sheaf = NONE
    e.prefilled[e.run[at]] = sheaf
    return path


def ask_sheaf(  # noqa: PLR0913 - the cache, the request, and what is refused
    s: AskedState, cpu: int, sheaf: int, wanted: int, time: int, max_order: int, refused: int
) -> int:
    """A call for a prefilled sheaf, for more objects in it, or of its return (0); the sheaf."""
    if sheaf == NONE:
        if wanted == 0:
            return NONE
        return prefill(s, cpu, min(wanted, s.above.numbers[CAPACITY]), time, max_order, refused)
    if wanted == 0:
        return_sheaf(s, cpu, sheaf, time, max_order)
        return NONE
    if s.above.sheaves[sheaf + SIZE] < wanted:
        refill(s, sheaf, cpu, time, max_order)
    return sheaf


def lacks_room(s: AskedState, cpu: int) -> bool:
    """Whether one more event may need more than there is: it may fill a sheaf, and empty one."""
    b = s.above
    n = b.numbers
    return (
        n[SHEAVES_END] + 4 * n[SHEAF_SIZE] > len(b.sheaves)
        or n[MEMORY] + 4 * MEMORY_SIZE > len(b.memory)
        or lacks_bulk_room(s.below, cpu * _CPU_SIZE, n[CAPACITY] + 1)
    )


def new_sheaf(s: AskedState, cpu: int, time: int, refused: int) -> int:
    """An empty sheaf of the barn, else a new one; NONE: there is no memory."""
    s.above.numbers[PAGES] = s.below.numbers[_SLAB_PAGES]
    return empty_sheaf(s.above, cpu * PCS_SIZE, time, refused)


def drop_sheaf(s: AskedState, sheaf: int, cpu: int, time: int) -> None:
    """mm/slub.c:free_empty_sheaf (6.18)."""
    s.above.numbers[PAGES] = s.below.numbers[_SLAB_PAGES]
    free_sheaf(s.above, sheaf, cpu * PCS_SIZE, time)


def refill(s: AskedState, sheaf: int, cpu: int, time: int, max_order: int) -> bool:
    """mm/slub.c:refill_sheaf (6.18): to the brim, or not at all."""
    n, cells = s.above.numbers, s.above.sheaves
    size, capacity = cells[sheaf + SIZE], n[CAPACITY]
    first, end = sheaf + CELLS + size, sheaf + CELLS + capacity
    if not alloc_bulk(s.below, cells, first, end, cpu * _CPU_SIZE, time, max_order):
        return False
    cells[sheaf + SIZE] = capacity
    n[SHEAF_REFILL] += capacity - size
    return True


def flush(s: AskedState, sheaf: int, cpu: int, time: int) -> None:
    """mm/slub.c:sheaf_flush_unused (6.18)."""
    cells = s.above.sheaves
    size = cells[sheaf + SIZE]
    s.above.numbers[SHEAF_FLUSH] += size
    free_bulk(s.below, cells, sheaf + CELLS, sheaf + CELLS + size, cpu * _CPU_SIZE, time)
    cells[sheaf + SIZE] = 0


def flush_main(s: AskedState, main: int, cpu: int, time: int) -> None:
    """mm/slub.c:sheaf_flush_main (6.18): from its top, a batch at a time."""
    n, cells = s.above.numbers, s.above.sheaves
    while cells[main + SIZE]:
        size = cells[main + SIZE]
        rest = max(size - n[FLUSH_BATCH], 0)
        cells[main + SIZE] = rest
        n[SHEAF_FLUSH] += size - rest
        first, end = main + CELLS + rest, main + CELLS + size
        free_bulk(s.below, cells, first, end, cpu * _CPU_SIZE, time)


def is_local(s: AskedState, cpu: int, found: int) -> bool:
    """Whether an object lies on a CPU's node (R3.26)."""
    b, key = s.below, found >> INDEX_BITS
    node = b.slabs[b.struct_of[key & NUMBER] + _SLAB_NODE] if key >= 0 else b.older_node[-2 - key]
    return node == b.cpus[cpu * _CPU_SIZE + _SLAB_HOME]


def has_barn(s: AskedState, cpu: int) -> bool:
    """Whether a CPU's node has memory, and so a barn: mm/slub.c:get_barn (6.18)."""
    return s.above.nodes[s.above.pcs[cpu * PCS_SIZE + HOME] + MEMORY_OF] != 0


def alloc(  # noqa: PLR0913 - the cache, the request, and what is refused
    s: AskedState, cpu: int, node: int, time: int, max_order: int, refused: int
) -> tuple[int, int]:
    """An object where the main sheaf has none, or of a node; and the path.

    mm/slub.c:alloc_from_pcs, slab_alloc_node (6.18).
    """
    b = s.above
    main, path = b.pcs[cpu * PCS_SIZE + MAIN], _HIT
    below = NONE if node == NONE else node * _SLAB_NODE_SIZE
    if node != NONE and node * NODE_SIZE != b.pcs[cpu * PCS_SIZE + HOME]:
        main = NONE
    elif b.sheaves[main + SIZE] == 0:
        main, path = replace_empty_main(s, cpu, time, max_order, refused)
    if node != NONE and main != NONE:  # noqa: PLR1714 - as numba has it
        found = b.sheaves[main + CELLS + b.sheaves[main + SIZE] - 1]
        if not is_local(s, cpu, found):
            main = NONE
    if main == NONE:
        return alloc_one(s.below, cpu * _CPU_SIZE, below, time, max_order)
    b.numbers[ALLOC_FASTPATH] += 1
    return pop(b, main), path


def replace_empty_main(
    s: AskedState, cpu: int, time: int, max_order: int, refused: int
) -> tuple[int, int]:
    """A main sheaf with objects, NONE if there is none; and the path.

    mm/slub.c:__pcs_replace_empty_main (6.18): the old main goes to the barn, not to the spare.
    """
    b = s.above
    n, pcs, at = b.numbers, b.pcs, cpu * PCS_SIZE
    main, spare, home = pcs[at + MAIN], pcs[at + SPARE], pcs[at + HOME]
    if spare != NONE and b.sheaves[spare + SIZE]:
        pcs[at + MAIN], pcs[at + SPARE] = spare, main
        return spare, _SWAPPED
    if not has_barn(s, cpu):
        return NONE, _HIT
    if b.nodes[home + FULL] != NONE:
        n[BARN_GET] += 1
        put_empty(b, home, main)
        pcs[at + MAIN] = get_full(b, home)
        return pcs[at + MAIN], _GOT
    n[BARN_GET_FAIL] += 1
    pcs[at + SPARE] = NONE
    if spare == NONE:
        spare = new_sheaf(s, cpu, time, refused)
    if spare == NONE:
        return NONE, _HIT
    made = s.below.numbers[_SLABS_MADE]
    if not refill(s, spare, cpu, time, max_order):
        drop_sheaf(s, spare, cpu, time)
        return NONE, _HIT
    put_empty(b, home, main)
    pcs[at + MAIN] = spare
    return spare, _REFILLED_NEW if s.below.numbers[_SLABS_MADE] > made else _REFILLED


def prefill(  # noqa: PLR0913 - the cache, the request, and what is refused
    s: AskedState, cpu: int, wanted: int, time: int, max_order: int, refused: int
) -> int:
    """A sheaf with so many objects or more: mm/slub.c:kmem_cache_prefill_sheaf (6.18), R3.16."""
    b = s.above
    n, sheaf = b.numbers, b.pcs[cpu * PCS_SIZE + SPARE]
    if sheaf != NONE:
        b.pcs[cpu * PCS_SIZE + SPARE] = NONE
        n[SHEAF_PREFILL_FAST] += 1
    else:
        n[SHEAF_PREFILL_SLOW] += 1
        home = b.pcs[cpu * PCS_SIZE + HOME]
        if b.nodes[home + FULL] != NONE:
            n[BARN_GET] += 1
            sheaf = get_full(b, home)
        else:
            n[BARN_GET_FAIL] += 1
            sheaf = new_sheaf(s, cpu, time, refused)
    if sheaf == NONE or b.sheaves[sheaf + SIZE] >= wanted:
        return sheaf
    if refill(s, sheaf, cpu, time, max_order):
        return sheaf
    flush(s, sheaf, cpu, time)
    drop_sheaf(s, sheaf, cpu, time)
    return NONE


def return_sheaf(s: AskedState, cpu: int, sheaf: int, time: int, max_order: int) -> None:
    """mm/slub.c:kmem_cache_return_sheaf (6.18)."""
    b = s.above
    n = b.numbers
    if b.pcs[cpu * PCS_SIZE + SPARE] == NONE:
        b.pcs[cpu * PCS_SIZE + SPARE] = sheaf
        n[SHEAF_RETURN_FAST] += 1
        return
    n[SHEAF_RETURN_SLOW] += 1
    home = b.pcs[cpu * PCS_SIZE + HOME]
    takes = has_barn(s, cpu) and b.nodes[home + FULL_COUNT] < n[MAX_FULL]
    if takes and refill(s, sheaf, cpu, time, max_order):
        n[BARN_PUT] += 1
        put_full(b, home, sheaf)
        return
    flush(s, sheaf, cpu, time)
    drop_sheaf(s, sheaf, cpu, time)


def free(s: AskedState, cpu: int, found: int, time: int, refused: int) -> int:
    """A free where the main sheaf is full, or may not have the object; the path.

    mm/slub.c:slab_free, __pcs_replace_full_main (6.18).
    """
    b = s.above
    n, pcs, at = b.numbers, b.pcs, cpu * PCS_SIZE
    main, spare, home = pcs[at + MAIN], pcs[at + SPARE], pcs[at + HOME]
    if n[NODES] > 1 and not is_local(s, cpu, found):
        return free_one(s.below, found, cpu * _CPU_SIZE, time)
    if spare != NONE and b.sheaves[spare + SIZE] < n[CAPACITY]:
        pcs[at + MAIN], pcs[at + SPARE] = spare, main
        path = _SWAPPED
    elif spare != NONE and b.nodes[home + FULL_COUNT] >= n[MAX_FULL]:
        n[BARN_PUT_FAIL] += 1
        flush(s, spare, cpu, time)
        pcs[at + MAIN], pcs[at + SPARE] = spare, main
        path = _FLUSHED
    else:
        empty = new_sheaf(s, cpu, time, refused)
        if spare != NONE:
            n[BARN_PUT if empty != NONE else BARN_PUT_FAIL] += 1
        if empty == NONE:
            flush_main(s, main, cpu, time)
            path = _FLUSHED_MAIN
        elif spare == NONE:
            pcs[at + MAIN], pcs[at + SPARE] = empty, main
            path = _INSTALLED
        else:
            put_full(b, home, main)
            pcs[at + MAIN] = empty
            path = _PUT
    n[FREE_FASTPATH] += 1
    push(b, pcs[at + MAIN], found)
    return path


def free_rcu(  # noqa: PLR0913 - the cache, the request, and what is refused
    s: AskedState, cpu: int, found: int, time: int, refused: int, now: int, due: int
) -> int:
    """kfree_rcu: mm/slub.c:__kfree_rcu_sheaf (6.18), R3.20; the path."""
    b = s.above
    n, pcs, sheaves, at = b.numbers, b.pcs, b.sheaves, cpu * PCS_SIZE
    if n[NODES] > 1 and not is_local(s, cpu, found):
        batch(b, at, found, now)
        return _REMOTE_FREE
    if pcs[at + RCU_FREE] == NONE:
        spare = pcs[at + SPARE]
        if spare != NONE and sheaves[spare + SIZE] == 0:
            pcs[at + RCU_FREE], pcs[at + SPARE] = spare, NONE
        else:
            pcs[at + RCU_FREE] = new_sheaf(s, cpu, time, refused)
    sheaf = pcs[at + RCU_FREE]
    if sheaf == NONE:
        n[FREE_RCU_SHEAF_FAIL] += 1
        return free_one(s.below, found, cpu * _CPU_SIZE, time)
    n[FREE_RCU_SHEAF] += 1
    push(b, sheaf, found)
    if sheaves[sheaf + SIZE] == n[CAPACITY]:
        sheaves[sheaf + DUE] = now + n[GRACE] if due == NONE else due
        sheaves[sheaf + FILLED_BY] = at
        wait(b, sheaf)
        pcs[at + RCU_FREE] = NONE
    return _RCU_FREED


def callbacks(s: AskedState, times: Column, time: int) -> bool:
    """Sheaves whose grace period is over, each on the CPU that filled it; False: lacks room.

    mm/slub.c:rcu_free_sheaf (6.18).
    """
    b = s.above
    n, sheaves = b.numbers, b.sheaves
    while n[WAITING] != NONE and sheaves[n[WAITING] + DUE] <= times[time]:
        sheaf = n[WAITING]
        cpu = sheaves[sheaf + FILLED_BY] // PCS_SIZE
        if lacks_room(s, cpu):
            return False
        if sheaves[sheaf + ROOM] == BATCHED:
            if sheaves[sheaf + SIZE]:
                free_one(s.below, pop(b, sheaf), cpu * _CPU_SIZE, time)
            else:
                end_batch(b, sheaf)
            continue
        n[WAITING] = sheaves[sheaf + NEXT_SHEAF]
        home = b.pcs[cpu * PCS_SIZE + HOME]
        if b.nodes[home + FULL_COUNT] < n[MAX_FULL]:
            n[BARN_PUT] += 1
            put_full(b, home, sheaf)
            continue
        n[BARN_PUT_FAIL] += 1
        flush(s, sheaf, cpu, time)
        if b.nodes[home + EMPTY_COUNT] < n[MAX_EMPTY]:
            put_empty(b, home, sheaf)
        else:
            drop_sheaf(s, sheaf, cpu, time)
    return True
