"""The first page of a report on several runs: the answers over all, a table and a figure."""

from __future__ import annotations

import json
import re
from statistics import median
from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE, Row
from reports.render import wording
from reports.render.document import (
    Answer,
    Block,
    Cell,
    Chart,
    Heading,
    Mono,
    OverTime,
    Points,
    Section,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import MARKS, percent, percent_between, percent_ranged
from reports.sections import questions
from reports.sections.coverage import warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

_VERSION = re.compile(r"[\d.]*")
_NOT_PAGED = (
    "Too many runs for a page each: --trace NAME or --run NUMBER gives the pages of one, --full "
    "all that is known of each."
)
_NONE_LOST = " None lost events ●."
_ROWS = 12  #: runs up to which each has a row of the figure
_GAPS = 5  #: runs whose gaps are named one by one


def section(
    connection: DuckDBPyConnection, runs: Sequence[Row], title: str, *, paged: bool
) -> Section:
    """The answers over all runs, a row each, and what policies freeze in each.

    Args:
        connection: a results database.
        runs: rows of queries.runs.
        title: the section's.
        paged: each run has a page after this section.
    """
    summaries = {run["run"]: queries.policies(connection, run["run"]) for run in runs}
    names = list(dict.fromkeys(row["policy"] for rows in summaries.values() for row in rows))
    headline = queries.headline_policy(names)
    seen = len({queries.identity(run) or run["run"] for run in runs})
    return Section(
        title,
        f"{wording.plural(len(runs), 'run')} of {wording.plural(seen, 'recording')} · "
        f"{wording.plural(sum(run['events'] for run in runs), 'event')}",
        [
            *_answers(connection, runs, summaries, headline),
            *_figure(runs, summaries, names),
            *([] if paged else [Text(_NOT_PAGED)]),
            _table(runs, summaries, headline),
            *_gaps(runs),
        ],
    )


def _answers(
    connection: DuckDBPyConnection,
    runs: Sequence[Row],
    summaries: dict[int, list[Row]],
    headline: str | None,
) -> list[Block]:
    """One sentence a question, each with its range over the runs."""
    names = {run["run"]: run["trace"] for run in runs}
    frozen: dict[str, Row] = {}
    for run, rows in summaries.items():
        for row in rows:
            if row["policy"] == headline and row["frozen_saved_pct"] is not None:
                frozen[f"{names[run]} (run {run})"] = row
    further: list[Row] = []
    models: list[Row] = []
    schemes: list[Row] = []
    for run, rows in summaries.items():
        further += filter(None, [questions.further(connection, run, rows)])
        models += filter(None, [questions.simulated(connection, run)])
        schemes += filter(None, [questions.memdesc(connection, run)])
    known = sum(row["use_how"] in {"observed", "inferred"} for row in frozen.values())
    found = (
        _frozen(frozen, headline, known),
        _further(further),
        _sheaves(models),
        _schemes(schemes),
    )
    return [
        block
        for title, each in zip(questions.QUESTIONS, found, strict=True)
        for block in (Heading(title), each)
    ]


def _spread(values: Sequence[float]) -> str:
    return percent_between(min(values), max(values))


def _frozen(frozen: dict[str, Row], headline: str | None, known: int) -> Answer:
    if not frozen:
        return Answer(
            "What freezing saves is not known: no run here has locked reference-count instructions "
            f"and was replayed under both {BASELINE} and another policy.",
            "",
        )
    most = max(frozen, key=lambda name: frozen[name]["frozen_saved_pct_high"])
    highest = percent_ranged(frozen[most], "frozen_saved_pct")
    middle = median(row["frozen_saved_pct"] for row in frozen.values())
    low = min(row["frozen_saved_pct_low"] for row in frozen.values())
    high = max(row["frozen_saved_pct_high"] for row in frozen.values())
    return Answer(
        f"Freezing, as {headline} does, removes {percent_between(low, high)} of the locked "
        f"reference-count instructions in {wording.plural(len(frozen), 'run')}: the median is "
        f"{percent(middle)}, the most {highest}, in {most}.",
        f"How: what pages see in use is observed in {wording.count(known)} of them, assumed as a "
        "range in the others. Caveat: the share follows the workload, how fast it turns slab pages "
        "over; counts, not time.",
        "policy_summary",
    )


def _further(further: list[Row]) -> Answer:
    if not further:
        return Answer(
            "What could be frozen next is not known: no run here has locked reference-count "
            f"instructions and was replayed under {BASELINE}, {questions.FARTHEST} and a policy "
            "that freezes less.",
            "",
        )
    saved: dict[str, int] = {}
    for row in further:
        for kind in row["kinds"]:
            saved[kind["page_kind"]] = saved.get(kind["page_kind"], 0) + kind["saved"]
    order = sorted(saved, key=lambda kind: (-saved[kind], kind))
    low, high = (row([each[f"pct_{end}"] for each in further]) for row, end in _ENDS)
    return Answer(
        f"Next could be {wording.kinds(order)} pages: without a count they would save "
        f"{percent_between(low, high)} more of the locked instructions of a run.",
        "How: inferred, by the kernels’ sources; most of them take changes to functions that use "
        "the count (view count_readers). Caveat: what the changed functions would cost instead is "
        "not counted.",
        "frozen_savings",
    )


_ENDS = ((min, "low"), (max, "high"))


def _sheaves(models: list[Row]) -> Answer:
    with_sheaves = [row for row in models if row["refills"] is not None]
    if not with_sheaves:
        return Answer(
            "What sheaves would do is not known: no run here simulates them.",
            "Replay without --placement recorded; on kernels before 7.0 with --set kernel=7.2.",
        )
    absent = sum(bool(row["what_if"]) for row in with_sheaves)
    locks = [1000 * row["list_locks"] / row["operations"] for row in with_sheaves]
    made, recorded = (
        sum(row[name] for row in with_sheaves) for name in ("slab_allocs", "recorded_slab_allocs")
    )
    return Answer(
        f"With sheaves, CPUs serve at least {_spread([r['fastpath_pct'] for r in with_sheaves])} "
        f"of allocations and frees by themselves, and take list_lock {min(locks):.2f} – "
        f"{max(locks):.2f} times in 1,000 of them.",
        f"How: modelled, in {wording.plural(len(with_sheaves), 'run')}, {absent} of them what-ifs; "
        f"all together it makes {wording.count(made)} slabs, the "
        f"recorded kernels made {wording.count(recorded)} (observed). Caveat: what lay on slabs "
        "older than a recording is inferred.",
        "placement_summary",
    )


def _schemes(schemes: list[Row]) -> Answer:
    if not schemes:
        return Answer(
            "What page descriptors would take is not known: no run here has a scheme with "
            f"descriptors, page events, and pages of {wording.count(questions.PAGE_SIZE)} bytes.",
            "",
        )
    used = [row["used_saved_bytes"] / 1024 for row in schemes]
    pays = sum(each < 0 for each in used)
    shares = [
        *(100 * row["saved_low_bytes"] / row["memory_bytes"] for row in schemes),
        *(row["saved_pct"] for row in schemes),
    ]
    costs = wording.span(_kib(-max(used)), _kib(-min(used)))
    return Answer(
        f"With {schemes[0]['scheme']} the pages in use would cost more than struct page in "
        f"{pays} of {wording.plural(len(schemes), 'run')} ({costs} KiB, below zero where they "
        f"save); with all other pages it saves {_spread(shares)} of "
        "memory.",
        "How: assumed: the plan’s sizes, no kernel has them; inferred: which blocks are live at "
        "the end. Caveat: most of these machines’ pages are free, and a free page has no "
        "descriptor.",
        "descriptor_break_even",
    )


def _kib(value: float) -> str:
    return f"{value:,.1f}".replace("-", "\u2212")


def _label(run: Row) -> str:
    return f"{run['run']}  {run['trace']}"


def _version(run: Row) -> str:
    """The numbers of a kernel's release."""
    found = _VERSION.match(run["kernel_release"] or "")
    return found[0] if found and found[0] else wording.MISSING


def _table(runs: Sequence[Row], summaries: dict[int, list[Row]], headline: str | None) -> Table:
    lost = any(run["lost_events"] for run in runs)
    rows: list[list[Cell]] = []
    for run in runs:
        by_name = {row["policy"]: row for row in summaries[run["run"]]}
        base: Row = by_name.get(BASELINE, {})
        other: Row = by_name.get(headline or "", {})
        rows.append(
            [
                wording.count(run["run"]),
                Mono(wording.shortened(run["trace"], 28)),
                _version(run),
                wording.count(run["events"]),
                *([wording.count(run["lost_events"])] if lost else []),
                wording.ranged(base, "locked_ops"),
                wording.ranged(other, "frozen_ops_saved"),
                Strong(wording.percent_ranged(other, "frozen_saved_pct")),
                wording.between(*queries.other_rules(other)),
                MARKS.get(base.get("use_how", ""), wording.MISSING),
            ]
        )
    return Table(
        "The replayed recordings: locked reference-count instructions under "
        f"{BASELINE}, and how many of them {headline or 'another policy'} saves by freezing. Other "
        "rules: what the paths of its kernel save beside that, below zero where they need more. "
        "Runs differ in workload and kernel: compare policies within a run, not kernels. "
        "Use: whether the operations while a page is in use are observed ● or assumed ○; where "
        f"they are assumed, totals and shares of them are ranges.{'' if lost else _NONE_LOST}",
        (
            TableColumn("run"),
            TableColumn("trace", numeric=False, share=1),
            TableColumn("kernel", numeric=False),
            TableColumn("events ●"),
            *([TableColumn("lost ●")] if lost else []),
            TableColumn("locked"),
            TableColumn("freezing"),
            TableColumn("share"),
            TableColumn("other rules", minor=True),
            TableColumn("use", numeric=False, minor=True),
        ),
        rows,
        "policy_summary",
    )


def _figure(runs: Sequence[Row], summaries: dict[int, list[Row]], names: list[str]) -> list[Block]:
    """What policies freeze in each run; nothing where none does anywhere."""
    found: dict[str, list[tuple[float, float, float] | None]] = {}
    for name in names:
        ends = [
            next((row for row in summaries[run["run"]] if row["policy"] == name), {})
            for run in runs
        ]
        marks = [
            (row["frozen_saved_pct"], row["frozen_saved_pct_low"], row["frozen_saved_pct_high"])
            if row.get("frozen_saved_pct") is not None
            else None
            for row in ends
        ]
        if name != BASELINE and any(map(any, filter(None, marks))):
            found[name] = marks
    if not found:
        return []
    caption = f"Locked reference-count instructions that freezing saves against {BASELINE}, in %"
    label = "locked instructions saved by freezing (%)"
    if len(runs) <= _ROWS:
        return [
            Chart(
                f"{caption}; a line where the total they are a share of is assumed, from least to "
                "most.",
                [Points([_label(run) for run in runs], found, label)],
                view="policy_summary",
            )
        ]
    # A run that a policy was not asked of has no place in a row of sorted runs.
    whole = {
        name: sorted(mark[0] for mark in marks if mark)
        for name, marks in found.items()
        if None not in marks
    }
    apart = [name for name in found if name not in whole]
    left_out = f" Not drawn: {wording.listed(apart)}, not in every run." if apart else ""
    if not whole:
        return []
    edges = list(range(len(runs) + 1))
    return [
        Chart(
            f"{caption}, the runs of each policy from least to most saved; where the total is "
            f"assumed, at the middle of its range.{left_out}",
            [OverTime(edges, {}, whole, "saved (%)", "runs")],
            view="policy_summary",
        )
    ]


def _gaps(runs: Sequence[Row]) -> list[Block]:
    """What recordings do not cover."""
    gaps = [
        f"Run {run['run']} ({run['trace']}): {text}."
        for run in runs
        for text in warnings(json.loads(run["meta"] or "{}"))
    ]
    shown: list[Block] = [Text(text) for text in gaps[:_GAPS]]
    if gaps[_GAPS:]:
        rest = wording.plural(len(gaps) - _GAPS, "more gap")
        shown.append(Text(f"And {rest} in what recordings cover: allocsim info TRACE names them."))
    return shown
