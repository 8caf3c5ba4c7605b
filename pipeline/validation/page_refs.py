"""Recorded reference operations against what the policy's table says each page life costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.validation.bounds import CountCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

# The stages that were seen of a life, priced by the recorded kernel's own policy; a block that is
# split is freed in parts (T10), so frees count as life_costs counts them.
_BY_KIND = """
WITH lives AS (
    SELECT
        page_kind AS kind,
        pages.alloc_ts IS NOT NULL AND pages.free_seq IS NOT NULL AS whole,
        ref_plain,
        ref_locked,
        (alloc_seq IS NOT NULL)::BIGINT AS allocs,
        allocs * (alloc_plain + use_plain)
        + allocs * (1 << "order") * (alloc_page_plain + use_page_plain)
        + frees * free_plain + pages_freed * free_page_plain AS plain,
        allocs * (alloc_locked + use_locked)
        + allocs * (1 << "order") * (alloc_page_locked + use_page_locked)
        + frees * free_locked + pages_freed * free_page_locked AS locked
    FROM pages
    JOIN runs USING (run)
    JOIN policies ON policies.run = runs.run AND policies.name = runs.own_policy
    JOIN policy_costs USING (run, policy, page_kind)
    WHERE run = ? AND ref_locked IS NOT NULL
)
SELECT
    kind,
    count(*) FILTER (whole) AS whole,
    count(*) FILTER (whole AND ref_plain = plain) AS alike_plain,
    count(*) FILTER (whole AND ref_locked = locked) AS alike_locked,
    sum(ref_plain)::BIGINT AS ref_plain,
    sum(plain)::BIGINT AS plain,
    sum(ref_locked)::BIGINT AS ref_locked,
    sum(locked)::BIGINT AS locked,
    avg(ref_plain) FILTER (whole) AS mean_ref_plain,
    avg(plain) FILTER (whole) AS mean_plain,
    avg(ref_locked) FILTER (whole) AS mean_ref_locked,
    avg(locked) FILTER (whole) AS mean_locked
FROM lives GROUP BY kind ORDER BY kind
"""


def page_refs(connection: duckdb.DuckDBPyConnection, run: int) -> Iterator[CountCheck]:
    """Plain stores and locked instructions of each kind of page: all of them, and a whole life's.

    Args:
        connection: the database.
        run: the run; without page_ref events there is nothing to compare.
    """
    result = connection.execute(_BY_KIND, [run])
    names = [name for name, *_ in result.description or ()]
    for values in result.fetchall():
        row = dict(zip(names, values, strict=True))
        for form in ("plain", "locked"):
            yield CountCheck(f"page_ref_{form}", row["kind"], row[f"ref_{form}"], row[form])
            if row["whole"]:
                alike = row[f"alike_{form}"]
                yield CountCheck(
                    f"page_ref_{form}_per_life",
                    row["kind"],
                    row[f"mean_ref_{form}"],
                    row[f"mean_{form}"],
                    f"{alike} of {row['whole']} whole lives are as the table has them.",
                )
