"""A cache's state in columns of numbers, and the loops over them: interpreted, or compiled.

The rules of a generation are a module of plain functions over columns (cpu_slabs.steps). Python
runs them on lists. Where numba is installed and asked for, it compiles the same functions, and the
columns are arrays: what comes out is the same.
"""

from __future__ import annotations

import zlib
from dataclasses import fields, replace
from functools import cache
from importlib.util import find_spec
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from allocsim.tables import Array

Column = list[int]  #: compiled, an array (i8)


def can_compile() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


@cache
def compiled(module: ModuleType) -> SimpleNamespace:
    """The functions of a module, compiled; they are kept beside it for the next process.

    Functions are compiled anew when their file changes; that constants of other files are compiled
    into them, only their names can tell.
    """
    from numba import njit  # noqa: PLC0415 - optional, and slow to import

    space = dict(vars(module))
    constants = {name: int(value) for name, value in space.items() if isinstance(value, int)}
    stamp = zlib.crc32(repr(sorted(constants.items())).encode())
    for name, function in vars(module).items():
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            same = FunctionType(function.__code__, space, name, function.__defaults__)
            same.__qualname__ = f"{name}_{stamp:08x}"
            # Without counts of who holds an array, which take ten times as long as the rest.
            space[name] = njit(same, cache=True, _nrt=False)
    return SimpleNamespace(**space)


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
