"""The first page of a run: what was replayed, the answer, and the policies side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries, wording
from reports.document import Answer, Block, Cell, Column, Mono, Strong, Table, Text
from reports.queries import BASELINE, Row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: How a statement is known -> its mark; the marks read by their fill, without colour.
MARKS = {"observed": "●", "inferred": "◐", "assumed": "○", "unknown": "?"}


def first_page(connection: DuckDBPyConnection, run: Row) -> list[Block]:
    """The blocks of a run's first page."""
    policies = queries.policies(connection, run["run"])
    how = queries.rows(connection, "FROM policy_how_summary WHERE run = $run", run=run["run"])
    return [
        _answer(connection, run, policies, how),
        _replayed(connection, run),
        _headline(policies, how),
        Text(
            "Marks: ● observed (the recording says so: an event, a stack, an address), ◐ inferred "
            "(follows from a rule on what was recorded: gfp flags, order, neighbours), ○ assumed "
            "(a table’s value that nothing in this recording confirms). Operations at allocation "
            "and free follow from the policy’s rule for the page’s kind, so they are known as "
            "well as the kind is; operations while a page is in use are observed where the "
            "recording has page_ref events and assumed where it has not."
        ),
    ]


def _answer(
    connection: DuckDBPyConnection, run: Row, policies: list[Row], how: list[Row]
) -> Answer:
    by_name = {row["policy"]: row for row in policies}
    name = queries.headline_policy(list(by_name))
    if not any(row["page_allocs"] or row["page_frees"] for row in policies):
        return Answer(
            "There is nothing to count: no page was allocated or freed in this recording.",
            "Record kmem:mm_page_alloc and kmem:mm_page_free to see reference-count operations.",
        )
    if name is None:
        row = policies[0]
        return Answer(
            f"Under the policy {row['policy']} the pages of this recording need "
            f"{wording.count(row['locked_ops'])} locked reference-count instructions.",
            f"No saving is given: it takes {BASELINE} and one other policy to compare. "
            f"{_known(row['policy'], how, 'locked_ops')}",
        )
    return _comparison(connection, run, by_name[BASELINE], by_name[name], how)


def _comparison(
    connection: DuckDBPyConnection, run: Row, base: Row, other: Row, how: list[Row]
) -> Answer:
    """The headline policy against BASELINE: what it removes, and what it adds."""
    changes = queries.rows(
        connection,
        """
        SELECT page_kind, base.locked_ops - other.locked_ops AS saved
        FROM page_kind_summary AS base
        INNER JOIN page_kind_summary AS other USING (run, page_kind)
        WHERE run = $run AND base.policy = $base AND other.policy = $other
        ORDER BY abs(saved) DESC, page_kind
        """,
        run=run["run"],
        base=BASELINE,
        other=other["policy"],
    )
    removed = [row for row in changes if row["saved"] > 0]
    added = [row for row in changes if row["saved"] < 0]
    total = base["locked_ops"]
    gone = sum(row["saved"] for row in removed)
    extra = -sum(row["saved"] for row in added)
    if not removed:
        text = (
            f"The policy {other['policy']} removes none of the {wording.count(total)} locked "
            "reference-count instructions in this recording"
        )
    else:
        frozen = wording.listed([_words(row) for row in removed])
        text = (
            f"Freezing {frozen} pages, as {other['policy']} does, removes {wording.count(gone)} "
            f"of {wording.count(total)} locked reference-count instructions "
            f"({wording.percent(gone, total)}) in this recording"
        )
    if added:
        where = wording.listed([_words(row) for row in added])
        net = other["locked_ops_saved"]
        text += (
            f", but other rules of {other['policy']} add {wording.count(extra)} on {where} pages: "
            f"{'a saving' if net >= 0 else 'a loss'} of {wording.count(abs(net))} "
            f"({wording.percent(abs(net), total)}) in all"
        )
    note = _known(BASELINE, how, "locked_ops")
    if run["lost_events"]:
        lost = wording.plural(run["lost_events"], "event")
        note += f" {lost} of the recording were lost ●: these are lower bounds."
    return Answer(f"{text}.", note)


def _words(row: Row) -> str:
    """The kind's name as one says it."""
    return str(row["page_kind"]).replace("_", " ")


def _known(policy: str, how: list[Row], column: str) -> str:
    """A sentence that splits a policy's number by how it is known."""
    parts = [row for row in how if row["policy"] == policy and row[column]]
    total = sum(row[column] for row in parts)
    split = [
        f"{wording.percent(row[column], total)} {row['how']} {MARKS[row['how']]}" for row in parts
    ]
    return f"Of the {wording.count(total)}: {', '.join(split)}." if split else ""


def _replayed(connection: DuckDBPyConnection, run: Row) -> Table:
    meta = json.loads(run["meta"] or "{}")
    source = meta.get("source", {})
    events: dict[str, int] = meta.get("events", {})
    version = f", file version {source['version']}" if source.get("version") else ""
    [pages] = queries.rows(
        connection,
        "SELECT count(alloc_seq) AS allocs, count(stack) AS stacks FROM pages WHERE run = $run",
        run=run["run"],
    )
    page_ref = sum(number for name, number in events.items() if name.startswith("page_ref"))
    lines: list[tuple[str, str]] = [
        ("Trace", run["trace"]),
        ("Kernel", f"Linux {run['kernel_release']}, {run['arch']}"),
        (
            "Machine",
            (
                f"{wording.plural(run['cpus'], 'CPU')}, pages of "
                f"{wording.count(run['page_size'])} bytes"
            ),
        ),
        ("Recorded as", f"{run['source_format']}{version}, trace clock {run['clock']}"),
        ("Length", wording.duration(run["last_ts"] - run["first_ts"])),
        (
            "Events",
            (
                f"{wording.count(run['events'])} replayed ●, "
                f"{wording.count(run['lost_events'])} lost ●"
            ),
        ),
        (
            "page_ref events",
            f"{wording.count(page_ref)} recorded ●: the kernel’s own account of the use stage"
            if page_ref
            else "none recorded: the use stage is the policy’s figure ○",
        ),
        (
            "Kernel stacks",
            f"behind {wording.count(pages['stacks'])} of "
            f"{wording.count(pages['allocs'])} page allocations ●"
            if pages["stacks"]
            else "none recorded",
        ),
        (
            "Replayed",
            (
                f"run {run['run']} of this database, by allocsim {run['allocsim_version']} "
                f"on {run['started']}"
            ),
        ),
        ("Source digest", f"SHA-256 {(run['source_sha256'] or wording.MISSING)[:16]}"),
    ]
    return Table(
        "What was replayed.",
        (Column("", numeric=False), Column("", numeric=False, share=1)),
        [[label, text] for label, text in lines],
    )


def _headline(policies: list[Row], how: list[Row]) -> Table:
    known = {(row["policy"], row["how"]): row["locked_ops"] for row in how}
    hows = [name for name in MARKS if any(known.get((row["policy"], name)) for row in policies)]
    rows: list[list[Cell]] = [
        [
            Mono(row["policy"]),
            wording.count(row["page_allocs"]),
            wording.count(row["page_frees"]),
            wording.count(row["plain_ops"]),
            Strong(wording.count(row["locked_ops"])),
            wording.count(row["locked_ops_saved"]),
            Strong(wording.percent(row["saved_pct"])),
            *(
                wording.percent(known.get((row["policy"], name), 0), row["locked_ops"])
                for name in hows
            ),
        ]
        for row in policies
    ]
    return Table(
        "Page allocations and frees, and the operations on their reference counts (plain stores, "
        f"locked instructions) under each policy. Saved: locked instructions fewer than under "
        f"{BASELINE}. The last columns split the locked instructions by how they are known.",
        (
            Column("policy", numeric=False),
            Column("allocs ●"),
            Column("frees ●"),
            Column("plain"),
            Column("locked"),
            Column("saved"),
            Column("share"),
            *(Column(MARKS[name]) for name in hows),
        ),
        rows,
    )
