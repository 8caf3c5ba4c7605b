"""What operations on reference counts take, in a run's section: ranges, their sources, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render import wording
from reports.render.document import Answer, Block, Cell, Heading, Strong, Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_ROWS = 14  #: of the table by kind and cache; the rest is in the view op_costs


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
        _cpus(of_first, first),
    ]


def _answer(run: Row, summary: list[Row], table: Row, first: str) -> Answer:
    by_name = {row["policy"]: row for row in summary}
    base = by_name.get(first, summary[0])
    length = run["last_ts"] - run["first_ts"]
    text = (
        f"Under {base['policy']} the {wording.ranged(base, 'locked_ops')} locked instructions and "
        f"{wording.count(base['plain_ops'])} stores of this {wording.trace_word(run)} take "
        f"{wording.times(base['est_ns_low'], base['est_ns_high'])} of CPU time, "
        f"{_shares(base, length)} of its {wording.duration(length)}."
    )
    name = queries.headline_policy(list(by_name))
    if name is not None:
        row = by_name[name]
        low, high = row["saved_ns_low"], row["saved_ns_high"]
        if low >= 0:
            text += f" {name} saves {wording.times(low, high)}."
        elif high <= 0:
            text += f" {name} adds {wording.times(-high, -low)}."
        else:
            text += f" {name} saves {wording.times(low, high)}, negative where it adds."
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
            wording.times(row["est_ns_low"], row["est_ns_high"]),
            _shares(row, length),
            wording.MISSING
            if row["policy"] == BASELINE
            else wording.times(row["saved_ns_low"], row["saved_ns_high"]),
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
            TableColumn("of the time", minor=True),
            TableColumn("saved ○"),
        ),
        rows,
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
            TableColumn("not known", minor=True),
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
        wording.times(
            sum(row["est_ns_low"] for row in group), sum(row["est_ns_high"] for row in group)
        ),
    ]


def tables(connection: DuckDBPyConnection, runs: Sequence[int]) -> list[Block]:
    """Each table of costs that these runs were priced with, once."""
    several = queries.rows(
        connection,
        "SELECT name, doc, min(run) AS run FROM cost_tables WHERE list_contains($runs, run)"
        " GROUP BY ALL ORDER BY run",
        runs=list(runs),
    )
    return [_table(connection, row["run"], row) for row in several]


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


def _shares(row: Row, length: int) -> str:
    low, high = (wording.percent(row[f"est_ns_{end}"], length) for end in ("low", "high"))
    return low if low == high else f"{low} – {high}"
