"""Who frees what another CPU allocated: the matrix of CPUs, and the caches it concerns most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Heading, Mono, Table, TableColumn, Text
from reports.rules import with_titles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CACHES = 8  #: rows of the table; the rest is in the view
_CPUS = 8  #: up to which every pair is shown


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The matrix of a recorded run; empty where it has one CPU or no object's whole life."""
    pairs = queries.rows(
        connection,
        """
        SELECT alloc_cpu, free_cpu, sum(objects)::bigint AS objects FROM remote_frees
        WHERE run = $run GROUP BY ALL
        """,
        run=run,
    )
    cpus = sorted({row[name] for row in pairs for name in ("alloc_cpu", "free_cpu")})
    if len(cpus) < 2:
        return []
    place = {cpu: at for at, cpu in enumerate(cpus)}
    matrix = [[0] * len(cpus) for _ in cpus]
    for row in pairs:
        matrix[place[row["alloc_cpu"]]][place[row["free_cpu"]]] = row["objects"]
    total = sum(map(sum, matrix))
    remote = total - sum(matrix[at][at] for at in range(len(cpus)))
    return [
        Heading("Remote frees"),
        Text(
            f"Of {wording.count(total)} objects whose allocation and free were both seen, "
            f"{wording.count(remote)} ({wording.percent(remote, total)}) were freed on another CPU "
            "than they were allocated on ●."
        ),
        *_matrix(cpus, matrix, total),
        _caches(connection, run),
    ]


def _matrix(cpus: list[int], objects: list[list[int]], total: int) -> list[Block]:
    """Who freed whose objects; nothing where there are too many CPUs to read it."""
    if len(cpus) > _CPUS:
        return []
    return [
        Table(
            "Objects by the CPU that allocated (row) and the CPU that freed them (column), as "
            "shares of all ●.",
            (TableColumn("allocated on"), *(TableColumn(f"CPU {cpu}") for cpu in cpus)),
            [
                [f"CPU {cpu}", *(wording.percent(number, total) for number in row)]
                for cpu, row in zip(cpus, objects, strict=True)
            ],
            "remote_frees",
        )
    ]


def _caches(connection: DuckDBPyConnection, run: int) -> Table:
    found = queries.rows(
        connection,
        """
        SELECT coalesce(cache, 'not known') AS cache, sum(objects)::bigint AS objects,
            coalesce(sum(objects) FILTER (alloc_cpu <> free_cpu), 0)::bigint AS remote
        FROM remote_frees WHERE run = $run GROUP BY cache
        ORDER BY remote DESC, objects DESC, cache LIMIT $limit
        """,
        run=run,
        limit=_CACHES,
    )
    rows: list[list[Cell]] = [
        [
            Mono(wording.shortened(row["cache"], 40)),
            wording.count(row["objects"]),
            wording.count(row["remote"]),
            wording.percent(row["remote"], row["objects"]),
        ]
        for row in found
    ]
    return Table(
        with_titles(
            "Caches with the most remote frees. With sheaves a remote free stays on the freeing "
            "CPU (R3.24); before them it went back to the slab (R3.35)."
        ),
        (
            TableColumn("cache", numeric=False),
            TableColumn("objects"),
            TableColumn("freed remotely"),
            TableColumn("share"),
        ),
        rows,
    )
