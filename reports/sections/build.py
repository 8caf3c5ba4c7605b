"""A whole report from a results database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Report, Section
from reports.sections import (
    background,
    callers,
    costs,
    freezing,
    kinds,
    overview,
    quality,
    summary,
    sweeps,
)
from reports.sections.memdesc import descriptors
from reports.sections.placement import placement
from reports.sections.placement import remote_frees as remote
from reports.sections.validation import section as validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row


def build(connection: DuckDBPyConnection, runs: Sequence[Row]) -> Report:
    """The report on some runs of a database.

    Args:
        connection: a results database; it is only read.
        runs: the rows of queries.runs to report on, at least one.
    """
    sections = [_section(connection, run) for run in runs]
    if len(runs) > 1:
        sections.insert(0, overview.section(connection, runs))
    sections.append(background.section(connection, [run["run"] for run in runs]))
    name = runs[0]["trace"] if len(runs) == 1 else wording.plural(len(runs), "replay")
    versions = wording.listed(sorted({run["allocsim_version"] for run in runs}))
    return Report(
        title=f"Reference-count operations: {name}",
        footer=f"allocsim {versions}: {name}",
        sections=sections,
    )


def _section(connection: DuckDBPyConnection, run: Row) -> Section:
    number = run["run"]
    policies = [row["policy"] for row in queries.policies(connection, number)]
    return Section(
        title=f"Reference-count operations in {run['trace']}",
        subtitle=f"Run {number} · Linux {run['kernel_release']} · {run['arch']} · "
        f"{wording.plural(run['cpus'], 'CPU')} · {wording.plural(run['events'], 'event')}",
        blocks=[
            *summary.first_page(connection, run),
            *kinds.by_kind(connection, number, policies),
            *kinds.over_time(connection, run, policies),
            *freezing.verdicts(connection, number),
            *freezing.hazards(connection, number),
            *freezing.depth(connection, number),
            *callers.caches(connection, number, policies),
            *callers.call_sites(connection, number, policies),
            *costs.blocks(connection, run, policies),
            *descriptors.blocks(connection, number),
            *remote.blocks(connection, number),
            *placement.blocks(connection, number),
            *sweeps.blocks(connection, number),
            *validation.blocks(connection, number),
            *quality.blocks(connection, run),
        ],
    )
