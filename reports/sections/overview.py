"""The first page of a report on several runs: all of them in one table and one figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE, Row
from reports.render import style, wording
from reports.render.document import (
    Block,
    Cell,
    Mono,
    Picture,
    Section,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import MARKS
from reports.sections.coverage import warnings
from reports.sections.figures import timeline as figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection


def section(connection: DuckDBPyConnection, runs: Sequence[Row]) -> Section:
    """One row a run, and the share of locked instructions that each policy removes in it."""
    summaries = {run["run"]: queries.policies(connection, run["run"]) for run in runs}
    names = list(dict.fromkeys(row["policy"] for rows in summaries.values() for row in rows))
    headline = queries.headline_policy(names)
    blocks: list[Block] = [_table(runs, summaries, headline)]
    blocks += [
        Text(f"Run {run['run']} ({run['trace']}): {text}.")
        for run in runs
        for text in warnings(json.loads(run["meta"] or "{}"))
    ]
    savings = _savings(runs, summaries, names)
    if savings:
        labels = [_label(run) for run in runs]
        blocks.append(
            Picture(
                f"Locked reference-count instructions that freezing saves against {BASELINE}, in "
                "percent, in each run and under each policy; a line where the total they are a "
                "share of is assumed, from least to most.",
                style.svg(figures.savings(labels, savings)),
            )
        )
    blocks.append(
        Text(
            "A section for each run follows. Runs differ in workload and kernel, so their numbers "
            "compare policies within a run, not kernels with each other."
        )
    )
    return Section(
        title=f"Reference-count operations in {len(runs)} recordings",
        subtitle=f"{wording.plural(len(runs), 'run')} · "
        f"{wording.plural(sum(run['events'] for run in runs), 'event')}",
        blocks=blocks,
    )


def _label(run: Row) -> str:
    return f"{run['run']}  {run['trace']}"


def _table(runs: Sequence[Row], summaries: dict[int, list[Row]], headline: str | None) -> Table:
    rows: list[list[Cell]] = []
    for run in runs:
        by_name = {row["policy"]: row for row in summaries[run["run"]]}
        base: Row = by_name.get(BASELINE, {})
        other: Row = by_name.get(headline or "", {})
        rows.append(
            [
                wording.count(run["run"]),
                Mono(wording.shortened(run["trace"], 28)),
                wording.shortened(run["kernel_release"], 17),
                wording.count(run["events"]),
                wording.count(run["lost_events"]),
                wording.ranged(base, "locked_ops"),
                wording.ranged(other, "frozen_ops_saved"),
                Strong(wording.percent_ranged(other, "frozen_saved_pct")),
                wording.between(*queries.other_rules(other)),
                MARKS.get(base.get("use_how", ""), wording.MISSING),
            ]
        )
    return Table(
        "The replayed recordings: locked reference-count instructions under "
        f"{BASELINE}, and how many of them {headline or 'another policy'} saves by freezing. Other "
        "rules: what the paths of its kernel save beside that, below zero where they need more. "
        "Use: whether the operations while a page is in use are observed ● or assumed ○; where "
        "they are assumed, totals and shares of them are ranges.",
        (
            TableColumn("run"),
            TableColumn("trace", numeric=False),
            TableColumn("kernel", numeric=False),
            TableColumn("events ●"),
            TableColumn("lost ●"),
            TableColumn("locked"),
            TableColumn("freezing"),
            TableColumn("share"),
            TableColumn("other rules"),
            TableColumn("use", numeric=False),
        ),
        rows,
    )


def _savings(
    runs: Sequence[Row], summaries: dict[int, list[Row]], names: list[str]
) -> dict[str, list[figures.Ranged | None]]:
    """Policy -> frozen_saved_pct per run; only policies that change something somewhere."""
    found = {
        name: [
            next(
                (
                    figures.Ranged(
                        row["frozen_saved_pct"],
                        row["frozen_saved_pct_low"],
                        row["frozen_saved_pct_high"],
                    )
                    for row in summaries[run["run"]]
                    if row["policy"] == name and row["frozen_saved_pct"] is not None
                ),
                None,
            )
            for run in runs
        ]
        for name in names
        if name != BASELINE
    }
    return {name: values for name, values in found.items() if any(map(any, filter(None, values)))}
