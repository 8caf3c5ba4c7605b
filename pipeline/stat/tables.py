"""What the tables of ``allocsim stat`` have: keys of rows and figures, each with its sentence.

Declared once, here, as data: collecting, sorting, printing, CSV and JSON go by these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.tables import Array, Columns, Float64

SLAB, PAGE = "slab", "page"


@dataclass(frozen=True, slots=True)
class Key:
    """What rows of a table can stand for: objects or pages that were allocated so.

    Attributes:
        name: as ``--by`` and ``--sort`` take it.
        slab: the event column it is of objects; "": they have none.
        page: the event column it is of pages, likewise.
        doc: what it is.
        perf: other names, those of perf kmem's sort keys.
        code: a column of CSV and JSON besides the one called ``name``: the value as the event has
            it where that one has what a person reads, and the name of a task.
    """

    name: str
    slab: str
    page: str
    doc: str
    perf: tuple[str, ...] = ()
    code: str = ""

    def column(self, layer: str) -> str:
        """The event column it is in one of the two tables; "": that table has it not."""
        return self.slab if layer == SLAB else self.page


#: The innermost function of a page's stack that is not the allocator's is known by the stack.
KEYS = {
    key.name: key
    for key in (
        Key(
            "site",
            "call_site",
            "stack",
            "Call site; of pages the innermost one on the stack that is not the page allocator's.",
            ("callsite",),
            "call_site",
        ),
        Key(
            "directory",
            "call_site",
            "stack",
            "Source directory of the call site, inferred from its function's name.",
        ),
        Key("cache", "cache", "", "Slab cache, as a replay names it."),
        Key(
            "address", "ptr", "pfn", "Address of the object, or first page frame.", ("ptr", "page")
        ),
        Key("cpu", "cpu", "cpu", "CPU that allocated."),
        Key("pid", "pid", "pid", "Task that allocated (common_pid).", (), "comm"),
        Key("order", "", "order", "Block of 2^order pages."),
        Key(
            "migratetype",
            "",
            "migratetype",
            "Migratetype asked for (R4.2).",
            ("migtype",),
            "migratetype_code",
        ),
        Key("gfp", "gfp_flags", "gfp_flags", "gfp flags of the request.", (), "gfp_flags"),
        Key("stack", "stack", "stack", "Kernel stack of the allocation, where one was recorded."),
    )
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of numbers of a table.

    Attributes:
        name: as CSV, JSON and ``--sort`` have it.
        unit: of its values.
        doc: what it is.
        perf: name of perf kmem's sort key.
    """

    name: str
    unit: str
    doc: str
    perf: str = ""


_ALLOCATIONS = Figure("allocations", "", "Allocations that were granted.", "hit")
_BYTES_ALLOC = Figure("bytes_alloc", "bytes", "Given: whole slots, whole pages.", "bytes")
_FREES = Figure("frees", "", "Frees of what was allocated so.")
_BYTES_FREED = Figure("bytes_freed", "bytes", "What these gave back.")
_LIVE = Figure("live", "", "Allocated so, and not freed at the end of what is counted.")
_LIVE_ALLOC = Figure("live_bytes_alloc", "bytes", "Of that, what was given.")
FIGURES: dict[str, tuple[Figure, ...]] = {
    SLAB: (
        _ALLOCATIONS,
        _BYTES_ALLOC,
        Figure("bytes_req", "bytes", "WantedTables for."),
        _FREES,
        _BYTES_FREED,
        Figure(
            "pingpong",
            "",
            "Frees on another CPU than the one that allocated (common: remote frees).",
            "pingpong",
        ),
        Figure(
            "freed_again",
            "",
            "Frees of an address not allocated since its last free: the allocation between had no "
            "event (T6). perf kmem takes each for a ping-pong.",
        ),
        Figure("bytes_freed_again", "bytes", "What perf kmem takes these to give back once more."),
        Figure(
            "ended_unseen",
            "",
            "Allocated again while live: the free between had no event (T6).",
        ),
        Figure("bytes_ended_unseen", "bytes", "What these had been given."),
        _LIVE,
        _LIVE_ALLOC,
        Figure("live_bytes_req", "bytes", "Of that, what was asked for."),
        Figure(
            "repeats",
            "",
            "Large kmallocs that the kernel reports a second time, from inside the allocator (T3): "
            "in no other figure here, in all of perf kmem's.",
        ),
        Figure("repeats_bytes_alloc", "bytes", "What they say was given."),
        Figure("repeats_bytes_req", "bytes", "What they say was asked for."),
    ),
    PAGE: (_ALLOCATIONS, _BYTES_ALLOC, _FREES, _BYTES_FREED, _LIVE, _LIVE_ALLOC),
}
FRAG = Figure(
    "frag", "%", "Given but not asked for, of what was given (internal fragmentation).", "frag"
)


@dataclass(frozen=True, slots=True)
class StatTable:
    """One table of ``allocsim stat``.

    Attributes:
        layer: SLAB or PAGE.
        by: the keys of a row.
        keys: a value a row, of each of these: as events have it.
        figures: a number a row, by FIGURES' names.
    """

    layer: str
    by: tuple[str, ...]
    keys: Columns
    figures: Columns

    def __len__(self) -> int:
        return len(self.figures["allocations"])

    def total(self, name: str) -> int:
        """Sum of a figure over all rows."""
        return int(self.figures[name].sum())


def fragmentation(req: Array, alloc: Array) -> Float64:
    """Of what was given the part that was not asked for, in percent (perf kmem's arithmetic)."""
    some = alloc > 0
    share = 100.0 - 100.0 * req / np.where(some, alloc, 1)
    return np.where(some, share, 0.0)


def resolve(name: str, layer: str) -> str | None:
    """The key or figure that a name of ``--sort`` means in a table, perf kmem's names included."""
    for key in KEYS.values():
        if name in (key.name, *key.perf) and key.column(layer):
            return key.name
    for figure in (*FIGURES[layer], *([FRAG] if layer == SLAB else [])):
        if name in (figure.name, figure.perf):
            return figure.name
    return None


def sort_values(table: StatTable, name: str, live: Mapping[str, str]) -> Array:
    """The values to sort a table's rows by.

    Args:
        table: the table.
        name: a key of its rows or a figure (resolve).
        live: the figures that stand for others where what is live is shown.
    """
    if name == FRAG.name:
        req, alloc = (live.get(each, each) for each in ("bytes_req", "bytes_alloc"))
        return fragmentation(table.figures[req], table.figures[alloc])
    if name in table.keys:
        return table.keys[name]
    return table.figures[live.get(name, name)]
