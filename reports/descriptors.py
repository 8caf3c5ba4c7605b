"""Page descriptors in a run's section: what each scheme takes, why, and where it breaks even."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import descriptor_figures, queries, style, wording
from reports.document import (
    Answer,
    Block,
    Bullets,
    Cell,
    Column,
    Heading,
    Mono,
    Picture,
    Strong,
    Table,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TODAY = "struct-page"  #: the scheme others are measured against, in the views too
HEADLINE = "memdesc-8"  #: the scheme that is told first, where it was asked for
_KIB, _MIB = 1 << 10, 1 << 20


def blocks(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What memory descriptors would take in a run; empty where no scheme was asked for."""
    found = queries.rows(connection, "FROM descriptor_summary WHERE run = $run", run=run)
    even = queries.rows(connection, "FROM descriptor_break_even WHERE run = $run", run=run)
    if not found or not even:
        return []
    [machine] = queries.rows(
        connection, "FROM machines LEFT JOIN hows ON hows.how = pages_how WHERE run = $run", run=run
    )
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
        *_own(connection, run, by_name[name], machine),
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
        f"struct page takes {_mib(today['end_bytes'])} MiB ({wording.percent(today['end_pct'])})."
    )
    if saves >= 0 > at_least:
        text = (
            f"Whether {row['scheme']} saves memory on this workload cannot be said: between "
            f"{_mib(at_least)} and {_mib(saves)} MiB, negative where it costs."
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
        f"The pages in use alone {_verb(used)} {_kib(abs(used))} KiB; were all the "
        f"rest of memory page cache in blocks of one page, it would {_verb(filled, one=False)} "
        f"{_mib(abs(filled))} MiB."
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
            _mib(row["start_bytes"]),
            _mib(row["mean_bytes"]),
            _mib(row["peak_bytes"]),
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
            Column("scheme", numeric=False, share=1),
            Column("bytes a page"),
            Column("start"),
            Column("mean"),
            Column("peak"),
            Column("end"),
            Column("of memory"),
            Column("saved"),
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
                _kib(sum(row["words_saved"] for row in group)),
                _kib(cost),
                Strong(_kib(saved)) if saved < 0 else _kib(saved),
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
            Strong(_kib(sum(row["words_saved"] for row in of_kind))),
            Strong(_kib(sum(row["descriptor_cost"] for row in of_kind))),
            Strong(_kib(total)),
        ]
    )
    return Table(
        f"Who gains and who loses under {name} when the recording ends, in KiB: what smaller words "
        "save, what descriptors take with their part of the free places in their slabs, and the "
        "difference. No known block: free pages, pages of users that need no descriptor, and "
        "pages of which nothing is known.",
        (
            Column("pages of", numeric=False, share=1),
            Column("in blocks of", numeric=False),
            Column("blocks"),
            Column("pages"),
            Column("descriptor", numeric=False),
            Column("bytes"),
            Column("words save"),
            Column("descriptors ○"),
            Column("saved"),
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


def _own(connection: DuckDBPyConnection, run: int, row: Row, machine: Row) -> list[Block]:
    """The descriptors' own allocations."""
    found = queries.rows(
        connection,
        """
        SELECT descriptors.*, slabs.slabs, slabs.objects, slabs.pages, sizes.known
        FROM scheme_descriptors AS descriptors
        INNER JOIN schemes USING (run, scheme)
        LEFT JOIN (
            SELECT run, scheme, descriptor, arg_max(slabs, moment) AS slabs,
                arg_max(objects, moment) AS objects, arg_max(pages, moment) AS pages
            FROM descriptor_slabs GROUP BY ALL
        ) AS slabs USING (run, scheme, descriptor)
        LEFT JOIN (
            SELECT run, scheme, descriptor, any_value(known) AS known FROM scheme_sizes GROUP BY ALL
        ) AS sizes USING (run, scheme, descriptor)
        WHERE run = $run AND schemes.name = $scheme AND older + allocs + own_allocs > 0
        ORDER BY allocs + own_allocs DESC, descriptor
        """,
        run=run,
        scheme=row["scheme"],
    )
    [scheme] = queries.rows(
        connection,
        "FROM schemes WHERE run = $run AND name = $scheme",
        run=run,
        scheme=row["scheme"],
    )
    [events] = queries.rows(
        connection, "SELECT count(*) AS objects FROM object_events WHERE run = $run", run=run
    )
    added = row["allocs"] + row["frees"]
    if not found:
        return [Bullets([_known(machine)])]
    rows: list[list[Cell]] = [
        [
            Mono(each["name"]),
            f"{each['bytes']} {'●' if each['known'] == 'published' else '○'}",
            wording.count(each["slot_bytes"]),
            wording.count(each["older"]),
            wording.count(each["allocs"] + each["own_allocs"]),
            wording.count(each["frees"] + each["own_frees"]),
            wording.percent(
                each["fast"],
                each["allocs"] + each["own_allocs"] + each["frees"] + each["own_frees"],
            ),
            wording.count(each["slabs"]),
            _kib((each["pages"] or 0) * 4096 - (each["objects"] or 0) * each["bytes"]),
        ]
        for each in found
    ]
    settled = (
        f"after {wording.plural(scheme['passes'], 'pass', 'passes')}"
        if scheme["settled"]
        else f"not within {scheme['passes']} passes, so the figures are of the last"
    )
    added_to = (
        f"They add {wording.count(round(row['added_per_second'] or 0))} slab operations a "
        f"second, {wording.percent(added, events['objects'])} of the "
        f"{wording.count(events['objects'])} that were recorded. Slabs of descriptors need "
        f"descriptors themselves: that settled {settled}."
    )
    return [
        Table(
            "The descriptors’ own allocations, through the model of 7.2’s SLUB ○: one for each "
            "page life that needs one. Size: published ● or estimated ○. Older: allocated before "
            "the recording, taken to lie close together. Fast: served by the CPU’s own sheaves. "
            "Empty: KiB of their slabs without a descriptor at the end.",
            (
                Column("descriptor", numeric=False, share=1),
                Column("bytes"),
                Column("slot"),
                Column("older"),
                Column("allocated"),
                Column("freed"),
                Column("fast"),
                Column("slabs"),
                Column("empty"),
            ),
            rows,
        ),
        Bullets([added_to, *_simulated(connection, run, row["scheme"]), _known(machine)]),
    ]


def _simulated(connection: DuckDBPyConnection, run: int, scheme: str) -> list[str]:
    """What the scheme takes with the slabs of simulated placements."""
    found = queries.rows(
        connection,
        """
        SELECT run, end_bytes FROM descriptor_summary JOIN runs USING (run)
        WHERE of_run = $run AND scheme = $scheme ORDER BY run
        """,
        run=run,
        scheme=scheme,
    )
    return [
        f"With the slabs that the simulated run {row['run']} makes it would take "
        f"{_mib(row['end_bytes'])} MiB at the end ○."
        for row in found
    ]


def _known(machine: Row) -> str:
    """How what lies behind the figures is known."""
    stock = (
        f"Of what was allocated before it began, {machine['stock_from']} and its own events tell "
        f"of {wording.count(machine['stock_blocks'])} blocks ◐; "
        f"{wording.count(machine['unsure_blocks'])} more are in one snapshot only and untouched: "
        "they came before the recording or behind it, so they count as not known."
    )
    if machine["unknown_frames"]:
        which = "that the recording does not touch"
        if machine["stock_from"] == "meminfo":
            which = "that were in use before the recording, by meminfo,"
        stock = (
            f"There is no snapshot of /proc/kpageflags: of the "
            f"{wording.count(machine['unknown_frames'])} pages {which} nothing is known; at most "
            "each is a block with the largest descriptor."
        )
    return (
        f"The machine has {wording.count(machine['pages'])} pages, by "
        f"{machine['pages_from']} ({machine['name']}). {stock} Pages that may be charged to a "
        "memory cgroup count as not known too. The sizes of descriptors are the plan’s, published "
        "or estimated; no kernel has them yet."
    )


def _mib(value: float) -> str:
    return f"{value / _MIB:,.2f}".replace("-", "\u2212")


def _kib(value: float) -> str:
    return f"{value / _KIB:,.1f}".replace("-", "\u2212")


def _range(low: float, high: float) -> str:
    first, second = _mib(low), _mib(high)
    return first if first == second else f"{first} – {second}"


def _percents(low: float | None, high: float | None) -> str:
    first, second = wording.percent(low), wording.percent(high)
    return first if first == second else f"{first} – {second}"
