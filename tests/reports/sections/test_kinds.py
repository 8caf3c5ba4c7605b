"""What a run's tables and figures of page kinds are given is what its views say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import queries
from reports.render import wording
from reports.render.document import Chart, OverTime, Table
from reports.render.text import cell_text
from reports.sections import kinds
from reports.sections.allocators import callers

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

    AddRun = Callable[..., None]

POLICIES = ["refcounted", "linux-6.12", "linux-7.2"]


def test_areas_over_time_are_the_timeline(small: DuckDBPyConnection) -> None:
    [run] = queries.runs(small)
    [chart] = kinds.over_time(small, run, POLICIES)
    assert isinstance(chart, Chart)
    [steps] = chart.panels
    assert isinstance(steps, OverTime)
    assert list(steps.edges) == [0, 10, 15]  # ms
    for kind, drawn in steps.areas.items():
        wanted = [
            small.execute(
                "SELECT coalesce(sum(locked_ops), 0) FROM timeline "
                "WHERE policy = 'refcounted' AND page_kind = ? AND slice = ?",
                [kind, slice_],
            ).fetchall()[0][0]
            for slice_ in (0, 1)
        ]
        assert drawn == wanted
    assert sum(map(sum, steps.areas.values())) == 14


def test_kinds_beyond_the_largest_are_drawn_as_one() -> None:
    series = {f"kind {number}": [number, 10 * number] for number in range(9)}
    drawn = wording.largest(series, 6, "other kinds")
    assert list(drawn) == [f"kind {number}" for number in (8, 7, 6, 5, 4)] + ["other kinds"]
    assert drawn["other kinds"] == [1 + 2 + 3, 10 + 20 + 30]
    assert "kind 0" not in wording.largest({"kind 0": [0, 0], "kind 1": [0, 1]}, 6, "")


def test_a_policy_that_is_another_s_on_every_kind_has_no_column(
    small: DuckDBPyConnection,
) -> None:
    [table] = kinds.by_kind(small, 1, POLICIES)
    assert isinstance(table, Table)
    heads = [column.title for column in table.columns]
    assert heads == ["page kind", "allocs ●", "frees ●", "refcounted", "linux-7.2", "known"]
    assert "(linux-6.12: as refcounted)" in table.caption
    # 3 slab frees, 1 large kmalloc, 2 of page tables, 2 anon and 3 or 4 uses of each.
    assert {cell_text(row[0]): (row[3], row[4]) for row in table.rows[:-1]} == {
        "anon": ("8", "10"),
        "slab": ("3", "0"),
        "page_table": ("2", "2"),
        "large_kmalloc": ("1", "0"),
    }


def test_caches_beyond_the_first_are_summed_up(small: DuckDBPyConnection) -> None:
    [whole] = callers.caches(small, 1)
    [short] = callers.caches(small, 1, 1)
    assert isinstance(whole, Table)
    assert isinstance(short, Table)
    assert [cell_text(row[0]) for row in whole.rows] == ["kmalloc-64", "dentry"]
    assert [cell_text(row[0]) for row in short.rows] == ["kmalloc-64", "1 other cache"]
    assert short.rows[-1][1] == whole.rows[-1][1]
