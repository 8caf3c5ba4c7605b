"""What validate prints: the verdict, what it rests on, and the rows, in 100 columns."""

from __future__ import annotations

from math import inf
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from reports import queries
from reports.render import wording
from reports.sections.validation.standings import APART, WHY_APART, Standing, badness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from duckdb import DuckDBPyConnection

    from reports.queries import Row

WIDTH = 100
INDENT = "  "  #: of a table
WORST = 3  #: checks named in the verdict

_SUMMARY = "FROM validation_summary WHERE list_contains($runs, run) ORDER BY run"
_ROWS = "FROM validation WHERE list_contains($runs, run) ORDER BY run, rowid"
_TRACES = """
    SELECT run, trace, kernel_release FROM runs JOIN traces USING (trace_id)
    WHERE list_contains($runs, run) ORDER BY run
"""
_HEADS = ("of", "kernel", "model", "its range", "error", "allowed", "")


class _OptionalSource(NamedTuple):
    """Something a recording may have, and quantities that are there only where it has."""

    name: str
    gives: tuple[str, ...]


_SOURCES = (
    _OptionalSource("page_ref events", ("page_ref_plain",)),
    _OptionalSource("kpageflags behind the recording", ("page_kind", "descriptor_bytes")),
    _OptionalSource("/sys/kernel/slab", ("slab_order",)),
    _OptionalSource(
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
    if len(traces) > 1:
        out.writelines(
            f"  {trace['trace']}, run {trace['run']}: {_held(_some(summary.get(trace['run'])))}\n"
            for trace in traces
        )
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
        out.write(f"\n{quantity}, {trace}\n{_wrapped(reason, 4)}\n")
        heads, *lines = _aligned([_HEADS, *map(_cells, rows)])
        out.write(heads)
        for row, line in zip(rows, lines, strict=True):
            out.write(line)
            if row["note"]:
                out.write(_wrapped(row["note"], 8) + "\n")


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
            f" off by {_figure(row['miss'])}, allowed {_figure(row['allowed'])}\n"
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
        out.write(fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False) + "\n")


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row["model_low"], row["model_high"]
    error = row["error_pct"]
    return (
        row["scope"],
        _figure(row["kernel"]),
        _figure(row["model"]),
        "" if low is None or low == high else f"{_figure(low)} - {_figure(high)}",
        "" if error is None else f"{error:+,.{0 if abs(error) >= 1000 else 2}f} %",
        "" if row["allowed"] is None else _figure(row["allowed"]),
        row["standing"],
    )


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table without its empty columns; the first column gives way to the width."""
    used = [place for place in range(len(_HEADS)) if any(row[place] for row in table[1:])]
    widths = [max(len(row[place]) for row in table) for place in used]
    widths[0] = min(widths[0], WIDTH - len(INDENT) - sum(width + 2 for width in widths[1:]))
    lines = []
    for row in table:
        cells = [row[place] for place in used]
        first = wording.shortened(cells[0], widths[0]).ljust(widths[0])
        numbers = map(str.rjust, cells[1:-1], widths[1:-1])
        lines.append(INDENT + "  ".join([first, *numbers, cells[-1]]).rstrip() + "\n")
    return lines


def _wrapped(text: str, indent: int) -> str:
    space = " " * indent
    return fill(text, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)


def _model(row: Row) -> str:
    low, high = row["model_low"], row["model_high"]
    spread = "" if low is None or low == high else f" ({_figure(low)} - {_figure(high)})"
    return _figure(row["model"]) + spread


def _figure(value: float) -> str:
    whole = value == int(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole else f"{value:,.3f}"
