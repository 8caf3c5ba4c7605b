"""What the events of a spec look like: a template for each kind of row, and the code around it.

A template is all of an event but its time, CPU, address and page frame. Columns are looked up in
small tables by the number of a row's template.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.release import GFP_BITS
from allocsim.page_alloc.gfp import migratetypes
from allocsim.trace.events import EVENT_COLUMN, EVENTS, Ev
from pipeline.trace_set.column import Values
from pipeline.trace_set.parts import Stacks, Symbols

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.tables import U2, Array, Bools

#: Addresses of the made-up kernel text: each function has a page.
TEXT = 0xFFFF_FFFF_8100_0000
_FUNCTION = 1 << 12
_CALL = 0x40  # where in its caller a call returns to
GFP_KERNEL = sum(
    GFP_BITS[f"__GFP_{name}"] for name in ("IO", "FS", "DIRECT_RECLAIM", "KSWAPD_RECLAIM")
)


@dataclass(frozen=True, slots=True)
class Template:
    """An event without its time, CPU and place; columns that it has, by name."""

    event: Ev
    columns: Mapping[str, int | str | bool]


@dataclass
class Templates:
    """All templates, and the functions and stacks they name."""

    rows: list[Template] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    stacks: list[tuple[str, ...]] = field(default_factory=list)
    _number: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def site(self, function: str) -> int:
        """Address of a call in a function."""
        if function not in self.functions:
            self.functions.append(function)
        return TEXT + self.functions.index(function) * _FUNCTION + _CALL

    def stack(self, frames: tuple[str, ...]) -> int:
        """Number of a stack, innermost frame first."""
        if frames not in self.stacks:
            self.stacks.append(frames)
            for frame in frames:
                self.site(frame)
        return self.stacks.index(frames)

    def add(self, event: Ev, **columns: int | str | bool) -> int:
        """Number of a template, made if it is new."""
        key = (event, *sorted(columns.items()))
        if key not in self._number:
            self._number[key] = len(self.rows)
            self.rows.append(Template(event, columns))
        return self._number[key]

    def symbols(self) -> Symbols:
        """Where the functions lie."""
        count = len(self.functions)
        return Symbols(
            np.array([self.site(name) for name in self.functions], np.uint64),
            list(self.functions),
            np.full(count, _CALL, np.int64),
            [None] * count,
        )

    def stack_table(self) -> Stacks:
        """The stacks."""
        start = np.cumsum([0, *map(len, self.stacks)])
        frames = [self.site(frame) for stack in self.stacks for frame in stack]
        return Stacks(start.astype(np.int64), np.array(frames, np.uint64))


class Look:
    """Columns by template, for rows whose templates are all known.

    Args:
        templates: the templates.
        names: names of the caches, the dictionary of the column ``cache``.
    """

    def __init__(self, templates: Templates, names: Sequence[str]) -> None:
        rows = templates.rows
        self.event = np.array([row.event for row in rows], np.uint8)
        self.has = {
            name: np.array([name in EVENTS[row.event].columns for row in rows], np.bool_)
            for name in ("ptr", "pfn")
        }
        self._columns: list[tuple[str, Any, Any, Any]] = []
        wanted = {name for row in rows for name in row.columns} | {"event", "irq_flags", "metadata"}
        for name in sorted(wanted):
            self._columns.append((name, *_coded(name, rows, names)))

    def columns(self, template: U2) -> dict[str, Values]:
        """The columns that follow from the templates of rows."""
        found = {}
        for name, code, has, dictionary in self._columns:
            if has is None:
                codes = code[template]
                found[name] = Values(codes, None, dictionary)
                continue
            valid = has[template]
            found[name] = Values(code[template[valid]], valid, dictionary)
        return found


def _coded(
    name: str, rows: Sequence[Template], names: Sequence[str]
) -> tuple[Array, Bools | None, Any]:
    """Code of a column by template, which templates have it, and what the codes stand for."""
    column = EVENT_COLUMN[name]
    if name == "event":
        return np.array([row.event for row in rows], np.uint8), None, None
    values = [row.columns.get(name) for row in rows]
    if column.required:
        return np.array([value or 0 for value in values], column.dtype), None, None
    has = np.array([value is not None for value in values], np.bool_)
    if column.dtype == "?":
        return np.array([bool(value) for value in values], np.bool_), has, None
    distinct: list[Any] = (
        list(names) if column.dtype == "str" else sorted({v for v in values if v is not None})
    )
    code = np.array([0 if value is None else distinct.index(value) for value in values], np.uint16)
    if len(distinct) <= 256:
        code = code.astype(np.uint8)
    dictionary = distinct if column.dtype == "str" else np.array(distinct, column.dtype)
    return code, has, dictionary


def slab_gfp(order: int, *, reclaimable: bool) -> int:
    """Effective flags of a slab page's first attempt (R3.7, T9): those of the 7.2 recordings."""
    names = ["IO", "FS", "NOWARN", "NORETRY", "COMP", "NOMEMALLOC"]
    names += ["RECLAIMABLE"] if reclaimable else []
    names += [] if order else ["DIRECT_RECLAIM", "KSWAPD_RECLAIM"]
    return sum(GFP_BITS[f"__GFP_{name}"] for name in names)


def migratetype(gfp: int) -> int:
    """Migratetype that flags ask for (R4.2)."""
    return int(migratetypes(np.array([gfp], np.uint64))[0])
