"""Rows of a table in the order asked for, for programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UsageError
from pipeline.stat.tables import FIGURES, FRAG, KEYS, SLAB, fragmentation, resolve, sort_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from allocsim.tables import Int64
    from pipeline.stat.labels import Labels
    from pipeline.stat.tables import StatTable

DEFAULT_SORT = ("bytes_alloc", "allocations")
#: Of what is live, what stands for the figures of all.
LIVE = {
    "allocations": "live",
    "bytes_alloc": "live_bytes_alloc",
    "bytes_req": "live_bytes_req",
}


def sorted_rows(table: StatTable, sort: Sequence[str], *, live: bool) -> Int64:
    """The rows in order, largest first, equal ones by their keys, smallest first (i8).

    Args:
        table: the table.
        sort: keys and figures, the first counts most.
        live: only rows with something live, by what is.

    Names are those that check_sort has let pass.
    """
    figures = LIVE if live else {}
    shown = table.figures["live"] > 0 if live else np.ones(len(table), bool)
    rows = np.flatnonzero(shown)
    columns = []
    for name in sort:
        found = resolve(name, table.layer) or name
        columns.append(sort_values(table, found, figures)[rows])
    order = np.arange(len(rows))
    for values in reversed(columns):
        order = order[np.argsort(-_rank(values[order]), kind="stable")]
    return rows[order]


def _rank(values: np.ndarray) -> Int64:
    """Small numbers in the order of the values: a negative of u8 bits, and of floats, is none."""
    if values.dtype.kind != "f":
        values = values.view(np.uint64) if values.min(initial=0) < 0 else values
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def check_sort(names: Sequence[str], layer: str, by: Sequence[str]) -> None:
    """Whether a table can be sorted so.

    Raises:
        UsageError: it has no such key or figure.
    """
    for name in names:
        found = resolve(name, layer)
        if found is None or (found in KEYS and found not in by):
            known = [*by, *(figure.name for figure in FIGURES[layer])]
            known += [FRAG.name] if layer == SLAB else []
            which = "objects" if layer == SLAB else "pages"
            raise UsageError(f"--sort {name}: the table of {which} has {', '.join(known)}")


def columns(table: StatTable) -> list[str]:
    """Names of the columns that ``records`` gives."""
    names = []
    for name in table.by:
        code = KEYS[name].code
        names += [name, code] if code else [name]
    names += [figure.name for figure in FIGURES[table.layer]]
    return [*names, FRAG.name] if table.layer == SLAB else names


def records(table: StatTable, rows: Int64, labels: Labels) -> Iterator[tuple[object, ...]]:
    """Rows of a table as CSV and JSON have them.

    Args:
        table: the table.
        rows: which, in order.
        labels: words for its keys.
    """
    parts: list[Sequence[object]] = []
    for name in table.by:
        values = table.keys[name][rows].tolist()
        parts.append([labels.record(name, table.layer, value) for value in values])
        if KEYS[name].code:
            parts.append([labels.code(name, value) for value in values])
    parts += [table.figures[figure.name][rows].tolist() for figure in FIGURES[table.layer]]
    if table.layer == SLAB:
        share = fragmentation(table.figures["bytes_req"], table.figures["bytes_alloc"])
        parts.append(share[rows].tolist())
    return zip(*parts, strict=True)
