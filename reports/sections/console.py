"""What replay and sweep print of the runs they added: the columns one looks at first."""

from __future__ import annotations

import json
import textwrap
from textwrap import fill
from typing import TYPE_CHECKING

from reports import queries
from reports.render.rows import write_table
from reports.render.wording import ENDS, NARROW, plural
from reports.sections.caveats import caveats
from reports.sections.coverage import warnings
from reports.sections.placement import left_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    import duckdb

_WIDTH = 100  #: of lines of text, so that they survive a mail
_POLICIES = """
    SELECT run, trace, policy, locked_ops_low, locked_ops_high,
        frozen_ops_saved_low AS freezing_low, frozen_ops_saved_high AS freezing_high,
        round(frozen_saved_pct_low, 2) AS pct_low, round(frozen_saved_pct_high, 2) AS pct_high,
        locked_ops_saved_low - frozen_ops_saved_low AS other_rules_low,
        locked_ops_saved_high - frozen_ops_saved_high AS other_rules_high,
        use_how AS use
    FROM policy_summary WHERE list_contains($runs, run)
"""
_USE_ASSUMED = """
    SELECT DISTINCT trace FROM policy_summary
    WHERE list_contains($1, run) AND locked_ops_low < locked_ops_high ORDER BY trace
"""
_OWN = """
    SELECT DISTINCT trace, kernel_release, own_policy, own_note
    FROM runs JOIN traces USING (trace_id) SEMI JOIN policy_summary USING (run)
    WHERE list_contains($1, run) ORDER BY ALL
"""
_PLACEMENTS = """
    SELECT run, trace, if(what_if IS NULL, '', 'what if') AS kernel, settings, operations,
           left_out, round(left_out_pct, 3) AS left_out_pct,
           round(fastpath_pct, 2) AS fastpath_pct, refills, flushes, barn_traffic,
           cpu_partial_moves, frees_to_slabs, slab_allocs, recorded_slab_allocs AS recorded,
           list_locks, freelist_cmpxchg, zone_locks, refused
    FROM placement_summary WHERE list_contains($1, run) ORDER BY list_position($1, run)
"""
_WHAT_IFS = """
    SELECT DISTINCT what_if FROM placement_summary
    WHERE list_contains($1, run) AND what_if IS NOT NULL ORDER BY ALL
"""
_MACHINE_ASSUMED = """
    SELECT DISTINCT trace FROM placement_quality
    WHERE list_contains($1, run) AND machine_how = 'assumed' ORDER BY ALL
"""
_LOSSES = """
    SELECT DISTINCT trace, lost_events, lost_gaps FROM runs JOIN traces USING (trace_id)
    WHERE list_contains($1, run) AND (lost_events > 0 OR lost_gaps > 0) ORDER BY ALL
"""
_METAS = """
    SELECT DISTINCT trace, meta FROM runs JOIN traces USING (trace_id)
    WHERE list_contains($1, run) ORDER BY ALL
"""
_NOT_COMPARED = """
    SELECT trace FROM validation WHERE list_contains($1, run) GROUP BY run, trace
    HAVING NOT bool_or(starts_with(quantity, 'simulated_')) ORDER BY run
"""


def print_policies(connection: duckdb.DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """Recorded runs under each policy, from the view policy_summary.

    Saved: locked instructions fewer than under 'refcounted', by freezing, its share of them, and by
    the other rules of the policy's kernel. Below: whose figures are assumed, which of the policies
    is the recorded kernel's own, and what savings count on.
    """
    found = queries.rows(connection, _POLICIES, runs=list(runs))
    rows = [_ranged(row) for row in found]
    if rows:
        write_table(list(rows[0]), [tuple(row.values()) for row in rows], out)
    notes = [
        f"assumed: {trace} has no page_ref events; what its pages see in use is a range,"
        " least..most"
        for (trace,) in connection.execute(_USE_ASSUMED, [runs]).fetchall()
    ] + [
        f"own policy of {trace} (Linux {release}): {policy}" + (f"; {note}" if note else "")
        for trace, release, policy, note in connection.execute(_OWN, [runs]).fetchall()
    ]
    out.writelines(
        textwrap.fill(sentence, _WIDTH, subsequent_indent="  ") + "\n"
        for sentence in (*notes, *caveats(connection, runs))
    )


def print_placements(
    connection: duckdb.DuckDBPyConnection, runs: Sequence[int], out: TextIO
) -> None:
    """Simulated runs in the order given, from placement_summary; which are what-ifs, and why.

    Of traces without snapshots, what is assumed; of those whose requests are not all simulated,
    what is left out.
    """
    _table(connection, _PLACEMENTS, runs, out)
    said = [
        f"assumed: memory zones, free pages and limits of page lists of {trace}, which has no"
        " snapshots: zone_locks is an estimate; slabs follow from events and the kernel's rules"
        for (trace,) in connection.execute(_MACHINE_ASSUMED, [runs]).fetchall()
    ]
    found = left_out.of_traces(connection, runs)
    said += [f"left out of {trace}: {words}" for trace, words in found]
    out.writelines(textwrap.fill(text, _WIDTH, subsequent_indent="  ") + "\n" for text in said)
    out.writelines(
        f"what if: {reason}\n" for (reason,) in connection.execute(_WHAT_IFS, [runs]).fetchall()
    )


def print_losses(connection: duckdb.DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """A line for each trace that lost events, and what that makes of its figures."""
    for trace, events, gaps in connection.execute(_LOSSES, [runs]).fetchall():
        more = f" and {plural(gaps, 'gap')} of unknown size" if gaps else ""
        out.write(
            f"lost: {plural(events or 0, 'event')}{more} of {trace}: counts are lower bounds\n"
        )


def print_coverage(connection: duckdb.DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """Lines for each trace that does not cover every CPU all the time."""
    for trace, meta in connection.execute(_METAS, [runs]).fetchall():
        for text in warnings(json.loads(meta or "{}")):
            plain = f"{trace}: {text}".replace(NARROW, " ")
            out.write(fill(plain, 100, subsequent_indent="  ") + "\n")


def print_not_compared(
    connection: duckdb.DuckDBPyConnection, runs: Sequence[int], out: TextIO
) -> None:
    """A line for each validated trace whose simulated placement is not the recorded kernel's."""
    out.writelines(
        f"not compared: the simulated placement of {trace}, a what-if (allocsim replay says why)\n"
        for (trace,) in connection.execute(_NOT_COMPARED, [runs]).fetchall()
    )


def _ranged(row: queries.Row) -> queries.Row:
    """A row whose columns of a least and a most are one: a number, or ``least..most``."""
    ends = [f"_{end}" for end in ENDS]
    found: queries.Row = {}
    for name, value in row.items():
        kept = name.removesuffix(ends[0]).removesuffix(ends[1])
        equal = kept not in found or found[kept] == value
        found[kept] = value if equal else f"{found[kept]}..{value}"
    return found


def _table(
    connection: duckdb.DuckDBPyConnection, sql: str, runs: Sequence[int], out: TextIO
) -> None:
    result = connection.execute(sql, [runs])
    names = [name for name, *_ in result.description or ()]
    rows = result.fetchall()
    if rows:
        write_table(names, rows, out)
