"""The descriptors' own allocations in a run's section: slabs, churn, and how it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Bullets, Cell, Mono, Table, TableColumn

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row


def blocks(connection: DuckDBPyConnection, run: int, row: Row, machine: Row) -> list[Block]:
    """What a scheme's descriptors need themselves, and how it is known."""
    found = queries.rows(
        connection,
        """
        SELECT descriptors.*, slabs.slabs, slabs.objects, slabs.pages, sizes.known
        FROM scheme_descriptors AS descriptors
        INNER JOIN schemes USING (run, scheme)
        LEFT JOIN (
            SELECT run, scheme, descriptor, arg_max(slabs, moment) AS slabs,
                arg_max(objects, moment) AS objects, arg_max(pages, moment) AS pages
            FROM internal.descriptor_slabs GROUP BY ALL
        ) AS slabs USING (run, scheme, descriptor)
        LEFT JOIN (
            SELECT run, scheme, descriptor, any_value(known) AS known FROM scheme_sizes GROUP BY ALL
        ) AS sizes USING (run, scheme, descriptor)
        WHERE run = $run AND schemes.name = $scheme AND older + allocs + own_allocs > 0
        ORDER BY allocs + own_allocs DESC, descriptor
        """,
        run=run,
        scheme=row["scheme"],
    )
    [scheme] = queries.rows(
        connection,
        "FROM schemes WHERE run = $run AND name = $scheme",
        run=run,
        scheme=row["scheme"],
    )
    [events] = queries.rows(
        connection, "SELECT count(*) AS objects FROM object_events WHERE run = $run", run=run
    )
    added = row["allocs"] + row["frees"]
    if not found:
        return [Bullets([_evidence_text(machine)])]
    rows: list[list[Cell]] = [
        [
            Mono(each["name"]),
            f"{each['bytes']} {'●' if each['known'] == 'published' else '○'}",
            wording.count(each["slot_bytes"]),
            wording.count(each["older"]),
            wording.count(each["allocs"] + each["own_allocs"]),
            wording.count(each["frees"] + each["own_frees"]),
            wording.percent(
                each["fast"],
                each["allocs"] + each["own_allocs"] + each["frees"] + each["own_frees"],
            ),
            wording.count(each["slabs"]),
            wording.kib((each["pages"] or 0) * 4096 - (each["objects"] or 0) * each["bytes"]),
        ]
        for each in found
    ]
    settled = (
        f"after {wording.plural(scheme['passes'], 'pass', 'passes')}"
        if scheme["settled"]
        else f"not within {scheme['passes']} passes, so the figures are of the last"
    )
    added_to = (
        f"They add {wording.count(round(row['added_per_second'] or 0))} slab operations a "
        f"second, {wording.percent(added, events['objects'])} of the "
        f"{wording.count(events['objects'])} that were recorded. Slabs of descriptors need "
        f"descriptors themselves: that settled {settled}."
    )
    return [
        Table(
            "The descriptors’ own allocations, through the model of 7.2’s SLUB ○: one for each "
            "page life that needs one. Size: published ● or estimated ○. Older: allocated before "
            "the recording, taken to lie close together. Fast: served by the CPU’s own sheaves. "
            "Empty: KiB of their slabs without a descriptor at the end.",
            (
                TableColumn("descriptor", numeric=False, share=1),
                TableColumn("bytes"),
                TableColumn("slot"),
                TableColumn("older"),
                TableColumn("allocated"),
                TableColumn("freed"),
                TableColumn("fast"),
                TableColumn("slabs"),
                TableColumn("empty"),
            ),
            rows,
        ),
        Bullets([added_to, *_simulated(connection, run, row["scheme"]), _evidence_text(machine)]),
    ]


def _simulated(connection: DuckDBPyConnection, run: int, scheme: str) -> list[str]:
    """What the scheme takes with the slabs of simulated placements."""
    found = queries.rows(
        connection,
        """
        SELECT run, end_bytes FROM descriptor_summary JOIN runs USING (run)
        WHERE of_run = $run AND scheme = $scheme ORDER BY run
        """,
        run=run,
        scheme=scheme,
    )
    return [
        f"With the slabs that the simulated run {row['run']} makes it would take "
        f"{wording.mib(row['end_bytes'])} MiB at the end ○."
        for row in found
    ]


def _evidence_text(machine: Row) -> str:
    """How what lies behind the figures is known."""
    stock = (
        f"Of what was allocated before it began, {machine['stock_from']} and its own events tell "
        f"of {wording.count(machine['stock_blocks'])} blocks ◐; "
        f"{wording.count(machine['unsure_blocks'])} more are in one snapshot only and untouched: "
        "they came before the recording or after it, so they count as not known."
    )
    if machine["unknown_frames"]:
        which = "that the recording does not touch"
        if machine["stock_from"] == "meminfo":
            which = "that were in use before the recording, by meminfo,"
        stock = (
            f"There is no snapshot of /proc/kpageflags: of the "
            f"{wording.count(machine['unknown_frames'])} pages {which} nothing is known; at most "
            "each is a block with the largest descriptor."
        )
    return (
        f"The machine has {wording.count(machine['pages'])} pages, by "
        f"{machine['pages_from']} ({machine['pages_how']}). {stock} Pages that may be charged to a "
        "memory cgroup count as not known too. The sizes of descriptors are the plan’s, published "
        "or estimated; no kernel has them yet."
    )
