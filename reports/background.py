"""The last pages: the rules of the policies, their sources, and what the model leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries, wording
from reports.document import Bullets, Cell, Column, Heading, Mono, Section, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_LEFT_OUT = """
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
Callers that still take references on a page that a policy freezes, and would break, are not
predicted here.
"""


def section(connection: DuckDBPyConnection, runs: Sequence[int]) -> Section:
    """The policies that any of the runs was replayed under, and the limits of the model."""
    found = _policies(connection, runs)
    return Section(
        title="The policies, and what the model leaves out",
        subtitle="Rule numbers (R1.2, T8, I1, …) are those of the kernel model this tool follows.",
        blocks=[
            Heading("Kinds of page"),
            _kinds_met(connection, runs),
            Heading("Policies"),
            _costs(found),
            _entries(found),
            Heading("What they stand for"),
            Bullets(
                [
                    f"{name}: {policy['doc']} (Source: {policy['source']}.)"
                    for name, policy in found.items()
                ]
            ),
            Heading("What the model leaves out"),
            Bullets([" ".join(point.split()) for point in _LEFT_OUT.strip().split("\n\n")]),
        ],
    )


def _kinds_met(connection: DuckDBPyConnection, runs: Sequence[int]) -> Table:
    found = queries.rows(
        connection,
        """
        SELECT page_kinds.name, page_kinds.doc FROM page_kinds
        WHERE page_kind IN (SELECT page_kind FROM pages WHERE list_contains($runs, run))
        ORDER BY page_kind
        """,
        runs=list(runs),
    )
    return Table(
        "The kinds of page met in these recordings.",
        (Column("page kind", numeric=False), Column("what belongs to it", numeric=False, share=1)),
        [[row["name"], row["doc"]] for row in found],
    )


def _policies(connection: DuckDBPyConnection, runs: Sequence[int]) -> dict[str, Row]:
    """Name -> doc, source, and the operations by (kind, stage).

    A name that stands for different rules in different runs is followed by the run that has them.
    """
    operations = queries.rows(
        connection,
        """
        SELECT run, policies.name AS policy, policies.doc, source, page_kinds.name AS kind, stage,
            plain_ops, locked_ops, entry, depth
        FROM policy_ops
        INNER JOIN policies USING (run, policy)
        INNER JOIN page_kinds USING (page_kind)
        WHERE list_contains($runs, run)
        ORDER BY run, policies.policy, page_kinds.page_kind, stage
        """,
        runs=list(runs),
    )
    by_run: dict[tuple[int, str], Row] = {}
    for row in operations:
        key = row["run"], row["policy"]
        policy = by_run.setdefault(
            key, {"doc": row["doc"], "source": row["source"], "operations": {}}
        )
        policy["operations"][row["kind"], row["stage"]] = (
            row["plain_ops"],
            row["locked_ops"],
            row["entry"],
            row["depth"],
        )
    found: dict[str, Row] = {}
    for (run, name), policy in by_run.items():
        if policy not in [rules for known, rules in found.items() if known.startswith(name)]:
            found[f"{name} (run {run})" if name in found else name] = policy
    return found


def _kinds(found: dict[str, Row]) -> list[str]:
    return list(
        dict.fromkeys(kind for policy in found.values() for kind, _ in policy["operations"])
    )


def _costs(found: dict[str, Row]) -> Table:
    stages = ("alloc", "use", "free")
    rows: list[list[Cell]] = []
    for kind in _kinds(found):
        line: list[Cell] = [kind]
        for policy in found.values():
            costs = [policy["operations"].get((kind, stage), (0, 0))[:2] for stage in stages]
            line.append(
                " · ".join(f"{plain}/{locked}" for plain, locked in costs)
                if any(sum(cost) for cost in costs)
                else "none"
            )
        rows.append(line)
    return Table(
        "Plain stores / locked instructions in the life of one allocation, at allocation · in use "
        "· at free. None: the page is frozen. Where page_ref events were recorded, they replace "
        "the middle pair.",
        (Column("page kind", numeric=False), *(Column(name) for name in found)),
        rows,
    )


def _entries(found: dict[str, Row]) -> Table:
    """The ways in which pages come and go, with the kinds that use each."""
    rows: list[list[Cell]] = []
    for name, policy in found.items():
        ways: dict[tuple[str, ...], list[str]] = {}
        for kind in _kinds(found):
            came, went = (
                policy["operations"].get((kind, stage), (0, 0, None, None))
                for stage in ("alloc", "free")
            )
            way = tuple(text or wording.MISSING for text in (came[2], came[3], went[2]))
            ways.setdefault(way, []).append(kind)
        most = max(ways.values(), key=len)
        for number, (way, kinds) in enumerate(ways.items()):
            told = ", ".join(kinds)
            if kinds is most:
                told = "all others" if len(ways) > 1 else "all"
            rows.append([name if number == 0 else "", *(Mono(text) for text in way), told])
    return Table(
        "Through which function pages come and go, and where on the call stack the count is set.",
        (
            Column("policy", numeric=False),
            Column("allocated by", numeric=False),
            Column("count set in", numeric=False),
            Column("freed by", numeric=False),
            Column("page kinds", numeric=False, share=1),
        ),
        rows,
    )
