"""Tables of costs: their form, what a recording's places mean in them, and files of one's own."""

from __future__ import annotations

import pytest

from allocsim.refcount.costs import (
    LOCKED,
    MEASURED_PLACES,
    OPERATIONS,
    cost_ops,
    costs_for,
    parse_costs,
    shipped_costs,
    to_toml,
)
from allocsim.toml_data.table import DataFileError

SHIPPED = shipped_costs()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_figure_is_a_range_with_a_source(name: str) -> None:
    table = SHIPPED[name]
    assert set(table.ranges) == {(op, place) for op in OPERATIONS for place in MEASURED_PLACES}
    for (operation, place), each in table.ranges.items():
        assert 0 < each.low < each.high, (operation, place)
        assert each.source, (operation, place)
        own = table.ranges[operation, "own"]
        assert each.low >= own.low
        assert each.high >= own.high


def test_x86_has_the_figures_of_spec_7() -> None:
    own = {op: SHIPPED["x86-64"].ranges[op, "own"] for op in OPERATIONS}
    # Measured there: 0.72 ns a store, 2.33, 2.36, 2.41 and 3.20 ns; uops.info: 18 to 20 cycles.
    measured = {
        "store": 0.72,
        "lock_add": 2.33,
        "dec_and_test": 2.36,
        "xadd": 2.41,
        "cmpxchg": 3.20,
    }
    for operation, ns in measured.items():
        assert own[operation].low <= ns <= own[operation].high
    for operation in OPERATIONS[1:]:
        for cycles, ghz in ((18, 4.0), (19, 3.3)):
            assert own[operation].low <= cycles / ghz <= own[operation].high


def test_what_is_not_known_covers_all_it_may_be() -> None:
    table = SHIPPED["x86-64"]
    rows = {(row.operation, row.place): row for row in cost_ops(table)}
    for operation in OPERATIONS:
        near, remote = (table.ranges[operation, place] for place in ("near", "remote"))
        other, unknown = rows[operation, "other"], rows[operation, "unknown"]
        assert (other.ns_low, other.ns_high) == (near.low, remote.high)
        assert unknown.ns_low == table.ranges[operation, "own"].low
        assert unknown.ns_high == remote.high
    for place in ("own", "other", "remote", "unknown"):
        locked = [rows[operation, place] for operation in OPERATIONS[1:]]
        assert rows[LOCKED, place].ns_low == min(row.ns_low for row in locked)
        assert rows[LOCKED, place].ns_high == max(row.ns_high for row in locked)


def test_machines_get_their_table() -> None:
    assert costs_for("x86_64").name == "x86-64"
    assert costs_for("aarch64").name == "arm64"
    assert costs_for("riscv64").name == costs_for(None).name == "x86-64"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_table_written_is_the_table_read(name: str) -> None:
    assert parse_costs(to_toml(SHIPPED[name]), "shipped") == SHIPPED[name]


GOOD = to_toml(SHIPPED["x86-64"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name", "c.toml: not valid TOML"),
        (
            'name = "c"',
            "c.toml: line 1: store: the table own is missing: give it low and high, in ns",
        ),
        (GOOD.replace("low = 0.20", "low = 9", 1), "store.own: low = 9 is above high = 0.9"),
        (
            GOOD.replace("low = 0.20", "low = -1", 1),
            "line 6: store.own.low: -1: ns, a number from 0 to 1000000",
        ),
        (
            GOOD.replace("low = 0.20", "low = nan", 1),
            "store.own.low: NaN: ns, a number from 0 to 1000000",
        ),
        (
            GOOD.replace("low = 0.20", 'low = "1"', 1),
            "store.own.low: '1': ns, a number from 0 to 1000000",
        ),
        (GOOD.replace("low = 0.20\n", "", 1), "line 5: store.own: the key low is missing"),
        (
            GOOD.replace("[store.own]", "[store.far]"),
            "store.far: no such key; keys here: own, near",
        ),
        (
            GOOD.replace("[store.own]", "[load.own]"),
            "load: no such key; did you mean lock_add? keys here: name",
        ),
        (
            GOOD.replace('"estimated"', '"rumour"', 1),
            "store.own.known: 'rumour': allowed: published",
        ),
        (GOOD.replace('arch = ["x86_64"]', "arch = 3"), "arch: 3: a list is wanted"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(DataFileError) as error:
        parse_costs(text, "c.toml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
