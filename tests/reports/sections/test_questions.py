"""A first page gives no reason that does not hold, and no sign that is not one."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import queries
from reports.render.document import Report, Section, Text
from reports.render.text import to_text
from reports.render.wording import between, kinds, mib_between, percent_between
from reports.sections.answer import answer
from reports.sections.questions import FARTHEST, could_be_next, descriptors, sheaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

    AddRun = Callable[..., None]

POLICIES: tuple[str, ...] = (queries.BASELINE, queries.HEADLINE, FARTHEST)
#: What a run has to be replayed under, and how a missing one is called.
CALLED = {queries.BASELINE: "refcounted", FARTHEST: FARTHEST}
NO_LOCKED: dict[str, Any] = {"anon": {"alloc": (1, 0), "use": (0, 0), "free": (0, 0)}}


def only(connection: DuckDBPyConnection) -> tuple[queries.Row, list[queries.Row]]:
    [run] = queries.runs(connection)
    return run, queries.policies(connection, run["run"])


@pytest.mark.parametrize(
    "names", [names for size in (1, 2, 3) for names in combinations(POLICIES, size)], ids=str
)
def test_what_could_be_next_names_the_policies_that_are_missing(
    empty: DuckDBPyConnection, add_run: AddRun, names: tuple[str, ...]
) -> None:
    add_run(empty, 1, "trace", policies={name: {} for name in names})
    found = could_be_next(empty, *only(empty))
    text = f"{found.text} {found.note}"
    assert ("lacks policies" in text) == (len(names) < 3)
    if len(names) < 3:
        for name, called in CALLED.items():
            assert (called in text) == (name not in names)


def test_what_could_be_next_does_not_ask_for_policies_where_nothing_is_locked(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    nothing = dict.fromkeys(("slab", "large_kmalloc", "page_table", "anon"), NO_LOCKED["anon"])
    add_run(empty, 1, "trace", policies=dict.fromkeys(POLICIES, nothing))
    run, policies = only(empty)
    assert {row["locked_ops"] for row in policies} <= {0}
    found = could_be_next(empty, run, policies)
    assert "policies" not in f"{found.text} {found.note}"
    assert "there is none in this recording" in found.text


def test_reasons_do_not_contradict_the_run(empty: DuckDBPyConnection, add_run: AddRun) -> None:
    add_run(empty, 1, "trace")
    run, _ = only(empty)
    assert run["page_size"] == 4096
    assert "4,096" not in descriptors(empty, run).text
    large = descriptors(empty, run | {"page_size": 16384}).text
    assert "modelled for pages of 4,096 bytes" in large
    assert "16,384" in large
    assert "no placement was simulated" in sheaves(empty, run).text
    empty.execute(
        "INSERT INTO runs BY NAME"
        " SELECT * REPLACE (2 AS run, 1 AS of_run, 'simulated' AS placement) FROM runs"
    )
    assert "no allocation or free of an object" in sheaves(empty, run).text


def test_other_rules_that_save_and_add_are_not_one_number(
    empty: DuckDBPyConnection, add_run: AddRun
) -> None:
    counts = {"alloc": (1, 0), "free": (0, 1)}
    base = {kind: counts | {"use": (0, 5)} for kind in ("anon", "page_table")}
    other = {"anon": counts | {"use": (0, 7)}, "page_table": counts | {"use": (0, 1)}}
    add_run(empty, 1, "trace", policies={queries.BASELINE: base, queries.HEADLINE: other})
    run, policies = only(empty)
    by_kind = {
        row["page_kind"]: row["saved"]
        for row in queries.rows(
            empty,
            "SELECT page_kind, sum(locked_ops_saved)::BIGINT AS saved FROM frozen_savings"
            " WHERE policy = $policy GROUP BY page_kind",
            policy=queries.HEADLINE,
        )
    }
    assert by_kind["page_table"] > 0 > by_kind["anon"]
    note = answer(empty, run, policies, []).note
    assert f"save {by_kind['page_table']} on page table pages" in note
    assert f"add {-by_kind['anon']} on anon pages" in note


@pytest.mark.parametrize(("kernel", "done"), [("6.12.107", False), ("7.2.13", True)])
def test_what_a_kernel_has_frozen_already_is_not_said_to_be_observed(
    empty: DuckDBPyConnection, add_run: AddRun, kernel: str, *, done: bool
) -> None:
    add_run(empty, 1, "trace", kernel=kernel)
    run, policies = only(empty)
    found = answer(empty, run, policies, [])
    assert found.text.startswith("The recorded kernel freezes" if done else "Freezing")
    assert ("it does without 4 of 14" in found.text) == done
    assert ("observed" in found.note) == (not done)


@given(st.tuples(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9)).map(sorted))
def test_a_dash_of_a_range_is_never_read_as_a_sign(ends: list[int]) -> None:
    low, high = ends
    for text in (between(low, high), percent_between(low, high), mib_between(low, high)):
        assert "\u2013" not in text or "\u2212" not in text


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=20))
def test_no_line_begins_with_the_dash_of_a_range(ranges: list[tuple[int, int]]) -> None:
    text = " ".join(f"of {between(*sorted(each))} locked" for each in ranges)
    lines = to_text(Report("", "", [Section("", "", [Text(text)])])).splitlines()
    assert not any(line.startswith("-") for line in lines)
    assert max(map(len, lines)) <= 80


def test_kinds_of_page_are_words_in_a_sentence() -> None:
    assert kinds(["large_kmalloc", "slab", "page_table"]) == "large kmalloc, slab and page table"
