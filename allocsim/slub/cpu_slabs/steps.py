"""SLUB of 6.12 event by event: a slab and a partial list on each CPU (R3.31 - R3.38, R3.40, R3.41).

The rules as plain loops over columns of numbers, which stand for themselves and can be compiled as
they are (allocsim.slub.columns). As in the kernel, a CPU and a slab are structs, here so many
numbers one behind the other: ``slabs[slab + INUSE]`` is slab->inuse. Slabs of a list are linked
through NEXT, free objects through the slab's LINKS. A slab has its struct from its making to its
end; an object is its key << 16 | its place in the slab.

Columns do not grow here. What an event may need at the most is looked for before it is done; where
it is not there, replay() returns, is given it, and goes on.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from allocsim.kernels.release import Generation
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.slub.cache_model import FAILED
from allocsim.slub.counters import counted
from allocsim.slub.node_partial import INDEX_BITS, NUMBER
from allocsim.slub.paths import AllocPath

if TYPE_CHECKING:
    from allocsim.slub.columns import Column

NONE = -1  #: no slab, no object, the end of a list
FULL, OF_CPU, CPU_LIST, NODE_LIST = range(4)  #: R3.40: full, cpu slab, cpu partial, node partial

#: A CPU (struct kmem_cache_cpu): the slab it allocates from, the first place of its own free list,
#: the first slab of its partial list; its node.
SLAB, FREELIST, PARTIAL, HOME, CPU_SIZE = range(5)
#: A node (struct kmem_cache_node): its partial list; whether it has memory.
HEAD, TAIL, LISTED, MEMORY_OF, NODE_SIZE = range(5)
#: A slab: its key, as in Placement; order; how many objects it has; first place of slab->freelist;
#: objects that are not on it, all of them in a CPU's slab; which list it is on; its neighbours on
#: it (a CPU's list has no way back); length of a CPU's list from here on; its node; by place, the
#: place that follows on the free list.
KEY, ORDER, OBJECTS, FREE, INUSE, WHERE, NEXT, PREV, SLABS, NODE, LINKS = range(11)

COUNTERS = counted(Generation.CPU_SLABS)
#: Places in ``numbers``: the kernel's counters, in the order of COUNTERS; slabs made, and how many
#: may be made of the orders at hand; the first struct without a slab; how much of ``pages`` is
#: used; the cache's shape, of which ``base`` is the key of its first slab; how many nodes.
(
    ALLOC_FASTPATH,
    _ALLOC_SLOWPATH,
    FREE_FASTPATH,
    _FREE_SLOWPATH,
    ALLOC_SLAB,
    _FREE_SLAB,
    _ORDER_FALLBACK,
    _FREE_ADD_PARTIAL,
    _FREE_REMOVE_PARTIAL,
    _LIST_LOCK,
    _FREELIST_CMPXCHG,
    _ALLOC_FROM_PARTIAL,
    _ALLOC_REFILL,
    _FREE_FROZEN,
    _DEACTIVATE_BYPASS,
    _DEACTIVATE_EMPTY,
    _CPU_PARTIAL_ALLOC,
    _CPU_PARTIAL_FREE,
    _CPU_PARTIAL_NODE,
    _CPU_PARTIAL_DRAIN,
    _ALLOC_NODE_MISMATCH,
    _DEACTIVATE_FULL,
    _DEACTIVATE_TO_HEAD,
    _DEACTIVATE_TO_TAIL,
    _DEACTIVATE_REMOTE_FREES,
    CREATED,
    ORDERED,
    UNUSED,
    PAGES,
    BEST_ORDER,
    BEST_OBJECTS,
    MIN_ORDER,
    MIN_OBJECTS,
    MIN_PARTIAL,
    CPU_PARTIAL_SLABS,
    BASE,
    NODES,
    NUMBERS,
) = range(38)
PAGE_SIZE = 6  #: numbers of a page request: event, CPU, slab, order, +1 or -1, node

_IGNORED = int(AllocPath.IGNORED)
_HIT, _PUSH = int(AllocPath.CPU_SLAB_HIT), int(AllocPath.CPU_SLAB_PUSH)
_REFUSED, _REFILL = int(AllocPath.FAILED), int(AllocPath.CPU_SLAB_REFILL)
_CPU_PARTIAL, _NODE_PARTIAL = int(AllocPath.CPU_PARTIAL), int(AllocPath.NODE_PARTIAL)
_NEW_SLAB, _FROZEN = int(AllocPath.NEW_SLAB), int(AllocPath.FREE_FROZEN)
_PUT, _DRAIN = int(AllocPath.CPU_PARTIAL_PUT), int(AllocPath.CPU_PARTIAL_DRAIN)
_SLAB_PUSH, _SLAB_FREED = int(AllocPath.SLAB_PUSH), int(AllocPath.SLAB_FREED)


@dataclass(slots=True)
class CpuSlabState:
    """One cache between events.

    Args:
        numbers: counters, the cache's shape.
        cpus: struct by struct.
        nodes, slabs: likewise.
        near: of each node the nodes with memory, nearest first, as many as there are.
        struct_of: by number of a slab: its struct.
        older: the same of slabs older than the trace, by their keys, -2 downwards.
        older_node: node of these.
        orders: places in the order new slabs hand them out, of one slab after the other.
        pages: page requests, one behind the other.
    """

    numbers: Column
    cpus: Column
    nodes: Column
    near: Column
    slabs: Column
    struct_of: Column
    older: Column
    older_node: Column
    orders: Column
    pages: Column


#: The same as a tuple, which is what compiled functions can be given.
CpuSlabColumns = namedtuple(  # type: ignore[misc] # noqa: PYI024 - its fields stand above
    "CpuSlabColumns", CpuSlabState.__slots__
)


class CpuSlabEvents(NamedTuple):
    """A window's events, as CacheEvents has them; ``max_order`` and ``node`` are empty if None."""

    cpu: Column
    op: Column
    parent: Column
    objects: Column
    path: Column
    max_order: Column
    node: Column


def replay(c: CpuSlabState, events: CpuSlabEvents, begin: int) -> int:
    """Replay events from one on; the one to go on with, which needs room, or their number."""
    n, cpus, slabs = c.numbers, c.cpus, c.slabs
    at_cpus, ops, parents, objects, paths, orders, asked = events
    end, any_node = len(ops), len(asked) == 0
    hits = pushes = 0
    for at in range(begin, len(ops)):
        cpu = at_cpus[at] * CPU_SIZE
        slab = cpus[cpu + SLAB]
        if ops[at] > 0:
            place = cpus[cpu + FREELIST]
            node = NONE if any_node or asked[at] < 0 else asked[at] * NODE_SIZE
            if place != NONE and (node == NONE or slabs[slab + NODE] == node):
                # mm/slub.c:__slab_alloc_node (6.12), R3.31
                cpus[cpu + FREELIST] = slabs[slab + LINKS + place]
                objects[at] = slabs[slab + KEY] << INDEX_BITS | place
                paths[at] = _HIT
                hits += 1
                continue
            if lacks_room(c, cpu):
                end = at
                break
            max_order = orders[at] if len(orders) else MAX_PAGE_ORDER
            objects[at], paths[at] = slow_alloc(c, cpu, node, at, max_order)
            continue
        found = objects[parents[at]] if parents[at] >= 0 else objects[at]
        objects[at] = found
        if found == FAILED:
            paths[at] = _IGNORED
            continue
        if slab != NONE and slabs[slab + KEY] == found >> INDEX_BITS:
            # mm/slub.c:do_slab_free (6.12), R3.34
            place = found & (1 << INDEX_BITS) - 1
            slabs[slab + LINKS + place] = cpus[cpu + FREELIST]
            cpus[cpu + FREELIST] = place
            paths[at] = _PUSH
            pushes += 1
            continue
        if lacks_room(c, cpu):
            end = at
            break
        paths[at] = slow_free(c, cpu, found, at)
    n[ALLOC_FASTPATH] += hits
    n[FREE_FASTPATH] += pushes
    return end


def lacks_room(c: CpuSlabState, cpu: int) -> bool:
    """Whether one more event may need more than there is: a slab, pages of it and of a list's."""
    n, first = c.numbers, c.cpus[cpu + PARTIAL]
    most = c.slabs[first + SLABS] + 3 if first != NONE else 2
    return (
        n[UNUSED] == NONE or n[CREATED] >= n[ORDERED] or n[PAGES] + PAGE_SIZE * most > len(c.pages)
    )


def slow_alloc(  # noqa: C901 - as the kernel has it
    c: CpuSlabState, cpu: int, node: int, time: int, max_order: int
) -> tuple[int, int]:
    """mm/slub.c:___slab_alloc (6.12), R3.32, R3.41: the CPU's own list has none; object and path.

    ``node``: the one asked for; NONE: any.
    """
    n, cpus, slabs = c.numbers, c.cpus, c.slabs
    slab = cpus[cpu + SLAB]
    n[_ALLOC_SLOWPATH] += 1
    if node != NONE and not c.nodes[node + MEMORY_OF]:
        node = NONE
    if slab != NONE and slabs[slab + NODE] != node and node != NONE:
        n[_ALLOC_NODE_MISMATCH] += 1
        deactivate_slab(c, cpu, slab, time)
        slab = NONE
    if slab != NONE:
        place = cpus[cpu + FREELIST]
        if place != NONE:
            cpus[cpu + FREELIST] = slabs[slab + LINKS + place]
            return slabs[slab + KEY] << INDEX_BITS | place, _HIT
        n[_FREELIST_CMPXCHG] += 1
        if slabs[slab + FREE] != NONE:
            n[_ALLOC_REFILL] += 1
            return load_freelist(c, cpu, slab), _REFILL
        n[_DEACTIVATE_BYPASS] += 1
        slabs[slab + WHERE] = FULL
        cpus[cpu + SLAB] = NONE
    slab, path = cpus[cpu + PARTIAL], _CPU_PARTIAL
    while slab != NONE:
        cpus[cpu + PARTIAL] = slabs[slab + NEXT]
        if node == NONE or slabs[slab + NODE] == node:
            n[_CPU_PARTIAL_ALLOC] += 1
            break
        slabs[slab + NEXT] = NONE
        put_partials(c, slab, cpu, time)
        slab = cpus[cpu + PARTIAL]
    if slab == NONE:
        slab, path = partial_slab(c, cpu, node, max_order), _NODE_PARTIAL
    if slab != NONE:
        n[_FREELIST_CMPXCHG] += 1
    else:
        wanted = cpus[cpu + HOME] if node == NONE else node
        slab, path = new_slab(c, cpu, wanted, time, max_order), _NEW_SLAB
        if slab == NONE:
            return FAILED, _REFUSED
    slabs[slab + WHERE] = OF_CPU
    cpus[cpu + SLAB] = slab
    return load_freelist(c, cpu, slab), path


def partial_slab(c: CpuSlabState, cpu: int, node: int, max_order: int) -> int:
    """A slab of a node's partial list: mm/slub.c:get_partial, get_any_partial (6.12); NONE: none.

    Of the node asked for; of others only if none was, or if that one has no pages either.
    """
    n, home = c.numbers, c.cpus[cpu + HOME]
    wanted = home if node == NONE else node
    if c.nodes[wanted + LISTED]:
        return get_partial_node(c, wanted, cpu)
    if n[NODES] > 1 and (node == NONE or n[MIN_ORDER] > max_order):
        first = home // NODE_SIZE * n[NODES]
        for other in c.near[first : first + n[NODES]]:
            if other != NONE and c.nodes[other + LISTED] > n[MIN_PARTIAL]:
                return get_partial_node(c, other, cpu)
    return NONE


def deactivate_slab(c: CpuSlabState, cpu: int, slab: int, time: int) -> None:
    """Let go of a CPU's slab, with what it has free: mm/slub.c:deactivate_slab (6.12), R3.38."""
    n, slabs = c.numbers, c.slabs
    behind, first = slabs[slab + FREE], c.cpus[cpu + FREELIST]
    c.cpus[cpu + SLAB] = c.cpus[cpu + FREELIST] = NONE
    if behind != NONE:
        n[_DEACTIVATE_REMOTE_FREES] += 1
    n[_FREELIST_CMPXCHG] += 1
    if first != NONE:
        slabs[slab + FREE], last = first, first
        slabs[slab + INUSE] -= 1
        while slabs[slab + LINKS + last] != NONE:
            last = slabs[slab + LINKS + last]
            slabs[slab + INUSE] -= 1
        slabs[slab + LINKS + last] = behind
    if slabs[slab + INUSE] == 0 and c.nodes[slabs[slab + NODE] + LISTED] >= n[MIN_PARTIAL]:
        n[_DEACTIVATE_EMPTY] += 1
        discard(c, slab, cpu, time)
    elif slabs[slab + FREE] == NONE:
        n[_DEACTIVATE_FULL] += 1
        slabs[slab + WHERE] = FULL
    else:
        n[_LIST_LOCK] += 1
        if behind != NONE:
            n[_DEACTIVATE_TO_TAIL] += 1
            to_node(c, slab)
        else:
            n[_DEACTIVATE_TO_HEAD] += 1
            to_head(c, slab)


def load_freelist(c: CpuSlabState, cpu: int, slab: int) -> int:
    """A slab's free list becomes the CPU's own; the first object of it, which is taken."""
    slabs = c.slabs
    place = slabs[slab + FREE]
    slabs[slab + FREE] = NONE
    slabs[slab + INUSE] = slabs[slab + OBJECTS]
    c.cpus[cpu + FREELIST] = slabs[slab + LINKS + place]
    return slabs[slab + KEY] << INDEX_BITS | place


def get_partial_node(c: CpuSlabState, node: int, cpu: int) -> int:
    """mm/slub.c:get_partial_node (6.12), R3.33: one for the CPU, others for its list."""
    n, nodes = c.numbers, c.nodes
    n[_LIST_LOCK] += 1
    n[_ALLOC_FROM_PARTIAL] += 1
    found = nodes[node + HEAD]
    leave_node(c, found)
    wanted = n[CPU_PARTIAL_SLABS] // 2 + 1 if n[CPU_PARTIAL_SLABS] else 0
    while wanted and nodes[node + LISTED]:
        slab = nodes[node + HEAD]
        leave_node(c, slab)
        to_cpu_partial(c, slab, cpu)
        n[_CPU_PARTIAL_NODE] += 1
        wanted -= 1
    return found


def new_slab(c: CpuSlabState, cpu: int, node: int, time: int, max_order: int) -> int:
    """mm/slub.c:allocate_slab (6.12): of the wanted order, else of the fallback order.

    For a node without memory the nearest one serves.
    """
    n, slabs = c.numbers, c.slabs
    if n[MIN_ORDER] > max_order:
        return NONE
    order, objects = n[BEST_ORDER], n[BEST_OBJECTS]
    if order > max_order:
        order, objects = n[MIN_ORDER], n[MIN_OBJECTS]
        n[_ORDER_FALLBACK] += 1
    number = n[CREATED]
    slab = full_slab(c, n[BASE] + number, order, objects, c.near[node // NODE_SIZE * n[NODES]])
    c.struct_of[number] = slab
    first = number * n[BEST_OBJECTS] % len(c.orders)
    for at in range(first + n[BEST_OBJECTS] - 1, first - 1, -1):
        place = c.orders[at]
        if place < objects:
            slabs[slab + LINKS + place] = slabs[slab + FREE]
            slabs[slab + FREE] = place
    n[CREATED] += 1
    n[ALLOC_SLAB] += 1
    ask_pages(c, time, cpu, slab, +1)
    return slab


def full_slab(c: CpuSlabState, key: int, order: int, objects: int, node: int) -> int:
    """A struct for a slab with no free object."""
    slabs, slab = c.slabs, c.numbers[UNUSED]
    c.numbers[UNUSED] = slabs[slab + NEXT]
    slabs[slab + KEY], slabs[slab + ORDER], slabs[slab + NODE] = key, order, node
    slabs[slab + OBJECTS] = slabs[slab + INUSE] = objects
    slabs[slab + FREE], slabs[slab + WHERE] = NONE, FULL
    return slab


def slow_free(c: CpuSlabState, cpu: int, found: int, time: int) -> int:
    """mm/slub.c:__slab_free (6.12), R3.35: of a slab that is not the CPU's own; the path."""
    n, slabs, key = c.numbers, c.slabs, found >> INDEX_BITS
    slab = c.struct_of[key & NUMBER] if key >= 0 else older_slab(c, key)
    place = found & (1 << INDEX_BITS) - 1
    n[_FREE_SLOWPATH] += 1
    n[_FREELIST_CMPXCHG] += 1
    slabs[slab + LINKS + place] = slabs[slab + FREE]
    slabs[slab + FREE] = place
    slabs[slab + INUSE] -= 1
    where = slabs[slab + WHERE]
    if where == OF_CPU:
        n[_FREE_FROZEN] += 1
        return _FROZEN
    if where == FULL:
        return put_cpu_partial(c, slab, cpu, time)
    if slabs[slab + INUSE]:
        return _SLAB_PUSH
    n[_LIST_LOCK] += 1
    if where != NODE_LIST or c.nodes[slabs[slab + NODE] + LISTED] < n[MIN_PARTIAL]:
        return _SLAB_PUSH
    leave_node(c, slab)
    n[_FREE_REMOVE_PARTIAL] += 1
    discard(c, slab, cpu, time)
    return _SLAB_FREED


def older_slab(c: CpuSlabState, key: int) -> int:
    """A slab older than the trace: until something is known of it, it is full."""
    n = c.numbers
    if c.older[-2 - key] == NONE:
        node = c.older_node[-2 - key]
        c.older[-2 - key] = full_slab(c, key, n[BEST_ORDER], n[BEST_OBJECTS], node)
    return c.older[-2 - key]


def put_cpu_partial(c: CpuSlabState, slab: int, cpu: int, time: int) -> int:
    """A full slab's first free, on a CPU: mm/slub.c:put_cpu_partial (6.12), R3.36; the path."""
    n, path, old = c.numbers, _PUT, c.cpus[cpu + PARTIAL]
    n[_CPU_PARTIAL_FREE] += 1
    if old != NONE and c.slabs[old + SLABS] >= n[CPU_PARTIAL_SLABS]:
        path = _DRAIN
        n[_CPU_PARTIAL_DRAIN] += 1
        c.cpus[cpu + PARTIAL] = NONE
        put_partials(c, old, cpu, time)
    to_cpu_partial(c, slab, cpu)
    return path


def to_cpu_partial(c: CpuSlabState, slab: int, cpu: int) -> None:
    """Put a slab in front of a CPU's partial list."""
    slabs, old = c.slabs, c.cpus[cpu + PARTIAL]
    slabs[slab + NEXT] = old
    slabs[slab + SLABS] = slabs[old + SLABS] + 1 if old != NONE else 1
    slabs[slab + WHERE] = CPU_LIST
    c.cpus[cpu + PARTIAL] = slab


def put_partials(c: CpuSlabState, slab: int, cpu: int, time: int) -> None:
    """mm/slub.c:__put_partials (6.12), R3.37: a list to the nodes'; empty ones are freed."""
    n, slabs = c.numbers, c.slabs
    empty = locked = NONE
    while slab != NONE:
        following, node = slabs[slab + NEXT], slabs[slab + NODE]
        if node != locked:
            n[_LIST_LOCK] += 1
            locked = node
        if slabs[slab + INUSE] == 0 and c.nodes[node + LISTED] >= n[MIN_PARTIAL]:
            slabs[slab + NEXT], empty = empty, slab
        else:
            to_node(c, slab)
            n[_FREE_ADD_PARTIAL] += 1
        slab = following
    while empty != NONE:
        slab, empty = empty, slabs[empty + NEXT]
        n[_DEACTIVATE_EMPTY] += 1
        discard(c, slab, cpu, time)


def to_node(c: CpuSlabState, slab: int) -> None:
    """Put a slab at the end of its node's partial list."""
    nodes, slabs, node = c.nodes, c.slabs, c.slabs[slab + NODE]
    tail = nodes[node + TAIL]
    slabs[slab + PREV], slabs[slab + NEXT] = tail, NONE
    slabs[slab + WHERE] = NODE_LIST
    if tail != NONE:
        slabs[tail + NEXT] = slab
    else:
        nodes[node + HEAD] = slab
    nodes[node + TAIL] = slab
    nodes[node + LISTED] += 1


def to_head(c: CpuSlabState, slab: int) -> None:
    """Put a slab at the head of its node's partial list."""
    nodes, slabs, node = c.nodes, c.slabs, c.slabs[slab + NODE]
    head = nodes[node + HEAD]
    slabs[slab + PREV], slabs[slab + NEXT] = NONE, head
    slabs[slab + WHERE] = NODE_LIST
    if head != NONE:
        slabs[head + PREV] = slab
    else:
        nodes[node + TAIL] = slab
    nodes[node + HEAD] = slab
    nodes[node + LISTED] += 1


def leave_node(c: CpuSlabState, slab: int) -> None:
    """Take a slab off its node's partial list."""
    nodes, slabs, node = c.nodes, c.slabs, c.slabs[slab + NODE]
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


def discard(c: CpuSlabState, slab: int, cpu: int, time: int) -> None:
    """Give an empty slab, which is on no list, back to the page allocator."""
    n, slabs, key = c.numbers, c.slabs, c.slabs[slab + KEY]
    n[_FREE_SLAB] += 1
    ask_pages(c, time, cpu, slab, -1)
    if key < 0:
        c.older[-2 - key] = NONE
    slabs[slab + WHERE] = FULL
    slabs[slab + NEXT], n[UNUSED] = n[UNUSED], slab


def ask_pages(c: CpuSlabState, time: int, cpu: int, slab: int, way: int) -> None:
    """Note that a slab's pages are asked for, or given back."""
    n, pages = c.numbers, c.pages
    at = n[PAGES]
    pages[at], pages[at + 1], pages[at + 2] = time, cpu // CPU_SIZE, c.slabs[slab + KEY]
    pages[at + 3], pages[at + 4] = c.slabs[slab + ORDER], way
    pages[at + 5] = c.slabs[slab + NODE] // NODE_SIZE
    n[PAGES] = at + PAGE_SIZE
