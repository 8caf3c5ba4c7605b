"""A selection of a results database against stat's totals of the same allocations."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_traces
from pipeline.stat.lives import selected_lives
from pipeline.stat.run import total
from pipeline.stat.selection import Selection, selection
from pipeline.stat.tables import PAGE, SLAB
from pipeline.store.database import reading
from reports import queries
from reports.console.runs import print_selected
from reports.render.text import to_text
from reports.sections.selected import selected
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

TRACE = ROOT / "tests" / "data" / "6.18-mixed"
CHOSEN = {
    "cpu": selection(None, None, ["1"], [], []),
    "times": selection("+0.05", "+0.25", [], [], []),
    "all": selection("+0.02", None, ["0"], ["1-100000"], []),
    "cache": selection(None, None, [], [], ["dentry"]),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBPyConnection]:
    """A database with the recorded run of a trace set."""
    db: Path = tmp_path_factory.mktemp("lives") / "results.duckdb"
    replay_traces([TRACE], db, find_policies([]), Progress())
    with reading(db) as opened:
        yield opened


def ask(connection: DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return found


@pytest.mark.parametrize("name", CHOSEN)
def test_selects_the_allocations_that_stat_counts(
    connection: DuckDBPyConnection, name: str
) -> None:
    chosen = CHOSEN[name]
    by = {SLAB: ("site",)} | ({} if chosen.caches else {PAGE: ("order",)})
    found = total(TRACE, by, chosen, Progress())
    table = found.tables[SLAB]
    expected = {
        found.labels.code("site", int(site)): (int(allocs), int(size))
        for site, allocs, size in zip(
            table.keys["site"],
            table.figures["allocations"],
            table.figures["bytes_alloc"],
            strict=True,
        )
        if allocs
    }
    with selected_lives(connection, chosen):
        sites = ask(
            connection,
            "SELECT call_site, allocs, bytes_alloc FROM call_site_summary WHERE allocs > 0",
        )
        [(pages,)] = ask(
            connection,
            "SELECT sum(page_allocs) FROM page_kind_summary WHERE policy = 'refcounted'",
        )
    assert expected
    assert {f"{site:#x}": (allocs, size) for site, allocs, size in sites} == expected
    if PAGE in by:
        assert pages == found.tables[PAGE].total("allocations")


def test_parts_add_up_and_lives_stay_whole(connection: DuckDBPyConnection) -> None:
    """What is selected of each CPU is what is selected of all, life by life."""
    query = (
        "SELECT policy, page_kind, page_allocs, page_frees, locked_ops_low, locked_ops_high"
        " FROM page_kind_summary"
    )
    sums: dict[tuple[str, str], list[int]] = {}
    cpus = [cpu for (cpu,) in ask(connection, "SELECT DISTINCT alloc_cpu FROM pages")]
    for cpu in (cpu for cpu in cpus if cpu is not None):
        with selected_lives(connection, selection(None, None, [str(cpu)], [], [])):
            for policy, kind, *numbers in ask(connection, query):
                have = sums.setdefault((policy, kind), [0] * len(numbers))
                sums[policy, kind] = [a + b for a, b in zip(have, numbers, strict=True)]
    with selected_lives(connection, selection("0", None, [], [], [])):
        whole = {(policy, kind): numbers for policy, kind, *numbers in ask(connection, query)}
    assert sums == whole


def test_nothing_is_left_behind(connection: DuckDBPyConnection) -> None:
    query = "FROM page_kind_summary ORDER BY ALL"
    before = ask(connection, query)
    with selected_lives(connection, CHOSEN["cpu"]):
        assert ask(connection, query) != before
    with selected_lives(connection, Selection()):
        assert ask(connection, query) == before
    assert ask(connection, query) == before


def test_what_is_printed_says_what_is_selected(connection: DuckDBPyConnection) -> None:
    chosen = CHOSEN["all"]
    words = "from +0.02, on CPU 0, by task"
    with selected_lives(connection, chosen):
        out = StringIO()
        print_selected(connection, [1], chosen.words(), out)
        text = to_text(selected(connection, queries.runs(connection), chosen.words()))
    for printed in (out.getvalue(), text):
        assert words in printed
        assert "Not told of a selection: the simulated placement" in printed
        assert max(map(len, printed.splitlines())) <= 100
