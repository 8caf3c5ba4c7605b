"""What a run's pages cost: by kind of page, by how the kind is known, and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render import style, wording
from reports.render.document import Block, Cell, Heading, Picture, Strong, Table, TableColumn, Text
from reports.render.wording import MARKS
from reports.sections.figures import timeline as figures

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_LAYERS = 5  #: kinds drawn one by one over time; the rest is drawn as "other kinds"
_HIDDEN = 0.2  #: part of the common scale below which changed kinds are drawn again, larger
_NO_PAGES = "No page was allocated or freed in this trace."


def by_kind(connection: DuckDBPyConnection, run: int, policies: list[str]) -> list[Block]:
    """Locked instructions by page kind under each policy, and how the kinds are known."""
    heading = Heading("Locked instructions by page kind")
    found = queries.rows(
        connection,
        "FROM page_kind_summary WHERE run = $run ORDER BY locked_ops DESC, page_kind",
        run=run,
    )
    if not found:
        return [heading, Text(_NO_PAGES)]
    first = queries.first_policy(policies)
    kinds = [row["page_kind"] for row in found if row["policy"] == first]
    by_policy = {
        policy: {row["page_kind"]: row for row in found if row["policy"] == policy}
        for policy in policies
    }
    known = _lives_by_evidence(connection, run)
    locked = {
        policy: [rows[kind]["locked_ops"] for kind in kinds] for policy, rows in by_policy.items()
    }
    ends = {
        policy: [(rows[kind]["locked_ops_low"], rows[kind]["locked_ops_high"]) for kind in kinds]
        for policy, rows in by_policy.items()
    }
    shares = {how: [known[kind].get(how, 0) for kind in kinds] for how in MARKS}
    return [
        heading,
        Picture(
            "Locked reference-count instructions on each kind of page, a panel a policy, all on "
            "one linear scale; where those in use are assumed ○, the middle of their range, and a "
            "line from least to most.",
            style.svg(figures.by_kind(kinds, locked, locked.get(BASELINE), ends)),
        ),
        *_closer(kinds, locked, ends),
        _table(kinds, by_policy, known),
        Picture(
            "How it is known whose page a page was: shares of the lives of each kind, their number "
            "at the right.",
            style.svg(
                figures.how_known(kinds, {how: row for how, row in shares.items() if any(row)})
            ),
        ),
    ]


def _closer(
    kinds: list[str], locked: dict[str, list[int]], ends: dict[str, list[tuple[int, int]]]
) -> list[Block]:
    """The kinds that a policy changes, on their own scale, where the common one hides them."""
    costs = dict(zip(kinds, zip(*locked.values(), strict=True), strict=True))
    changed = [kind for kind in kinds if len(set(costs[kind])) > 1]
    largest = max(max(row) for row in costs.values())
    if not changed or max(max(costs[kind]) for kind in changed) > largest * _HIDDEN:
        return []
    places = [kinds.index(kind) for kind in changed]
    few = {policy: [values[place] for place in places] for policy, values in locked.items()}
    few_ends = {policy: [pairs[place] for place in places] for policy, pairs in ends.items()}
    return [
        Picture(
            "The same for the kinds whose operations differ between policies only, on a scale of "
            "their own.",
            style.svg(figures.by_kind(changed, few, few.get(BASELINE), few_ends)),
        )
    ]


def _table(
    kinds: list[str], by_policy: dict[str, dict[str, Row]], known: dict[str, dict[str, int]]
) -> Table:
    first = next(iter(by_policy.values()))
    columns = [
        [(first[kind][name],) * 2 for kind in kinds] for name in ("page_allocs", "page_frees")
    ]
    columns += [
        [(rows[kind]["locked_ops_low"], rows[kind]["locked_ops_high"]) for kind in kinds]
        for rows in by_policy.values()
    ]
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
        "page kind, least to most where those in use are assumed. Known: how, for the kind of "
        "these pages and for their operations in use.",
        (
            TableColumn("page kind", numeric=False),
            TableColumn("allocs ●"),
            TableColumn("frees ●"),
            *(TableColumn(wording.shortened(policy, 24)) for policy in by_policy),
            TableColumn("known", numeric=False),
        ),
        rows,
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
    known: dict[str, dict[str, int]] = {}
    for row in found:
        known.setdefault(row["kind"], {})[row["how"]] = row["lives"]
    return known


def over_time(connection: DuckDBPyConnection, run: Row, policies: list[str]) -> list[Block]:
    """Locked instructions per time slice, stacked by kind, and the totals of policies."""
    heading = Heading("Locked instructions over time")
    found = queries.rows(
        connection,
        "SELECT policy, slice, page_kind, locked_ops FROM timeline WHERE run = $run",
        run=run["run"],
    )
    if not found:
        return [heading, Text(_NO_PAGES)]
    first = queries.first_policy(policies)
    lines = [first, *_lines(connection, run["run"], first)]
    edges = _edges(run)
    drawn: dict[str, dict[str, list[int]]] = {"kinds": {}, "policies": {}}
    for row in found:
        if row["policy"] == first:
            _add(drawn["kinds"], row["page_kind"], row, len(edges) - 1)
        if row["policy"] in lines:
            _add(drawn["policies"], row["policy"], row, len(edges) - 1)
    totals = {policy: drawn["policies"][policy] for policy in lines}
    return [
        heading,
        Picture(
            f"Locked instructions in each slice of {wording.duration(run['slice_ns'])}. Above: "
            f"under {first}, stacked by page kind. Below: all kinds under {wording.listed(lines)}. "
            "Recorded operations count when they happened; assumed ones, in use, when the page, or "
            "the page table they are assumed for, was allocated, at the middle of their range.",
            style.svg(figures.over_time(edges, _largest(drawn["kinds"]), totals)),
        ),
    ]


def _add(series: dict[str, list[int]], name: str, row: Row, slices: int) -> None:
    series.setdefault(name, [0] * slices)[row["slice"]] += row["locked_ops"]


def _edges(run: Row) -> list[float]:
    """Borders of the run's slices in seconds since the first event; the last ends with the run."""
    length = run["last_ts"] - run["first_ts"]
    slices = length // run["slice_ns"] + 1
    starts = [slice_ * run["slice_ns"] for slice_ in range(slices)]
    return [time / 1e9 for time in (*starts, max(length, starts[-1] + 1))]


def _largest(series: dict[str, list[int]]) -> dict[str, list[int]]:
    """The kinds with most operations, largest first; what is left is summed up in one."""
    order = sorted(
        (name for name, values in series.items() if any(values)),
        key=lambda name: (-sum(series[name]), name),
    )
    if len(order) <= _LAYERS + 1:
        return {name: series[name] for name in order}
    rest = [series[name] for name in order[_LAYERS:]]
    return {name: series[name] for name in order[:_LAYERS]} | {
        "other kinds": [sum(values) for values in zip(*rest, strict=True)]
    }


def _lines(connection: DuckDBPyConnection, run: int, first: str) -> list[str]:
    """The policies worth a line: the headline one, and the one that saves most."""
    found = [row for row in queries.policies(connection, run) if row["locked_ops_saved"]]
    names = [row["policy"] for row in found]
    headline = queries.headline_policy([first, *names])
    most = max((row["locked_ops_saved"] for row in found), default=0)
    best = [row["policy"] for row in found if row["locked_ops_saved"] == most][:1]
    chosen = [headline, *best] if headline in names else best
    return list(dict.fromkeys(name for name in chosen if name))
