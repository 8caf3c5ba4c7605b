"""The other questions of a first page: what could be frozen next, sheaves, page descriptors.

What freezing saves is in answer.py. Each is asked of one recorded run; overview.py sums up many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render.document import Answer
from reports.render.wording import (
    between,
    count,
    kib,
    listed,
    mib,
    percent,
    percent_between,
    plural,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

QUESTIONS = (
    "What freezing saves",
    "What could be next",
    "What the model says of sheaves",
    "What page descriptors would do",
)
FARTHEST = "everything-freezable"  #: the policy that freezes all that the kernel's sources allow
TODAY = "struct-page"  #: the scheme others are measured against, in the views too
SCHEME = "memdesc-8"  #: the scheme that is told first, where it was asked for

_NEXT = """
WITH further AS (
    SELECT page_kind,
        sum(locked_ops_saved)::BIGINT AS saved,
        sum(locked_ops_saved_low)::BIGINT AS saved_low,
        sum(locked_ops_saved_high)::BIGINT AS saved_high
    FROM frozen_savings
    WHERE run = $run AND policy = $farthest AND frozen AND page_kind NOT IN (
        SELECT page_kind FROM frozen_savings WHERE run = $run AND policy = $headline AND frozen
    )
    GROUP BY page_kind
    HAVING saved > 0
)
SELECT further.*, sources.verdict, sources.price, sources.kernel,
    seen.whole_lives, seen.extra_lives,
    (
        SELECT list(DISTINCT kernel_function) FROM kind_readers
        WHERE kind_readers.run = $run AND kind_readers.page_kind = further.page_kind
            AND does <> 'scans'
    ) AS readers
FROM further
LEFT JOIN source_verdicts AS sources
    ON sources.run = $run AND sources.page_kind = further.page_kind AND sources.caller IS NULL
LEFT JOIN freezability AS seen
    ON seen.run = $run AND seen.page_kind = further.page_kind AND seen.scope = 'kind'
ORDER BY saved DESC, page_kind
"""
_SIMULATED = """
SELECT summary.*, runs.slub, quality.on_older_slabs_pct, quality.recorded_requests
FROM placement_summary AS summary
INNER JOIN runs USING (run)
INNER JOIN placement_quality AS quality USING (run)
WHERE summary.of_run = $run AND summary.operations > 0
ORDER BY summary.refills IS NULL, summary.settings <> '{}', summary.run DESC
LIMIT 1
"""
_MEMDESC = """
SELECT summary.*, even.used_saved_bytes, even.filled_saved_bytes, even.described_pages,
    machines.pages, machines.stock_from, machines.unknown_frames
FROM descriptor_summary AS summary
INNER JOIN descriptor_break_even AS even USING (run, scheme)
INNER JOIN machines USING (run)
WHERE run = $run ORDER BY scheme = $scheme DESC, scheme LIMIT 1
"""


def further(connection: DuckDBPyConnection, run: int, policies: list[Row]) -> Row | None:
    """What freezing all that the sources allow would save beside the policy told first.

    Args:
        connection: a results database.
        run: a recorded run.
        policies: its rows of queries.policies.

    Returns:
        The rows by kind of page, their sums, and least and most of their share of the locked
        instructions under the baseline; None where the run was not replayed under what it takes.
    """
    by_name = {row["policy"]: row for row in policies}
    headline = queries.headline_policy([name for name in by_name if name != FARTHEST])
    base = by_name.get(BASELINE, {}).get("locked_ops")
    if FARTHEST not in by_name or headline is None or not base:
        return None
    kinds = queries.rows(connection, _NEXT, run=run, farthest=FARTHEST, headline=headline)
    low, high = (sum(row[f"saved_{end}"] for row in kinds) for end in ("low", "high"))
    most, least = (by_name[BASELINE][f"locked_ops_{end}"] for end in ("high", "low"))
    return {
        "kinds": kinds,
        "headline": headline,
        "saved_low": low,
        "saved_high": high,
        "pct_low": 100 * low / (most - (high - low)),
        "pct_high": 100 * high / (least + (high - low)),
        "base_low": least,
        "base_high": most,
    }


def could_be_next(connection: DuckDBPyConnection, run: Row, policies: list[Row]) -> Answer:
    """Which pages could lose their count beside those that kernels have frozen."""
    found = further(connection, run["run"], policies)
    if found is None:
        return Answer(
            "What could be frozen next is not told.",
            f"It takes the policies {BASELINE}, {FARTHEST} and one other: replay with them.",
        )
    kinds = found["kinds"]
    view = "freezability" if any(row["whole_lives"] for row in kinds) else "frozen_savings"
    if not kinds:
        return Answer(
            f"Nothing that {FARTHEST} freezes beside {found['headline']} would save a locked "
            "instruction here.",
            "By the kernel’s sources: no page that could do without a count came or went.",
            "frozen_savings",
        )
    once = [row for row in kinds if row["verdict"] == "freezable once readers change"]
    functions = {name for row in once for name in row["readers"] or ()}
    needs = f", once {plural(len(functions), 'function')} that read it have changed" if once else ""
    text = (
        f"Next could be {listed([row['page_kind'] for row in kinds])} pages: without a count they "
        f"save {between(found['saved_low'], found['saved_high'])} more of "
        f"{between(found['base_low'], found['base_high'])} locked instructions "
        f"({percent_between(found['pct_low'], found['pct_high'])}){needs}."
    )
    parts = listed([f"{row['page_kind']} {count(row['saved'])}" for row in kinds])
    return Answer(text, f"{parts}. {_seen(kinds)} {_price(kinds)}", view)


def _seen(kinds: list[Row]) -> str:
    """Whether somebody took references on these pages, as far as the recording says."""
    told = [row for row in kinds if row["whole_lives"]]
    if not told:
        return (
            f"How: inferred from the sources of Linux {kinds[0]['kernel']} alone: without page_ref "
            "events the recording does not say who took references."
        )
    lives, extra = (sum(row[name] for row in told) for name in ("whole_lives", "extra_lives"))
    return (
        f"How: observed: somebody took a reference in {count(extra)} of "
        f"{plural(lives, 'whole life', 'whole lives')} of these pages; inferred from the sources "
        f"of Linux {kinds[0]['kernel']}: who reads the count."
    )


def _price(kinds: list[Row]) -> str:
    priced = [row["page_kind"] for row in kinds if row["price"]]
    if priced:
        return f"Caveat: what changed readers cost, as those of {listed(priced)}, is not counted."
    return "Caveat: what changed readers cost instead is not counted."


def simulated(connection: DuckDBPyConnection, run: int) -> Row | None:
    """The simulated run that stands for a recorded one: with sheaves and no settings, if any."""
    return next(iter(queries.rows(connection, _SIMULATED, run=run)), None)


def sheaves(connection: DuckDBPyConnection, run: Row) -> Answer:
    """What the model says of sheaves, or of the CPUs' own slabs where it has no sheaves."""
    row = simulated(connection, run["run"])
    if row is None:
        return Answer(
            "What sheaves would do is not told: no placement was simulated.",
            "Replay without --placement recorded, and with the objects’ events recorded.",
        )
    name = wording_of(row["profile"])
    share = f"{percent(row['fastpath_pct'])} of {count(row['operations'])}"
    if row["refills"] is None:
        text = (
            f"In the model of {name}, which has no sheaves, the CPUs’ own slabs serve at least "
            f"{share} allocations and frees of objects; list_lock is taken "
            f"{plural(row['list_locks'], 'time')}. With sheaves: replay with --set kernel=7.2."
        )
    else:
        if_ = f" (a what-if: {row['what_if']})" if row["what_if"] else ""
        text = (
            f"With the sheaves of {name}{if_}, the CPUs’ own serve at least {share} allocations "
            f"and frees of objects; {count(row['refills'])} are refilled from slabs, "
            f"{count(row['flushes'])} flushed to them, and list_lock is taken "
            f"{plural(row['list_locks'], 'time')}."
        )
    return Answer(text, _modelled(row), "placement_summary")


def wording_of(profile: str) -> str:
    """``Linux 7.2`` of the profile ``linux-7.2``."""
    return profile.replace("linux-", "Linux ")


def _modelled(row: Row) -> str:
    """How far the model can be trusted here: what it is compared with, and what it leaves out."""
    text = (
        f"How: modelled on the recorded requests; it makes {plural(row['slab_allocs'], 'slab')}, "
        f"the recorded kernel made {count(row['recorded_slab_allocs'])} (observed). Caveat: "
        f"{percent(row['on_older_slabs_pct'])} of the requests are for objects on slabs older than "
        "the recording; what lay on those is inferred."
    )
    left = row["left_out"]
    if left:
        text += (
            f" Left out: {count(left)} of {count(row['recorded_requests'])} requests "
            f"({percent(row['left_out_pct'])})."
        )
    return text


def memdesc(connection: DuckDBPyConnection, run: int) -> Row | None:
    """A run's row of the scheme of page descriptors that is told first."""
    return next(iter(queries.rows(connection, _MEMDESC, run=run, scheme=SCHEME)), None)


def descriptors(connection: DuckDBPyConnection, run: Row) -> Answer:
    """What page descriptors would cost the pages in use, and what they save on the rest."""
    row = memdesc(connection, run["run"])
    if row is None:
        return Answer(
            "What page descriptors would take is not told.",
            f"It takes a scheme to replay with, and pages of 4,096 bytes; this machine has pages "
            f"of {count(run['page_size'])}.",
        )
    used = row["used_saved_bytes"]
    verb = "cost" if used < 0 else "save"
    low, high = row["saved_low_bytes"], row["saved_bytes"]
    text = (
        f"With {row['scheme']} the pages in use would {verb} {kib(abs(used))} KiB against "
        f"struct page, all others save {mib(high - used)} MiB; all told it saves "
        f"{_mib(low, high)} MiB "
        f"({percent_between(100 * low / row['memory_bytes'], row['saved_pct'])} of memory)."
    )
    filled = row["filled_saved_bytes"]
    word = "cost" if filled < 0 else "save"
    unknown = (
        f" Of {plural(row['unknown_frames'], 'page')} nothing is known."
        if row["unknown_frames"]
        else ""
    )
    note = (
        f"How: assumed: the plan’s sizes, no kernel has them; inferred, by {row['stock_from']}: "
        f"{count(row['described_pages'])} of {plural(row['pages'], 'page')} are known to be of a "
        "block with a descriptor when the recording ends; the lower end counts all that may be."
        f"{unknown} Caveat: were all the rest page cache in blocks of one page, it would {word} "
        f"{mib(abs(filled))} MiB."
    )
    return Answer(text, note, "descriptor_break_even")


def _mib(low: float, high: float) -> str:
    first, second = mib(low), mib(high)
    return first if first == second else f"{first} – {second}"
