"""The roadmap against the lives, policies and readers it is made of, counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from allocsim.refcount.freezability import Verdict
from reports import queries
from reports.render.document import Table, Text
from reports.render.text import to_text
from reports.sections import roadmap
from tests.reports.conftest import BY_SOURCE, FROZEN, insert

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

#: Lives of the small run (tests/reports/conftest.py) that are freed, by kind: one drop each.
FREED = {"slab": 3, "large_kmalloc": 1, "page_table": 2}
NEVER: dict[str, dict[str, Any]] = {"refcounted": {}, "linux-7.2": {"slab": FROZEN}}
FARTHEST = NEVER | {"everything-freezable": dict.fromkeys(("slab", "page_table"), FROZEN)}


@pytest.fixture
def planned(empty: DuckDBPyConnection, add_run: Callable[..., None]) -> DuckDBPyConnection:
    """The small run under the policy that freezes the farthest; page tables have readers."""
    by_source = BY_SOURCE | {"page_table": Verdict.ONCE}
    add_run(empty, 1, "small", policies=FARTHEST, by_source=by_source)
    empty.execute("UPDATE runs SET own_policy = 'linux-7.2'")
    for number in range(2):
        insert(
            empty,
            "kind_readers",
            run=1,
            page_kind="page_table",
            does=("reads", "scans")[number],
            kernel_function=("other", "scanner")[number],
            source=f"mm/f.c:f{number} (6.12)",
            doc="",
        )
    return empty


def by_kind(connection: DuckDBPyConnection) -> dict[str, queries.Row]:
    return {row["page_kind"]: row for row in queries.rows(connection, "FROM roadmap")}


def test_a_step_saves_the_drops_of_what_it_freezes(planned: DuckDBPyConnection) -> None:
    rows = by_kind(planned)
    for kind in ("slab", "page_table"):
        row = rows[kind]
        assert row["locked_ops_saved_low"] == row["locked_ops_saved_high"] == FREED[kind]
    for kind in ("large_kmalloc", "anon"):
        assert rows[kind]["locked_ops_saved"] is None
    states = {kind: row["state"] for kind, row in rows.items()}
    assert states["slab"] == "done"
    assert states["page_table"] == "next"
    assert states["anon"] == states["large_kmalloc"] == "counted"


def test_readers_are_those_that_would_have_to_change(planned: DuckDBPyConnection) -> None:
    rows = by_kind(planned)
    assert rows["page_table"]["readers"] == 2  # 'reader' and 'other'; who scans stands in no way
    assert rows["slab"]["readers"] == 0
    assert rows["anon"]["readers"] == 1


def test_shares_are_of_what_refcounted_needs(planned: DuckDBPyConnection) -> None:
    [base] = queries.rows(planned, "FROM policy_summary WHERE policy = 'refcounted'")
    row = by_kind(planned)["page_table"]
    assert row["saved_pct_low"] == pytest.approx(100 * 2 / base["locked_ops_high"])
    assert row["saved_pct_low"] == row["saved_pct_high"]


def test_without_the_policy_and_schemes_nothing_is_said_of_them(small: DuckDBPyConnection) -> None:
    rows = by_kind(small)
    assert {row["locked_ops_saved"] for row in rows.values()} == {None}
    assert {row["descriptor_allocs"] for row in rows.values()} == {None}
    policy, scheme = (
        block.text
        for block in roadmap.blocks(small, 1)
        if isinstance(block, Text) and "not known" in block.text
    )
    assert "lacks the policies everything-freezable" in policy
    assert "no scheme" in scheme


def test_the_tables_are_one_a_step_and_say_which_steps_have_no_pages(
    planned: DuckDBPyConnection,
) -> None:
    blocks = roadmap.blocks(planned, 1)
    captions = [block.caption for block in blocks if isinstance(block, Table)]
    assert [caption[:7] for caption in captions] == ["Step 0:", "Step 1:", "Step 4:"]
    text = to_text(roadmap.report(planned, queries.runs(planned)))
    assert "Next could be page table pages" in text.partition("The plan")[0]  # the answer is first
    told = "here: 2 (Kernel stacks and vmalloc) and 3 (The other Misc pages)."
    assert told in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 100


def test_a_run_without_pages_has_no_roadmap(
    empty: DuckDBPyConnection, add_run: Callable[..., None]
) -> None:
    add_run(empty, 1, "none", lives=())
    assert roadmap.blocks(empty, 1) == []
    assert "No page was allocated" in to_text(roadmap.report(empty, queries.runs(empty)))
