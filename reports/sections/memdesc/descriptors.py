"""Page descriptors in a run's section: what each scheme takes, why, and where it breaks even."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import style, wording
from reports.render.document import (
    Answer,
    Block,
    Cell,
    Heading,
    Picture,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.sections.figures import memdesc as descriptor_figures
from reports.sections.memdesc import own_descriptors

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TODAY = "struct-page"  #: the scheme others are measured against, in the views too
HEADLINE = "memdesc-8"  #: the scheme that is told first, where it was asked for

_PAGE_SIZE = 4096  # of the slabs that descriptors are put on


def _not_modelled(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Why there are no descriptors where pages are not of the model's size; else nothing."""
    [row] = queries.rows(
        connection,
        "SELECT page_size FROM runs JOIN traces USING (trace_id) WHERE run = $run",
        run=run,
    )
    if row["page_size"] == _PAGE_SIZE:
        return []
    return [
        Heading("Page descriptors"),
        Text(
            f"Left out: descriptors and their slabs are modelled for pages of "
            f"{wording.count(_PAGE_SIZE)} bytes, this machine has pages of "
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
    name = HEADLINE if HEADLINE in names else names[-1]
    of_kind = queries.rows(
        connection,
        "FROM descriptor_kinds WHERE run = $run AND scheme = $scheme",
        run=run,
        scheme=name,
    )
    place = even[names.index(name)]
    return [
        Heading("Page descriptors"),
        _answer(by_name[name], by_name[TODAY], place, of_kind),
        _overhead(connection, run, found, name),
        _schemes(found),
        _why(of_kind, name),
        _break_even(found, even, of_kind, name),
        *own_descriptors.blocks(connection, run, by_name[name], machine),
    ]


def _answer(row: Row, today: Row, place: Row, of_kind: list[Row]) -> Answer:
    """Does it save or cost, and why: the one paragraph a reader wants."""
    saves, at_least = row["saved_bytes"], row["saved_low_bytes"]
    verb = "saves" if saves >= 0 else "costs"
    low, high = sorted((abs(saves), abs(at_least)))
    text = (
        f"On this workload {row['scheme']} {verb} {_range(low, high)} MiB of memory: it takes "
        f"{_range(row['end_bytes'], row['end_high_bytes'])} MiB "
        f"({_percents(row['end_pct'], row['end_high_pct'])}) when the recording ends, where "
        f"struct page takes {wording.mib(today['end_bytes'])} MiB "
        f"({wording.percent(today['end_pct'])})."
    )
    if saves >= 0 > at_least:
        text = (
            f"Whether {row['scheme']} saves memory on this workload cannot be said: between "
            f"{wording.mib(at_least)} and {wording.mib(saves)} MiB, negative where it costs."
        )
    return Answer(text, _because(row, place, of_kind))


def _because(row: Row, place: Row, of_kind: list[Row]) -> str:
    saved_each = 64 - row["word_bytes"]
    rest = sum(each["pages"] for each in of_kind if each["page_kind"] == "no known block")
    pages = sum(each["pages"] for each in of_kind)
    single = [each for each in of_kind if each["order"] == 0 and each["bytes_each"] > 0]
    shares = (
        f"Of the machine’s pages {wording.percent(place['described_pct'])} belong to a block that "
        f"has one; {wording.percent(rest, pages)} are free, or of users that need none."
    )
    first = f"Each page’s word is {saved_each} bytes smaller; descriptors take some of that."
    sentences = [first, shares]
    if single:
        cost = sum(each["descriptor_cost"] for each in single)
        blocks = sum(each["blocks"] for each in single)
        sentences.append(
            f"A block of one page pays {cost / blocks:.0f} bytes here for its descriptor, free "
            f"places in slabs among it, which is "
            f"{'more' if cost / blocks > saved_each else 'less'} than the {saved_each} it saves; "
            f"{wording.percent(place['order0_pct'])} of the blocks with a descriptor are of one "
            "page."
        )
    used, filled = place["used_saved_bytes"], place["filled_saved_bytes"]
    sentences.append(
        f"The pages in use alone {_verb(used)} {wording.kib(abs(used))} KiB; were all the "
        f"rest of memory page cache in blocks of one page, it would {_verb(filled, one=False)} "
        f"{wording.mib(abs(filled))} MiB."
    )
    return " ".join(sentences)


def _verb(saved: float, *, one: bool = False) -> str:
    word = "save" if saved >= 0 else "cost"
    return f"{word}s" if one else word


def _overhead(connection: DuckDBPyConnection, run: int, found: list[Row], name: str) -> Picture:
    parts = queries.rows(
        connection,
        """
        SELECT scheme, moment, seconds, part, bytes, percent FROM descriptor_overhead
        WHERE run = $run ORDER BY moment
        """,
        run=run,
    )
    last = max(row["moment"] for row in parts)
    ends: dict[str, dict[str, float]] = {row["scheme"]: {} for row in found}
    for row in parts:
        if row["moment"] == last:
            ends[row["scheme"]][row["part"]] = row["percent"]
    own = [row for row in parts if row["scheme"] == name]
    seconds = [row["seconds"] for row in own if row["part"] == "word"]
    over_time = {
        part: [row["bytes"] for row in own if row["part"] == part]
        for part in descriptor_figures.PARTS[1:]
    }
    return Picture(
        "What page descriptors take. Left: of each scheme when the recording ends. Right: what "
        f"{name} takes beside its words, over time: descriptors of the blocks known to be live, "
        "and what their slabs have beyond them ○.",
        style.svg(descriptor_figures.overhead(ends, seconds, over_time, name)),
    )


def _schemes(found: list[Row]) -> Table:
    rows: list[list[Cell]] = [
        [
            row["scheme"],
            wording.count(row["word_bytes"]),
            wording.mib(row["start_bytes"]),
            wording.mib(row["mean_bytes"]),
            wording.mib(row["peak_bytes"]),
            _range(row["end_bytes"], row["end_high_bytes"]),
            _percents(row["end_pct"], row["end_high_pct"]),
            _range(row["saved_low_bytes"], row["saved_bytes"])
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
            TableColumn("start"),
            TableColumn("mean"),
            TableColumn("peak"),
            TableColumn("end"),
            TableColumn("of memory"),
            TableColumn("saved"),
        ),
        rows,
    )


def _why(of_kind: list[Row], name: str) -> Table:
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in of_kind:
        size = "one page" if row["order"] == 0 else "larger"
        kinds.setdefault((row["page_kind"], size if row["order"] is not None else ""), []).append(
            row
        )
    rows: list[list[Cell]] = []
    for (kind, size), group in sorted(
        kinds.items(), key=lambda item: -sum(row["saved_bytes"] for row in item[1])
    ):
        cost = sum(row["descriptor_cost"] for row in group)
        saved = sum(row["saved_bytes"] for row in group)
        blocks = sum(row["blocks"] for row in group)
        rows.append(
            [
                kind,
                size,
                wording.count(blocks) if blocks else "",
                wording.count(sum(row["pages"] for row in group)),
                group[0]["descriptor"] or "none",
                wording.count(group[0]["bytes_each"]) if group[0]["bytes_each"] else "",
                wording.kib(sum(row["words_saved"] for row in group)),
                wording.kib(cost),
                Strong(wording.kib(saved)) if saved < 0 else wording.kib(saved),
            ]
        )
    total = sum(row["saved_bytes"] for row in of_kind)
    rows.append(
        [
            Strong("all"),
            "",
            "",
            Strong(wording.count(sum(row["pages"] for row in of_kind))),
            "",
            "",
            Strong(wording.kib(sum(row["words_saved"] for row in of_kind))),
            Strong(wording.kib(sum(row["descriptor_cost"] for row in of_kind))),
            Strong(wording.kib(total)),
        ]
    )
    return Table(
        f"Who gains and who loses under {name} when the recording ends, in KiB: what smaller words "
        "save, what descriptors take with their part of the free places in their slabs, and the "
        "difference. No known block: free pages, pages of users that need no descriptor, and "
        "pages of which nothing is known.",
        (
            TableColumn("pages of", numeric=False, share=1),
            TableColumn("in blocks of", numeric=False),
            TableColumn("blocks"),
            TableColumn("pages"),
            TableColumn("descriptor", numeric=False),
            TableColumn("bytes"),
            TableColumn("words save"),
            TableColumn("descriptors ○"),
            TableColumn("saved"),
        ),
        rows,
    )


def _break_even(found: list[Row], even: list[Row], of_kind: list[Row], name: str) -> Picture:
    words = {row["scheme"]: row["word_bytes"] for row in found}
    schemes = {
        row["scheme"]: (words[row["scheme"]], row["bytes_per_block"] or 0.0)
        for row in even
        if words[row["scheme"]] < 64
    }
    place = next(row for row in even if row["scheme"] == name)
    points = []
    if place["pages_per_block"]:
        described, each = place["described_pages"], place["pages_per_block"]
        rest = sum(row["pages"] for row in of_kind if row["page_kind"] == "no known block")
        pages = sum(row["pages"] for row in of_kind)
        full = (described + rest) / (described / each + rest)
        points = [
            ("this machine at the end", place["described_pct"], each),
            ("its pages in use alone", place["described_of_used_pct"], each),
            (
                "the rest filled with page cache, one page a block",
                100 * (described + rest) / pages,
                full,
            ),
        ]
    return Picture(
        "Where a scheme takes as much as struct page: above its line it saves, below it costs "
        f"(shaded for {list(schemes)[-1] if schemes else name}). To the right more pages have a "
        "descriptor, upwards more pages share one. A descriptor is taken at what it costs in this "
        f"run, its slabs with it: {place['bytes_per_block'] or 0:.0f} bytes ○.",
        style.svg(descriptor_figures.break_even(schemes, points)),
    )


def _range(low: float, high: float) -> str:
    first, second = wording.mib(low), wording.mib(high)
    return first if first == second else f"{first} – {second}"


def _percents(low: float | None, high: float | None) -> str:
    first, second = wording.percent(low), wording.percent(high)
    return first if first == second else f"{first} – {second}"
