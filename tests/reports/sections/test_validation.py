"""What is said of validated runs: how many checks held, which are worst, what is counted apart."""

from __future__ import annotations

import random
from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.store.schema import create_tables
from reports.console.validation import print_comparisons, print_verdict
from reports.render.console import WIDTH
from reports.sections.validation.standings import APART, WHY_APART, Standing
from reports.views import create_views
from tests.reports.conftest import insert

if TYPE_CHECKING:
    from collections.abc import Iterator


def comparison(standing: Standing, **values: Any) -> dict[str, Any]:
    """A row of the table validation, off by what is given as miss."""
    miss, allowed = values.pop("miss", 0), values.pop("allowed", 10)
    bounded = standing != Standing.NO_BOUND
    kernel = values.get("kernel", 100)
    row = {
        "run": 1,
        "trace": "trace-1",
        "quantity": "alloc_slab",
        "scope": "total",
        "kernel": kernel,
        "model": kernel - miss,
        "error_pct": -100 * miss / kernel,
        "bound_pct": 100 * allowed / kernel if bounded else None,
        "miss": miss if bounded else None,
        "allowed": allowed if bounded else None,
        "standing": standing,
        "ok": {Standing.WITHIN: True, Standing.BEYOND: False}.get(standing),
        "note": "",
        "reason": "Why so much.",
    }
    return row | values


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        create_tables(connection)
        for run in (1, 2):
            insert(connection, "runs", run=run, trace_id=run + 4, placement="recorded")
            insert(
                connection,
                "traces",
                trace_id=run + 4,
                trace=f"trace-{run}",
                kernel_release="7.2.13",
            )
        create_views(connection)
        yield connection


def verdict(connection: duckdb.DuckDBPyConnection, *runs: int) -> list[str]:
    out = StringIO()
    print_verdict(connection, runs, out)
    return out.getvalue().splitlines()


def rows_of(connection: duckdb.DuckDBPyConnection, *, every: bool) -> str:
    out = StringIO()
    print_comparisons(connection, [1, 2], out, every=every)
    return out.getvalue()


@pytest.mark.slow
def test_the_summary_counts_each_standing_of_each_run(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    dice = random.Random(12)  # noqa: S311
    want: dict[int, Counter[Standing]] = {1: Counter(), 2: Counter()}
    for number in range(200):
        run, standing = dice.choice((1, 2)), dice.choice(list(Standing))
        want[run][standing] += 1
        of = {"run": run, "trace": f"trace-{run}", "scope": f"cache-{number}"}
        insert(connection, "validation", **comparison(standing, **of))
    result = connection.execute("FROM validation_summary")
    names = [name for name, *_ in result.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    assert [row["run"] for row in found] == [1, 2]
    for row in found:
        counts = want[row["run"]]
        assert row["trace"] == f"trace-{row['run']}"
        assert row["comparisons"] == counts.total()
        assert row["checks"] == counts[Standing.WITHIN] + counts[Standing.BEYOND]
        assert row["within_bound"] == counts[Standing.WITHIN]
        assert row["beyond_bound"] == counts[Standing.BEYOND]
        for standing, column in APART.items():
            assert row[column] == counts[standing]


def test_every_standing_is_a_check_or_has_its_reason() -> None:
    assert set(Standing) == {Standing.WITHIN, Standing.BEYOND, *APART}
    assert list(APART) == list(WHY_APART)


def test_the_verdict_names_the_worst_by_what_their_bounds_allow(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    of = Standing.WITHIN
    for row in (
        comparison(of, scope="half", miss=5),
        comparison(of, scope="most", miss=90, allowed=100, kernel=1000),
        comparison(of, scope="exact"),
        # By its error alone this would be the worst.
        comparison(of, scope="least", miss=40, allowed=99, kernel=100),
        comparison(Standing.NO_BOUND, scope="unbounded", miss=99),
        comparison(Standing.WIDE_BOUND, scope="wide", miss=99, allowed=100),
    ):
        insert(connection, "validation", **row)
    said = verdict(connection, 1)
    assert said[0] == "verdict: 4 checks that could fail: 4 within bounds, 0 beyond"
    assert said[1:3] == ["  trace-1, run 1", "worst 3, by miss / allowed:"]
    assert [line.split(" of ")[-1] for line in said[3:9:2]] == ["most", "half", "least"]
    assert said[4].strip() == "kernel 1,000, model 910, off by 90, allowed 100"
    assert said[9] == "counted apart, 2 rows that cannot fail (--all prints every row):"
    assert rows_of(connection, every=False) == ""
    assert rows_of(connection, every=True).count("\n\n") == 0


def test_a_miss_is_printed_with_its_reason_and_comes_before_all_others(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    beyond = {"trace": "trace-2", "run": 2, "quantity": "slab_order", "allowed": 0, "miss": 1}
    insert(connection, "validation", **comparison(Standing.WITHIN, miss=9, scope="x" * 90))
    insert(connection, "validation", **comparison(Standing.BEYOND, **beyond, note="1 of 2 slabs."))
    said = verdict(connection, 1, 2)
    assert said[0] == "verdict: 2 checks that could fail: 1 within bounds, 1 beyond"
    assert said[1] == "  trace-1, run 1: 1 check that could fail: 1 within bounds, 0 beyond"
    assert said[2] == "  trace-2, run 2: 1 check that could fail: 0 within bounds, 1 beyond"
    assert said[4] == "  beyond 0  slab_order of total (trace-2)"
    text = rows_of(connection, every=False).splitlines()
    assert text[1:3] == ["slab_order, trace-2", "    Why so much."]
    assert text[4].split()[0] == "total"
    assert text[4].endswith("  beyond")
    assert text[5] == "        1 of 2 slabs."
    assert len(text) == 6
    assert all(len(line) <= WIDTH for line in rows_of(connection, every=True).splitlines())


def test_where_nothing_could_fail_the_verdict_is_not_that_all_is_well(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    insert(connection, "validation", **comparison(Standing.NO_BOUND))
    said = verdict(connection, 1, 2)
    nothing = "there is nothing to check here: no row that could have failed"
    assert said[:3] == [
        *(f"verdict: {nothing}", f"  trace-1, run 1: {nothing}", f"  trace-2, run 2: {nothing}"),
    ]
    assert not any("worst" in line for line in said)
    assert any(
        line.startswith("nothing in trace-2 to compare with: page_ref events") for line in said
    )
