"""What sheaves serve against what they hold: a sweep of sheaf.capacity, cache by cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Block,
    Cell,
    Chart,
    Curves,
    Heading,
    Mono,
    Table,
    TableColumn,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_POINTS = """
SELECT * FROM sheaf_tradeoff
WHERE of_run = $run AND operations > 0 AND run IN (
    SELECT max(run) FROM runs WHERE of_run = $run GROUP BY settings
)
ORDER BY capacity, run
"""
_KEYS: tuple[set[str], ...] = ({"sheaf.capacity"}, set())
_CACHES = 6  #: in a figure


def moved(rows: Sequence[Row]) -> int:
    """How far runs of a cache are apart: in refills, flushes and list_locks together.

    Args:
        rows: rows of the view sheaf_tradeoff.
    """
    slow = [row["refills"] + row["flushes"] + row["list_locks"] for row in rows]
    return int(max(slow) - min(slow))


def moving(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The caches whose runs differ, those that differ most first.

    Args:
        rows: rows of the view sheaf_tradeoff, of one recorded run.
    """
    by_cache: dict[str, list[Row]] = {}
    for row in rows:
        by_cache.setdefault(row["cache"], []).append(row)
    order = sorted(by_cache, key=lambda name: (-moved(by_cache[name]), name))
    return {name: by_cache[name] for name in order if moved(by_cache[name])}


def knee(rows: Sequence[Row]) -> Row | None:
    """Where more memory begins to buy less.

    Of the runs that no other beats in both, serving more and holding less, it is the one farthest
    above the line from the first to the last, both axes taken from their least to their most.

    Args:
        rows: rows of the view sheaf_tradeoff of one cache.

    Returns:
        None where there are fewer than three such runs, or none lies above.
    """
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["held_bytes"], -row["fastpath_pct"])):
        if not best or row["fastpath_pct"] > best[-1]["fastpath_pct"]:
            best.append(row)
    if len(best) < 3:
        return None
    first, last = best[0], best[-1]

    def above(row: Row) -> float:
        y, x = (
            (row[name] - first[name]) / (last[name] - first[name])
            for name in ("fastpath_pct", "held_bytes")
        )
        return float(y - x)

    found = max(best, key=above)
    return found if above(found) > 0 else None


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The trade-off of a recorded run's simulations; empty where no capacity was swept."""
    found = [
        row
        for row in queries.rows(connection, _POINTS, run=run)
        if set(json.loads(row["settings"])) in _KEYS
    ]
    caches = {
        name: rows
        for name, rows in moving(found).items()
        if len({row["capacity"] for row in rows}) > 1
    }
    if not caches or len({row["run"] for row in found}) < 3:
        return []
    shown = dict(list(caches.items())[:_CACHES])
    return [
        Heading("What sheaves serve, and what they hold"),
        Text(
            f"{wording.plural(len(caches), 'cache')} of this recording move with sheaf.capacity; "
            f"here are the {len(shown)} whose refills, flushes and list_lock taken, together, lie "
            "farthest apart. What is held are the free objects in the sheaves of all CPUs and in "
            "the barn when the trace ends. All numbers are the model’s."
        ),
        Chart(
            "Share of operations that the CPU’s sheaves served, at least, against the bytes they "
            "hold: a line a cache, a mark a capacity. Filled: the recorded kernel as it was. In a "
            "ring: the knee, behind which more memory buys less, among the runs that no other one "
            "beats in both.",
            [_curves(shown)],
            view="sheaf_tradeoff",
        ),
        _table(shown),
    ]


def _curves(caches: Mapping[str, Sequence[Row]]) -> Curves:
    """Fast path over bytes held, a line a cache."""
    knees = {name: knee(rows) for name, rows in caches.items()}
    return Curves(
        {
            name: [(row["held_bytes"] / 1024, row["fastpath_pct"]) for row in rows]
            for name, rows in caches.items()
        },
        "operations the CPU’s sheaves served, %",
        "KiB held in sheaves and barn",
        {
            name: at
            for name, rows in caches.items()
            for at, row in enumerate(rows)
            if row["what_if"] is None
        },
        {name: caches[name].index(at) for name, at in knees.items() if at is not None},
    )


def _table(caches: Mapping[str, Sequence[Row]]) -> Table:
    rows: list[list[Cell]] = []
    for name, points in caches.items():
        own = next((row for row in points if row["what_if"] is None), None)
        rows.append([Mono(name), *_point(own), *_point(knee(points))])
    heads = ("sheaf", "fast", "held, KiB")
    return Table(
        "The recorded kernel as it was, and the knee. Sheaf: objects in one. A dash: the kernel’s "
        "own is not among the runs, or fewer than three of them are beaten by no other in both.",
        (
            TableColumn("cache", numeric=False),
            *(TableColumn(f"own: {head}") for head in heads),
            *(TableColumn(f"knee: {head}") for head in heads),
        ),
        rows,
    )


def _point(row: Row | None) -> list[Cell]:
    if row is None:
        return [wording.MISSING] * 3
    return [
        wording.count(row["capacity"]),
        wording.percent(row["fastpath_pct"]),
        wording.kib(row["held_bytes"]),
    ]
