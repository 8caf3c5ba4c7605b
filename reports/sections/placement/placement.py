"""Simulated placement in a run's section: slabs beside slabs, ways of serving, counters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Bullets, Cell, Heading, Mono, Table, TableColumn, Text
from reports.rules import with_titles
from reports.sections.placement import left_out, locks
from reports.sections.placement import memory as placed_memory

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_CACHES = 12  #: rows of the tables of caches; the rest is in the views
_OLDER = {
    "inferred_frees": with_titles(
        "frees that no event shows were put right before the allocation that gave the address away "
        "again (T6, I2) ◐"
    ),
    "requests_on_older_slabs": with_titles(
        "requests are for objects on slabs older than the trace, whose free places are known only "
        "as far as the trace takes them (I2) ○"
    ),
    "list_pages_at_start": with_titles(
        "pages are taken to have lain on the CPUs’ page lists when the recording began: as many as "
        "it takes from each until its first refill (R4.4, T12) ◐"
    ),
    "refused_slab_events": "requests wanted slabs that the page allocator could not serve so",
    "refused_pages": "requests for pages were refused",
    "page_requests_below_min": "page requests found every zone below its min watermark: the kernel "
    "would have reclaimed first, which is not modelled",
    "page_requests_below_low": "page requests found every zone below its low watermark: kswapd "
    "would have run, which is not modelled",
}


#: How the zones are known (runs.machine_how), and so what is said of them.
_MACHINES = {
    "observed": "as the recording’s zoneinfo has them ●",
    "inferred": (
        "as the recording’s zoneinfo has them ●, with as many pages free at its first event as the "
        "snapshot after it and the events leave ◐"
    ),
}
_NO_MACHINE = "assumed, since the recording has no zoneinfo ○"


#: What the machine's caches held at the start, by generation of SLUB (runs.slub).
_START = {
    "sheaves": "What a CPU takes first lay in its main sheaf, and barns were empty ○.",
    "cpu slabs": "The slabs a CPU takes from first were its own, and on its partial list ○.",
    "cpu slabs, and sheaves in caches that ask": "The slabs a CPU takes from first were its own, "
    "and on its partial list; sheaves were empty ○.",
}


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What the simulated runs of a recorded run say that have stored events; empty without one."""
    found = queries.rows(
        connection,
        """
        SELECT run, profile, slub, settings, what_if, machine_how FROM runs
        WHERE of_run = $run AND run IN (SELECT run FROM path_summary)
        ORDER BY run
        """,
        run=run,
    )
    return [block for row in found for block in _of_run(connection, row)]


def described(settings: str) -> str:
    """Settings in words: "the profile's own" or key = value, ..."""
    changed: dict[str, int | str] = json.loads(settings)
    if not changed:
        return "the profile’s own settings"
    return ", ".join(f"{key} = {value}" for key, value in changed.items())


def _of_run(connection: DuckDBPyConnection, row: Row) -> list[Block]:
    label = f"What if: {row['what_if']}. " if row["what_if"] else ""
    machine = _MACHINES.get(row["machine_how"], _NO_MACHINE)
    return [
        Heading(f"Simulated placement{' (what if)' if row['what_if'] else ''}"),
        Text(
            f"{label}Run {row['run']}: the recorded requests through the allocators of "
            f"{row['profile']}, with {described(row['settings'])}. Zones are {machine}; where in "
            f"them free and used pages lay is assumed ○. {_START[row['slub']]}"
        ),
        _slabs(connection, row["run"]),
        _paths(connection, row["run"]),
        _counters(connection, row["run"], row["slub"]),
        *_node_frees(connection, row["run"]),
        *placed_memory.blocks(connection, row["run"]),
        *locks.blocks(connection, row["run"]),
        *_caveats(connection, row["run"]),
    ]


def _node_frees(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What goes past the sheaves since it is another node's; nothing where nothing does."""
    [row] = queries.rows(
        connection,
        "SELECT sum(remote_frees)::bigint AS remote, sum(frees)::bigint AS frees,"
        " count(*) AS caches FROM node_frees WHERE run = $run",
        run=run,
    )
    if not row["remote"]:
        return []
    return [
        Text(
            f"{wording.count(row['remote'])} of the {wording.count(row['frees'])} frees of "
            f"{row['caches']} caches went past the sheaves, to slabs of another memory node than "
            "the CPU’s ◐ (view node_frees)."
        )
    ]


def _slabs(connection: DuckDBPyConnection, run: int) -> Table:
    found = queries.rows(
        connection,
        "FROM slab_placement_summary WHERE run = $run"
        " ORDER BY greatest(recorded_pages, simulated_pages) DESC, cache",
        run=run,
    )
    names = [name for name in (found[0] if found else {}) if name.startswith(("rec", "sim"))]
    rows: list[list[Cell]] = [
        [Mono(wording.shortened(row["cache"], 30)), *(wording.count(row[name]) for name in names)]
        for row in found[:_CACHES]
    ]
    if len(found) > _CACHES:
        rest = found[_CACHES:]
        rows.append(
            [
                f"{len(rest)} more",
                *(wording.count(sum(row[name] for row in rest)) for name in names),
            ]
        )
    return Table(
        "Slabs made and freed, and pages of those made: by the recorded kernel ● and by the model.",
        (
            TableColumn("cache", numeric=False),
            TableColumn("made ●"),
            TableColumn("model"),
            TableColumn("freed ●"),
            TableColumn("model"),
            TableColumn("pages ●"),
            TableColumn("model"),
        ),
        rows,
    )


def _paths(connection: DuckDBPyConnection, run: int) -> Table:
    found = queries.rows(
        connection,
        "FROM path_summary WHERE run = $run ORDER BY layer, requests DESC, path",
        run=run,
    )
    return Table(
        "How the model served the recorded requests: objects by SLUB, pages by the page allocator.",
        (
            TableColumn("layer", numeric=False),
            TableColumn("path", numeric=False),
            TableColumn("requests"),
            TableColumn("share"),
        ),
        [
            [
                row["layer"],
                Mono(row["path"]),
                wording.count(row["requests"]),
                wording.percent(row["share_pct"]),
            ]
            for row in found
        ],
    )


def _counters(connection: DuckDBPyConnection, run: int, slub: str) -> Table:
    chief = queries.rows(
        connection,
        "SELECT name FROM counters WHERE slub = $slub AND chief ORDER BY ours, place",
        slub=slub,
    )
    names = [row["name"] for row in chief]
    found = queries.rows(
        connection,
        "FROM cache_counter_summary WHERE run = $run"
        " ORDER BY alloc_fastpath + alloc_slowpath DESC, cache LIMIT $limit",
        run=run,
        limit=_CACHES,
    )
    return Table(
        "The model’s counters of the busiest caches, under the names of /sys/kernel/slab. Partial: "
        "slabs on the partial list at the end; used: share of the slabs’ bytes that live objects "
        "hold then.",
        (
            TableColumn("cache", numeric=False),
            *(TableColumn(name.replace("_", " "), minor=at > 1) for at, name in enumerate(names)),
            TableColumn("partial"),
            TableColumn("used"),
        ),
        [
            [
                Mono(wording.shortened(row["cache"], 22)),
                *(wording.count(row[name]) for name in names),
                wording.count(row["partial_slabs"]),
                wording.percent(row["utilisation_pct"]),
            ]
            for row in found
        ],
    )


def _caveats(connection: DuckDBPyConnection, run: int) -> list[Block]:
    found = queries.rows(
        connection, "SELECT name, value FROM quality_counts WHERE run = $run", run=run
    )
    counts = {row["name"]: row["value"] for row in found}
    items = [
        f"{wording.count(counts[name])} {text}."
        for name, text in _OLDER.items()
        if counts.get(name)
    ]
    items += [f"Left out are {words} ●." for _, words in left_out.of_traces(connection, [run])]
    return [Text("What the simulation had to assume:"), Bullets(items)] if items else []
