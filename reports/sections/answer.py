"""The sentence a reader wants first: how many locked instructions freezing removes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render.document import Answer
from reports.render.wording import (
    ENDS,
    MARKS,
    between,
    count,
    kinds,
    percent,
    percent_between,
    percent_ranged,
    plural,
    ranged,
    times,
    trace_word,
)
from reports.sections.coverage import gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_DIFFERENCES = """
SELECT page_kind, frozen, how, locked_ops_saved AS saved,
    locked_ops_saved_low AS saved_low, locked_ops_saved_high AS saved_high
FROM frozen_savings
WHERE run = $run AND policy = $other
"""
_FROZEN = """
SELECT list(page_kind ORDER BY page_kind) AS kinds, sum(page_allocs)::BIGINT AS allocs,
    sum(page_frees)::BIGINT AS frees
FROM page_kind_summary SEMI JOIN (
    SELECT run, policy, page_kind FROM frozen_savings WHERE frozen
) USING (run, policy, page_kind)
WHERE run = $run AND policy = $other
"""


def answer(connection: DuckDBPyConnection, run: Row, policies: list[Row], how: list[Row]) -> Answer:
    """The answer of a run.

    Args:
        connection: a results database.
        run: row of queries.runs.
        policies: rows of queries.policies.
        how: rows of policy_how_summary.
    """
    by_name = {row["policy"]: row for row in policies}
    trace = trace_word(run)
    name = queries.headline_policy(list(by_name))
    if not any(row["page_allocs"] or row["page_frees"] for row in policies):
        return Answer(
            f"There is nothing to count: no page was allocated or freed in this {trace}.",
            "Record kmem:mm_page_alloc and kmem:mm_page_free to see reference-count operations.",
        )
    if name is None:
        first = policies[0]
        return Answer(
            f"Under the policy {first['policy']} the pages of this {trace} need "
            f"{ranged(first, 'locked_ops')} locked reference-count instructions{_assumed(first)}.",
            f"No saving is given: it takes {BASELINE} and one other policy to compare. "
            f"{_evidence_text(_of_policy(how, first['policy']), 'these')}",
        )
    differences = _of(connection, run, name)
    frozen = [row for row in differences if row["frozen"] and row["saved"]]
    own = {row["page_kind"] for row in _of(connection, run, run["own_policy"]) if row["frozen"]}
    done = bool(frozen) and own >= {row["page_kind"] for row in frozen}
    known = (
        [f"that each free would take one is inferred, from the rules of {BASELINE}."]
        if done
        else [_evidence_text(_sums(frozen, "how"), "the instructions removed")]
        if frozen
        else _none_frozen(connection, run["run"], name)
    )
    middle = "" if by_name[BASELINE]["use_how"] != "assumed" else ", ranges at their middle"
    whole = "those it does" if done else "all locked ones"
    known.append(_evidence_text(_of_policy(how, name if done else BASELINE), f"{whole}{middle}"))
    if own and not done:
        known.append(f"The recorded kernel, Linux {run['kernel_release']}, does so itself.")
    others = [row for row in differences if not row["frozen"]]
    known[0] = known[0][:1].lower() + known[0][1:]
    notes = ["How:", *known, *_other_rules(by_name[name], others), "Caveat:", _time(by_name[name])]
    if run["lost_events"] or run["lost_gaps"]:
        notes.append(f"Events of the {trace} were lost: these are lower bounds.")
    if gaps(json.loads(run["meta"] or "{}")):
        notes.append(
            f"The {trace} does not cover every CPU all the time (below): these are lower bounds."
        )
    sentence = _sentence(by_name[name], frozen, by_name[BASELINE], trace, done=done)
    return Answer(sentence, " ".join(filter(None, notes)), "policy_summary")


def _of(connection: DuckDBPyConnection, run: Row, policy: str | None) -> list[Row]:
    return queries.rows(connection, _DIFFERENCES, run=run["run"], other=policy)


def _none_frozen(connection: DuckDBPyConnection, run: int, policy: str) -> list[str]:
    """Why freezing saves nothing: how few pages of these kinds came and went."""
    [row] = queries.rows(connection, _FROZEN, run=run, other=policy)
    if not row["kinds"]:
        return [f"no page of a kind that {policy} freezes was allocated or freed."]
    only = "; only a free takes a locked instruction" * (not row["frees"])
    text = (
        f"of the {kinds(row['kinds'])} pages that {policy} freezes, {count(row['allocs'])} were "
        f"allocated and {count(row['frees'])} freed{only}."
    )
    return [text]


def _sentence(policy: Row, frozen: list[Row], base: Row, trace: str, *, done: bool) -> str:
    total = ranged(base, "locked_ops")
    removed = _sums(frozen, "page_kind")
    hows = list(_sums(frozen, "how"))
    # Without page_ref events the kernel's own count of them was not seen.
    known = f", {hows[0]}" if len(hows) == 1 and base["use_how"] != "assumed" else ""
    if base["locked_ops_high"] == 0:
        return (
            f"There is no locked reference-count instruction in this {trace}, so that freezing "
            f"removes none: {plural(base['page_allocs'], 'allocation')} of pages, whose counts are "
            f"set with plain stores, and {plural(base['page_frees'], 'free')}."
        )
    if not removed:
        return (
            f"Freezing, as {policy['policy']} does, removes none of the {total} locked "
            f"reference-count instructions in this {trace}{_assumed(base)}."
        )
    saved, share = ranged(policy, "frozen_ops_saved"), percent_ranged(policy, "frozen_saved_pct")
    if done:
        return (
            f"The recorded kernel freezes {kinds(_largest_first(removed))} pages, as "
            f"{policy['policy']} does: it does without {saved} of {total} locked reference-count "
            f"instructions ({share}) that it would need in this {trace}{_assumed(base)}."
        )
    return (
        f"Freezing {kinds(_largest_first(removed))} pages, as {policy['policy']} does, removes "
        f"{saved} of {total} locked reference-count instructions ({share}) in this "
        f"{trace}{_assumed(base) or known}."
    )


def _time(policy: Row) -> str:
    """What the policy saves in time, if the run was priced: a count of instructions is no time."""
    low, high = policy["saved_ns_low"], policy["saved_ns_high"]
    if low is None:
        return "counts, not time."
    if low < 0 < high:
        saves = f"takes between {times(-low, -low)} more and {times(high, high)} less"
    elif low < 0:
        saves = f"takes {times(-high, -low)} more"
    else:
        saves = f"takes {times(low, high)} less"
    return (
        f"counts, not time; by the table of costs (assumed) all that {policy['policy']} does "
        f"differently {saves} CPU time than {BASELINE}."
    )


def _assumed(row: Row) -> str:
    """What a range is owed to; nothing where there is none."""
    if row["locked_ops_low"] == row["locked_ops_high"]:
        return ""
    return ", which has no page_ref events: operations in use are assumed, least to most"


def _other_rules(policy: Row, differences: list[Row]) -> list[str]:
    """What the paths of another kernel do elsewhere, so that the table below is no surprise."""
    by_kind: dict[str, list[int]] = {}
    for row in differences:
        sums = by_kind.setdefault(row["page_kind"], [0, 0, 0])
        for at, name in enumerate(("saved", "saved_low", "saved_high")):
            sums[at] += row[name]
    parts = []
    for sign, verb in ((1, "save"), (-1, "add")):
        changed = {kind: ends for kind, ends in by_kind.items() if sign * ends[0] > 0}
        if changed:
            low, high = (sum(ends[at] for ends in changed.values()) for at in (1, 2))
            order = _largest_first({kind: sign * ends[0] for kind, ends in changed.items()})
            size = between(*sorted((sign * low, sign * high)))
            parts.append(f"{verb} {size} on {kinds(order)} pages")
    if not parts:
        return []
    net = [policy[f"locked_ops_saved_{end}"] for end in ENDS]
    shares = [policy[f"saved_pct_{end}"] for end in ENDS]
    than, in_total = _signed(net, ("fewer", "more"), between)
    text = (
        f"Other rules of {policy['policy']} {' and '.join(parts)}, which is not freezing’s doing; "
        f"in total it needs {in_total} {than} than {BASELINE} "
        f"({_signed(shares, ('', ''), percent_between)[1]})."
    )
    return [text]


def _signed(
    ends: Sequence[float], words: tuple[str, str], written: Callable[..., str]
) -> tuple[str, str]:
    """A range as one says it, without a sign: the word for its direction, and the range.

    A range that holds zero stays as it is, with its sign.
    """
    low, high = ends
    if high <= 0 and low < 0:
        return words[1], written(-high, -low)
    return words[0], written(low, high)


def _largest_first(sizes: dict[str, int]) -> list[str]:
    return sorted(sizes, key=lambda kind: (-sizes[kind], kind))


def _of_policy(how: list[Row], policy: str) -> dict[str, int]:
    return {row["how"]: row["locked_ops"] for row in how if row["policy"] == policy}


def _sums(differences: list[Row], by: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in differences:
        sums[row[by]] = sums.get(row[by], 0) + row["saved"]
    return sums


def _evidence_text(parts: dict[str, int], of: str) -> str:
    """A sentence that splits a number by how it is known."""
    total = sum(parts.values())
    hows = [how for how in MARKS if parts.get(how)]
    if len(hows) == 1:
        return f"Of {of}, all are {hows[0]}."
    split = [f"{percent(parts[how], total)} {how}" for how in hows]
    return f"Of {of}, {', '.join(split)}." if split else ""
