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
    kinds,
    listed,
    mib,
    mib_between,
    percent,
    percent_between,
    plural,
    trace_word,
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
SCHEME = "memdesc-8"  #: the scheme of the first sentence, where it was asked for
PAGE_SIZE = 4096  #: bytes of the pages that descriptors are modelled for

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
SELECT summary.*, runs.slub, quality.on_older_slabs,
    quality.on_older_slabs_pct, quality.recorded_requests
FROM placement_summary AS summary
INNER JOIN runs USING (run)
INNER JOIN placement_quality AS quality USING (run)
WHERE summary.of_run = $run AND summary.operations > 0
ORDER BY summary.refills IS NULL, summary.settings <> '{}', summary.what_if IS NOT NULL,
    summary.run DESC
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
    """What freezing all that the sources allow would save beside the headline policy.

    Args:
        connection: a results database.
        run: a recorded run.
        policies: its rows of queries.policies.

    Returns:
        The rows by kind of page, their sums, and least and most of their share of the locked
        instructions under the baseline; None where there are none of these, or the run was not
        replayed under what it takes.
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
        return _nothing_next(run, {row["policy"]: row for row in policies})
    rows = found["kinds"]
    view = "freezability" if any(row["whole_lives"] for row in rows) else "frozen_savings"
    if not rows:
        return Answer(
            f"Nothing that {FARTHEST} freezes beside {found['headline']} would save a locked "
            "instruction here.",
            f"No page was freed of a kind that {FARTHEST} freezes beside those.",
            "frozen_savings",
        )
    once = [row for row in rows if row["verdict"] == "freezable once readers change"]
    functions = {name for row in once for name in row["readers"] or ()}
    needs = f", once {plural(len(functions), 'function')} that use it are changed" if once else ""
    text = (
        f"Next could be {kinds(row['page_kind'] for row in rows)} pages: without a count they "
        f"would save {between(found['saved_low'], found['saved_high'])} more of "
        f"{between(found['base_low'], found['base_high'])} locked instructions "
        f"({percent_between(found['pct_low'], found['pct_high'])}){needs}."
    )
    parts = listed([f"{kinds([row['page_kind']])} {count(row['saved'])}" for row in rows])
    return Answer(text, f"Of these {parts}. {_seen(rows)} {_price(rows)}", view)


def _nothing_next(run: Row, by_name: dict[str, Row]) -> Answer:
    """Why no kind of page is named: what the run lacks."""
    unknown = "What could be frozen next is not known"
    missing = [name for name in (BASELINE, FARTHEST) if name not in by_name]
    if len(by_name) + len(missing) < 3:
        missing.append("one that freezes less")
    if missing:
        return Answer(
            f"{unknown}: this run lacks policies.",
            f"It takes {listed(missing)} too: replay with it among the policies, or without "
            "--policy.",
        )
    if by_name[BASELINE]["locked_ops"] is None:
        return Answer(f"{unknown}: no page was allocated or freed.", "")
    return Answer(
        f"Freezing more would save no locked instruction: there is none in this {trace_word(run)}.",
        "Plain stores are in the table below.",
        "policy_summary",
    )


def _seen(rows: list[Row]) -> str:
    """Whether somebody took references on these pages, as far as the recording says."""
    seen = [row for row in rows if row["whole_lives"]]
    if not seen:
        return (
            f"How: inferred from the sources of Linux {rows[0]['kernel']} alone: no page_ref "
            "events of these pages say who took references."
        )
    lives, extra = (sum(row[name] for row in seen) for name in ("whole_lives", "extra_lives"))
    return (
        f"How: observed: somebody took a reference in {count(extra)} of "
        f"{plural(lives, 'whole life', 'whole lives')} of these pages; inferred from the sources "
        f"of Linux {rows[0]['kernel']}: who reads the count."
    )


def _price(rows: list[Row]) -> str:
    priced = [row["page_kind"] for row in rows if row["price"]]
    of = f" (known to cost more: those of {kinds(priced)} pages)" if priced else ""
    return f"Caveat: what the changed functions would cost instead{of} is not counted."


def simulated(connection: DuckDBPyConnection, run: int) -> Row | None:
    """The simulated run that stands for a recorded one: with sheaves, of the kernel as it was."""
    return next(iter(queries.rows(connection, _SIMULATED, run=run)), None)


def sheaves(connection: DuckDBPyConnection, run: Row) -> Answer:
    """What the model says of sheaves, or of the CPUs' own slabs where it has no sheaves."""
    row = simulated(connection, run["run"])
    if row is None:
        [found] = queries.rows(
            connection, "SELECT count(*) AS runs FROM runs WHERE of_run = $run", run=run["run"]
        )
        if found["runs"]:
            return Answer(
                "What sheaves would do is not known: there is no allocation or free of an object "
                "to simulate.",
                "Record the kmem events of objects (kmalloc, kfree, kmem_cache_alloc and _free).",
            )
        return Answer(
            "What sheaves would do is not known: no placement was simulated.",
            "Replay without --placement recorded.",
        )
    name = wording_of(row["profile"])
    share = f"{percent(row['fastpath_pct'])} of {count(row['operations'])}"
    if row["refills"] is None:
        text = (
            f"In the model of {name}, which has no sheaves, the CPUs’ own slabs serve at least "
            f"{share} allocations and frees of objects, and list_lock is taken "
            f"{plural(row['list_locks'], 'time')}. With sheaves: replay with --set kernel=7.2."
        )
    else:
        if_ = f" (a what-if: {row['what_if']})" if row["what_if"] else ""
        text = (
            f"With the sheaves of {name}{if_}, each CPU’s own serve at least {share} allocations "
            f"and frees of objects; sheaves are refilled from slabs "
            f"{plural(row['refills'], 'time')} and flushed to them "
            f"{plural(row['flushes'], 'time')}, and list_lock is taken "
            f"{plural(row['list_locks'], 'time')}."
        )
    return Answer(text, _modelled(row), "placement_summary")


def wording_of(profile: str) -> str:
    """``Linux 7.2`` of the profile ``linux-7.2``."""
    return profile.replace("linux-", "Linux ")


def _modelled(row: Row) -> str:
    """How far the model can be trusted here: what it is compared with, and what it leaves out."""
    recorded = "the recorded kernel" + ", which differs," * bool(row["what_if"])
    older = (
        f"{percent(row['on_older_slabs_pct'])} of the requests are for objects on slabs older "
        "than the recording, and what lay on those is inferred"
        if row["on_older_slabs"]
        else "this is one recording"
    )
    text = (
        "How: modelled on the recorded requests, counted as SLUB_STATS counts: allocations of "
        "sheaves too, frees through kfree_rcu’s sheaves not. The model makes "
        f"{plural(row['slab_allocs'], 'slab')}, {recorded} made "
        f"{count(row['recorded_slab_allocs'])} (observed). Caveat: {older}."
    )
    left = row["left_out"]
    if left:
        text += (
            f" Left out: {count(left)} of {count(row['recorded_requests'])} requests "
            f"({percent(row['left_out_pct'])})."
        )
    return text


def memdesc(connection: DuckDBPyConnection, run: int) -> Row | None:
    """A run's row of the scheme of page descriptors that comes first."""
    return next(iter(queries.rows(connection, _MEMDESC, run=run, scheme=SCHEME)), None)


def descriptors(connection: DuckDBPyConnection, run: Row) -> Answer:
    """What page descriptors would cost the pages in use, and what they save on the rest."""
    row = memdesc(connection, run["run"])
    if row is None:
        size = run["page_size"]
        why = (
            "no scheme that has descriptors was replayed, or no page event recorded"
            if size == PAGE_SIZE
            else f"they are modelled for pages of {count(PAGE_SIZE)} bytes, and this machine’s "
            f"are of {count(size)}"
        )
        return Answer(f"What page descriptors would take is not known: {why}.", "")
    used = row["used_saved_bytes"]
    low, high = row["saved_low_bytes"], row["saved_bytes"]
    rest = high - used
    share = percent_between(100 * low / row["memory_bytes"], row["saved_pct"])
    text = (
        f"With {row['scheme']} the pages in use would {_verb(used)} {kib(abs(used))} KiB against "
        f"struct page, and all other pages {_verb(rest)} {'up to ' * (low < high)}"
        f"{mib(abs(rest))} MiB; in total it saves {mib_between(low, high)} MiB "
        f"({share} of memory{'; below zero it costs' * (low < 0)})."
    )
    filled = row["filled_saved_bytes"]
    unknown = (
        f" Nothing is known of {plural(row['unknown_frames'], 'page')}."
        if row["unknown_frames"]
        else ""
    )
    note = (
        "How: the sizes of descriptors are the plan’s, assumed: no kernel has them. By "
        f"{row['stock_from']}, inferred, {count(row['described_pages'])} of "
        f"{plural(row['pages'], 'page')} belong to a block with a descriptor when the recording "
        f"ends; the lower end adds all others that may.{unknown} Caveat: if all pages not in use "
        f"were page cache in folios of one page, it would {_verb(filled)} {mib(abs(filled))} MiB."
    )
    return Answer(text, note, "descriptor_break_even")


def _verb(saved: float) -> str:
    return "cost" if saved < 0 else "save"
