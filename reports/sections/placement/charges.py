"""Whom objects are charged to: what the vectors of that take, by cache and scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Heading, Mono, Table, TableColumn, Text
from reports.rules import with_titles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TOP = 12  #: caches shown
_ROWS = """
    SELECT own.*, inside.* EXCLUDE (run, cache) FROM (
        SELECT run, cache, account, account_how, charges_how, charged_objects, charged_bytes, slabs,
            vector_bytes, kmallocs_low AS all_low, kmallocs_high AS all_high,
            kmalloc_bytes_low AS bytes_low, kmalloc_bytes_high AS bytes_high
        FROM obj_ext_vectors WHERE run = $run AND scheme = 'kmalloc'
    ) AS own
    INNER JOIN (
        SELECT run, cache, leftover, in_objects, kmallocs_low, kmallocs_high, saved_kmallocs,
            saved_bytes
        FROM obj_ext_vectors WHERE run = $run AND scheme = 'in slab'
    ) AS inside USING (run, cache)
    ORDER BY bytes_high DESC, cache
"""
_RECORDED = """
    SELECT count(*) AS vectors FROM object_events INNER JOIN call_sites USING (run, call_site)
    WHERE run = $run AND event = 'kmalloc' AND starts_with(symbol, 'alloc_slab_obj_exts')
"""
_ABOUT = with_titles(
    "A slab whose objects are charged to a memory cgroup has a vector of slabobj_ext, 8 bytes an "
    "object (assumed), 16 if the recording has an allocinfo. Up to 6.19 it is a kmalloc (R3.53, "
    "R3.54); from 7.1 on a slab of a cache with SLAB_ACCOUNT has it inside, where there is room "
    "(R3.55). Both are told of the slabs that the recording made. A cache without SLAB_ACCOUNT, "
    "and a slab older than charges, gets it with the first charged object: at most, for what tasks "
    "in the root cgroup allocate is not charged, and no event says whose cgroup a task is in."
)
_SINCE = {
    "observed": "Charges begin with the first cgroup, whose making the recording shows ●.",
    "assumed": "Charges are taken to have begun before the recording ○; slabs older than it are "
    "left out.",
}


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The vectors of a recorded run's slabs; empty where nothing says what is charged.

    Args:
        connection: a results database.
        run: number of the run.
    """
    found = queries.rows(connection, _ROWS, run=run)
    if not found:
        return []
    return [
        Heading("Charged objects"),
        Text(f"{_ABOUT} {_SINCE[found[0]['charges_how']]} {_kernel(connection, run)}"),
        _table(found),
    ]


def _kernel(connection: DuckDBPyConnection, run: int) -> str:
    """How many vectors the recorded kernel itself kmalloc'd, those of unknown caches too."""
    [row] = queries.rows(connection, _RECORDED, run=run)
    if not row["vectors"]:
        return "The recording shows no kmalloc of a vector: as if a memory cgroup were there."
    return f"The recorded kernel kmalloc’d {wording.plural(row['vectors'], 'vector')} ●."


def _table(found: list[Row]) -> Table:
    rows = [_cells(row, Mono(row["cache"])) for row in found[:TOP]]
    numbers = [name for name, value in found[0].items() if isinstance(value, int)]
    total = {name: sum(row[name] or 0 for row in found) for name in numbers}
    rows.append(_cells({**total, "account_how": None, "vector_bytes": None}, "all"))
    return Table(
        f"Vectors of slabobj_ext, {wording.plural(len(rows) - 1, 'cache')} of {len(found)} with "
        "any. SLAB_ACCOUNT: how it is known. Charged: allocations of objects, at most. Vector: "
        "bytes of a slab’s. kmallocs, KiB: up to 6.19. Inside: from 7.1 on, behind the objects + "
        "in what pads them; left: still kmallocs then; saved: what that does without.",
        (
            TableColumn("cache", numeric=False, share=1),
            TableColumn("SLAB_ACCOUNT", numeric=False),
            TableColumn("charged ◐", minor=True),
            TableColumn("slabs"),
            TableColumn("vector"),
            TableColumn("kmallocs ◐"),
            TableColumn("KiB ◐"),
            TableColumn("inside ◐"),
            TableColumn("left ◐"),
            TableColumn("KiB saved ◐"),
        ),
        rows,
        view="obj_ext_vectors",
    )


def _cells(row: Row, name: Cell) -> list[Cell]:
    how = row["account_how"]
    return [
        name,
        f"{'yes' if row['account'] else 'no'} {wording.MARKS[how]}" if how else "",
        wording.count(row["charged_objects"]),
        wording.count(row["slabs"]),
        wording.count(row["vector_bytes"]),
        wording.ranged(row, "all"),
        wording.span(wording.kib(row["bytes_low"]), wording.kib(row["bytes_high"]))
        if row["bytes_low"] != row["bytes_high"]
        else wording.kib(row["bytes_low"]),
        f"{wording.count(row['leftover'])} + {wording.count(row['in_objects'])}",
        wording.ranged(row, "kmallocs"),
        wording.kib(row["saved_bytes"]),
    ]
