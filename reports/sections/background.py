"""The last pages: the rules of the policies, their sources, and what the model leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Bullets, Cell, Heading, Mono, Section, Table, TableColumn
from reports.rules import with_titles
from reports.sections import costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_LEFT_OUT = with_titles(
    """
Counts, not time. No cycles are given: a locked instruction on a cache line the CPU owns costs a few
nanoseconds, one on a line it must fetch costs what the fetch costs, and freezing a page often saves
only the former.

A successful page_ref_mod_unless counts as one locked instruction, though a contended one retries
(R1.2). On a kernel that runs with one CPU the LOCK prefixes are patched out (R1.6).

Pages that come or go without mm_page_alloc or mm_page_free are not seen: alloc_pages_bulk (vmalloc
on 6.12, page_pool), contiguous ranges and CMA, compaction targets, memblock (T8).

Objects that come or go without an event are not seen: bulk calls and, on 7.x, kfree_rcu through
sheaves (T6). They do not change the count of pages.

What happens to a page in use is the same under every policy where page_ref events tell it;
elsewhere it is one figure for each kind of page, which does not know how often a page was read,
mapped or pinned.

Freezing changes counts, never placement: each page is taken where the recorded kernel put it.
Callers that take references on a page that a policy freezes are found only in recordings with
page_ref events.
"""
)


_BREAK = "\u200b"  #: zero-width space


def section(connection: DuckDBPyConnection, runs: Sequence[int]) -> Section:
    """The policies that any of the runs was replayed under, and the limits of the model."""
    operations = _operations(connection, runs)
    points = [" ".join(point.split()) for point in _LEFT_OUT.strip().split("\n\n")]
    return Section(
        title="The policies, and what the model leaves out",
        subtitle="Rules have their numbers from docs/rules.md, which cites the kernel for each.",
        blocks=[
            Heading("What the model leaves out"),
            Bullets(points),
            Heading("Kinds of page"),
            _kinds(connection, runs),
            Heading("Policies"),
            _policies(operations),
            *_prices(operations),
            _sources(operations),
            *costs.tables(connection, runs),
        ],
    )


def _operations(connection: DuckDBPyConnection, runs: Sequence[int]) -> list[Row]:
    """policy_ops of the runs, by policy; ``met``: the kind occurs in one of the runs."""
    return queries.rows(
        connection,
        """
        SELECT policy_ops.*, policies.name AS name, policies.doc AS doc, policies.source AS source,
            page_kind AS kind,
            page_kind IN (SELECT page_kind FROM pages WHERE list_contains($runs, run)) AS met
        FROM policy_ops
        INNER JOIN policies USING (run, policy)
        WHERE list_contains($runs, run)
        ORDER BY run, policy, page_kind, stage
        """,
        runs=list(runs),
    )


def _kinds(connection: DuckDBPyConnection, runs: Sequence[int]) -> Table:
    found = queries.rows(
        connection,
        """
        SELECT page_kind AS name, doc FROM page_kinds
        WHERE page_kind IN (SELECT page_kind FROM pages WHERE list_contains($runs, run))
        ORDER BY page_kind
        """,
        runs=list(runs),
    )
    return Table(
        "The kinds of page met in these recordings.",
        (
            TableColumn("page kind", numeric=False),
            TableColumn("what belongs to it", numeric=False, share=1),
        ),
        [[row["name"], row["doc"]] for row in found],
    )


def _policies(operations: list[Row]) -> Table:
    frozen: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in operations:
        kinds = frozen.setdefault((row["name"], row["doc"], row["source"]), {})
        if row["frozen"]:
            kinds[row["kind"]] = None
    return Table(
        "The policies: which kinds of page have no reference count under them.",
        (
            TableColumn("policy", numeric=False),
            TableColumn("what it stands for", numeric=False, share=1),
            TableColumn("kinds frozen", numeric=False, share=1),
            TableColumn("from", numeric=False),
        ),
        [
            [name, doc, ", ".join(kinds) or "none", source]
            for (name, doc, source), kinds in frozen.items()
        ],
    )


def _prices(operations: list[Row]) -> list[Table]:
    """What a life costs: a table for each set of runs that were priced alike."""
    by_run: dict[int, dict[str, dict[str, list[str]]]] = {}
    for row in operations:
        if row["met"]:
            policies = by_run.setdefault(row["run"], {})
            policies.setdefault(row["name"], {}).setdefault(row["kind"], []).append(_price(row))
    alike: list[tuple[list[int], dict[str, dict[str, list[str]]]]] = []
    for run, prices in by_run.items():
        same = next((runs for runs, other in alike if other == prices), None)
        if same is None:
            alike.append(([run], prices))
        else:
            same.append(run)
    return [_price_table(runs, prices) for runs, prices in alike]


def _price(row: Row) -> str:
    """One stage as plain / locked; n stands for the base pages of the block."""
    return "/".join(
        _times(row[f"{what}_ops"], row[f"{what}_ops_per_page"]) for what in ("plain", "locked")
    )


def _times(fixed: int, per_page: int | None) -> str:
    if not per_page:
        return str(fixed)
    many = "n" if per_page == 1 else f"{per_page}n"
    return f"{fixed}+{many}" if fixed else many


def _price_table(runs: list[int], prices: dict[str, dict[str, list[str]]]) -> Table:
    kinds = list(next(iter(prices.values())))
    rows: list[list[Cell]] = [
        [kind, *(_life(policy[kind]) for policy in prices.values())] for kind in kinds
    ]
    noun = "run" if len(runs) == 1 else "runs"
    return Table(
        "Plain stores / locked instructions for one block of pages at allocation · in use · at "
        f"free, as priced for {noun} {wording.listed([str(run) for run in runs])}; n stands for "
        "the block’s base pages, – for no operation at all. Where page_ref events were recorded, "
        "they take the place of the middle pair.",
        (
            TableColumn("page kind", numeric=False),
            *(
                TableColumn(wording.shortened(name, 24), minor=at > 0)
                for at, name in enumerate(prices)
            ),
        ),
        rows,
    )


def _life(stages: list[str]) -> str:
    return wording.MISSING if set(stages) == {"0/0"} else " · ".join(stages)


def _sources(operations: list[Row]) -> Table:
    """The rules that priced allocation and free, with the kinds of page that follow each."""
    names = ("stage", "entry", "depth", "kernel_function", "rule")
    followers: dict[tuple[str, ...], dict[str, None]] = {}
    for row in operations:
        if row["met"] and row["stage"] != "use":
            rule = tuple(str(row[name] or wording.MISSING) for name in names)
            followers.setdefault(rule, {})[row["kind"]] = None
    rows: list[list[Cell]] = [
        # A line may end behind the file's name.
        [
            stage,
            Mono(entry),
            depth,
            f"{source.replace(':', f':{_BREAK}')}; {rule}",
            ", ".join(kinds),
        ]
        for (stage, entry, depth, source, rule), kinds in sorted(
            followers.items(), key=lambda item: item[0][0]
        )
    ]
    return Table(
        "Through which function the pages come and go, where their count is set or dropped, and "
        "the kernel function and rule that say so.",
        (
            TableColumn("stage", numeric=False),
            TableColumn("through", numeric=False, share=5),
            TableColumn("count", numeric=False, share=5),
            TableColumn("kernel function (version); rule", numeric=False, share=8),
            TableColumn("page kinds", numeric=False, share=5),
        ),
        rows,
    )
