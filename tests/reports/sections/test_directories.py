"""Waste by source directory: the tree, and what a report says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reports.render.document import Bars, Chart, Mono, Table, Text
from reports.sections import directories
from reports.sections.directories import tree

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def test_a_directory_has_those_below_it_in_it() -> None:
    waste = {
        "net": 5, "net/core": 70, "net/ipv4/netfilter": 8, "fs/ext4": 30, "fs/proc": 31,
        "drivers/net": 2, "mm": 40, "not known": 1,
    }  # fmt: skip
    assert tree(waste) == [
        ("net", 83),
        ("net/core", 70),
        ("net/ipv4/netfilter", 8),
        ("fs", 61),
        ("fs/proc", 31),
        ("fs/ext4", 30),
        ("mm", 40),
        ("drivers/net", 2),
        ("not known", 1),
    ]


PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.integers(0, 99), min_size=1))
def test_every_directory_has_a_row_and_nothing_is_lost(waste: dict[str, int]) -> None:
    found = tree(waste)
    rows = dict(found)
    assert len(rows) == len(found)
    assert waste.keys() <= rows.keys()
    for path, total in found:
        inside = (each for at, each in waste.items() if f"{at}/".startswith(f"{path}/"))
        assert total == sum(inside)
    places = {path: at for at, (path, _) in enumerate(found)}
    for path in rows:
        above = path.rpartition("/")[0]
        if above in places:
            assert places[above] < places[path]


def test_a_report_says_how_places_are_known(small: DuckDBPyConnection) -> None:
    assert directories.blocks(small, 1) == []
    small.execute("UPDATE runs SET places = 'names of functions in the sources of Linux 6.12'")
    small.execute("UPDATE call_sites SET directory = 'mm', place_how = 'inferred'")
    _, text, chart, table = directories.blocks(small, 1)
    assert isinstance(text, Text)
    assert "(names of functions in the sources of Linux 6.12)" in text.text
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    # Of 64, 64 and 192 bytes 50, 60 and 180 were asked for (tests/reports/conftest.py).
    shown = chart.panels[0]
    assert isinstance(shown, Bars)
    assert (list(shown.rows), dict(shown.parts)) == (["mm"], {"waste": [(14 + 4 + 12) / 1024]})
    assert "◐" in shown.label
    assert [row[0] for row in table.rows] == [Mono("mm")]
