"""What validate prints: the verdict, what it rests on, and the rows, in 100 columns."""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING, NamedTuple

from reports import queries
from reports.render import wording
from reports.render.console import aligned, wrapped
from reports.sections.validation.standings import APART, WHY_APART, Standing, badness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_REASON = "    "
WORST = 3  #: checks named in the verdict

_SUMMARY = "FROM validation_summary WHERE list_contains($runs, run) ORDER BY run"
_ROWS = "FROM validation WHERE list_contains($runs, run) ORDER BY run, rowid"
_TRACES = """
    SELECT run, trace, kernel_release FROM runs JOIN traces USING (trace_id)
    WHERE list_contains($runs, run) ORDER BY run
"""
_HEADS = ("of", "kernel", "model", "its range", "error", "allowed", "")


class _Source(NamedTuple):
    """Something a recording may have, and quantities that are there only where it has."""

    name: str
    gives: tuple[str, ...]


_SOURCES = (
    _Source("page_ref events", ("page_ref_plain",)),
    _Source("kpageflags after the recording", ("page_kind", "descriptor_bytes")),
    _Source("/sys/kernel/slab", ("slab_order",)),
    _Source(
        "SLUB_STATS of a recording from boot on",
        ("simulated_alloc_slab", "simulated_cpu_slabs_alloc_slab"),
    ),
)


def print_verdict(connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO) -> None:
    """How many checks there were and held, the worst of them, and what is counted apart.

    Args:
        connection: the database.
        runs: validated runs.
        out: where to.
    """
    summary = {row["run"]: row for row in queries.rows(connection, _SUMMARY, runs=list(runs))}
    traces = queries.rows(connection, _TRACES, runs=list(runs))
    found = queries.rows(connection, _ROWS, runs=list(runs))
    out.write(f"verdict: {_held(list(summary.values()))}\n")
    for trace in traces:
        held = f": {_held(_some(summary.get(trace['run'])))}" if len(traces) > 1 else ""
        out.write(wrapped(f"{trace['trace']}, run {trace['run']}{held}", "  ", "    "))
    _print_worst(found, out, several=len(traces) > 1)
    _print_apart(list(summary.values()), out)
    for trace in traces:
        of_run = [row for row in found if row["run"] == trace["run"]]
        _print_missing(trace, of_run, out)


def print_comparisons(
    connection: DuckDBPyConnection, runs: Sequence[int], out: TextIO, *, every: bool
) -> None:
    """The rows beyond their bounds, or every row, under the quantity each is of and its reason."""
    found = queries.rows(connection, _ROWS, runs=list(runs))
    shown = [row for row in found if every or row["standing"] == Standing.BEYOND]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in shown:
        groups.setdefault((row["quantity"], row["trace"], row["reason"]), []).append(row)
    for (quantity, trace, reason), rows in groups.items():
        out.write(f"\n{quantity}, {trace}\n" + wrapped(reason, _REASON, _REASON))
        heads, *lines = aligned([_HEADS, *map(_cells, rows)], left=(0, 6))
        out.write(heads)
        for row, line in zip(rows, lines, strict=True):
            out.write(line)
            if row["note"]:
                out.write(wrapped(row["note"], 2 * _REASON, 2 * _REASON))


def _some(row: Row | None) -> list[Row]:
    return [] if row is None else [row]


def _held(summary: Sequence[Row]) -> str:
    checks, within, beyond = (
        sum(row[name] for row in summary) for name in ("checks", "within_bound", "beyond_bound")
    )
    if not checks:
        return "there is nothing to check here: no row that could have failed"
    return (
        f"{wording.plural(checks, 'check')} that could fail:"
        f" {within:,} within bounds, {beyond:,} beyond"
    )


def _print_worst(found: Sequence[Row], out: TextIO, *, several: bool) -> None:
    checks = [row for row in found if row["standing"] in {Standing.WITHIN, Standing.BEYOND}]
    worst = [row for row in sorted(checks, key=badness, reverse=True)[:WORST] if row["miss"]]
    if checks and not worst:
        out.write("worst: none of them is off at all\n")
    if worst:
        out.write(f"worst {len(worst)}, by miss / allowed:\n")
    for row in worst:
        ratio = badness(row)[0]
        share = "beyond 0" if ratio == inf else f"{ratio:.2f}"
        where = f" ({row['trace']})" if several else ""
        of = f"{row['quantity']} of {row['scope']}{where}"
        out.write(f"  {share:>8}  {of}\n")
        out.write(
            f"{'':12}kernel {_figure(row['kernel'])}, model {_model(row)},"
            f" off by {_figure(row['miss'])}, allowed {_allowed(row)}\n"
        )


def _print_apart(summary: Sequence[Row], out: TextIO) -> None:
    counts = {standing: sum(row[column] for row in summary) for standing, column in APART.items()}
    if not any(counts.values()):
        return
    apart = wording.plural(sum(counts.values()), "row")
    out.write(f"counted apart, {apart} that cannot fail (--all prints every row):\n")
    out.writelines(
        f"  {count:>8,}  {WHY_APART[standing]}\n" for standing, count in counts.items() if count
    )


def _print_missing(trace: Row, rows: Sequence[Row], out: TextIO) -> None:
    """What nothing was compared with: the recording has none of it, or nothing that it is of."""
    quantities = {row["quantity"] for row in rows}
    missing = [source.name for source in _SOURCES if quantities.isdisjoint(source.gives)]
    if missing:
        text = f"nothing in {trace['trace']} to compare with: {'; '.join(missing)}"
        out.write(wrapped(text))


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row["model_low"], row["model_high"]
    error = row["error_pct"]
    return (
        row["scope"],
        _figure(row["kernel"]),
        _figure(row["model"]),
        "" if low is None or low == high else f"{_figure(low)} - {_figure(high)}",
        "" if error is None else f"{error:+,.{0 if abs(error) >= 1000 else 2}f} %",
        _allowed(row),
        row["standing"],
    )


def _model(row: Row) -> str:
    low, high = row["model_low"], row["model_high"]
    spread = "" if low is None or low == high else f" ({_figure(low)} - {_figure(high)})"
    return _figure(row["model"]) + spread


def _allowed(row: Row) -> str:
    """The largest miss within the bound: whole where counts are compared, which miss by whole."""
    if row["allowed"] is None:
        return ""
    counts = all(row[name] == int(row[name]) for name in ("kernel", "model", "miss"))
    return _figure(floor(row["allowed"]) if counts else row["allowed"])


def _figure(value: float) -> str:
    whole = value == int(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole else f"{value:,.3f}"
