"""A report on a selection: of all that is told of a recording, what is made of single lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Report, Section, Table, TableColumn, Text
from reports.sections import callers, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row
    from reports.render.document import Block, Cell

#: What a selection says of the numbers below it.
SELECTED = (
    "Selected: lives of pages and objects allocated {words}. Each life is counted whole, with "
    "what was done to it elsewhere and later; the whole recording tells the kind and cache of each."
)
#: What cannot be told of one.
NOT_OF_LIVES = (
    "Not told of a selection: the simulated placement and page descriptors, whose lists and slabs "
    "have seen every request; what is over time, and what operations take, which are kept in sums."
)


def selected(connection: DuckDBPyConnection, runs: Sequence[Row], words: str) -> Report:
    """The report on the selected lives of some runs.

    Args:
        connection: a results database whose views see the selected lives only.
        runs: the rows of queries.runs to report on.
        words: the selection.
    """
    name = runs[0]["trace"] if len(runs) == 1 else wording.plural(len(runs), "replay")
    with queries.kept(connection, [run["run"] for run in runs], queries.FREEZING):
        sections = [_section(connection, run, words) for run in runs]
    title = f"allocsim report: {name}, a selection"
    return Report(title, f"{name}, allocated {words}", sections, [])


def _section(connection: DuckDBPyConnection, run: Row, words: str) -> Section:
    number = run["run"]
    policies = queries.policies(connection, number)
    names = [row["policy"] for row in policies]
    blocks: list[Block] = [
        Text(SELECTED.format(words=words)),
        _policies(policies, run["own_policy"]),
        *kinds.by_kind(connection, number, names),
        *callers.call_sites(connection, number, names),
        Text(NOT_OF_LIVES),
    ]
    return Section(
        f"{run['trace']}, allocated {words}",
        f"Run {number} · Linux {run['kernel_release']}",
        blocks,
    )


def _policies(policies: Sequence[Row], own: str) -> Table:
    rows: list[list[Cell]] = [
        [
            row["policy"] + " *" * (row["policy"] == own),
            wording.ranged(row, "locked_ops"),
            wording.ranged(row, "frozen_ops_saved"),
            wording.percent_ranged(row, "frozen_saved_pct"),
            row["use_how"] or "",
        ]
        for row in policies
    ]
    return Table(
        "Locked instructions on the reference counts of the selected page lives under each policy, "
        "and how many fewer than under refcounted where the policy freezes them. *: the recorded "
        "kernel's own. How operations in use are known.",
        (
            TableColumn("policy", numeric=False, share=1),
            TableColumn("locked"),
            TableColumn("by freezing"),
            TableColumn("share of refcounted"),
            TableColumn("known", numeric=False),
        ),
        rows,
        "policy_summary",
    )
