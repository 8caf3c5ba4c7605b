"""What could be frozen next: verdicts, who reads the count, who takes references, who breaks."""

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
    Mono,
    Strong,
    Table,
    TableColumn,
    Text,
)
from reports.rules import with_titles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from reports.queries import Row

TOP = 15  #: rows of a ranked table
_KINDS = 6  #: kinds drawn one by one; the rest is one
_NO_PAGE_REF = (
    "Who took references on these pages is not known: the recording has no page_ref events, which "
    "take a kernel built with CONFIG_DEBUG_PAGE_REF."
)


def figure(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What freezing each kind would save and what stands in its way, or why that is not known."""
    kinds = queries.rows(
        connection,
        """
        FROM freezability WHERE run = $run AND scope = 'kind'
        ORDER BY plain_ops_saved + locked_ops_saved DESC, lives DESC, page_kind
        """,
        run=run,
    )
    return [_figure(connection, kinds)] if kinds else [Text(_NO_PAGE_REF)]


def verdicts(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Which kinds of page, and whose, could be frozen, and who takes references on the others."""
    heading = Heading("What could be frozen next")
    found = queries.rows(
        connection,
        """
        FROM freezability WHERE run = $run
        ORDER BY plain_ops_saved + locked_ops_saved DESC, lives DESC, page_kind, caller, cache
        """,
        run=run,
    )
    if not found:
        return [heading, Text(_NO_PAGE_REF)]
    return [
        heading,
        _ranked([row for row in found if row["scope"] == "caller"]),
        *_readers(connection, run),
        *_takers(connection, run),
    ]


def _figure(connection: DuckDBPyConnection, kinds: list[Row]) -> Chart:
    known = queries.rows(connection, "FROM verdicts ORDER BY verdict")
    nearly = next(row["max_extra_pct"] for row in known if row["verdict"] == "nearly")
    saved = [row["plain_ops_saved"] + row["locked_ops_saved"] for row in kinds]
    return Chart(
        "The set that gives a page its count and the drop that ends it, ●: what freezing each kind "
        "of page saves, by verdict; after it, in how many of the lives that began and ended in "
        "the recording somebody took a reference beyond the first ●. The verdict is the stricter "
        "of two: by these lives, and by who reads the count in the kernel’s sources. Nearly: in at "
        f"most {wording.percent(nearly)} of the lives.",
        [
            Bars(
                [row["page_kind"] for row in kinds],
                {
                    verdict: [
                        saves * (row["verdict"] == verdict)
                        for row, saves in zip(kinds, saved, strict=True)
                    ]
                    for verdict in dict.fromkeys(row["verdict"] for row in kinds)
                },
                "first sets and last drops",
                notes=[
                    f"{wording.count(number)}; in {wording.count(row['extra_lives'])} of "
                    f"{wording.plural(row['whole_lives'], 'life', 'lives')}"
                    for row, number in zip(kinds, saved, strict=True)
                ],
            )
        ],
        view="freezability",
    )


def _ranked(found: list[Row]) -> Table:
    rows: list[list[Cell]] = [
        [
            row["page_kind"],
            Mono(wording.shortened(_allocated_by(row), 30)),
            wording.count(row["whole_lives"]),
            wording.count(row["extra_lives"]),
            wording.count(row["peak_count"]),
            row["verdict"].replace(" ", "\u00a0"),
            wording.count(row["plain_ops_saved"] + row["locked_ops_saved"]),
            wording.percent(row["saved_pct"]),
            wording.count(round(row["saved_per_second"] or 0)),
        ]
        for row in found[:TOP]
    ]
    rest = found[TOP:]
    if rest:
        saved = sum(row["plain_ops_saved"] + row["locked_ops_saved"] for row in rest)
        share = sum(row["saved_pct"] or 0 for row in rest)
        per_second = sum(row["saved_per_second"] or 0 for row in rest)
        rows.append(
            [
                wording.plural(len(rest), "other group"),
                "",
                wording.count(sum(row["whole_lives"] for row in rest)),
                wording.count(sum(row["extra_lives"] for row in rest)),
                "",
                "",
                wording.count(saved),
                wording.percent(share),
                wording.count(round(per_second)),
            ]
        )
    return Table(
        "Groups of pages by allocating function and cache, those that save most first. Whole: "
        "lives begun and ended in the recording. Extra: of these, lives in which somebody took a "
        "reference beyond the first. Peak: highest count. Saved: plain stores and locked "
        "instructions at both ends of the life, as a share of all reference operations recorded, "
        "and per second of the recording.",
        (
            TableColumn("page kind", numeric=False),
            TableColumn("allocated by ●", numeric=False, share=1),
            TableColumn("whole ●", minor=True),
            TableColumn("extra ●"),
            TableColumn("peak ●", minor=True),
            TableColumn("verdict", numeric=False),
            TableColumn("saved ●"),
            TableColumn("share"),
            TableColumn("per s", minor=True),
        ),
        rows,
    )


def _allocated_by(row: Row) -> str:
    """The function that allocated a group of pages; behind it, of slab pages, the cache."""
    caller = row["caller"] or wording.MISSING
    return f"{caller}: {row['cache']}" if row["cache"] else caller


def _readers(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """The functions that stand between the pages and their verdict, from the kernel's sources."""
    found = queries.rows(
        connection,
        """
        FROM count_readers WHERE run = $run AND by_source = 'freezable once readers change'
        """,
        run=run,
    )
    if not found:
        return []
    return [
        Table(
            "Who reads the count of these pages, takes references on them or maps them to user "
            "space, by the kernel’s sources: what would have to change before they can do "
            "without a count. Reading fires no event, so no recording shows it.",
            (
                TableColumn("page kind", numeric=False),
                TableColumn("does", numeric=False),
                TableColumn("function", numeric=False, share=1),
                TableColumn("what", numeric=False, share=1),
            ),
            [[row["page_kind"], row["does"], Mono(row["source"]), row["doc"]] for row in found],
        )
    ]


def _takers(connection: DuckDBPyConnection, run: int) -> list[Block]:
    found = queries.rows(
        connection, 'FROM reference_takers WHERE run = $run ORDER BY "references" DESC', run=run
    )
    if not found:
        return [Text("Nobody took a reference beyond the first on any page.")]
    if all(row["taker"] is None for row in found):
        return [
            Text(
                "Who took the extra references is not known: their events carry no stack (a "
                "stacktrace trigger on page_ref_mod and page_ref_mod_unless records it)."
            )
        ]
    rows: list[list[Cell]] = [
        [
            row["page_kind"],
            Mono(wording.shortened(row["caller"] or wording.MISSING, 32)),
            Mono(wording.shortened(row["taker"] or wording.MISSING, 32)),
            wording.count(row["references"]),
            wording.count(row["lives"]),
            _range(row["low_count"], row["high_count"]),
        ]
        for row in found[:TOP]
    ]
    return [
        Table(
            "Who took references beyond the first, the most frequent of "
            f"{wording.plural(len(found), 'pair')} of allocating and taking function. Count: what "
            + with_titles(
                "it was right after; it is re-read, so a neighbour’s reference may be in it (P1)."
            ),
            (
                TableColumn("page kind", numeric=False),
                TableColumn("allocated by ●", numeric=False),
                TableColumn("taken by ●", numeric=False, share=1),
                TableColumn("references ●"),
                TableColumn("lives ●"),
                TableColumn("count ●"),
            ),
            rows,
        )
    ]


def _range(low: int, high: int) -> str:
    return wording.count(low) if low == high else f"{wording.count(low)} – {wording.count(high)}"


def hazards(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """Who touches the count of pages that a policy freezes."""
    heading = Heading("Whom freezing would break")
    freezing = queries.rows(
        connection,
        """
        SELECT DISTINCT policies.policy, policies.name FROM policy_ops
        INNER JOIN policies USING (run, policy)
        SEMI JOIN pages USING (run, page_kind)
        WHERE policy_ops.run = $run AND policy_ops.frozen ORDER BY policies.policy
        """,
        run=run,
    )
    if not freezing or not _has_page_ref(connection, run):
        return []
    found = queries.rows(
        connection,
        """
        SELECT rule, outcome, breaks, page_kind, cache, taker, touches, lives, freed_held,
            list(policy) AS policies
        FROM hazards WHERE run = $run GROUP BY ALL
        ORDER BY breaks DESC, touches DESC, page_kind, cache, taker
        """,
        run=run,
    )
    note = Text(
        with_titles(
            "From 6.14 on get_page and put_page leave slab and large kmalloc pages alone and fire "
            "no event (H4): such callers show up as a warning in the kernel’s log, not here. Nor "
            "do those that only read a count: no event shows them (view count_readers)."
        )
    )
    if not found:
        names = wording.listed([row["name"] for row in freezing])
        text = f"No caller was seen to touch the count of a page that is frozen under {names}."
        return [heading, Text(text), note]
    return [heading, _hazard_table(found), note]


def _has_page_ref(connection: DuckDBPyConnection, run: int) -> bool:
    return bool(queries.rows(connection, "FROM reference_lives WHERE run = $run LIMIT 1", run=run))


def _hazard_table(found: list[Row]) -> Table:
    rows: list[list[Cell]] = [
        [
            row["rule"],
            Strong(row["outcome"]) if row["breaks"] else row["outcome"],
            row["page_kind"],
            Mono(wording.shortened(row["cache"] or "", 20)),
            Mono(wording.shortened(row["taker"] or wording.MISSING, 32)),
            wording.count(row["touches"]),
            wording.count(row["lives"]),
            wording.count(row["freed_held"]),
            ", ".join(row["policies"]),
        ]
        for row in found[:TOP]
    ]
    return Table(
        f"Callers that touched the count of pages a policy freezes, {len(rows)} of {len(found)}. "
        "Predicted: harmless as recorded, and breaks once the page is frozen. Freed, touched: "
        "breaks already. Would be refused, scanner: harmless get-unless-zero. Held: frees of "
        "objects on the page while the reference was held.",
        (
            TableColumn("rule", numeric=False),
            TableColumn("outcome", numeric=False),
            TableColumn("page kind", numeric=False),
            TableColumn("cache ◐", numeric=False),
            TableColumn("caller ●", numeric=False, share=1),
            TableColumn("touches ●"),
            TableColumn("lives ●"),
            TableColumn("held ●"),
            TableColumn("under", numeric=False),
        ),
        rows,
    )


def depth(connection: DuckDBPyConnection, run: int) -> list[Block]:
    """What it saves to set the count at each level of the allocation call stack."""
    found = queries.rows(
        connection,
        """
        SELECT level, level_name, page_kind,
            sum(plain_ops_saved + locked_ops_saved)::bigint AS saved
        FROM refcount_depth WHERE run = $run GROUP BY ALL ORDER BY level, page_kind
        """,
        run=run,
    )
    if not found:
        return []
    levels = list(dict.fromkeys(row["level_name"] for row in found))
    saved: dict[str, list[int]] = {}
    for row in found:
        saved.setdefault(row["page_kind"], []).append(row["saved"])
    largest = {
        kind: values
        for kind, values in sorted(saved.items(), key=lambda item: -max(item[1]))
        if any(values)
    }
    how = queries.rows(
        connection, "SELECT DISTINCT needs_how FROM refcount_depth WHERE run = $run", run=run
    )
    observed = all(row["needs_how"] == "observed" for row in how)
    known = (
        "by the verdict above" if observed else "by the verdict above, or by the policy’s figures ○"
    )
    heading = Heading("Where on the call stack the count is set")
    if not largest:
        return [heading, Text("At no level does setting the count save an operation here.")]
    return [
        heading,
        Chart(
            "Reference operations saved if the count were set at each level of the page "
            "allocation’s call stack, from the inside out: in prep_new_page as 6.12 does, in the "
            "wrappers alloc_pages and folio_alloc as 7.2 does, or by the function that asks for "
            "the page. A path that enters inside the level has no count; whether its pages need "
            f"one follows {known}. Those that are freezable once readers change are counted as "
            "if these had changed.",
            [
                Bars(
                    levels,
                    wording.largest(largest, _KINDS, "other kinds"),
                    "reference operations saved",
                    notes=[
                        wording.count(sum(each)) for each in zip(*largest.values(), strict=True)
                    ],
                )
            ],
            view="refcount_depth",
        ),
    ]
