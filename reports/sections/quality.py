"""How good a run's data is, in numbers, each with what it means; and the kernel's own count."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Heading, Strong, Table, TableColumn, Text
from reports.rules import with_titles
from reports.sections.coverage import covered_cpus, in_short, table, warnings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_NOT_NOTED = "Not noted when the trace set was made: import the recording again."
_MANY = 16  # more CPUs than these are not listed one by one


def blocks(connection: DuckDBPyConnection, run: Row) -> list[Block]:
    """The quality section of a run."""
    return [
        Heading("How good the data is"),
        *_clocks(connection, run["run"]),
        _numbers(connection, run),
        *_cpus(run),
        *_kernels_own(connection, run),
    ]


def _clocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What the import said of clocks that disagree; nothing where they do not."""
    found = queries.rows(
        connection,
        """
        SELECT meta::JSON ->> '$.two_clocks.says' AS says
        FROM runs INNER JOIN traces USING (trace_id) WHERE run = $run
        """,
        run=run,
    )
    return [Text(f"{row['says'][:1].upper()}{row['says'][1:]}. ◐") for row in found if row["says"]]


def _numbers(connection: DuckDBPyConnection, run: Row) -> Table:
    [row] = queries.rows(connection, "FROM quality WHERE run = $run", run=run["run"])
    count, percent = wording.count, wording.percent
    base = row["direct_map_base"] or "an unknown address"
    method = row["direct_map_how"] or "no method"
    lines: list[tuple[str, str, str, str]] = [
        (
            "Events lost ●",
            count(row["lost_events"]),
            "",
            "Overruns of the ring buffer. After one, what is live on that CPU is in doubt.",
        ),
        (
            "Gaps of unknown size ●",
            count(row["lost_gaps"]),
            "",
            "Overruns that do not say how many events were lost in them.",
        ),
        (
            "CPUs covered ●",
            f"{count(row['covered_cpus'])} of {count(row['cpus'])}",
            "",
            _coverage(run),
        ),
        (
            "Frees of unknown objects ●",
            count(row["unknown_frees"]),
            percent(row["unknown_free_pct"]) + " of frees",
            with_titles(
                "Allocated before the recording, or by a bulk call, which has no event (I2, T6)."
            ),
        ),
        (
            "Re-allocations of live objects ●",
            count(row["reallocations"]),
            percent(row["reallocation_pct"]) + " of allocations",
            with_titles(
                "Their free was not traced: bulk frees; on 7.x kfree_rcu through sheaves (T6)."
            ),
        ),
        (
            "Frees of unknown pages ●",
            count(row["unknown_page_frees"]),
            "",
            with_titles(
                "Allocated before the recording, or by alloc_pages_bulk, which has no event (T8)."
            ),
        ),
        (
            "Repeated events dropped ●",
            count(row["duplicates_dropped"]),
            "",
            with_titles(
                "Large kmallocs fire twice when the size is not a constant; one is kept (T3)."
            ),
        ),
        (
            "Kind of page observed ●",
            "",
            percent(row["kind_observed_pct"]) + " of lives",
            "By a stack, a page_ref event or the address of an object on the page.",
        ),
        (
            "Kind of page inferred ◐",
            "",
            percent(row["kind_inferred_pct"]) + " of lives",
            with_titles("By a rule on gfp flags, order and neighbouring events (T9)."),
        ),
        (
            "Kind of page assumed ○",
            "",
            percent(row["kind_assumed_pct"]) + " of lives",
            "No rule spoke; the likeliest kind was taken.",
        ),
        (
            "Kind of page not known ?",
            "",
            percent(row["kind_unknown_pct"]) + " of lives",
            "Nothing in the recording says whose page it was; no policy freezes it.",
        ),
        (
            "Cache named ●",
            "",
            percent(row["cache_named_pct"]) + " of object events",
            "The event carries the name of its cache.",
        ),
        (
            "Cache by rule ◐",
            "",
            percent(row["cache_by_rule_pct"]) + " of object events",
            "By size class, by the free’s name, by call site or by a neighbour on the slab.",
        ),
        (
            "Cache not known ?",
            "",
            percent(row["cache_unresolved_pct"]) + " of object events",
            "None of the rules spoke.",
        ),
        (
            "Use stage",
            row["use_how"] or wording.MISSING,
            "",
            "Observed: page_ref events. Assumed: the policy’s figure per allocation.",
        ),
        (
            "The kernel’s own policy",
            row["own_policy"] or wording.MISSING,
            "",
            own_words(row["own_note"]),
        ),
        (
            "Votes for the direct map ◐",
            count(row["direct_map_votes"]),
            percent(row["direct_map_share"], 1) + " of votes",
            with_titles(
                f"Page frame 0 is at {base} (by {method}, I1); slab pages are found through it."
            ),
        ),
    ]
    lines += _pressure(row)
    if row["kmalloc_copies"]:
        lines.append(
            (
                "Copies of kmalloc’s caches ●",
                count(row["kmalloc_copies"]),
                "",
                with_titles(
                    "Of each kmalloc-N, which here stands for all of them: no event says which "
                    "one an object is in (R3.51). Simulated placements assume it (R3.52)."
                ),
            )
        )
    if row["requests_left_out"] is not None:
        lines.append(
            (
                "Requests not simulated ●",
                count(row["requests_left_out"]),
                percent(row["requests_left_out_pct"]) + " of requests",
                "Left out of simulated placements, where each says why.",
            )
        )
    return Table(
        "What the recording holds and what it leaves open.",
        (
            TableColumn("", numeric=False),
            TableColumn("number"),
            TableColumn("share"),
            TableColumn("what it means", numeric=False, share=1),
        ),
        [list(line) for line in lines],
    )


def _pressure(row: Row) -> list[tuple[str, str, str, str]]:
    """What the recording says of reclaim and compaction, which are not replayed."""
    by_events = row["direct_reclaims"] is not None and not (row["lost_events"] or row["lost_gaps"])
    at_most = f"at most {wording.percent(row['direct_reclaim_pct'])} of page allocations"
    share = "" if by_events or row["direct_reclaim_pct"] is None else at_most
    told = (
        (
            "Direct reclaims ●",
            "direct_reclaims",
            at_most if by_events else "of those not lost",
            (
                "Not replayed: a request gets its page as if it had not waited; what was reclaimed "
                "is freed when its events say. A request may enter more than once."
            ),
        ),
        ("Times kswapd woke ●", "kswapd_wakes", "", "Not replayed, likewise."),
        ("Folios reclaim wrote ●", "folios_written", "", "To swap or to files."),
        ("Compactions ●", "compactions", "", "Not replayed: pages stay where they were."),
    )
    around = "By vmstat, between the snapshots: in the recording and around it."
    counted = (
        ("Direct reclaims, around it ●", "allocstalls", share, around),
        ("Pages direct reclaim freed ●", "pages_reclaimed_direct", "", "Likewise."),
        ("Pages kswapd freed ●", "pages_reclaimed_kswapd", "", "Likewise."),
        ("Pages swapped out ●", "pages_swapped_out", "", "Likewise."),
        ("Pages swapped in ●", "pages_swapped_in", "", "Likewise."),
        ("Allocations that compacted ●", "compact_stalls", "", "Likewise."),
    )
    return [
        (name, wording.count(row[column]), share, what)
        for name, column, share, what in told
        if row[column] is not None
    ] + [
        (name, wording.count(row[column]), share, what)
        for name, column, share, what in counted
        if row[column]
    ]


def _coverage(run: Row) -> str:
    """How far apart CPUs begin and end, and what is not covered."""
    meta = json.loads(run["meta"] or "{}")
    texts = warnings(meta) or ["Every CPU is covered from its first event to its last."]
    return f"{in_short(meta)}. {' · '.join(texts)}" if covered_cpus(meta) else _NOT_NOTED


def _cpus(run: Row) -> list[Block]:
    """From when to when each CPU is covered; those that begin late or end early, if many."""
    meta = json.loads(run["meta"] or "{}")
    rows = table(meta)
    covered = covered_cpus(meta) or {}
    title = "What the recording covers of each CPU ●, by its trace clock."
    if len(rows) > _MANY:
        whole = len(rows)
        odd = {str(cpu) for cpu, each in covered.items() if each["late"] or each["early"]}
        rows = [row for row in rows if row[0] in odd or row[1] == "0"][:_MANY]
        title = (
            f"What the recording covers of {len(rows)} of {whole} CPUs ●, those that it does not "
            "cover all the time; info and the table trace_cpus have all."
        )
    if not rows:
        return []
    unit = "s" if meta["ts_unit"] == "ns" else meta["ts_unit"]
    heads = (
        TableColumn("CPU"),
        TableColumn("events"),
        TableColumn(f"from ({unit})"),
        TableColumn(f"to ({unit})"),
    )
    return [Table(title, heads, [list(row) for row in rows])]


def own_words(note: str | None) -> str:
    """What to say with the policy that is taken for a kernel's own.

    Args:
        note: runs.own_note.
    """
    return f"{note[0].upper()}{note[1:]}." if note else "Read in the source of this version."


def _kernels_own(connection: DuckDBPyConnection, run: Row) -> list[Block]:
    """Recorded operations of whole lives against the policy of the recorded kernel."""
    policy = run["own_policy"]
    found = queries.rows(
        connection,
        """
        SELECT pages.page_kind AS kind, count(*) AS lives,
            sum(ref_plain)::BIGINT AS recorded_plain,
            sum(
                alloc_plain + (1 << "order") * alloc_page_plain + ref_use_plain
                + frees * free_plain + pages_freed * free_page_plain
            )::BIGINT AS model_plain,
            sum(ref_locked)::BIGINT AS recorded_locked,
            sum(
                alloc_locked + (1 << "order") * alloc_page_locked + ref_use_locked
                + frees * free_locked + pages_freed * free_page_locked
            )::BIGINT AS model_locked
        FROM pages
        INNER JOIN policies ON policies.run = pages.run AND policies.name = $policy
        INNER JOIN policy_costs AS costs
            ON costs.run = pages.run AND costs.policy = policies.policy
            AND costs.page_kind = pages.page_kind
        WHERE pages.run = $run AND ref_locked IS NOT NULL
            AND alloc_seq IS NOT NULL AND free_seq IS NOT NULL
        GROUP BY kind ORDER BY lives DESC, kind
        """,
        run=run["run"],
        policy=policy,
    )
    if not found:
        return []
    rows: list[list[Cell]] = [_own_row(row["kind"], row) for row in found]
    names = [name for name in found[0] if name != "kind"]
    rows.append(
        [
            Strong("all"),
            *_own_row("", {name: sum(row[name] for row in found) for name in names})[1:],
        ]
    )
    return [
        Heading("The kernel’s own count"),
        Text(
            "This recording has page_ref events: every operation the kernel did on a reference "
            f"count. Under {policy}, the policy of the recorded kernel"
            f"{f' ({note})' if (note := run['own_note']) else ''}, the model’s operations at "
            "allocation and free plus those recorded in use must be the recorded ones."
        ),
        Table(
            "Operations on pages that were allocated and freed within the recording: recorded by "
            f"the kernel ●, and by the model under {policy}.",
            (
                TableColumn("page kind", numeric=False),
                TableColumn("lives ●"),
                TableColumn("plain, recorded ●"),
                TableColumn("model", minor=True),
                TableColumn("difference"),
                TableColumn("locked, recorded ●"),
                TableColumn("model"),
                TableColumn("difference"),
            ),
            rows,
        ),
    ]


def _own_row(kind: str, row: Row) -> list[Cell]:
    count = wording.count
    return [
        kind,
        count(row["lives"]),
        count(row["recorded_plain"]),
        count(row["model_plain"]),
        count(row["model_plain"] - row["recorded_plain"]),
        count(row["recorded_locked"]),
        count(row["model_locked"]),
        count(row["model_locked"] - row["recorded_locked"]),
    ]
