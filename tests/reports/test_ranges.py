"""What is assumed is a range: every view and print of it against numbers worked out by hand.

The run of ``small`` has no page_ref events. Its pages are freed 3 times as slab, once as large
kmalloc, twice as page table and twice as anon, which is what is exact: 8 locked instructions. Two
anon pages and one page table were allocated.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from reports import queries
from reports.console.runs import print_replayed
from reports.render.wording import between, percent_between
from reports.sections.answer import answer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Locked instructions in use of an anon page: at least, at most, and per page table likewise.
RANGES = {"refcounted": (2, 6, 1, 5), "linux-6.12": (2, 6, 1, 5), "linux-7.2": (3, 7, 1, 5)}
TOTAL = (5 + 8, 17 + 8)  # 2 x 2 + 1 to 2 x 6 + 5


@pytest.fixture
def assumed(small: DuckDBPyConnection) -> DuckDBPyConnection:
    """``small`` with ranges in use."""
    for policy, (low, high, table_low, table_high) in RANGES.items():
        small.execute(
            "UPDATE policy_ops SET locked_ops = $middle, locked_ops_low = $low,"
            " locked_ops_high = $high, locked_ops_per_table_low = $table_low,"
            " locked_ops_per_table_high = $table_high WHERE stage = 'use' AND page_kind = 'anon'"
            " AND policy = (SELECT policy FROM policies WHERE name = $policy)",
            {
                "middle": (low + high) // 2,
                "low": low,
                "high": high,
                "table_low": table_low,
                "table_high": table_high,
                "policy": policy,
            },
        )
    return small


def _rows(connection: DuckDBPyConnection, view: str) -> dict[str, Any]:
    found = queries.rows(connection, f"FROM {view} WHERE run = 1")
    return {row["policy"]: row for row in found}


@pytest.mark.slow
def test_policy_summary_has_totals_and_shares_as_ranges(assumed: DuckDBPyConnection) -> None:
    rows = _rows(assumed, "policy_summary")
    base, newer = rows["refcounted"], rows["linux-7.2"]
    assert (base["locked_ops_low"], base["locked_ops"], base["locked_ops_high"]) == (13, 19, 25)
    assert (newer["locked_ops_low"], newer["locked_ops"], newer["locked_ops_high"]) == (11, 17, 23)
    assert base["use_how"] == "assumed"
    # Freezing saves 4 at either end; the other rule costs one an anon page at either end.
    for end in ("_low", "", "_high"):
        assert newer[f"frozen_ops_saved{end}"] == 4
        assert newer[f"locked_ops_saved{end}"] == 4 - 2
    assert newer["frozen_saved_pct_low"] == pytest.approx(100 * 4 / 25)
    assert newer["frozen_saved_pct"] == pytest.approx(100 * 4 / 19)
    assert newer["frozen_saved_pct_high"] == pytest.approx(100 * 4 / 13)
    assert newer["saved_pct_low"] == pytest.approx(100 * 2 / 25)
    assert newer["saved_pct_high"] == pytest.approx(100 * 2 / 13)


@pytest.mark.slow
def test_what_freezing_saves_on_an_assumed_kind_is_a_range(assumed: DuckDBPyConnection) -> None:
    assumed.execute(
        "UPDATE policy_ops SET frozen = true, plain_ops = 0, locked_ops = 0, locked_ops_low = NULL,"
        " locked_ops_high = NULL, locked_ops_per_table_low = NULL,"
        " locked_ops_per_table_high = NULL WHERE page_kind = 'anon'"
        " AND policy = (SELECT policy FROM policies WHERE name = 'linux-7.2')",
    )
    row = _rows(assumed, "policy_summary")["linux-7.2"]
    # 4 as before, 2 frees of anon, 5 to 17 in use: these are in the saving and in the total alike.
    assert (row["frozen_ops_saved_low"], row["frozen_ops_saved_high"]) == (4 + 7, 4 + 19)
    assert row["frozen_saved_pct_low"] == pytest.approx(100 * 11 / 13)
    assert row["frozen_saved_pct_high"] == pytest.approx(100 * 23 / 25)


@pytest.mark.slow
def test_kinds_slices_and_hows_add_up_to_the_range(assumed: DuckDBPyConnection) -> None:
    for view in ("page_kind_summary", "timeline", "policy_how_summary"):
        sums = queries.rows(
            assumed,
            f"SELECT policy, sum(locked_ops_low) AS low, sum(locked_ops) AS middle,"
            f" sum(locked_ops_high) AS high FROM {view} WHERE run = 1 GROUP BY policy",
        )
        found = {row["policy"]: (row["low"], row["middle"], row["high"]) for row in sums}
        assert found["refcounted"] == (13, 19, 25), view
        assert found["linux-7.2"] == (11, 17, 23), view
    kinds = queries.rows(assumed, "FROM page_kind_summary WHERE run = 1 AND policy = 'refcounted'")
    for row in kinds:
        width = row["locked_ops_high"] - row["locked_ops_low"]
        assert width == row["use_locked_ops_high"] - row["use_locked_ops_low"]
        assert width == (12 if row["page_kind"] == "anon" else 0)


@pytest.mark.slow
def test_an_observed_run_has_no_range(assumed: DuckDBPyConnection) -> None:
    assumed.execute("UPDATE pages SET ref_use_locked = 5 WHERE run = 1")
    for row in _rows(assumed, "policy_summary").values():
        for name in ("locked_ops", "locked_ops_saved", "frozen_ops_saved", "frozen_saved_pct"):
            assert row[f"{name}_low"] == row[name] == row[f"{name}_high"], name


@pytest.mark.slow
def test_the_answer_says_what_is_assumed(assumed: DuckDBPyConnection) -> None:
    run = queries.runs(assumed)[0]
    policies = queries.policies(assumed, 1)
    how = queries.rows(assumed, "FROM policy_how_summary WHERE run = 1")
    told = answer(assumed, run, policies, how)
    text = f"{told.text} {told.note}"
    assert f"removes 4 of {between(*TOTAL)} locked reference-count instructions" in text
    assert f"({percent_between(100 * 4 / 25, 100 * 4 / 13)})" in text
    assert "which has no page_ref events: operations in use are assumed" in text
    assert "Other rules of linux-7.2 add 2 on anon pages" in text
    assert "in total it needs 2 fewer than refcounted" in text


@pytest.mark.slow
def test_replay_prints_ranges_and_says_why(assumed: DuckDBPyConnection) -> None:
    def printed() -> str:
        out = StringIO()
        print_replayed(assumed, [1], out)
        return out.getvalue()

    text = printed()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "refcounted 13 – 25 0 0 % 0 assumed" in lines
    assert "linux-7.2 11 – 23 4 16.00 – 30.77 % \u22122 assumed" in lines
    assert "removes 4 of 13 – 25 locked" in " ".join(lines)
    assert "which has no page_ref events: operations in use are assumed" in " ".join(lines)
    assumed.execute("UPDATE runs SET own_policy = 'linux-7.2', own_note = 'read alike'")
    text = printed()
    assert re.search(r"^  linux-7.2 \* ", text, re.MULTILINE)
    assert "\n* linux-7.2: read alike\n" in text


def test_without_a_locked_instruction_it_is_said_why(assumed: DuckDBPyConnection) -> None:
    assumed.execute("DELETE FROM pages WHERE free_seq IS NOT NULL OR page_kind = 'anon'")
    out = StringIO()
    print_replayed(assumed, [1], out)
    text = " ".join(out.getvalue().split())
    assert "There is no locked reference-count instruction in this recording" in text
    assert "1 allocation of pages, whose counts are set with plain stores, and 0 frees." in text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(1200, 1200, "1,200"), (1200, 3400, "1,200 \u2013 3,400"), (-5, -2, "\u22125 to \u22122")],
)
def test_a_range_of_counts_is_written_as_one_number_where_it_is_one(
    low: int, high: int, text: str
) -> None:
    assert between(low, high) == text


def test_a_range_of_shares_has_its_unit_once() -> None:
    assert percent_between(0.213, 0.528) == "0.21 \u2013 0.53\u202f%"
    assert percent_between(0.2131, 0.2132) == "0.21\u202f%"
