"""Page descriptors in a run's section: what each scheme takes, why, and where it breaks even."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import (
    Bars,
    Block,
    Cell,
    Chart,
    Heading,
    OverTime,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.render.wording import percent
from reports.sections.memdesc import own_descriptors
from reports.sections.questions import PAGE_SIZE, SCHEME, TODAY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

_REST = "no known block"  #: what the view calls pages that no live block is known to have
_PARTS = ("word", "descriptors", "slab waste", "unknown")


def _not_modelled(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Why there are no descriptors where pages are not of the model's size; else nothing."""
    [row] = queries.rows(
        connection,
        "SELECT page_size FROM runs JOIN traces USING (trace_id) WHERE run = $run",
        run=run,
    )
    if row["page_size"] == PAGE_SIZE:
        return []
    return [
        Heading("Page descriptors"),
        Text(
            f"Left out: descriptors and their slabs are modelled for pages of "
            f"{wording.count(PAGE_SIZE)} bytes, this machine has pages of "
            f"{wording.count(row['page_size'])}."
        ),
    ]


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What memory descriptors would take in a run; empty where no scheme was asked for."""
    found = queries.rows(connection, "FROM descriptor_summary WHERE run = $run", run=run)
    even = queries.rows(connection, "FROM descriptor_break_even WHERE run = $run", run=run)
    if not found or not even:
        return _not_modelled(connection, run)
    [machine] = queries.rows(connection, "FROM machines WHERE run = $run", run=run)
    by_name = {row["scheme"]: row for row in found}
    names = [row["scheme"] for row in even]
    name = SCHEME if SCHEME in names else names[-1]
    return [
        Heading("Page descriptors"),
        *_even(even[names.index(name)]),
        _overhead(connection, run, name),
        _schemes(found),
        why(connection, run, name),
        *own_descriptors.blocks(connection, run, by_name[name], machine),
    ]


def _overhead(connection: DuckDBPyConnection, run: int, name: str) -> Chart:
    """Left what each scheme takes at the end, right what one takes beside its words, over time."""
    parts = queries.rows(
        connection,
        """
        SELECT scheme, moment, seconds, part, bytes, percent FROM descriptor_overhead
        WHERE run = $run ORDER BY moment
        """,
        run=run,
    )
    last = max(row["moment"] for row in parts)
    ends = {(row["scheme"], row["part"]): row["percent"] for row in parts if row["moment"] == last}
    schemes = list(dict.fromkeys(scheme for scheme, _ in ends))
    own = [row for row in parts if row["scheme"] == name]
    return Chart(
        "What page descriptors take. Left: of each scheme when the recording ends. Right: what "
        f"{name} takes beside its words, over time: descriptors of the blocks known to be live, "
        "what their slabs have beyond them ○, and what there may be at most besides.",
        [
            Bars(
                schemes,
                {part: [ends[scheme, part] for scheme in schemes] for part in _PARTS},
                "% of memory, at the end",
            ),
            OverTime(
                [row["seconds"] for row in own if row["part"] == "word"],
                {
                    part: [row["bytes"] / 1024 for row in own if row["part"] == part][1:]
                    for part in _PARTS[1:]
                },
                {},
                "KiB beside the words",
                "s since the first event",
            ),
        ],
        beside=2,
        view="descriptor_overhead",
    )


def _schemes(found: list[Row]) -> Table:
    rows: list[list[Cell]] = [
        [
            row["scheme"],
            wording.count(row["word_bytes"]),
            wording.mib(row["start_bytes"]),
            wording.mib(row["mean_bytes"]),
            wording.mib(row["peak_bytes"]),
            wording.mib_between(row["end_bytes"], row["end_high_bytes"]),
            _percents(row["end_pct"], row["end_high_pct"]),
            wording.mib_between(row["saved_low_bytes"], row["saved_bytes"])
            if row["scheme"] != TODAY
            else wording.MISSING,
        ]
        for row in found
    ]
    return Table(
        "Every scheme, in MiB. Mean and peak are over all moments of the recording. Where there "
        "are two figures, the second has all in it that may need a descriptor and is not known "
        "to; the saving is against struct page at the end, at least and as far as is known.",
        (
            TableColumn("scheme", numeric=False, share=1),
            TableColumn("bytes a page"),
            TableColumn("start", minor=True),
            TableColumn("mean", minor=True),
            TableColumn("peak"),
            TableColumn("end"),
            TableColumn("of memory"),
            TableColumn("saved"),
        ),
        rows,
    )


def _even(place: Row) -> list[Block]:
    """At how many pages a block, or at what share of pages with a descriptor, it breaks even."""
    if place["break_even_pages"] is None:
        return []
    return [
        Text(
            f"{place['scheme']} takes as much as struct page where blocks with a descriptor have "
            f"{place['break_even_pages']:.3g} pages on average, or where they have "
            f"{percent(place['break_even_pct'])} of all pages; here they have "
            f"{place['pages_per_block']:.3g} pages, and {percent(place['described_pct'])}. A "
            f"descriptor is taken at what it costs here, its slabs with it: "
            f"{place['bytes_per_block']:.0f} bytes ○."
        )
    ]


def why(connection: DuckDBPyConnection, run: int, scheme: str, top: int = 99) -> Table:
    """Which pages cost and which save under a scheme: pages in use first, then all others.

    Args:
        connection: a results database.
        run: a recorded run.
        scheme: name of the scheme.
        top: kinds shown one by one; the others are one row.
    """
    found = queries.rows(
        connection,
        "FROM descriptor_kinds WHERE run = $run AND scheme = $scheme",
        run=run,
        scheme=scheme,
    )
    used = [row for row in found if row["page_kind"] != _REST]
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in used:
        size = "" if row["order"] is None else "one page" if row["order"] == 0 else "larger"
        kinds.setdefault((row["page_kind"], size), []).append(row)
    order = sorted(kinds.items(), key=lambda item: sum(row["saved_bytes"] for row in item[1]))
    rows = [_kind(kind, size, group) for (kind, size), group in order[:top]]
    others = [row for _, group in order[top:] for row in group]
    if others:
        rows.append(_kind(wording.plural(len(order) - top, "other group"), "", others))
    rows.append([Strong("pages in use"), *_kind("", "", used)[1:]])
    rows.append(_kind(_REST, "", [row for row in found if row["page_kind"] == _REST]))
    rows.append([Strong("all"), *_kind("", "", found)[1:]])
    return Table(
        f"Who pays and who gains under {scheme} when the recording ends, in KiB: what smaller "
        "words save, what descriptors take with their part of the free places in their slabs, and "
        "the difference. No known block: free pages, pages of users that need no descriptor, and "
        "pages of which nothing is known.",
        (
            TableColumn("pages of", numeric=False, share=1),
            TableColumn("in blocks of", numeric=False),
            TableColumn("blocks"),
            TableColumn("pages"),
            TableColumn("bytes", minor=True),
            TableColumn("words save"),
            TableColumn("descriptors ○"),
            TableColumn("saved"),
        ),
        rows,
        "descriptor_kinds",
    )


def _kind(kind: str, size: str, group: list[Row]) -> list[Cell]:
    blocks, pages, words, cost, saved = (
        sum(row[name] for row in group)
        for name in ("blocks", "pages", "words_saved", "descriptor_cost", "saved_bytes")
    )
    sizes = {row["bytes_each"] for row in group if row["bytes_each"]}
    return [
        kind,
        size,
        wording.count(blocks) if blocks else "",
        wording.count(pages),
        " – ".join(str(each) for each in sorted({min(sizes), max(sizes)})) if sizes else "",
        wording.kib(words),
        wording.kib(cost),
        wording.kib(saved),
    ]


def _percents(low: float | None, high: float | None) -> str:
    first, second = percent(low), percent(high)
    return first if first == second else f"{first} – {second}"
