"""A cache's state in columns of numbers, and the loops over them: interpreted, or compiled.

The rules of a generation are a module of plain functions over columns (cpu_slabs.steps). Python
runs them on lists. Where numba is installed and asked for, it compiles the same functions, and the
columns are arrays: what comes out is the same.
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from allocsim.page_alloc.nodes import Nodes
    from allocsim.slub.freelist_random import FreelistOrder
    from allocsim.tables import Array, Int64

Column = list[int]  #: compiled, an array (i8)


def can_compile() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


@cache
def compiled(module: ModuleType) -> SimpleNamespace:
    """The functions of a module, and those of SLUB's other modules that it calls, compiled.

    They are kept beside it for the next process. numba compiles them anew when their own file
    changes; what else goes into them, functions and constants of other files, only their names can
    tell.
    """
    from numba import njit  # noqa: PLC0415 - optional, and slow to import

    names = [module.__name__]
    for name in names:  # of modules; those that their functions are from come behind
        names += sorted(
            {
                each.__module__
                for each in vars(sys.modules[name]).values()
                if isinstance(each, FunctionType) and each.__module__.startswith(f"{__package__}.")
            }.difference(names)
        )
    spaces = {name: dict(vars(sys.modules[name])) for name in names}
    # Without counts of who holds an array, which take ten times as long as the rest.
    options: dict[str, Any] = {"cache": True, "_nrt": False}
    stamp = 0
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        stamp = crc32(source.read_bytes(), stamp)
    done: dict[FunctionType, Any] = {}
    for space in spaces.values():
        for name, each in space.items():
            if isinstance(each, FunctionType) and each.__module__ in spaces:
                if each not in done:
                    own = spaces[each.__module__]
                    same = FunctionType(each.__code__, own, each.__name__, each.__defaults__)
                    same.__qualname__ = f"{each.__name__}_{stamp:08x}"
                    done[each] = njit(same, **options)
                space[name] = done[each]
    return SimpleNamespace(**spaces[module.__name__])


def as_column(values: list[int], *, fast: bool) -> Column:
    """A column of numbers."""
    return cast("Column", np.array(values, np.int64)) if fast else values


def grow(state: Any, name: str, wanted: int) -> None:  # noqa: ANN401 - of either generation
    """Let a column of a state have so many numbers at least: the new ones are -1."""
    old = getattr(state, name)
    more = max(len(old), wanted - len(old)) if len(old) < wanted else 0
    if isinstance(old, np.ndarray):
        setattr(state, name, np.concatenate((old, np.full(more, -1, np.int64))))
    else:
        old += [-1] * more


def grow_older(state: Any, key: int, nodes: Int64 | None, size: int) -> None:  # noqa: ANN401
    """Let slabs older than the trace be looked up, with keys from -2 downwards to one.

    Args:
        state: the cache's.
        key: the lowest key; -1: none.
        nodes: as Slub has it.
        size: numbers of a node's struct.
    """
    before = len(state.older)
    grow(state, "older", -1 - key)
    grow(state, "older_node", len(state.older))
    for at in range(before, len(state.older)):
        state.older_node[at] = size * int(nodes[at]) if nodes is not None and at < len(nodes) else 0


def zonelists(nodes: Nodes, size: int) -> Column:
    """Of each node, structs of the nodes with memory, nearest first, and -1 to fill up.

    Args:
        nodes: the nodes.
        size: numbers of a node's struct.
    """
    column: Column = []
    for near in nodes.near:
        column += [size * node for node in near] + [-1] * (nodes.count - len(near))
    return column


def more_structs(state: Any, size: int, link: int) -> int:  # noqa: ANN401 - likewise
    """Structs for more slabs, each of which leads to the next one through a field; how many.

    They are the last of ``slabs``; none may have been unused before.
    """
    first = len(state.slabs)
    grow(state, "slabs", first + size)
    slabs = state.slabs
    for slab in range(first, len(slabs) - size, size):
        slabs[slab + link] = slab + size
    return (len(slabs) - first) // size


def more_orders(  # noqa: PLR0913 - a cache, and how far ahead
    state: Any,  # noqa: ANN401 - likewise
    order: FreelistOrder | None,
    cache: int,
    objects: int,
    first: int,
    ahead: int,
) -> int:
    """Let more slabs be made, from one number on; the number of the first that may not.

    Orders that are not ascending are looked up for so many of them ahead.
    """
    grow(state, "struct_of", first + ahead)
    if order is None:
        return len(state.struct_of)
    numbers = [first + (at - first) % ahead for at in range(ahead)]
    orders = [place for number in numbers for place in order(cache, number, objects)]
    state.orders = as_column(orders, fast=isinstance(state.struct_of, np.ndarray))
    return first + ahead


def copied(state: Any) -> Any:  # noqa: ANN401 - of either generation
    """A state with columns of its own."""
    return replace(state, **{each.name: getattr(state, each.name).copy() for each in fields(state)})


def event_column(events: Array | None, *, fast: bool) -> Column:
    """A column of events, empty for None; as an array it may be that of the events itself."""
    if events is None:
        return as_column([], fast=fast)
    return cast("Column", events.astype(np.int64, copy=False) if fast else events.tolist())


def replay(  # noqa: PLR0913 - a loop and all it needs
    module: ModuleType,
    state: Any,  # noqa: ANN401 - of either generation
    events: tuple[Column, ...],
    count: int,
    make_room: Callable[[], None],
    tuple_type: Callable[..., Any] | None,
) -> None:
    """Go through a window's events.

    Args:
        module: the rules; its replay() does events from one on, as far as there is room.
        state: the cache's.
        events: columns of the window.
        count: events.
        make_room: called where there is no room for the next one.
        tuple_type: the state as a tuple, to be compiled; None: interpret it.
    """
    at = 0
    while True:
        if tuple_type is None:
            at = module.replay(state, events, at)
        else:
            columns = (getattr(state, each.name) for each in fields(state))
            at = compiled(module).replay(tuple_type(*columns), events, at)
        if at == count:
            break
        make_room()
