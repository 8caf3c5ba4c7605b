"""Who waits at the allocators' locks, by lock and over time, as a range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Block,
    Cell,
    Chart,
    Heading,
    Mono,
    OverTime,
    Table,
    TableColumn,
    Text,
)
from reports.rules import with_titles
from reports.sections.kinds import slice_edges

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TOP = 10  #: locks shown
_ROWS = "SELECT * FROM lock_contention WHERE run = $run AND slice IS NULL AND visits > 0"
_SLICES = """
    SELECT lock, "of", slice, met_high FROM lock_contention
    WHERE run = $run AND slice IS NOT NULL ORDER BY slice
"""
_UNSEEN = """
    SELECT count(*) AS locks, coalesce(sum(takes), 0)::BIGINT AS takes FROM lock_contention
    WHERE run = $run AND slice IS NULL AND visits = 0
"""
_NAMES = {"list_lock": "list_lock", "barn": "barn->lock", "zone": "zone->lock"}
_ABOUT = with_titles(
    "How often a request finds a lock held by another CPU, in the model (inferred), if a take "
    "holds it as long as the table of costs says its lines take: at least with all of them in "
    "the CPU’s own cache, at most with all last written by another package (R7.3, assumed). The "
    "lock is given in order of arrival, requests come when the recording has their events (R7.4). "
)
_RECORDED = (
    "These are times of the recorded machine: under emulation they are uneven, and their rate is "
    "not that of a real one. Compare runs of this trace with one another, no more."
)
_MADE = "These are the times that the spec of this synthetic trace asks for."


def blocks(connection: DuckDBPyConnection, simulated: int) -> list[Block]:
    """The locks that requests of a simulated run go to; empty where there are none.

    Args:
        connection: a results database.
        simulated: number of the run.
    """
    found = queries.rows(connection, _ROWS, run=simulated)
    if not found:
        return []
    [trace] = queries.rows(
        connection, "FROM runs INNER JOIN traces USING (trace_id) WHERE run = $run", run=simulated
    )
    times = _RECORDED if wording.trace_word(trace) == "recording" else _MADE
    return [
        Heading(f"Who waits at locks (run {simulated})"),
        Text(_ABOUT + times),
        _table(found),
        *_chart(connection, trace, found),
        *_unseen(connection, simulated),
    ]


def _table(found: list[Row]) -> Table:
    rows: list[list[Cell]] = [
        [
            _NAMES[row["lock"]],
            Mono(row["of"]),
            wording.count(round(row["takes"])),
            wording.count(row["visits"]),
            wording.times(row["hold_ns_low"], row["hold_ns_high"]),
            wording.percent_ranged(row, "busy_pct"),
            wording.ranged(row, "met"),
            wording.percent_ranged(row, "met_pct"),
            wording.ranged(row, "queue"),
        ]
        for row in found[:TOP]
    ]
    return Table(
        f"Locks that most requests may meet held, {len(rows)} of {len(found)}. Takes: of the lock. "
        "Requests: whose path goes to it. Hold: of one take. Busy: share of the time; above 100 % "
        "it cannot bear these requests. Met: requests that find it held by another CPU, and their "
        "share. Queue: the longest that one finds.",
        (
            TableColumn("lock", numeric=False),
            TableColumn("of", numeric=False, share=1),
            TableColumn("takes ◐"),
            TableColumn("requests ◐", minor=True),
            TableColumn("hold ○"),
            TableColumn("busy ○"),
            TableColumn("met ○"),
            TableColumn("share ○"),
            TableColumn("queue ○"),
        ),
        rows,
        view="lock_contention",
    )


def _chart(connection: DuckDBPyConnection, run: Row, found: list[Row]) -> list[Block]:
    """When the locks of the first rows are met held, at most."""
    shown = [(row["lock"], row["of"]) for row in found if row["met_high"]][:4]
    rows = queries.rows(connection, _SLICES, run=run["run"])
    if not shown or not rows:
        return []
    edges = slice_edges(run)
    lines = {f"{_NAMES[lock]} {of}": [0.0] * (len(edges) - 1) for lock, of in shown}
    for row in rows:
        if (row["lock"], row["of"]) in shown:
            lines[f"{_NAMES[row['lock']]} {row['of']}"][row["slice"]] = row["met_high"]
    return [
        Chart(
            f"Requests that meet {wording.listed(list(lines))} held, at most, over the time of the "
            f"run, in slices of {wording.duration(run['slice_ns'])}.",
            [OverTime(edges, {}, lines, "requests a slice", "s since the first event")],
            view="lock_contention",
        )
    ]


def _unseen(connection: DuckDBPyConnection, simulated: int) -> list[Block]:
    [row] = queries.rows(connection, _UNSEEN, run=simulated)
    if not row["locks"]:
        return []
    return [
        Text(
            f"Left out: {wording.plural(row['takes'], 'take')} of "
            f"{wording.plural(row['locks'], 'lock')} that no event of the recording has a moment "
            "for (prefilled sheaves, kfree_rcu, the vmstat worker)."
        )
    ]
