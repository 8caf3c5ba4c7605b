"""The model against the kernel's own counts, for runs that allocsim validate made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Block, Cell, Heading, Mono, Strong, Table, TableColumn, Text
from reports.sections.validation.standings import APART, Standing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TOP = 30  #: rows of the table of single comparisons


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What was compared, how much of it holds, and what does not; nothing if nothing was."""
    found = queries.rows(connection, "FROM validation WHERE run = $run", run=run)
    if not found:
        return []
    return [
        Heading("The model against the kernel"),
        _verdict(connection, run),
        _summary(found),
        _singles(found),
    ]


def _verdict(connection: DuckDBPyConnection, run: int) -> Text:
    """How many checks there were, how many held, and what is counted apart."""
    [row] = queries.rows(connection, "FROM validation_summary WHERE run = $run", run=run)
    apart = [
        f"{wording.count(row[column])} {standing}"
        for standing, column in APART.items()
        if row[column]
    ]
    beside = f" Counted apart, since they cannot fail: {wording.listed(apart)}." if apart else ""
    return Text(
        f"{wording.plural(row['checks'], 'check')} that could fail:"
        f" {wording.count(row['within_bound'])} within bounds,"
        f" {wording.count(row['beyond_bound'])} beyond.{beside}"
    )


def _summary(found: list[Row]) -> Table:
    rows: list[list[Cell]] = []
    for quantity in dict.fromkeys(row["quantity"] for row in found):
        alike = [row for row in found if row["quantity"] == quantity]
        held = [row["ok"] for row in alike]
        errors = [
            abs(row["error_pct"])
            for row in alike
            if row["ok"] is not None and row["error_pct"] is not None and not _untold(row)
        ]
        rows.append(
            [
                Mono(quantity),
                wording.count(len(alike) - held.count(None)),
                wording.count(held.count(True)),
                Strong(wording.count(held.count(False))) if False in held else "0",
                wording.count(held.count(None)),
                wording.percent(max(errors, default=None)),
            ]
        )
    return Table(
        "What was compared with the kernel’s own figures, ●: page_ref events, kpageflags, sysfs. "
        "Checks: comparisons that could have failed; within, beyond: the bound declared for the "
        "quantity. Apart: what follows from a rule alone (slab shapes), has a bound of 100 % or "
        "more, an interval so wide that nothing could lie outside, or no bound. Largest error: of "
        "checks whose figure the recording can tell; of the others it tells a range, in which the "
        "kernel’s figure lies.",
        (
            TableColumn("quantity", numeric=False),
            TableColumn("checks"),
            TableColumn("within"),
            TableColumn("beyond"),
            TableColumn("apart"),
            TableColumn("largest error"),
        ),
        rows,
    )


def _singles(found: list[Row]) -> Table:
    """Those to look at first: beyond their bound, then without one, then totals and kinds."""
    rank = {Standing.BEYOND: 0, Standing.NO_BOUND: 1, Standing.WITHIN: 2}
    ordered = sorted(
        found, key=lambda row: (rank.get(row["standing"], len(rank)), row["scope"] != "total")
    )
    rows: list[list[Cell]] = [
        [
            Mono(row["quantity"]),
            Mono(wording.shortened(row["scope"], 24)),
            _figure(row["kernel"]),
            _model(row),
            wording.percent(row["error_pct"]),
            wording.percent(row["bound_pct"]),
            Strong(row["standing"]) if row["ok"] is False else _held(row),
        ]
        for row in ordered[:TOP]
    ]
    return Table(
        f"{len(rows)} of {wording.plural(len(found), 'comparison')}, those beyond their bound "
        "first, then those without one. Why a bound is what it is, or why there is none, is in the "
        "column reason of the table validation. In brackets: the model’s figures over what the "
        "recording leaves open, when the frees were that no event shows.",
        (
            TableColumn("quantity", numeric=False),
            TableColumn("of", numeric=False, share=1),
            TableColumn("kernel ●"),
            TableColumn("model"),
            TableColumn("error"),
            TableColumn("bound"),
            TableColumn("", numeric=False),
        ),
        rows,
    )


def _held(row: Row) -> str:
    return "in its range" if _untold(row) else row["standing"]


def _untold(row: Row) -> bool:
    """Within, though not by its error: by the range of what the recording cannot tell."""
    beyond = row["error_pct"] is None or abs(row["error_pct"]) > (row["bound_pct"] or 0)
    return bool(row["ok"] and beyond and row["model_low"] is not None)


def _model(row: Row) -> str:
    """The model's figure, and the range it is one of."""
    low, high = row["model_low"], row["model_high"]
    spread = "" if low is None or low == high else f" ({_figure(low)} – {_figure(high)})"
    return _figure(row["model"]) + spread


def _figure(value: float) -> str:
    return wording.count(int(value)) if value == int(value) else f"{value:,.3f}"
