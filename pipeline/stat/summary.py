"""What stands above the rows: totals with their sentences, and what perf kmem would total."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.stat.tables import PAGE, SLAB, fragmentation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.stat.run import Stat
    from pipeline.stat.tables import StatTable


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a summary.

    Attributes:
        name: what it is.
        count: how many; None: a part of the line above.
        size: bytes; None: not known.
        note: what is to be said of it.
    """

    name: str
    count: int | None
    size: int | None
    note: str = ""


def slab_lines(stat: Stat) -> Iterator[Line]:
    """The summary of objects; what is nought and no answer is left out."""
    table, counts = stat.tables[SLAB], stat.objects
    total = table.total
    yield Line("allocated", total("allocations"), total("bytes_alloc"))
    yield Line("asked for", None, total("bytes_req"), f"{_frag(table):.3f} % fragmentation")
    yield Line("freed", total("frees"), total("bytes_freed"))
    yield Line("ping-pong", total("pingpong"), None, "of these on another CPU than allocated")
    if total("ended_unseen"):
        yield Line(
            "freed unseen",
            total("ended_unseen"),
            total("bytes_ended_unseen"),
            "allocated again while live (T6)",
        )
    yield Line("live", total("live"), total("live_bytes_alloc"), _live(stat))
    if counts.large:
        yield Line(
            "whole pages",
            counts.large,
            counts.large_bytes_alloc,
            "of allocated: large kmallocs, pages too",
        )
    if (left_out := repeats_left_out(stat)) and not stat.selection:
        yield Line(
            "large kmallocs again",
            left_out,
            None,
            "left out on import; import again for their bytes (T3)",
        )
    if total("repeats"):
        yield Line(
            "large kmallocs again",
            total("repeats"),
            total("repeats_bytes_alloc"),
            "second events of these (T3), not in the above",
        )
    if total("freed_again"):
        yield Line(
            "freed again",
            total("freed_again"),
            total("bytes_freed_again"),
            "not allocated since the last free (T6)",
        )
    if counts.unknown_frees:
        yield Line("older objects freed", counts.unknown_frees, None, "allocated before")
    if counts.null_frees:
        yield Line("NULL freed", counts.null_frees, None, "kfree(NULL), kfree of kmalloc(0)")
    if counts.failed:
        yield Line("failed", counts.failed, counts.failed_bytes_alloc, "not in the above")


def page_lines(stat: Stat) -> Iterator[Line]:
    """The summary of pages, likewise."""
    table, counts = stat.tables[PAGE], stat.pages
    total = table.total
    yield Line("allocated", total("allocations"), total("bytes_alloc"))
    yield Line("freed", total("frees"), total("bytes_freed"))
    yield Line("live", total("live"), total("live_bytes_alloc"), _live(stat))
    if counts.unknown_frees:
        yield Line(
            "older pages freed",
            counts.unknown_frees,
            counts.unknown_bytes_freed,
            "allocated before",
        )
    if counts.failed:
        yield Line("failed", counts.failed, counts.failed_bytes, "not in the above")


def perf_totals(stat: Stat) -> dict[str, int]:
    """What perf kmem's summary of objects has: also repeats, failures and frees once more."""
    table, counts = stat.tables[SLAB], stat.objects
    total = table.total
    return {
        "allocations": total("allocations") + total("repeats") + counts.failed,
        "bytes_alloc": total("bytes_alloc")
        + total("repeats_bytes_alloc")
        + counts.failed_bytes_alloc,
        "bytes_req": total("bytes_req") + total("repeats_bytes_req") + counts.failed_bytes_req,
        "bytes_freed": total("bytes_freed") + total("bytes_freed_again"),
        "pingpong": total("pingpong") + total("freed_again"),
    }


def repeats_left_out(stat: Stat) -> int:
    """Second events of large kmallocs that a trace set made earlier only counts, of all events."""
    if stat.has_repeats:
        return 0
    left_out: int = stat.facts["dropped"].get("large_kmalloc_repeats", 0)
    return left_out


def summary(stat: Stat, layer: str) -> dict[str, Any]:
    """All totals of a table by name, for programs."""
    table = stat.tables[layer]
    figures = {name: int(values.sum()) for name, values in table.figures.items()}
    if layer == PAGE:
        return {**figures, **asdict(stat.pages)}
    return {
        **figures,
        "frag": _frag(table),
        **asdict(stat.objects),
        "perf_kmem": None if repeats_left_out(stat) else perf_totals(stat),
    }


def _frag(table: StatTable) -> float:
    req, alloc = (table.figures[name].sum(keepdims=True) for name in ("bytes_req", "bytes_alloc"))
    return float(fragmentation(req, alloc)[0])


def _live(stat: Stat) -> str:
    return "at the end" if stat.selection.until is None else f"at {stat.selection.until.text}"
