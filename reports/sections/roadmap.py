"""The plan towards memory descriptors, step by step: what each saves here, costs and waits for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Block,
    Cell,
    Heading,
    Report,
    Section,
    Source,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.rules import with_titles
from reports.sections.questions import FARTHEST, could_be_next
from reports.views import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_TITLE = "allocsim report: roadmap of "
_ROWS = """
    SELECT roadmap.*, steps.title FROM roadmap
    INNER JOIN roadmap_steps AS steps USING (page_kind)
    WHERE run = $run ORDER BY roadmap.step, locked_ops_saved DESC NULLS LAST, page_kind
"""
_WORDS = """
    SELECT scheme, saved_low_bytes, saved_bytes FROM descriptor_summary
    WHERE run = $run AND starts_with(scheme, 'memdesc-') ORDER BY word_bytes DESC
"""
_SAID = {
    "read": "read in their sources",
    "published": "published",
    "assumed": "its place in the order assumed",
}
_ABOUT = with_titles(
    "The plan (R6.2): pages that need no count lose it, then descriptors are allocated apart from "
    "struct page. Saved: locked instructions on reference counts that freezing the kind saves, and "
    "their share of all under refcounted; at least and at most where use is assumed. A dash: it "
    "keeps its count, or nobody can say whether it could lose it; a folio keeps its own, in its "
    "descriptor. Readers: functions of the sources that read the count, take references or map the "
    "pages, and would have to change (inferred; view count_readers names them); what they cost "
    "then is not counted. Allocated: descriptors of memdesc-8 that the last step takes for these "
    "pages; at most, if every charged page has one. Held: pages known to be live at the end. "
    "Memory: what the words of these save at the end, less their descriptors; below zero they cost "
    "(assumed: the plan's sizes). Done: frozen already in the recorded kernel, so saved already."
)
_COLUMNS = (
    TableColumn("page kind", numeric=False),
    TableColumn("allocations"),
    TableColumn("saved"),
    TableColumn("share"),
    TableColumn("known", numeric=False),
    TableColumn("by the sources", numeric=False, share=1, minor=True),
    TableColumn("readers"),
    TableColumn("descriptor", numeric=False, minor=True),
    TableColumn("allocated"),
    TableColumn("held"),
    TableColumn("memory, KiB"),
)


def report(connection: DuckDBPyConnection, runs: Sequence[Row]) -> Report:
    """The roadmap on some recorded runs, a section each.

    Args:
        connection: a results database; it is only read.
        runs: rows of queries.runs, at least one.
    """
    with queries.kept(connection, [run["run"] for run in runs]):
        sections = [
            Section(
                f"{_TITLE}{run['trace']}",
                f"Run {run['run']} · Linux {run['kernel_release']} · "
                f"{wording.plural(run['events'], 'event')}",
                _of_run(connection, run),
            )
            for run in runs
        ]
    name = runs[0]["trace"] if len(runs) == 1 else wording.plural(len(runs), "replay")
    versions = wording.listed(sorted({run["allocsim_version"] for run in runs}))
    source = view("roadmap")
    return Report(
        f"{_TITLE}{name}",
        f"allocsim {versions}: {name}",
        sections,
        [Source(source.name, source.row, source.query)],
    )


def _of_run(connection: DuckDBPyConnection, run: Row) -> list[Block]:
    """The answer, and the steps."""
    steps = blocks(connection, run["run"])[1:]
    if not steps:
        return [Text(f"No page was allocated or freed in this {wording.trace_word(run)}.")]
    return [could_be_next(connection, run, queries.policies(connection, run["run"])), *steps]


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """A heading, what is shown, and a table a step; empty where the run has no page.

    Args:
        connection: a results database.
        run: a recorded run.
    """
    found = queries.rows(connection, _ROWS, run=run)
    if not found:
        return []
    tables = [_step(list(rows)) for _, rows in groupby(found, lambda row: row["step"])]
    return [
        Heading("Roadmap to memory descriptors"),
        Text(_ABOUT),
        *_not_priced(connection, run),
        *tables,
        *_empty_steps(connection, {row["step"] for row in found}),
        *_words(connection, run),
    ]


def _step(rows: list[Row]) -> Table:
    first = rows[0]
    cells = [_cells(row) for row in rows]
    if len(rows) > 1:
        cells.append([Strong(cell) if isinstance(cell, str) else cell for cell in _total(rows)])
    return Table(
        f"Step {first['step']}: {first['title']}; {_SAID[first['known']]}. {first['source']}.",
        _COLUMNS,
        cells,
        view="roadmap",
    )


def _cells(row: Row) -> list[Cell]:
    done = " (done)" * (row["state"] == "done")
    return [row["page_kind"].replace("_", " ") + done, *_figures(row)]


def _figures(row: Row) -> list[Cell]:
    return [
        wording.count(row["page_allocs"]),
        wording.ranged(row, "locked_ops_saved"),
        wording.percent_ranged(row, "saved_pct"),
        row["saved_how"] or "",
        row["by_source"] or "",
        wording.count(row["readers"]) if row["readers"] is not None else "",
        row["descriptor"] or "",
        wording.between(row["descriptor_allocs"], row["descriptor_allocs_high"]),
        wording.count(row["pages_at_end"]),
        _kib(row),
    ]


def _total(rows: list[Row]) -> list[Cell]:
    """The sum of a step; readers are left out, since kinds share them."""
    names = (
        "page_allocs",
        "locked_ops_saved_low",
        "locked_ops_saved_high",
        "saved_pct_low",
        "saved_pct_high",
        "descriptor_allocs",
        "descriptor_allocs_high",
        "pages_at_end",
        "words_saved",
        "descriptor_bytes",
    )
    sums: Row = {name: _sum(row[name] for row in rows) for name in names}
    hows = {row["saved_how"] for row in rows if row["saved_how"]}
    sums |= {
        "saved_how": hows.pop() if len(hows) == 1 else "mixed" if hows else None,
        "by_source": None,
        "readers": None,
        "descriptor": None,
    }
    return ["together", *_figures(sums)]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _kib(row: Row) -> str:
    if row["words_saved"] is None:
        return wording.MISSING
    return wording.kib(row["words_saved"] - row["descriptor_bytes"])


def _not_priced(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """That nothing is known of savings where the run lacks the policies that tell."""
    names = {row["policy"] for row in queries.policies(connection, run)}
    missing = [name for name in (queries.BASELINE, FARTHEST) if name not in names]
    if not missing:
        return []
    return [
        Text(
            f"What freezing saves is not known here, and has a dash: the run lacks the policies "
            f"{wording.listed(missing)}. Replay with them among the policies, or without --policy."
        )
    ]


def _empty_steps(connection: DuckDBPyConnection, met: set[int]) -> list[Block]:
    """Which steps are about pages that the run does not meet."""
    steps = queries.rows(connection, "SELECT DISTINCT step, title FROM roadmap_steps ORDER BY step")
    missing = [f"{row['step']} ({row['title']})" for row in steps if row["step"] not in met]
    return [Text(f"No page of these steps here: {wording.listed(missing)}.")] if missing else []


def _words(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What the word of the last step saves on the whole machine."""
    found = queries.rows(connection, _WORDS, run=run)
    if not found:
        return [Text("What the words save is not known: no scheme with descriptors was replayed.")]
    parts = [
        f"{row['scheme']} {wording.mib_between(row['saved_low_bytes'], row['saved_bytes'])} MiB"
        for row in found
    ]
    return [
        Text(
            "On all of the machine's memory, pages in no known block among it, the last step saves "
            f"against struct page at the end: {wording.listed(parts)} (view descriptor_summary)."
        )
    ]
