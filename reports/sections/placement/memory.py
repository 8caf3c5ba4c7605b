"""The page allocator's side of a simulated run: zones, free memory, the slab pages' counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Chart, Mono, OverTime, Table, TableColumn
from reports.rules import with_titles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ORDERS = (1, 3, 6, 9)  #: whose index is drawn: the smallest, the costly one, in between, a THP
_FLAT = 0.05  #: an index that changes by no more is said, not drawn
_TYPES = ("unmovable", "movable", "reclaimable", "highatomic")
_COUNTERS = (
    ("zone_lock", "zone lock"),
    ("pcp_refill", "list refills"),
    ("pcp_drain", "list drains"),
    ("split", "splits"),
    ("merge", "merges"),
    ("claim", "claims"),
    ("steal", "steals"),
)


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Tables and figure of one simulated run."""
    return [*_zones(connection, run), *_free(connection, run), *_refcounts(connection, run)]


def _zones(connection: DuckDBPyConnection, run: int) -> list[Block]:
    found = queries.rows(
        connection,
        """
        SELECT zones.zone, zones.name AS zone_name, zones.managed, zones.pcp_batch,
            zones.pcp_high_min, zones.pcp_high_max, counters.name, counters.value
        FROM zones INNER JOIN zone_counters AS counters USING (run, zone)
        WHERE run = $run ORDER BY zone
        """,
        run=run,
    )
    zones = {row["zone"]: row for row in found}
    values = {(row["zone"], row["name"]): row["value"] for row in found}
    rows: list[list[Cell]] = [
        [
            zone["zone_name"],
            wording.count(zone["managed"]),
            wording.count(zone["pcp_batch"]),
            f"{wording.count(zone['pcp_high_min'])} – {wording.count(zone['pcp_high_max'])}",
            *(wording.count(values.get((number, name), 0)) for name, _ in _COUNTERS),
        ]
        for number, zone in zones.items()
    ]
    if not rows:
        return []
    return [
        Table(
            with_titles(
                "The model’s page allocator, zone by zone: pages, the page lists’ batch and limits "
                "(R4.11, R4.12), and how often zone->lock was taken and what for."
            )
            + _beside(connection, run),
            (
                TableColumn("zone", numeric=False),
                TableColumn("pages"),
                TableColumn("batch", minor=True),
                TableColumn("high", minor=True),
                *(TableColumn(title) for _, title in _COUNTERS),
            ),
            rows,
        )
    ]


def _beside(connection: DuckDBPyConnection, run: int) -> str:
    """What the recorded kernel did likewise, where that was recorded."""
    [row] = queries.rows(
        connection,
        "SELECT blocks_locked, recorded_blocks_locked FROM placement_summary WHERE run = $run",
        run=run,
    )
    if not row["recorded_blocks_locked"]:
        return ""
    return (
        f" The model took {wording.count(row['blocks_locked'])} blocks out of the buddy, the "
        f"recorded kernel {wording.count(row['recorded_blocks_locked'])} ●."
    )


def _free(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Free memory over time, of all zones together."""
    found = queries.rows(
        connection,
        """
        SELECT time_s, "order", sum(unmovable) AS unmovable, sum(movable) AS movable,
            sum(reclaimable) AS reclaimable, sum(highatomic) AS highatomic
        FROM free_memory WHERE run = $run AND time_s IS NOT NULL
        GROUP BY time_s, "order" ORDER BY time_s, "order"
        """,
        run=run,
    )
    times = sorted({row["time_s"] for row in found})
    if len(times) < 2:
        return []
    pages = {
        (row["time_s"], row["order"]): [int(row[kind]) << row["order"] for kind in _TYPES]
        for row in found
    }
    orders = sorted({row["order"] for row in found})
    mib = {
        kind: [sum(pages[time, order][at] for order in orders) / 256 for time in times]
        for at, kind in enumerate(_TYPES)
        if any(counts[at] for counts in pages.values())
    }
    index: dict[int, list[float | None]] = {order: [] for order in _ORDERS}
    for time in times:
        free = sum(sum(pages[time, order]) for order in orders)
        for wanted, line in index.items():
            small = sum(sum(pages[time, order]) for order in orders if order < wanted)
            line.append(small / free if free else None)
    moved = {
        f"order {order}": [value or 0 for value in line]
        for order, line in index.items()
        if max(value or 0 for value in line) - min(value or 0 for value in line) > _FLAT
    }
    at = [*times, times[-1] + 1e-9]
    across = "s since the first event"
    panels = [OverTime(at, mib, {}, "free (MiB)", across)]
    if moved:
        panels.append(OverTime(at, {}, moved, "unusable index", across))
    flat = ", ".join(
        f"{line[-1] or 0:.2f} for order {order}"
        for order, line in index.items()
        if f"order {order}" not in moved
    )
    return [
        Chart(
            "Free memory of the model by the migratetype of its blocks, and the unusable free "
            "space index: the share of it in blocks too small for an order (0: all can serve it)"
            f"{f'; nearly constant: {flat}' * bool(flat)}. "
            "Amounts follow from the recording; where blocks lie, and so the index, is assumed ○.",
            panels,
            beside=len(panels),
            view="free_memory",
        )
    ]


def _refcounts(connection: DuckDBPyConnection, run: int) -> list[Block]:
    found = queries.rows(
        connection, "FROM slab_refcounts WHERE run = $run ORDER BY locked_ops DESC, policy", run=run
    )
    if not found:
        return []
    return [
        Table(
            "Reference-count operations of the model’s slab pages under every policy. The slabs "
            "are the same: freezing changes counts, not placement.",
            (
                TableColumn("policy", numeric=False),
                TableColumn("slabs made"),
                TableColumn("freed"),
                TableColumn("plain stores"),
                TableColumn("locked instructions"),
            ),
            [
                [
                    Mono(row["policy"]),
                    *(
                        wording.count(row[name])
                        for name in ("slab_allocs", "slab_frees", "plain_ops", "locked_ops")
                    ),
                ]
                for row in found
            ],
        )
    ]
