"""Who allocates: slab caches, functions that take pages, call sites that take objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Bar, Block, Cell, Heading, Mono, Table, TableColumn, Text
from reports.rules import with_titles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TOP = 15  #: rows of a table of the largest; those left out are summed up in a last row


def caches(connection: DuckDBPyConnection, run: int, top: int = TOP) -> list[Block]:
    """The caches with most objects, and the slabs behind them, recorded and modelled."""
    return [_cache_table(connection, run, top), *_sheaves(connection, run)]


#: Columns of slabs, and their headings.
_SLABS = {
    "slab_allocs": "slabs ◐",
    "simulated_allocs": "model",
    "slab_frees": "slab frees ◐",
    "simulated_frees": "model",
}


def _cache_table(connection: DuckDBPyConnection, run: int, top: int) -> Table | Text:
    found = queries.rows(
        connection, "FROM cache_summary WHERE run = $run ORDER BY allocs DESC, cache", run=run
    )
    if not found:
        return Text("No slab object was allocated or freed in this trace.")
    simulated = any(row["simulated_allocs"] is not None for row in found)
    columns = [name for name in _SLABS if simulated or not name.startswith("simulated")]
    rows: list[list[Cell]] = []
    for row in found[:top]:
        slabs = [wording.count(row[name] or 0) for name in columns]
        rows.append(
            [
                Mono(wording.shortened(row["cache"], 32)),
                wording.count(row["allocs"]),
                wording.count(row["frees"]),
                wording.percent(row["waste_pct"]),
                wording.duration(row["lifetime_median"]),
                wording.percent(row["named_pct"]),
                *slabs,
            ]
        )
    sums = {1: "allocs", 2: "frees"} | dict(enumerate(columns, 6))
    told = " Model: slabs that the simulated placement made and freed; what differs is its error."
    return Table(
        f"The caches with most object allocations, of {wording.plural(len(found), 'cache')}. "
        "Waste: bytes given beyond those asked for. Lifetime: median of the objects both allocated "
        "and freed in the recording. Named: share of the events that carry the cache’s name; for "
        "the others it follows from a rule ◐." + told * simulated,
        (
            TableColumn("cache", numeric=False, share=1),
            TableColumn("objects ●"),
            TableColumn("frees ●", minor=True),
            TableColumn("waste ●", minor=True),
            TableColumn("lifetime ●"),
            TableColumn("named ●", minor=True),
            *(TableColumn(_SLABS[name]) for name in columns),
        ),
        rows + _others(found[top:], "cache", sums, 6 + len(columns)),
        "cache_summary",
    )


def _sheaves(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Sheaves made and freed by the recording's own events, beside the model's; or nothing."""
    found = queries.rows(connection, "FROM sheaf_summary WHERE run = $run", run=run)
    if not found:
        return []
    row = found[0]
    recorded = (
        f"{wording.plural(row['sheaf_allocs'], 'sheaf', 'sheaves')} "
        f"({wording.count(row['rcu_sheaf_allocs'])} for kfree_rcu) made and "
        f"{wording.count(row['sheaf_frees'])} freed by the recorded events ●"
    )
    told = ""
    if row["simulated_allocs"] is not None:
        told = (
            f"; {wording.count(row['simulated_allocs'])} and "
            f"{wording.count(row['simulated_frees'])} by the model"
        )
    return [
        Text(
            f"All caches together: {recorded}{told}. Which cache a recorded sheaf is of, no event "
            + with_titles("says (T7).")
        )
    ]


def _others(rest: list[Row], noun: str, sums: dict[int, str], width: int) -> list[list[Cell]]:
    """A last row that sums up the rows not shown; none where every row is shown."""
    if not rest:
        return []
    line: list[Cell] = [""] * width
    line[0] = wording.plural(len(rest), f"other {noun}")
    for place, name in sums.items():
        ends = [name] * 2 if name in rest[0] else [f"{name}_{end}" for end in wording.ENDS]
        line[place] = wording.between(*(sum(row[end] or 0 for row in rest) for end in ends))
    return [line]


def call_sites(connection: DuckDBPyConnection, run: int, policies: list[str]) -> list[Block]:
    """The functions that allocate pages, by stack, and the call sites that allocate objects."""
    return [
        Heading("Call sites"),
        _page_callers(connection, run, policies),
        _object_sites(connection, run),
    ]


def _page_callers(connection: DuckDBPyConnection, run: int, policies: list[str]) -> Table | Text:
    first = queries.first_policy(policies)
    other = queries.headline_policy(policies)
    found = queries.rows(
        connection,
        """
        SELECT caller, page_kind, any_value(page_allocs) AS page_allocs,
            max(locked_ops_low) FILTER (policy = $first) AS locked_low,
            max(locked_ops_high) FILTER (policy = $first) AS locked_high,
            max(locked_ops_low) FILTER (policy = $other) AS other_low,
            max(locked_ops_high) FILTER (policy = $other) AS other_high
        FROM page_caller_summary
        WHERE run = $run
        GROUP BY caller, page_kind
        ORDER BY page_allocs DESC, caller, page_kind
        """,
        run=run,
        first=first,
        other=other,
    )
    if not found:
        return Text(
            "Who allocated the pages is not known: no kernel stacks were recorded after "
            "mm_page_alloc (a stacktrace trigger on the event records them)."
        )
    most = max(found[0]["page_allocs"], 1)
    rows: list[list[Cell]] = [
        [
            Mono(wording.shortened(row["caller"] or wording.MISSING, 40)),
            row["page_kind"],
            wording.count(row["page_allocs"]),
            Bar(row["page_allocs"] / most),
            wording.ranged(row, "locked"),
            *([wording.ranged(row, "other")] if other else []),
        ]
        for row in found[:TOP]
    ]
    sums = {2: "page_allocs", 4: "locked"} | ({5: "other"} if other else {})
    names = [first, *([other] if other else [])]
    return Table(
        "Functions that allocate most pages: the innermost of the stack that is not the page "
        f"allocator’s own. At the right: locked instructions on these pages under "
        f"{wording.listed(names)}, least to most where those in use are assumed; without those "
        "that are assumed per page table, which no caller allocated.",
        (
            TableColumn("function", numeric=False),
            TableColumn("page kind", numeric=False),
            TableColumn("allocs ●"),
            TableColumn("", numeric=False, share=1),
            *(TableColumn(wording.shortened(name, 24)) for name in names),
        ),
        rows + _others(found[TOP:], "function", sums, 4 + len(names)),
        "page_caller_summary",
    )


def _object_sites(connection: DuckDBPyConnection, run: int) -> Table | Text:
    found = queries.rows(
        connection,
        """
        FROM call_site_summary WHERE run = $run AND allocs > 0
        ORDER BY allocs DESC, symbol, call_site
        """,
        run=run,
    )
    if not found:
        return Text("No object was allocated in this trace.")
    most = found[0]["allocs"]
    rows: list[list[Cell]] = [
        [
            Mono(wording.shortened(row["symbol"], 40)),
            wording.count(row["allocs"]),
            Bar(row["allocs"] / most),
            wording.count(row["bytes_alloc"]),
            wording.percent(row["waste_bytes"], row["bytes_alloc"]),
            wording.count(row["live_objects"]),
            wording.duration(row["lifetime_median"]),
        ]
        for row in found[:TOP]
    ]
    sums = {1: "allocs", 3: "bytes_alloc", 5: "live_objects"}
    return Table(
        "Call sites that allocate most objects. Waste: bytes given beyond those asked for. Not "
        "freed: no free was seen in the recording. Lifetime: median of those freed.",
        (
            TableColumn("call site", numeric=False),
            TableColumn("objects ●"),
            TableColumn("", numeric=False, share=1),
            TableColumn("bytes ●"),
            TableColumn("waste ●"),
            TableColumn("not freed ◐"),
            TableColumn("lifetime ●"),
        ),
        rows + _others(found[TOP:], "call site", sums, 7),
        "call_site_summary",
    )
