"""Asking a results database: rows as dictionaries, and which runs there are."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reports.render.wording import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection

Row = dict[str, Any]

BASELINE = "refcounted"  #: the policy that others are compared with, in the views too
HEADLINE = "linux-7.2"  #: the policy whose saving is told first, where it was replayed


def rows(connection: DuckDBPyConnection, sql: str, **values: object) -> list[Row]:
    """The rows of a query; ``$name`` in it stands for the value of that keyword."""
    answer = connection.execute(sql, values or None)
    names = [column[0] for column in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


#: Views of what freezing saves, each behind those it reads.
FREEZING = (
    "life_costs",
    "frozen_savings",
    "page_kind_summary",
    "policy_summary",
    "policy_how_summary",
)
#: Views that a report asks many times over, likewise.
REPORTED = (
    *FREEZING,
    "freezability",
    "placement_quality",
    "placement_summary",
    "descriptor_overhead",
    "descriptor_kinds",
    "descriptor_summary",
)


@contextmanager
def kept(
    connection: DuckDBPyConnection, runs: Sequence[int], views: Sequence[str] = REPORTED
) -> Iterator[None]:
    """While the block runs, the views of these runs are tables: asked once, not once a section.

    Tables of the session come before views of the same name.

    Args:
        connection: a results database, which is not changed.
        runs: recorded runs; those simulated of them are kept too.
        views: those that are asked.
    """
    made = ["wanted"]
    connection.execute(
        "CREATE TEMP TABLE wanted AS"
        " SELECT run FROM runs WHERE list_contains($runs, coalesce(of_run, run))",
        {"runs": list(runs)},
    )
    try:
        for view in views:
            connection.execute(
                f"CREATE TEMP TABLE {view} AS FROM {view} SEMI JOIN wanted USING (run)"
            )
            made.append(view)
        yield
    finally:
        for view in made:
            connection.execute(f"DROP TABLE temp.{view}")


def every_run(connection: DuckDBPyConnection) -> list[Row]:
    """Every run with its trace, recorded and simulated, by number."""
    return rows(connection, "FROM runs INNER JOIN traces USING (trace_id) ORDER BY run")


def runs(connection: DuckDBPyConnection) -> list[Row]:
    """Every recorded run with its trace, by number: the columns of the tables runs and traces."""
    return rows(
        connection,
        "FROM runs INNER JOIN traces USING (trace_id) WHERE placement = 'recorded' ORDER BY run",
    )


def recorded_run(runs: list[Row], number: int) -> Row | None:
    """The recorded run that the number of a recorded or a simulated run stands for.

    Args:
        runs: rows of every_run().
        number: as replay and sweep print it.

    Returns:
        Its row; None where there is no such run.
    """
    by_number = {row["run"]: row for row in runs}
    found = by_number.get(number)
    return found and by_number[found["of_run"] or number]


def policies(connection: DuckDBPyConnection, run: int) -> list[Row]:
    """policy_summary of one run, a row a policy in the order they were asked for.

    Where the recording has no page event the numbers are None.
    """
    return rows(
        connection,
        """
        SELECT policies.name AS policy, summary.* EXCLUDE (run, trace, policy)
        FROM policies
        LEFT JOIN policy_summary AS summary
            ON summary.run = policies.run AND summary.policy = policies.name
        WHERE policies.run = $run ORDER BY policies.policy
        """,
        run=run,
    )


def other_rules(policy: Row) -> tuple[int | None, int | None]:
    """Of a row of policies(): locked instructions saved by what is not freezing, least and most."""
    if policy.get("locked_ops_saved") is None:
        return None, None
    low, high = (
        policy[f"locked_ops_saved_{end}"] - policy[f"frozen_ops_saved_{end}"] for end in ENDS
    )
    return int(low), int(high)


def first_policy(names: list[str]) -> str:
    """The policy whose absolute numbers are shown: BASELINE where it was replayed."""
    return BASELINE if BASELINE in names else names[0]


def headline_policy(names: list[str]) -> str | None:
    """The policy to compare with BASELINE first; None where there is nothing to compare."""
    others = [name for name in names if name != BASELINE]
    if BASELINE not in names or not others:
        return None
    return HEADLINE if HEADLINE in others else others[0]


def identity(run: Row) -> tuple[object, ...] | None:
    """What tells the recording of a run from another; None where it is not known.

    Synthetic traces have the digest of their spec, which is that of every seed.
    """
    if run["source_sha256"] is None:
        return None
    return tuple(run[name] for name in ("source_sha256", "events", "first_ts", "last_ts"))
