"""A whole report from a results database: answers first, then recordings, then all the depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Answer,
    Block,
    Chart,
    Heading,
    Report,
    Section,
    Source,
    Table,
    Text,
)
from reports.sections import (
    background,
    caveats,
    costs,
    freezing,
    kinds,
    overview,
    quality,
    questions,
    roadmap,
    summary,
    sweeps,
)
from reports.sections.allocators import callers, directories
from reports.sections.memdesc import descriptors
from reports.sections.placement import charges, placement
from reports.sections.placement import remote_frees as remote
from reports.sections.validation import section as validation
from reports.views import view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

PAGES = 8  #: recordings up to which each has a page of its own
_CACHES = 10  #: rows of a page's table of caches
_PAYERS = 8  #: rows of its table of who pays for page descriptors


def build(
    connection: DuckDBPyConnection,
    runs: Sequence[Row],
    *,
    full: bool = False,
    step: Callable[[float], None] = lambda _: None,
) -> Report:
    """The report on some runs of a database.

    Args:
        connection: a results database; it is only read.
        runs: the rows of queries.runs to report on, at least one.
        full: with an appendix that has everything there is to say of each.
        step: told what part of the work is done, 0 to 1.
    """
    name = runs[0]["trace"] if len(runs) == 1 else wording.plural(len(runs), "replay")
    title = f"allocsim report: {name}"
    numbers = [run["run"] for run in runs]
    with queries.kept(connection, numbers):
        step(0.2)
        if len(runs) == 1:
            sections = _one(connection, runs[0], title)
        else:
            paged = runs if len(runs) <= PAGES else []
            sections = [overview.section(connection, runs, title, paged=bool(paged))]
            for at, run in enumerate(paged):
                busiest = callers.caches(connection, run["run"], _CACHES)
                sections.append(_page(connection, run, summary.in_short(connection, run), busiest))
                step(0.2 + 0.6 * (at + 1) / len(paged))
        if full:
            sections += [_appendix(connection, run) for run in runs]
            sections.append(background.section(connection, numbers))
    step(1.0)
    versions = wording.listed(sorted({run["allocsim_version"] for run in runs}))
    return Report(title, f"allocsim {versions}: {name}", sections, _sources(sections))


def _sources(sections: Sequence[Section]) -> list[Source]:
    named = dict.fromkeys(
        block.view
        for section in sections
        for block in section.blocks
        if isinstance(block, Answer | Table | Chart) and block.view
    )
    return [Source(name, view(name).row, view(name).query) for name in named]


def _one(connection: DuckDBPyConnection, run: Row, title: str) -> list[Section]:
    """One recording: the answers, what they rest on, and whose pages and objects they are of."""
    number = run["run"]
    row = questions.memdesc(connection, number)
    swept = bool(sweeps.blocks(connection, number))  # leaves less than a page for the answers
    return [
        Section(title, _subtitle(run), summary.first_page(connection, run)),
        _page(
            connection,
            run,
            summary.replayed(connection, run),
            [Text(sentence) for sentence in caveats.caveats(connection, [number])],
            flows=swept,
        ),
        Section(
            "Whose pages, whose objects",
            "report --full has every table; each view has all rows.",
            [
                *freezing.figure(connection, number),
                *callers.caches(connection, number, _CACHES),
                *(
                    [descriptors.why(connection, number, row["scheme"], _PAYERS)]
                    if row and not swept
                    else []
                ),
            ],
            flows=swept,
        ),
    ]


def _subtitle(run: Row) -> str:
    return (
        f"Run {run['run']} · Linux {run['kernel_release']} · {run['arch']} · "
        f"{wording.plural(run['cpus'], 'CPU')} · {wording.plural(run['events'], 'event')} in "
        f"{wording.duration(run['last_ts'] - run['first_ts'])}"
    )


def _page(
    connection: DuckDBPyConnection,
    run: Row,
    before: Block,
    behind: Sequence[Block] = (),
    *,
    flows: bool = False,
) -> Section:
    """A recording's page: what it is, and what its pages cost, by kind and over time."""
    policies = [row["policy"] for row in queries.policies(connection, run["run"])]
    return Section(
        run["trace"],
        _subtitle(run),
        [
            before,
            *kinds.by_kind(connection, run["run"], policies),
            *kinds.over_time(connection, run, policies),
            *behind,
        ],
        flows,
    )


def _appendix(connection: DuckDBPyConnection, run: Row) -> Section:
    """Everything that is not on a recording's pages."""
    number = run["run"]
    policies = [row["policy"] for row in queries.policies(connection, number)]
    return Section(
        title=f"Appendix: {run['trace']}",
        subtitle=_subtitle(run),
        blocks=[
            *freezing.verdicts(connection, number),
            *freezing.hazards(connection, number),
            *freezing.depth(connection, number),
            Heading("Slab caches"),
            *callers.caches(connection, number),
            *callers.call_sites(connection, number, policies),
            *directories.blocks(connection, number),
            *costs.blocks(connection, run, policies),
            *descriptors.blocks(connection, number),
            *roadmap.blocks(connection, number),
            *remote.blocks(connection, number),
            *charges.blocks(connection, number),
            *placement.blocks(connection, number),
            *validation.blocks(connection, number),
            *quality.blocks(connection, run),
        ],
    )
