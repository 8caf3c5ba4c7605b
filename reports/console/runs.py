"""What replay and sweep print of the runs that were asked for: the answer first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reports import queries
from reports.queries import BASELINE
from reports.render import wording
from reports.render.console import aligned, wrapped
from reports.sections.answer import answer
from reports.sections.caveats import caveats
from reports.sections.coverage import warnings
from reports.sections.placement import left_out
from reports.sections.selected import NOT_OF_LIVES, SELECTED
from reports.sections.sheaf_tradeoff import moving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_HOW = "FROM policy_how_summary WHERE run = $run"
_PLACEMENTS = """
    FROM placement_summary WHERE list_contains($runs, run) ORDER BY list_position($runs, run)
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
_TRADEOFF = """
    SELECT * FROM sheaf_tradeoff WHERE list_contains($runs, run)
    ORDER BY list_position($runs, run)
"""

_POLICY_HEADS = ("policy", "locked", "by freezing", "share", "by other rules", "known")
_ABOUT_POLICIES = (
    "locked: locked instructions on reference counts; by freezing: how many fewer than under "
    f"{BASELINE}, on the kinds of page that the policy freezes; share: of {BASELINE}'s; by other "
    "rules: fewer by what else the policy's kernel does, below zero: more; known: how locked is, "
    "in use: observed in page_ref events, inferred from them by the rules of another kernel, "
    "or assumed where there are none (least – most); *: the recorded kernel's own. More: view "
    "policy_summary."
)
_FAST = (
    "fast path: share of allocations and frees that the CPU's sheaves or own slab served, at "
    "least; refills, flushes: of sheaves, from and to slabs; "
)
_OF_THE_MODEL = "*: the recorded kernel as it was. All are the model's. More: view "
_ABOUT_RUNS = (
    f"{_FAST}barn: full sheaves out of it and into it; cmpxchg: locked ones, on slabs' free lists; "
    "slabs: made; list_lock, zone_lock: times taken; blank: that SLUB has none; "
    f"{_OF_THE_MODEL}placement_summary."
)
_ABOUT_CACHES = (
    f"{_FAST}sheaf: objects in one; list_lock: times taken; held: bytes of free objects in sheaves "
    f"and barn when the trace ends; {_OF_THE_MODEL}sheaf_tradeoff."
)
#: Columns of a simulated run after its settings and number; those that no run has are left out.
_COUNTS = {
    "refills": "refills",
    "flushes": "flushes",
    "barn": "barn_traffic",
    "cmpxchg": "freelist_cmpxchg",
    "slabs": "slab_allocs",
    "list_lock": "list_locks",
    "zone_lock": "zone_locks",
}
_CACHES = 8  #: shown of a sweep by cache


def print_replayed(connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """Recorded runs with their simulated ones: what freezing saves, each policy, the placement.

    Args:
        connection: a results database.
        runs: numbers of recorded and simulated runs.
        out: where to.
    """
    placed = queries.rows(connection, _PLACEMENTS, runs=list(runs))
    recorded = [run for run in queries.runs(connection) if run["run"] in runs]
    with queries.kept(connection, [run["run"] for run in recorded], queries.FREEZING):
        for run in recorded:
            _print_recorded(connection, run, out)
            simulated = [row for row in placed if row["of_run"] == run["run"]]
            out.writelines(wrapped(_placement(row)) for row in simulated)
            _print_simulated(simulated, out)
            out.write("\n")
    out.writelines(wrapped(text) for text in (_ABOUT_POLICIES, *caveats(connection, runs)))
    if placed:
        out.write(wrapped(_ABOUT_RUNS))
    _print_notes(connection, placed, runs, out)


def print_selected(
    connection: DuckDBPyConnection, runs: Sequence[int], words: str, out: TextIO
) -> None:
    """What each policy costs the selected lives of recorded runs.

    Args:
        connection: a results database whose views see the selected lives only.
        runs: numbers of recorded and simulated runs.
        words: the selection.
        out: where to.
    """
    recorded = [run for run in queries.runs(connection) if run["run"] in runs]
    out.write(wrapped(SELECTED.format(words=words)) + "\n")
    with queries.kept(connection, [run["run"] for run in recorded], queries.FREEZING):
        for run in recorded:
            out.write(wrapped(f"{run['trace']}, run {run['run']}, allocated {words}"))
            policies = queries.policies(connection, run["run"])
            rows = [_policy(row, own=row["policy"] == run["own_policy"]) for row in policies]
            out.writelines(aligned([_POLICY_HEADS, *rows], left=(0, 5)))
            out.write("\n")
    out.writelines(wrapped(text) for text in (_ABOUT_POLICIES, NOT_OF_LIVES))


def print_swept(
    connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO, *, by_cache: bool
) -> None:
    """Simulated runs, trace by trace: how far they are apart, then a row each.

    Args:
        connection: a results database.
        runs: numbers of simulated runs.
        out: where to.
        by_cache: the caches that move instead, a row a cache and run.
    """
    placed = queries.rows(connection, _PLACEMENTS, runs=list(runs))
    caches = queries.rows(connection, _TRADEOFF, runs=list(runs)) if by_cache else []
    for of_run in dict.fromkeys(row["of_run"] for row in placed):
        rows = [row for row in placed if row["of_run"] == of_run]
        out.write(wrapped(_spread(rows)))
        if by_cache:
            _print_caches([row for row in caches if row["of_run"] == of_run], rows, out)
        else:
            _print_simulated(rows, out)
        out.write("\n")
    out.write(wrapped(_ABOUT_CACHES if by_cache else _ABOUT_RUNS))
    _print_notes(connection, placed, runs, out)


def print_losses(connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """A line for each trace that lost events, and what that makes of its figures."""
    for trace, events, gaps in connection.execute(_LOSSES, [runs]).fetchall():
        more = f" and {wording.plural(gaps, 'gap')} of unknown size" if gaps else ""
        lost = wording.plural(events or 0, "event")
        out.write(wrapped(f"lost: {lost}{more} of {trace}: counts are lower bounds"))


def print_not_compared(connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """A line for each validated trace whose simulated placement is not the recorded kernel's."""
    out.writelines(
        wrapped(
            f"not compared: the simulated placement of {trace}, a what-if (allocsim replay says"
            " why)"
        )
        for (trace,) in connection.execute(_NOT_COMPARED, [runs]).fetchall()
    )


def _print_recorded(connection: DuckDBPyConnection, run: Row, out: TextIO) -> None:
    policies = queries.policies(connection, run["run"])
    how = queries.rows(connection, _HOW, run=run["run"])
    out.write(
        wrapped(
            f"{run['trace']}, run {run['run']}: Linux {run['kernel_release']}, "
            f"{wording.plural(run['cpus'], 'CPU')}, {wording.plural(run['events'], 'event')}"
        )
    )
    out.write(wrapped(answer(connection, run, policies, how).text, then=""))
    rows = [_policy(row, own=row["policy"] == run["own_policy"]) for row in policies]
    out.writelines(aligned([_POLICY_HEADS, *rows], left=(0, 5)))
    if run["own_note"]:
        out.write(wrapped(f"* {run['own_policy']}: {run['own_note']}"))


def _policy(row: Row, *, own: bool) -> tuple[str, ...]:
    return (
        row["policy"] + " *" * own,
        wording.ranged(row, "locked_ops"),
        wording.ranged(row, "frozen_ops_saved"),
        wording.percent_ranged(row, "frozen_saved_pct"),
        wording.between(*queries.other_rules(row)),
        row["use_how"] or "",
    )


def _placement(row: Row) -> str:
    """What a simulation comes to, and what was modelled."""
    what = f"a what-if ({row['what_if']})" if row["what_if"] else "the recorded kernel as it was"
    return (
        f"Run {row['run']} simulates {what}: at least {wording.percent(row['fastpath_pct'])} of "
        f"{wording.count(row['operations'])} allocations and frees take the fast path; "
        f"{wording.plural(row['slab_allocs'], 'slab')} made, where the recorded kernel made "
        f"{wording.count(row['recorded_slab_allocs'])}."
    )


def _spread(rows: Sequence[Row]) -> str:
    """How far apart the runs of a sweep are, and where among them the recorded kernel is."""
    known = [row for row in rows if row["fastpath_pct"] is not None]
    if not known:
        return f"{rows[0]['trace']}: no allocation or free is simulated."
    least, most = (end(known, key=lambda row: row["fastpath_pct"]) for end in (min, max))
    fewest, dearest = (end(known, key=lambda row: row["list_locks"]) for end in (min, max))
    operations = [row["operations"] for row in known]
    said = _settings(rows)
    text = (
        f"{rows[0]['trace']}: of {wording.between(min(operations), max(operations))} allocations "
        f"and frees the fast path serves {wording.percent(least['fastpath_pct'])} "
        f"({said[least['run']]}) to {wording.percent(most['fastpath_pct'])} ({said[most['run']]}), "
        f"with list_lock taken {wording.count(fewest['list_locks'])} ({said[fewest['run']]}) to "
        f"{wording.count(dearest['list_locks'])} times ({said[dearest['run']]})"
    )
    own = next((row for row in known if row["what_if"] is None), None)
    if own is None:
        return f"{text}. The recorded kernel itself is not among them: {rows[0]['what_if']}."
    return (
        f"{text}. The recorded kernel as it was: {wording.percent(own['fastpath_pct'])}, "
        f"{wording.count(own['list_locks'])} times."
    )


def _settings(rows: Sequence[Row]) -> dict[int, str]:
    """Settings of simulated runs of one trace in words, by the runs' numbers.

    Which SLUB is said where it was chosen or is all there is to say, and of all where they differ.
    """
    several = len({row["profile"] for row in rows}) > 1
    said = {}
    for row in rows:
        settings = json.loads(row["settings"])
        chosen = settings.pop("kernel", None)
        words = [f"{key} {value}" for key, value in settings.items()]
        if several or chosen or not words:
            words.insert(0, f"SLUB {row['profile'].removeprefix('linux-')}")
        said[row["run"]] = ", ".join(words)
    return said


def _marked(rows: Sequence[Row]) -> dict[int, str]:
    """The same, with a star behind the recorded kernel as it was."""
    said = _settings(rows)
    return {row["run"]: said[row["run"]] + " *" * (row["what_if"] is None) for row in rows}


def _print_simulated(rows: Sequence[Row], out: TextIO) -> None:
    heads = ("settings", "run", "fast path", *_COUNTS)
    marked = _marked(rows)
    cells = [
        (
            marked[row["run"]],
            str(row["run"]),
            wording.percent(row["fastpath_pct"]),
            *("" if row[name] is None else wording.count(row[name]) for name in _COUNTS.values()),
        )
        for row in rows
    ]
    if cells:
        out.writelines(aligned([heads, *cells]))


def _print_caches(caches: Sequence[Row], runs: Sequence[Row], out: TextIO) -> None:
    """The caches that move most, a row a run; how many move less, or not at all."""
    marked = _marked(runs)
    moves = moving(caches)
    heads = ("cache", "settings", "sheaf", "fast path", "refills", "flushes", "list_lock", "held")
    table: list[tuple[str, ...]] = [heads]
    for name, rows in list(moves.items())[:_CACHES]:
        for at, row in enumerate(rows):
            counts = (row[each] for each in ("refills", "flushes", "list_locks"))
            table.append(
                (
                    "" if at else name,
                    marked[row["run"]],
                    wording.count(row["capacity"]),
                    wording.percent(row["fastpath_pct"]),
                    *map(wording.count, counts),
                    f"{wording.kib(row['held_bytes'])} KiB",
                )
            )
    if len(table) > 1:
        out.writelines(aligned(table, left=(0, 1)))
    more = max(len(moves) - _CACHES, 0)
    still = len({row["cache"] for row in caches}) - len(moves)
    out.write(
        wrapped(
            f"{wording.plural(more, 'other cache')} less, {wording.count(still)} not at all; by "
            "how far refills, flushes and list_lock taken, together, lie apart."
        )
    )


def _print_notes(
    connection: DuckDBPyConnection, placed: Sequence[Row], runs: Sequence[int], out: TextIO
) -> None:
    """What is assumed, left out, refused, lost and not covered."""
    several = list(runs)
    notes = [
        f"assumed: memory zones, free pages and limits of page lists of {trace}, which has no"
        " snapshots: zone_lock is an estimate; slabs follow from events and the kernel's rules"
        for (trace,) in connection.execute(_MACHINE_ASSUMED, [several]).fetchall()
    ]
    found = left_out.of_traces(connection, several)
    notes += [f"left out of {trace}: {words}" for trace, words in found]
    notes += [
        f"run {row['run']}: {wording.plural(row['refused'], 'request')} for pages could not be "
        "served as wanted"
        for row in placed
        if row["refused"]
    ]
    out.writelines(map(wrapped, notes))
    print_losses(connection, several, out)
    for trace, meta in connection.execute(_METAS, [several]).fetchall():
        out.writelines(wrapped(f"{trace}: {text}") for text in warnings(json.loads(meta or "{}")))
