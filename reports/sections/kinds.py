"""What a run's pages cost: by kind of page, by how the kind is known, and over time."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Chart, OverTime, Strong, Table, TableColumn, Text
from reports.render.wording import MARKS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_LAYERS = 7  #: kinds drawn over time, the last of them all others
_NO_PAGES = "No page was allocated or freed in this trace."


def by_kind(connection: DuckDBPyConnection, run: int, policies: list[str]) -> list[Block]:
    """Locked instructions by page kind under each policy, and how the kinds are known."""
    found = queries.rows(
        connection,
        "FROM page_kind_summary WHERE run = $run ORDER BY locked_ops DESC, page_kind",
        run=run,
    )
    if not found:
        return [Text(_NO_PAGES)]
    first = queries.first_policy(policies)
    kinds = [row["page_kind"] for row in found if row["policy"] == first]
    by_policy = {
        policy: {row["page_kind"]: row for row in found if row["policy"] == policy}
        for policy in policies
    }
    return [_table(kinds, by_policy, _lives_by_evidence(connection, run))]


def _table(
    kinds: list[str], by_policy: dict[str, dict[str, Row]], known: dict[str, dict[str, int]]
) -> Table:
    """A row a kind, and a column a policy but for those that differ nowhere from one before."""
    first = next(iter(by_policy.values()))
    locked: dict[str, list[tuple[int, int]]] = {}
    alike: dict[str, list[str]] = {}
    for policy, of_kind in by_policy.items():
        ends = [
            (of_kind[kind]["locked_ops_low"], of_kind[kind]["locked_ops_high"]) for kind in kinds
        ]
        same = next((name for name, column in locked.items() if column == ends), None)
        if same is None:
            locked[policy] = ends
        else:
            alike.setdefault(same, []).append(policy)
    same_as = [f"{wording.listed(names)}: as {same}" for same, names in alike.items()]
    counted = [
        [(first[kind][name],) * 2 for kind in kinds] for name in ("page_allocs", "page_frees")
    ]
    columns = [*counted, *locked.values()]
    rows: list[list[Cell]] = [
        [
            kind,
            *(wording.between(*column[place]) for column in columns),
            _marks(first[kind], known[kind]),
        ]
        for place, kind in enumerate(kinds)
    ]
    totals = [map(sum, zip(*column, strict=True)) for column in columns]
    rows.append([Strong("all"), *(Strong(wording.between(*ends)) for ends in totals), ""])
    return Table(
        "Page allocations and frees of any order, and locked instructions under each policy, by "
        "page kind, least to most where those in use are assumed"
        f"{f' ({wording.listed(same_as)})' * bool(same_as)}. Known: how, for the kind of these "
        "pages and for their operations in use.",
        (
            TableColumn("page kind", numeric=False),
            TableColumn("allocs ●"),
            TableColumn("frees ●", minor=True),
            *(
                TableColumn(policy, minor=at not in {0, len(locked) - 1})
                for at, policy in enumerate(locked)
            ),
            TableColumn("known", numeric=False),
        ),
        rows,
        "page_kind_summary",
    )


# Operations that are changed by the rules of another kernel were observed for the most part.
_USE_HOWS = {"mixed": {"observed", "assumed"}, "inferred": {"observed", "inferred"}}


def _marks(row: Row, known: dict[str, int]) -> str:
    """Every mark that has a part in a kind's locked instructions."""
    hows = set(known)
    if row["use_locked_ops"]:
        hows |= _USE_HOWS.get(row["use_how"], {row["use_how"]})
    return "".join(mark for how, mark in MARKS.items() if how in hows)


def _lives_by_evidence(connection: DuckDBPyConnection, run: int) -> dict[str, dict[str, int]]:
    """Page kind -> how it is known -> lives known to be of this kind in this way."""
    found = queries.rows(
        connection,
        """
        SELECT page_kind AS kind, kind_how AS how, count(*) AS lives
        FROM pages WHERE run = $run GROUP BY ALL
        """,
        run=run,
    )
    # A kind whose uses are assumed for page tables may have no life.
    known: dict[str, dict[str, int]] = defaultdict(dict)
    for row in found:
        known[row["kind"]][row["how"]] = row["lives"]
    return known


def over_time(connection: DuckDBPyConnection, run: Row, policies: list[str]) -> list[Block]:
    """Locked instructions per time slice, stacked by kind."""
    found = queries.rows(
        connection,
        "SELECT policy, slice, page_kind, locked_ops FROM timeline WHERE run = $run",
        run=run["run"],
    )
    first = queries.first_policy(policies)
    edges = slice_edges(run)
    drawn: dict[str, list[int]] = {}
    for row in found:
        if row["policy"] == first:
            _add(drawn, row["page_kind"], row, len(edges) - 1)
    areas = wording.largest(drawn, _LAYERS, "other kinds")
    if not areas:
        return []
    late = edges[-1] >= 1
    return [
        Chart(
            f"Locked instructions under {first} in each slice of "
            f"{wording.duration(run['slice_ns'])}, by page kind. Recorded operations count when "
            "they happened; assumed ones, in use, when the page, or the page table they are "
            "assumed for, was allocated, at the middle of their range.",
            [
                OverTime(
                    edges if late else [edge * 1000 for edge in edges],
                    areas,
                    {},
                    "locked instructions",
                    f"{'s' if late else 'ms'} since the first event",
                )
            ],
            view="timeline",
        )
    ]


def _add(series: dict[str, list[int]], name: str, row: Row, slices: int) -> None:
    series.setdefault(name, [0] * slices)[row["slice"]] += row["locked_ops"]


def slice_edges(run: Row) -> list[float]:
    """Borders of the run's slices in seconds since the first event; the last ends with the run."""
    length = run["last_ts"] - run["first_ts"]
    slices = length // run["slice_ns"] + 1
    starts = [slice_ * run["slice_ns"] for slice_ in range(slices)]
    return [time / 1e9 for time in (*starts, max(length, starts[-1] + 1))]
