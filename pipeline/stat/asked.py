"""What is asked of ``allocsim stat``, and whether it can be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.stat.rows import check_sort
from pipeline.stat.tables import KEYS, PAGE, SLAB

if TYPE_CHECKING:
    from pipeline.stat.selection import Selection

#: perf kmem's: by call site; of pages also by all it knows of a request.
_BY = {SLAB: ("site",), PAGE: ("site", "order", "migratetype", "gfp")}


@dataclass(frozen=True, slots=True)
class WantedTables:
    """Tables and their rows.

    Attributes:
        by: the keys of rows of each table, by SLAB and PAGE.
        live: what is live only.
        sort: keys and figures, the first counts most.
        lines: rows to print; 0: all.
        left_out: what is to be said of a table that cannot be had.
    """

    by: dict[str, tuple[str, ...]]
    live: bool
    sort: tuple[str, ...]
    lines: int
    left_out: str = ""


def asked(  # noqa: PLR0913 - one an option
    *,
    slab: bool,
    page: bool,
    by: str | None,
    selection: Selection,
    live: bool,
    sort: str,
    lines: int,
) -> WantedTables:
    """What options ask for.

    Args:
        slab: ``--slab``.
        page: ``--page``; both tables where neither is named.
        by: ``--by``: keys, commas between.
        selection: which events are counted.
        live: ``--live``.
        sort: ``--sort``.
        lines: ``-n``.

    Raises:
        UsageError: there is no such key, or no table has it.
    """
    named = [layer for layer, wanted in ((SLAB, slab), (PAGE, page)) if wanted]
    keys = None if by is None else _keys(by)
    found, without = {}, []
    for layer in named or (SLAB, PAGE):
        lacking = [name for name in keys or () if not KEYS[name].column(layer)]
        if layer == PAGE and selection.caches:
            without.append("pages are of no cache: --cache counts objects only")
        elif lacking:
            what = "objects have" if layer == SLAB else "pages have"
            without.append(f"{what} no {lacking[0]}")
        else:
            found[layer] = keys or _BY[layer]
    if not found or (named and without):
        raise UsageError(without[0])
    wanted = tuple(sort.split(","))
    for layer, columns in found.items():
        check_sort(wanted, layer, columns)
    return WantedTables(found, live, wanted, lines, without[0] if without else "")


def _keys(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in KEYS:
            raise UsageError(f"--by {name}: not one of {', '.join(KEYS)}")
    return names
