"""What operations on reference counts take, in a run's section: ranges, their sources, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render import style, wording
from reports.render.document import (
    Answer,
    Block,
    Cell,
    Heading,
    Picture,
    Strong,
    Table,
    TableColumn,
)
from reports.sections.figures import costs as cost_figures

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_ROWS = 14  #: of the table by kind and cache; the rest is in the view op_costs
_PLACES = ("own", "other", "remote", "unknown")


def blocks(connection: DuckDBPyConnection, run: Row, policies: list[str]) -> list[Block]:
    """What the operations of a run take; empty where no table of costs was asked for."""
    number = run["run"]
    found = queries.rows(connection, "FROM cost_tables WHERE run = $run", run=number)
    summary = [
        row for row in queries.policies(connection, number) if row["est_ns_high"] is not None
    ]
    if not found or not summary:
        return []
    first = queries.first_policy(policies)
    of_first = queries.rows(
        connection,
        "FROM op_costs WHERE run = $run AND policy = $policy",
        run=number,
        policy=first,
    )
    if not of_first:
        return []
    return [
        Heading("What these operations take"),
        _answer(run, summary, found[0], first),
        _policies(summary, run),
        _kinds(of_first, first),
        _cpus(of_first, first),
        _table(connection, number, found[0]),
    ]


def _answer(run: Row, summary: list[Row], table: Row, first: str) -> Answer:
    by_name = {row["policy"]: row for row in summary}
    base = by_name.get(first, summary[0])
    length = run["last_ts"] - run["first_ts"]
    text = (
        f"Under {base['policy']} the {wording.ranged(base, 'locked_ops')} locked instructions and "
        f"{wording.count(base['plain_ops'])} stores of this {wording.trace_word(run)} take "
        f"{_times(base['est_ns_low'], base['est_ns_high'])} of CPU time, "
        f"{_shares(base, length)} of its {wording.duration(length)}."
    )
    name = queries.headline_policy(list(by_name))
    if name is not None:
        row = by_name[name]
        low, high = row["saved_ns_low"], row["saved_ns_high"]
        if low >= 0:
            text += f" {name} saves {_times(low, high)}."
        elif high <= 0:
            text += f" {name} adds {_times(-high, -low)}."
        else:
            text += f" {name} saves {_times(low, high)}, negative where it adds."
    return Answer(
        text,
        f"By the table {table['name']} ({table['source']}): each figure is a range, from what an "
        "operation takes at least to what it takes at most where its cache line is. At allocation "
        "and free the allocator writes the same line anyway, so what a frozen page saves there is "
        "the instruction and not the way of the line.",
    )


def _policies(summary: list[Row], run: Row) -> Table:
    length = run["last_ts"] - run["first_ts"]
    rows: list[list[Cell]] = [
        [
            row["policy"],
            wording.count(row["plain_ops"]),
            wording.ranged(row, "locked_ops"),
            _times(row["est_ns_low"], row["est_ns_high"]),
            _shares(row, length),
            wording.MISSING
            if row["policy"] == BASELINE
            else _times(row["saved_ns_low"], row["saved_ns_high"]),
        ]
        for row in summary
    ]
    return Table(
        "CPU time of all operations on reference counts under each policy ○, of all CPUs together, "
        f"as a share of one CPU’s time, and what the policy saves against {BASELINE} (negative: it "
        "adds).",
        (
            TableColumn("policy", numeric=False, share=1),
            TableColumn("stores"),
            TableColumn("locked"),
            TableColumn("take ○"),
            TableColumn("of the time"),
            TableColumn("saved ○"),
        ),
        rows,
    )


def _kinds(found: list[Row], policy: str) -> Picture:
    """Ranges by kind of page, and where the lines were."""
    kinds: dict[str, list[Row]] = {}
    for row in found:
        kinds.setdefault(row["page_kind"], []).append(row)
    order = sorted(kinds, key=lambda kind: -sum(row["est_ns_high"] for row in kinds[kind]))
    places = {
        place: [sum(row["ops"] for row in kinds[kind] if row["place"] == place) for kind in order]
        for place in _PLACES
    }
    return Picture(
        f"What the operations under {policy} take by kind of page, from least to most ○ (left, on "
        "a logarithmic scale), and who had the line before (right): the CPU itself, another CPU, "
        "one of another package, by the event before on the page ●; not known where the recording "
        "has none.",
        style.svg(
            cost_figures.cost_ranges(
                order,
                [sum(row["est_ns_low"] for row in kinds[kind]) / 1000 for kind in order],
                [sum(row["est_ns_high"] for row in kinds[kind]) / 1000 for kind in order],
                {place: values for place, values in places.items() if any(values)},
            )
        ),
    )


def _cpus(found: list[Row], policy: str) -> Table:
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in found:
        groups.setdefault((row["page_kind"], row["cache"] or "", row["cpu"]), []).append(row)
    ranked = sorted(groups.items(), key=lambda item: -sum(row["est_ns_high"] for row in item[1]))
    rows = [_row(*key, group) for key, group in ranked[:_ROWS]]
    rest = [row for _, group in ranked[_ROWS:] for row in group]
    if rest:
        count = wording.plural(len(ranked) - _ROWS, "other group")
        rows.append(_row(count, "", None, rest))
    every = [row for _, group in ranked for row in group]
    rows.append([Strong(cell) for cell in map(str, _row("all", "", None, every))])
    return Table(
        f"The same by kind of page, slab cache and CPU, those that take most. Elsewhere: share of "
        f"operations under {policy} whose line another CPU had.",
        (
            TableColumn("page kind", numeric=False),
            TableColumn("cache ◐", numeric=False, share=1),
            TableColumn("CPU ●"),
            TableColumn("operations"),
            TableColumn("elsewhere ●"),
            TableColumn("not known"),
            TableColumn("take ○"),
        ),
        rows,
    )


def _row(kind: str, cache: str, cpu: int | None, group: list[Row]) -> list[Cell]:
    ops = sum(row["ops"] for row in group)
    elsewhere = sum(row["ops"] for row in group if row["place"] in {"other", "remote"})
    unknown = sum(row["ops"] for row in group if row["place"] == "unknown")
    return [
        kind,
        wording.shortened(cache, 30),
        "" if cpu is None else str(cpu),
        wording.count(ops),
        wording.percent(elsewhere, ops),
        wording.percent(unknown, ops),
        _times(sum(row["est_ns_low"] for row in group), sum(row["est_ns_high"] for row in group)),
    ]


def _table(connection: DuckDBPyConnection, run: int, table: Row) -> Table:
    found = queries.rows(
        connection,
        "FROM cost_ops WHERE run = $run AND operation <> 'locked' AND place IN ('own', 'other')",
        run=run,
    )
    rows: list[list[Cell]] = [
        [
            row["operation"],
            row["place"],
            f"{row['ns_low']:g} – {row['ns_high']:g}",
            row["known"],
            row["source"],
        ]
        for row in found
    ]
    return Table(
        f"The table {table['name']}: {table['doc']} Nanoseconds an operation, by who had the line: "
        "the CPU itself, or another one, which may share a cache with it or not.",
        (
            TableColumn("operation", numeric=False),
            TableColumn("line", numeric=False),
            TableColumn("ns"),
            TableColumn("known", numeric=False),
            TableColumn("source", numeric=False, share=1),
        ),
        rows,
    )


def _times(low: float, high: float) -> str:
    """Two times in the unit that fits the larger."""
    largest = max(abs(low), abs(high))
    units = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
    size, unit = next((each for each in units if largest >= each[0]), units[-1])
    first, second = (f"{value / size:,.3g}".replace("-", "\u2212") for value in (low, high))
    both = first if first == second else f"{first} to {second}"
    return f"{both}{wording.NARROW}{unit}"


def _shares(row: Row, length: int) -> str:
    low, high = (wording.percent(row[f"est_ns_{end}"], length) for end in ("low", "high"))
    return low if low == high else f"{low} – {high}"
