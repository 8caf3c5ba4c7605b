"""What simulated placements leave out of a recording's requests, and why, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.rules import with_titles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

#: Columns of placement_quality, what one of what they count is, and of what.
REASONS = {
    "allocations_left_out": ("allocation", "of no known cache or slot size"),
    "frees_left_out": ("free", "of such objects"),
    "frees_of_unknown_cache": (
        "free",
        "of objects older than the recording, of no known cache",
    ),
    "frees_of_unsized_cache": (
        "free",
        (
            "of objects older than the recording, of a cache whose slot size neither an allocation "
            "nor a snapshot says"
        ),
    ),
    "frees_of_unseen_allocations": (
        "free",
        with_titles(
            "of objects whose allocation has no event (bulk allocations, T6), or at addresses "
            "where no object of the cache can lie (KFENCE, T18)"
        ),
    ),
}


def of_traces(connection: DuckDBPyConnection, runs: Sequence[int]) -> list[tuple[str, str]]:
    """Each trace some of whose requests these simulated runs leave out, and the words for it."""
    found = queries.rows(
        connection,
        """
        SELECT DISTINCT trace, recorded_requests, requests_left_out,
            allocations_left_out, frees_left_out, frees_of_unknown_cache,
            frees_of_unsized_cache, frees_of_unseen_allocations
        FROM placement_quality WHERE list_contains($runs, run) AND requests_left_out > 0
        ORDER BY ALL
        """,
        runs=runs,
    )
    return [(row["trace"], described(row)) for row in found]


def described(row: Row) -> str:
    """How many requests are left out, of how many, and why; of a row of placement_quality."""
    left, whole = row["requests_left_out"], row["recorded_requests"]
    why = "; ".join(
        f"{wording.plural(row[name], one)} {of}" for name, (one, of) in REASONS.items() if row[name]
    )
    share = wording.percent(left, whole)
    return f"{wording.count(left)} of {wording.plural(whole, 'request')} ({share}): {why}"
