"""What the figures of a run are given is what its views say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reports import queries
from reports.render.document import Picture
from reports.sections import callers, kinds
from reports.sections.figures import timeline as figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

    AddRun = Callable[..., None]

POLICIES = ["refcounted", "linux-6.12", "linux-7.2"]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[Any, ...]]]:
    """Figure -> the arguments of each call; the figures are drawn as ever."""
    calls: dict[str, list[tuple[Any, ...]]] = {}

    def noting(name: str) -> Callable[..., Any]:
        draw = getattr(figures, name)

        def noted(*arguments: Any) -> Any:
            calls.setdefault(name, []).append(arguments)
            return draw(*arguments)

        return noted

    for name in ("by_kind", "how_known", "over_time", "ranked"):
        monkeypatch.setattr(figures, name, noting(name))
    return calls


@pytest.mark.slow
def test_layers_and_lines_over_time_are_the_timeline(
    small: DuckDBPyConnection, given: dict[str, list[tuple[Any, ...]]]
) -> None:
    [run] = queries.runs(small)
    kinds.over_time(small, run, POLICIES)
    [(edges, layers, lines)] = given["over_time"]
    assert edges == [0, 0.01, 0.015]
    for kind, drawn in layers.items():
        wanted = [
            small.execute(
                "SELECT coalesce(sum(locked_ops), 0) FROM timeline "
                "WHERE policy = 'refcounted' AND page_kind = ? AND slice = ?",
                [kind, slice_],
            ).fetchall()[0][0]
            for slice_ in (0, 1)
        ]
        assert drawn == wanted
    assert sum(map(sum, layers.values())) == 14
    assert {policy: sum(drawn) for policy, drawn in lines.items()} == {
        "refcounted": 14,
        "linux-7.2": 12,
    }


def test_kinds_beyond_the_largest_are_drawn_as_one() -> None:
    series = {f"kind {number}": [number, 10 * number] for number in range(9)}
    drawn = kinds._largest(series)
    assert list(drawn) == [f"kind {number}" for number in (8, 7, 6, 5, 4)] + ["other kinds"]
    assert drawn["other kinds"] == [1 + 2 + 3, 10 + 20 + 30]
    assert "kind 0" not in kinds._largest({"kind 0": [0, 0], "kind 1": [0, 1]})


@pytest.mark.slow
def test_shares_of_how_kinds_are_known_count_lives(
    small: DuckDBPyConnection, given: dict[str, list[tuple[Any, ...]]]
) -> None:
    kinds.by_kind(small, 1, POLICIES)
    [(names, shares)] = given["how_known"]
    assert names == ["anon", "slab", "page_table", "large_kmalloc"]
    assert shares == {
        "observed": [0, 3, 0, 1],
        "inferred": [1, 1, 2, 0],
        "assumed": [1, 0, 0, 0],
    }


@pytest.mark.slow
def test_kinds_that_change_are_drawn_again_where_others_dwarf_them(
    empty: DuckDBPyConnection, add_run: AddRun, given: dict[str, list[tuple[Any, ...]]]
) -> None:
    slab = ("slab", "observed", 0, True, 1, 0)
    anon = ("anon", "observed", None, True, 1, 1000)
    add_run(empty, 1, "dwarfed", lives=(slab, anon))
    blocks = kinds.by_kind(empty, 1, POLICIES)
    assert len([block for block in blocks if isinstance(block, Picture)]) == 3
    names, locked, baseline, ends = given["by_kind"][1]
    assert (names, baseline) == (["slab"], [1])
    assert locked == {"refcounted": [1], "linux-6.12": [1], "linux-7.2": [0]}
    assert ends == {policy: [(value, value)] for policy, [value] in locked.items()}

    add_run(empty, 2, "level", lives=(slab, slab))
    blocks = kinds.by_kind(empty, 2, POLICIES)
    assert len([block for block in blocks if isinstance(block, Picture)]) == 2


@pytest.mark.slow
def test_caches_are_ranked_by_the_locked_instructions_of_their_slabs(
    small: DuckDBPyConnection, given: dict[str, list[tuple[Any, ...]]]
) -> None:
    callers.caches(small, 1, POLICIES)
    [(names, values, _)] = given["ranked"]
    assert dict(zip(names, values, strict=True)) == {"kmalloc-64": 2, "(not known)": 1}


@pytest.mark.slow
def test_caches_beyond_the_first_are_summed_up(
    empty: DuckDBPyConnection, add_run: AddRun, given: dict[str, list[tuple[Any, ...]]]
) -> None:
    many = callers.TOP + 5
    lives = tuple(("slab", "observed", 2 + number, True, 1, None) for number in range(many))
    add_run(empty, 1, "trace", lives=lives)
    for number in range(many):
        empty.execute(
            "INSERT INTO caches (run, cache, name) VALUES (1, ?, ?)", [2 + number, f"c{number:02}"]
        )
    callers.caches(empty, 1, POLICIES)
    [(names, values, _)] = given["ranked"]
    assert names[-1] == "5 other caches"
    assert values == [1] * callers.TOP + [5]
