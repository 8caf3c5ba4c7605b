"""What the savings of policies count on: changes to functions that the kernel's sources name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render.wording import kinds, listed, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

# The kinds that a policy freezes and the baseline does not, of pages met in the runs, with what the
# sources of the recorded kernels say. Of what a later kernel has frozen it has changed the readers.
_FROZEN = """
WITH newly AS (
    SELECT ops.run, policies.name AS policy, min(policies.policy) AS number, ops.page_kind
    FROM policy_ops AS ops
    INNER JOIN policies USING (run, policy)
    WHERE ops.frozen AND list_contains($runs, ops.run)
    GROUP BY ops.run, policies.name, ops.page_kind
)
SELECT
    newly.policy,
    newly.page_kind,
    sources.verdict AS by_source,
    any_value(sources.price) AS price,
    any_value(list_sort(readers.sources)) AS readers
FROM newly
ANTI JOIN (SELECT run, page_kind FROM newly WHERE policy = $base) USING (run, page_kind)
SEMI JOIN (SELECT DISTINCT run, page_kind FROM pages) USING (run, page_kind)
INNER JOIN source_verdicts AS sources
    ON sources.run = newly.run AND sources.page_kind = newly.page_kind AND sources.caller IS NULL
LEFT JOIN (
    SELECT run, page_kind, list(DISTINCT kernel_function) AS sources
    FROM kind_readers WHERE does != 'scans' GROUP BY run, page_kind
) AS readers ON readers.run = newly.run AND readers.page_kind = newly.page_kind
WHERE NOT sources.frozen_later
GROUP BY newly.policy, newly.page_kind, sources.verdict
ORDER BY min(newly.number), newly.page_kind
"""
_SHARED = """
SELECT
    page_kind,
    sum(whole_lives)::BIGINT AS whole_lives,
    sum(extra_references)::BIGINT AS extra_references
FROM freezability WHERE scope = 'kind' AND list_contains($runs, run) GROUP BY page_kind
"""


def caveats(connection: DuckDBPyConnection, runs: Sequence[int]) -> list[str]:
    """A sentence for each policy whose savings count on changed readers, and for what those cost.

    None where no policy freezes more than kernels do or the sources allow as they are.

    Args:
        connection: a results database.
        runs: recorded runs.
    """
    frozen = queries.rows(connection, _FROZEN, runs=list(runs), base=BASELINE)
    shared = {row["page_kind"]: row for row in queries.rows(connection, _SHARED, runs=list(runs))}
    by_policy: dict[str, list[Row]] = {}
    for row in frozen:
        by_policy.setdefault(row["policy"], []).append(row)
    return [
        *_on_readers(by_policy),
        *(text for policy, rows in by_policy.items() for text in _against_sources(policy, rows)),
        *(
            _price(kind, price, shared.get(kind))
            for kind, price in {row["page_kind"]: row["price"] for row in frozen}.items()
            if price
        ),
    ]


def _on_readers(by_policy: dict[str, list[Row]]) -> list[str]:
    """A sentence for each set of kinds, since policies that freeze the same count on the same."""
    policies: dict[tuple[str, ...], list[str]] = {}
    functions: dict[tuple[str, ...], set[str]] = {}
    for policy, rows in by_policy.items():
        once = [row for row in rows if row["by_source"] == "freezable once readers change"]
        frozen = tuple(row["page_kind"] for row in once)
        policies.setdefault(frozen, []).append(policy)
        functions[frozen] = {name for row in once for name in row["readers"]}
    return [
        f"{listed(names)}: savings on {kinds(frozen)} pages count on changes to "
        f"{plural(len(functions[frozen]), 'function')}, of all architectures, that read their "
        "count, take references or map them (view count_readers)."
        for frozen, names in policies.items()
        if frozen
    ]


def _against_sources(policy: str, rows: list[Row]) -> list[str]:
    words = {"needs its count": "need their count", "not known": "are not known to do without it"}
    return [
        f"{policy}: by the kernel’s sources {kinds(found)} pages {words[verdict]}."
        for verdict in words
        if (found := [row["page_kind"] for row in rows if row["by_source"] == verdict])
    ]


def _price(kind: str, price: str, shared: Row | None) -> str:
    """What the changed readers of one kind cost, with what the recordings say of it."""
    if shared is None or not shared["whole_lives"]:
        known = "how many, this recording does not say"
    else:
        known = (
            f"{plural(shared['extra_references'], 'reference')} in "
            f"{plural(shared['whole_lives'], 'whole life', 'whole lives')} here ●"
        )
    return f"{kind}: {price}. Shared pages would be copied: {known}."
