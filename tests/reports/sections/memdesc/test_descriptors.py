"""Views and report of page descriptors and costs, on a machine small enough for paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reports import queries
from reports.render.document import Answer, Report, Section
from reports.sections import costs, questions
from reports.sections.memdesc import descriptors
from tests.reports.conftest import KINDS, POLICIES, empty_database, insert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from duckdb import DuckDBPyConnection

PAGES = 1000
SLAB, PIPE = "slab", "other"
#: moment -> blocks of slab pages of order 1; one more that one snapshot alone has; charged pipes.
SLABS = {0: 10, 1: 12, 2: 11}


@pytest.fixture
def machine(add_run: Callable[..., None]) -> Iterator[DuckDBPyConnection]:
    """A run of 1000 pages: 11 slabs of two pages at the end, each with a descriptor of 64 bytes.

    They lie on two slabs of a page each, with two descriptors for these two.
    """
    with empty_database() as connection:
        add_run(connection, 1, "small")
        insert(connection, "machines", run=1, pages=PAGES, pages_how="observed",
               pages_from="zoneinfo", stock_from="kpageflags before", stock_blocks=10,
               unsure_blocks=1, gone_blocks=0, unknown_frames=0, memcg=True)  # fmt: skip
        for scheme, (name, word) in enumerate((("struct-page", 64), ("memdesc-8", 8))):
            insert(connection, "schemes", run=1, scheme=scheme, name=name, doc="", source="shipped",
                   word_bytes=word, word_known="published", word_source="", hvo=True,
                   peak_slab_pages=3 * scheme, peak_ts=5_002_000_000, mean_slab_pages=2.5 * scheme,
                   passes=2, settled=True)  # fmt: skip
            for kind in KINDS:
                for charged in (False, True):
                    has = scheme == 1 and kind == SLAB
                    acct = scheme == 1 and kind == PIPE and charged
                    insert(connection, "scheme_sizes", run=1, scheme=scheme, page_kind=kind,
                           charged=charged, descriptor=0 if has else 1 if acct else None,
                           bytes=64 if has else 32 if acct else 0, bound=acct,
                           known="published", source="a mail")  # fmt: skip
        for number, (name, size, allocs) in enumerate((("slab", 64, 2), ("acctmem", 32, 0))):
            insert(connection, "scheme_descriptors", run=1, scheme=1, descriptor=number, name=name,
                   bytes=size, slot_bytes=size, slab_order=0, slab_objects=64, full_bytes=65.0,
                   older=10 * (number == 0), allocs=allocs, frees=number == 0, own_allocs=0,
                   own_frees=0, fast=2 * (number == 0), slab_allocs=1, slab_frees=0,
                   sheaves=0)  # fmt: skip
        for moment, blocks in SLABS.items():
            rows = ((SLAB, 1, False, True, blocks), (SLAB, 0, False, False, 1),
                    (PIPE, 0, True, True, 4))  # fmt: skip
            for kind, order, charged, sure, count in rows:
                insert(connection, "internal.live_blocks", run=1, moment=moment, page_kind=kind,
                       order=order, charged=charged, sure=sure, blocks=count)  # fmt: skip
            insert(connection, "internal.descriptor_slabs", run=1, scheme=1, moment=moment,
                   descriptor=0, objects=blocks + 2, slabs=2, pages=2)  # fmt: skip
        yield connection


def test_overhead_by_hand(machine: DuckDBPyConnection) -> None:
    rows = queries.rows(machine, "FROM descriptor_overhead")
    parts = {(row["scheme"], row["moment"], row["part"]): row["bytes"] for row in rows}
    for moment, blocks in SLABS.items():
        assert parts["struct-page", moment, "word"] == 64 * PAGES
        assert parts["memdesc-8", moment, "word"] == 8 * PAGES
        assert parts["memdesc-8", moment, "descriptors"] == 64 * blocks
        assert parts["memdesc-8", moment, "slab waste"] == 2 * 4096 - 64 * blocks
        assert parts["memdesc-8", moment, "unknown"] == 64 + 4 * 32
        for part in ("descriptors", "slab waste", "unknown"):
            assert parts["struct-page", moment, part] == 0
    words = [row for row in rows if row["part"] == "word"]
    assert {row["percent"] for row in words} == {1.5625, 0.1953125}
    assert {row["seconds"] for row in rows} == {0, 0.010, 0.015}
    assert all(row["struct_page"] == 64 * PAGES for row in rows)


def test_summary_by_hand(machine: DuckDBPyConnection) -> None:
    today, new = queries.rows(machine, "FROM descriptor_summary")
    assert today["mean_bytes"] == today["peak_bytes"] == today["end_bytes"] == 64 * PAGES
    assert new["end_bytes"] == 8 * PAGES + 2 * 4096
    assert new["end_high_bytes"] == new["end_bytes"] + 64 + 128
    assert new["peak_bytes"] == 8 * PAGES + 3 * 4096
    assert new["mean_bytes"] == 8 * PAGES + 2.5 * 4096
    assert new["saved_bytes"] == 64 * PAGES - new["end_bytes"]
    assert new["saved_low_bytes"] == new["saved_bytes"] - 192
    assert new["added_per_second"] == pytest.approx(3 / 0.015)
    assert new["fast_pct"] == pytest.approx(200 / 3)
    assert new["slab_pages"] == 2
    assert new["descriptors"] == 13


def test_who_gains_adds_up_to_what_is_saved(machine: DuckDBPyConnection) -> None:
    rows = queries.rows(machine, "FROM descriptor_kinds WHERE scheme = 'memdesc-8'")
    by_kind = {row["page_kind"]: row for row in rows}
    each = 2 * 4096 / 13  # two slabs by all that lie on them
    assert by_kind["slab"]["words_saved"] == 22 * 56
    assert by_kind["slab"]["descriptor_cost"] == pytest.approx(11 * each)
    assert by_kind["descriptors' slabs"]["descriptor_cost"] == pytest.approx(2 * each)
    assert by_kind["no known block"]["pages"] == PAGES - 22 - 4
    assert by_kind["other"]["descriptor"] is None
    summary = queries.rows(machine, "FROM descriptor_summary WHERE scheme = 'memdesc-8'")
    assert sum(row["saved_bytes"] for row in rows) == pytest.approx(summary[0]["saved_bytes"])
    [even] = queries.rows(machine, "FROM descriptor_break_even")
    assert even["described_pages"] == 22
    assert even["described_pct"] == pytest.approx(2.2)
    assert even["pages_per_block"] == 2
    assert even["order0_pct"] == 0
    # All it takes, by its 11 blocks; at break-even 56 x 22 / share of the pages pays for that.
    assert even["bytes_per_block"] == pytest.approx(2 * 4096 / 11)
    assert even["break_even_pages"] == pytest.approx(0.022 * 2 * 4096 / 11 / 56)
    assert even["break_even_pct"] == pytest.approx(100 * 56 * 22 / 8192)


@pytest.mark.slow
def test_report_tells_whether_it_saves_and_why(machine: DuckDBPyConnection) -> None:
    [run] = queries.runs(machine)
    blocks = descriptors.blocks(machine, 1)
    answer = questions.descriptors(machine, run)
    used = sum(
        row["saved_bytes"]
        for row in queries.rows(machine, "FROM descriptor_kinds WHERE scheme = 'memdesc-8'")
        if row["page_kind"] != "no known block"
    )
    assert f"the pages in use would cost {-used / 1024:,.1f} KiB" in answer.text
    assert "22 of 1,000 pages" in answer.note
    assert "of all pages; here they have" in repr(blocks)
    report = Report("t", "f", [Section("s", "", blocks)])
    for phrase in (
        "descriptors' slabs",
        "no known block",
        "struct-page",
        "1,000 pages, by zoneinfo",
    ):
        assert phrase in _text(report)


def _text(report: Report) -> str:
    return repr(report)


@pytest.mark.slow
def test_a_scheme_that_costs_is_said_to(machine: DuckDBPyConnection) -> None:
    machine.execute("UPDATE internal.descriptor_slabs SET pages = 20, slabs = 20")
    [run] = queries.runs(machine)
    assert "memdesc-8 the pages in use would cost" in questions.descriptors(machine, run).text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("meminfo", "900 pages that were in use before the recording, by meminfo, nothing is"),
        ("its frees", "900 pages that the recording does not touch nothing is known"),
    ],
)
def test_the_report_says_what_nothing_is_known_of(
    machine: DuckDBPyConnection, source: str, says: str
) -> None:
    machine.execute("UPDATE machines SET unknown_frames = 900, stock_from = ?", [source])
    assert says in repr(descriptors.blocks(machine, 1))


def test_without_schemes_or_costs_there_is_no_section(small: DuckDBPyConnection) -> None:
    assert descriptors.blocks(small, 1) == []
    assert costs.blocks(small, queries.runs(small)[0], ["refcounted"]) == []


def _price(connection: DuckDBPyConnection) -> None:
    """Costs: a store 1 to 2 ns, a locked instruction 10 to 20; elsewhere 100 to 1000."""
    insert(connection, "cost_tables", run=1, name="t", doc="Made up.", source="shipped")
    for operation, low in (("store", 1), ("locked", 10), ("lock_add", 10)):
        for place, factor, high in (("own", 1, 2), ("other", 10, 50), ("unknown", 1, 50)):
            insert(connection, "cost_ops", run=1, operation=operation, place=place,
                   ns_low=low * factor, ns_high=low * high, known="estimated",
                   source="x")  # fmt: skip
    for cpu, stage, operation, place, events in (
        (0, "alloc", None, "own", 3),
        (0, "free", None, "own", 2),
        (1, "free", None, "other", 1),
        (1, "use", "lock_add", "other", 5),
    ):
        insert(connection, "internal.op_places", run=1, page_kind=SLAB, cache=0, cpu=cpu,
               stage=stage, operation=operation, place=place, events=events,
               pages=events)  # fmt: skip


def test_costs_by_hand(small: DuckDBPyConnection) -> None:
    _price(small)
    rows = {row["policy"]: row for row in queries.rows(small, "FROM policy_summary")}
    # 3 stores, 2 drops here, 1 elsewhere, 5 additions elsewhere.
    assert rows["refcounted"]["est_ns_low"] == 3 * 1 + 2 * 10 + 100 + 5 * 100
    assert rows["refcounted"]["est_ns_high"] == 3 * 2 + 2 * 20 + 500 + 5 * 500
    assert rows["linux-7.2"]["est_ns_low"] == rows["linux-7.2"]["est_ns_high"] == 0
    # The way of the line is saved in use only: at both ends the allocator goes it anyway.
    assert rows["linux-7.2"]["saved_ns_low"] == 3 * 1 + 3 * 10 + 5 * 10
    assert rows["linux-7.2"]["saved_ns_high"] == 3 * 2 + 3 * 20 + 5 * 500
    assert rows["refcounted"]["saved_ns_low"] == rows["refcounted"]["saved_ns_high"] == 0
    of_cpu = queries.rows(
        small, "SELECT sum(ops) AS ops FROM op_costs WHERE policy = 'refcounted' AND cpu = 1"
    )
    assert of_cpu[0]["ops"] == 6


@pytest.mark.slow
def test_a_policy_that_adds_operations_is_said_to(small: DuckDBPyConnection) -> None:
    _price(small)
    small.execute("UPDATE policy_ops SET locked_ops = 9 WHERE policy = 2 AND stage = 'free'")

    def said() -> str:
        run = queries.runs(small)[0]
        blocks = costs.blocks(small, run, list(POLICIES))
        return next(block.text for block in blocks if isinstance(block, Answer))

    # 8 more for each of 3 frees; in use 5 fewer, whose lines may be anywhere.
    assert "linux-7.2 saves \u22124.27 to 2.27\u202fµs, negative where it adds" in said()
    small.execute("DELETE FROM internal.op_places WHERE stage = 'use'")
    # At least 24 x 10 ns less 3 stores of 2, at most 16 x 20 + 8 x 500 less 3 stores of 1.
    assert "linux-7.2 adds 0.234 to 4.32\u202fµs" in said()


@pytest.mark.slow
def test_the_report_gives_ranges_and_their_source(small: DuckDBPyConnection) -> None:
    _price(small)
    blocks = costs.blocks(small, queries.runs(small)[0], ["refcounted", "linux-7.2"])
    [answer] = [block for block in blocks if isinstance(block, Answer)]
    assert "0.623 to 3.05\u202fµs" in answer.text
    assert "linux-7.2 saves 0.083 to 2.57\u202fµs" in answer.text
    assert "table t (shipped)" in answer.note
