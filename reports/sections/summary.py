"""The first page of a run: what was replayed, the answer, and the policies side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reports import queries
from reports.queries import BASELINE, Row
from reports.render import wording
from reports.render.document import (
    Answer,
    Block,
    Bullets,
    Cell,
    Heading,
    Mono,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import MARKS
from reports.sections import coverage, questions, sweeps
from reports.sections.answer import answer
from reports.sections.coverage import covered_cpus, gaps
from reports.sections.placement import left_out
from reports.sections.questions import QUESTIONS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_MARKS = Text(
    "Marks: ● observed (the recording says so: an event, a stack, an address), ◐ inferred (follows "
    "from a rule on what was recorded), ○ assumed (nothing in the trace confirms it), ? not known. "
    "What an operation at allocation or free costs is known as well as the page’s kind is; what is "
    "done while a page is in use is observed where there are page_ref events, else a range."
)


def first_page(connection: DuckDBPyConnection, run: Row) -> list[Block]:
    """The four answers, and the policies side by side; a sweep's before them."""
    policies, how = _under_policies(connection, run["run"])
    answers = zip(QUESTIONS, _answers(connection, run, policies, how), strict=True)
    return [
        *sweeps.blocks(connection, run["run"]),
        *(block for title, each in answers for block in (Heading(title), each)),
        headline(policies, how),
        _MARKS,
    ]


def in_short(connection: DuckDBPyConnection, run: Row) -> Bullets:
    """The four answers of one recording of many: sentences alone."""
    found = _answers(connection, run, *_under_policies(connection, run["run"]))
    return Bullets([each.text for each in found])


def _under_policies(connection: DuckDBPyConnection, run: int) -> tuple[list[Row], list[Row]]:
    how = queries.rows(connection, "FROM policy_how_summary WHERE run = $run", run=run)
    return queries.policies(connection, run), how


def _answers(
    connection: DuckDBPyConnection, run: Row, policies: list[Row], how: list[Row]
) -> list[Answer]:
    """An answer a question, in the order of QUESTIONS."""
    return [
        answer(connection, run, policies, how),
        questions.could_be_next(connection, run, policies),
        questions.sheaves(connection, run),
        questions.descriptors(connection, run),
    ]


def replayed(connection: DuckDBPyConnection, run: Row) -> Table:
    """What was recorded, on what, and what the recording lacks."""
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
        _made(run, version),
        ("Length", wording.duration(run["last_ts"] - run["first_ts"])),
        (
            "Events",
            (
                f"{wording.count(run['events'])} replayed ●, "
                f"{wording.count(run['lost_events'])} lost ●{_gaps(run)}"
            ),
        ),
        *_cpus(meta),
        (
            "page_ref events",
            f"{wording.count(page_ref)} recorded ●: the kernel’s own account of the use stage"
            if page_ref
            else "none recorded: the use stage is assumed ○, a range",
        ),
        (
            "Kernel stacks",
            f"after {wording.count(pages['stacks'])} of "
            f"{wording.count(pages['allocs'])} page allocations ●"
            if pages["stacks"]
            else "none recorded",
        ),
        *_simulated(connection, run["run"]),
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
        (TableColumn("", numeric=False), TableColumn("", numeric=False, share=1)),
        [[label, text] for label, text in lines],
    )


def _simulated(connection: DuckDBPyConnection, run: int) -> list[tuple[str, str]]:
    """How much of the recording its simulated placements are of; nothing where there are none."""
    found = queries.rows(
        connection,
        "SELECT placed.* FROM placement_quality AS placed INNER JOIN runs USING (run)"
        " WHERE of_run = $run AND recorded_requests IS NOT NULL ORDER BY run LIMIT 1",
        run=run,
    )
    words = [
        f"left out are {left_out.described(row)} ●"
        if row["requests_left_out"]
        else f"all {wording.plural(row['recorded_requests'], 'request')} for objects on slabs ●"
        for row in found
    ]
    return [("Simulated", text) for text in words]


def _made(run: Row, version: str) -> tuple[str, str]:
    """How the trace came about: a synthetic one must not be taken for a recording."""
    if run["source_format"] == "synth":
        return "Synthetic", "made of a spec by allocsim synth: no kernel did this"
    return "Recorded as", f"{run['source_format']}{version}, trace clock {run['clock']}"


def _cpus(meta: dict[str, Any]) -> list[tuple[str, str]]:
    """Which CPUs the recording covers, and what it lacks of them; nothing where it does not say."""
    if covered_cpus(meta) is None:
        return []
    marks = {True: MARKS["observed"], False: MARKS["inferred"]}
    return [
        ("CPUs covered", f"{coverage.in_short(meta)} ●"),
        *(("Not covered", f"{each.text} {marks[each.observed]}") for each in gaps(meta)),
    ]


def _gaps(run: Row) -> str:
    """Losses that the recording marks without a number; nothing where there are none."""
    if not run["lost_gaps"]:
        return ""
    return f", and {wording.plural(run['lost_gaps'], 'gap')} of unknown size"


def headline(policies: list[Row], how: list[Row]) -> Table:
    """The policies side by side.

    Args:
        policies: rows of queries.policies.
        how: rows of policy_how_summary.
    """
    known = {(row["policy"], row["how"]): row["locked_ops"] for row in how}
    hows = [name for name in MARKS if any(known.get((row["policy"], name)) for row in policies)]
    rows: list[list[Cell]] = [
        [
            Mono(row["policy"]),
            wording.count(row["page_allocs"]),
            wording.count(row["page_frees"]),
            wording.count(row["plain_ops"]),
            Strong(wording.ranged(row, "locked_ops")),
            wording.ranged(row, "frozen_ops_saved"),
            Strong(wording.percent_ranged(row, "frozen_saved_pct")),
            wording.between(*queries.other_rules(row)),
            *(
                wording.percent(known.get((row["policy"], name), 0), row["locked_ops"])
                for name in hows
            ),
        ]
        for row in policies
    ]
    return Table(
        "Page allocations and frees, and the operations on their reference counts (plain stores, "
        f"locked instructions) under each policy. Freezing: locked instructions fewer than under "
        f"{BASELINE} on the kinds that the policy freezes. Other rules: what the paths of another "
        "kernel save beside that, below zero where they need more. The last columns split the "
        "locked instructions, assumed ones at the middle of their range, by how they are known.",
        (
            TableColumn("policy", numeric=False, share=1),
            TableColumn("allocs ●"),
            TableColumn("frees ●", minor=True),
            TableColumn("plain", minor=True),
            TableColumn("locked"),
            TableColumn("freezing"),
            TableColumn("share"),
            TableColumn("other rules"),
            *(TableColumn(MARKS[name], minor=True) for name in hows),
        ),
        rows,
        "policy_summary",
    )
