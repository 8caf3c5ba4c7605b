"""What stat prints: totals of a trace's objects and pages, then the rows that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.render.console import aligned, printable, wrapped
from reports.render.wording import count
from reports.rules import with_titles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


@dataclass(frozen=True, slots=True)
class TotalsTable:
    """A table and what stands above it.

    Attributes:
        title: whose totals these are.
        summary: lines of a name, how many, bytes, and what is to be said of it.
        keys: heads of the columns that say what a row is.
        figures: heads of its numbers.
        rows: of each row its keys, and its numbers.
        below: what is to be said of rows that are not shown; empty: all are.
    """

    title: str
    summary: Sequence[tuple[str, int | None, int | None, str]]
    keys: Sequence[str]
    figures: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[str]]]
    below: str


@dataclass(frozen=True, slots=True)
class TotalsText:
    """All of what is printed.

    Attributes:
        head: what was totalled, a sentence each.
        tables: one of objects, of pages, or both.
        matrix: pages by order and migratetype: heads and rows; empty: not asked for.
        notes: what is to be said below, a sentence each.
    """

    head: Sequence[str]
    tables: Sequence[TotalsTable]
    matrix: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = field(default_factory=list)


def print_totals(text: TotalsText, out: TextIO) -> None:
    """Print it in at most 100 columns.

    Args:
        text: what.
        out: where to.
    """
    out.writelines(wrapped(sentence) for sentence in text.head)
    for table in text.tables:
        out.write(f"\n{table.title}\n")
        out.writelines(_summary(table))
        if table.rows:
            out.write("\n")
            out.writelines(_rows(table))
        if table.below:
            out.write(wrapped(table.below, "  "))
    if text.matrix:
        out.write("\n")
        out.writelines(aligned(text.matrix, ()))
    if text.notes:
        out.write("\n")
    out.writelines(wrapped(with_titles(sentence)) for sentence in text.notes)


def _summary(table: TotalsTable) -> list[str]:
    heads = ("", "count", "bytes", "")
    rows = [
        (name, "" if number is None else count(number), "" if size is None else count(size), note)
        for name, number, size, note in table.summary
    ]
    return aligned([heads, *rows], (0, 3))


def _rows(table: TotalsTable) -> list[str]:
    """The rows, their keys as one cell."""
    every = [table.keys, *(keys for keys, _ in table.rows)]
    widths = [max(len(printable(keys[at])) for keys in every) for at in range(len(table.keys))]
    joined = [
        "  ".join(printable(key).ljust(width) for key, width in zip(keys, widths, strict=True))
        for keys in every
    ]
    figures = [table.figures, *(cells for _, cells in table.rows)]
    return aligned([[name.rstrip(), *cells] for name, cells in zip(joined, figures, strict=True)])
