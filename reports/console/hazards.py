"""What hazards prints: who touches the counts of frozen pages, and what was looked at."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.console import aligned, printable, wrapped
from reports.rules import with_titles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_TAKERS = """
SELECT
    run, policy, rule, outcome, breaks, page_kind, taker,
    count(*) AS touches, count(DISTINCT page) AS lives,
    quantile_disc(age_ns, 0.5)::BIGINT AS age_ns,
    min(life_pct) AS life_low, max(life_pct) AS life_high
FROM hazard_touches WHERE list_contains($runs, run) AND list_contains($policies, policy)
GROUP BY ALL ORDER BY run, breaks DESC, touches DESC, page_kind, taker
"""
_STACKS = """
SELECT run, policy, rule, outcome, page_kind, taker, frames, sum(touches)::BIGINT AS touches
FROM hazards
WHERE list_contains($runs, run) AND list_contains($policies, policy) AND frames IS NOT NULL
GROUP BY ALL ORDER BY touches DESC, frames
"""
# Of a kind that the policy freezes, what there was to be touched.
_LOOKED_AT = """
SELECT
    lives.run, frozen.policy, page_kind, count(*) AS lives,
    sum(births + ends + use_plain + use_locked)::BIGINT AS operations
FROM reference_lives AS lives
INNER JOIN (
    SELECT run, policies.name AS policy, page_kind
    FROM policy_ops INNER JOIN policies USING (run, policy)
    WHERE list_contains($policies, policies.name) GROUP BY ALL
    HAVING bool_and(frozen) AND sum(plain_ops + locked_ops) = 0
) AS frozen USING (run, page_kind)
WHERE list_contains($runs, lives.run) GROUP BY ALL ORDER BY lives DESC, page_kind
"""
_RUNS = """
SELECT run, trace FROM runs INNER JOIN traces USING (trace_id) WHERE list_contains($runs, run)
ORDER BY run
"""

_HEADS = ("taker", "kind", "outcome", "touches", "lives", "age", "of its life")
_ABOUT = (
    "taker: function that touched the count, – where no stack was recorded; touches: references "
    "taken, with what was done until the next; lives: of pages; age: of the page then, the median; "
    "of its life: earliest and latest, of the time from its allocation to its free. Observed, in "
    "page_ref events. Outcomes: view hazard_touches."
)
_NOT_SEEN = with_titles(
    "No recording shows who only reads a count (view count_readers), or get_page and put_page of "
    "slab and large kmalloc pages from 6.14 on, which fire no event (H4)."
)


def print_hazards(
    connection: DuckDBPyConnection,
    runs: Sequence[int],
    policies: Sequence[str],
    out: TextIO,
    *,
    stacks: bool,
) -> None:
    """The takers of each recorded run, policy by policy; where there are none, what was looked for.

    Args:
        connection: a results database.
        runs: numbers of recorded runs with page_ref events.
        policies: which freeze the pages.
        out: where to.
        stacks: the stacks of each taker below its row.
    """
    asked = {"runs": list(runs), "policies": list(policies)}
    takers = queries.rows(connection, _TAKERS, **asked)
    below = queries.rows(connection, _STACKS, **asked) if stacks else []
    looked_at = queries.rows(connection, _LOOKED_AT, **asked)
    for run, policy in product(queries.rows(connection, _RUNS, runs=list(runs)), policies):

        def of_both(rows: Sequence[Row], number: int = run["run"], name: str = policy) -> list[Row]:
            return [row for row in rows if (row["run"], row["policy"]) == (number, name)]

        found = of_both(takers)
        said = f"{_verdict(policy, found)} {_looked_at(policy, of_both(looked_at))}"
        out.write(wrapped(f"{run['trace']}: {said}"))
        out.writelines(_table(found, of_both(below)))
        out.write("\n" * bool(found))
    if takers:
        out.write(wrapped(_ABOUT))
    out.write(wrapped(_NOT_SEEN))


def _verdict(policy: str, takers: Sequence[Row]) -> str:
    broken = [row for row in takers if row["breaks"]]
    harmless = len(takers) - len(broken)
    tried = f"; {wording.plural(harmless, 'taker')} seen that it does not break" if harmless else ""
    if not broken:
        return f"no caller seen that {policy} breaks{tried}."
    touches = wording.plural(sum(row["touches"] for row in broken), "touch", "touches")
    return f"{wording.plural(len(broken), 'taker')} seen that {policy} breaks ({touches}){tried}."


def _looked_at(policy: str, kinds: Sequence[Row]) -> str:
    if not kinds:
        return f"No page of a kind that {policy} freezes is in it."
    lives = [f"{wording.count(row['lives'])} {row['page_kind']}" for row in kinds]
    operations = sum(row["operations"] for row in kinds)
    return (
        f"Looked at {wording.plural(operations, 'operation')} on the counts of "
        f"{wording.listed(lives)} pages: all but the first set and the last drop are touches."
    )


def _table(takers: Sequence[Row], stacks: Sequence[Row]) -> list[str]:
    if not takers:
        return []
    heads, *lines = aligned([_HEADS, *map(_cells, takers)], left=(0, 1, 2))
    same = ("rule", "outcome", "page_kind", "taker")
    text = [heads]
    for row, line in zip(takers, lines, strict=True):
        text.append(line)
        for each in stacks:
            if all(each[name] == row[name] for name in same):
                text.append(wrapped(f"{wording.count(each['touches'])} by", "      "))
                frames = reversed(each["frames"].split(";"))
                text += [f"        {printable(frame)}\n" for frame in frames]
    return text


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row["life_low"], row["life_high"]
    return (
        wording.shortened(row["taker"] or wording.MISSING, 40),
        row["page_kind"],
        row["outcome"],
        wording.count(row["touches"]),
        wording.count(row["lives"]),
        wording.duration(row["age_ns"]),
        "" if low is None else f"{low:.0f} – {high:.0f} %",
    )
