"""A comparison of seeds of one made-up workload: what is planted is found, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from reports import queries
from reports.compare import measured
from reports.compare.comparable import Weight
from reports.compare.comparison import (
    Change,
    ChangeVerdict,
    Compared,
    Comparison,
    Run,
    Side,
    movers,
)
from reports.compare.measure import MEASURES
from reports.compare.measure_runs import checked, compare
from reports.compare.quantity import GROUPS, KNOWN, QUANTITIES
from tests.reports.conftest import POLICIES, empty_database, insert
from tests.reports.synthetic import Workload, add_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

pytestmark = pytest.mark.slow

SEEDS = 16
REMOTE, ORDER = 101, 102  #: runs with something planted
LARGE = 12_000


@pytest.fixture(scope="module")
def seeds() -> Iterator[DuckDBPyConnection]:
    """Runs 0 to 15 are seeds of one workload; the last ones are larger, two have a difference."""
    with empty_database() as connection:
        for seed in range(SEEDS):
            add_seed(connection, seed, seed, Workload(births=1500))
        add_seed(connection, 100, 100, Workload(births=LARGE))
        add_seed(connection, REMOTE, REMOTE, Workload(births=LARGE, tenth_remote=True))
        add_seed(connection, ORDER, ORDER, Workload(births=LARGE, order=1))
        yield connection


def side(connection: DuckDBPyConnection, *runs: int, own: str = "linux-7.2") -> Side:
    rows = {row["run"]: row for row in queries.runs(connection)}
    return Side(f"runs {runs}", tuple(Run(connection, rows[run], own) for run in runs))


def changes(comparison: Comparison) -> list[Change]:
    return [change for row in comparison.rows if (change := row.changes[1]) is not None]


def low_p(comparison: Comparison) -> float:
    p = np.array([change.p for change in changes(comparison)])
    return float((p[np.isfinite(p)] <= 0.05).mean())


def test_a_recording_against_itself_is_the_same_in_every_row(seeds: DuckDBPyConnection) -> None:
    comparison = compare([side(seeds, 0), side(seeds, 0)], 0, [])
    assert len(comparison.rows) > 60
    assert {change.verdict for change in changes(comparison)} == {ChangeVerdict.SAME}
    assert {change.change for change in changes(comparison)} == {0.0}
    for group in ("Caches", "Call sites"):
        assert movers(comparison, 1, group) == []


def test_seeds_of_one_workload_seldom_differ(seeds: DuckDBPyConnection) -> None:
    pairs = [compare([side(seeds, run), side(seeds, run + 1)], 0, []) for run in range(0, SEEDS, 2)]
    assert sum(pair.tested for pair in pairs) > 300
    # Rows of a pair hang together, so the bound is wider than that of independent rows.
    assert 0.005 < np.mean([low_p(pair) for pair in pairs]) < 0.1
    marked = [
        sum(change.verdict is ChangeVerdict.DIFFERS for change in changes(pair)) for pair in pairs
    ]
    # Corrected, one pair in 20 has any row marked at all; three of eight would be 1 in 180.
    assert sum(number > 0 for number in marked) <= 2


def test_repeats_of_one_workload_seldom_differ(seeds: DuckDBPyConnection) -> None:
    comparison = compare([side(seeds, *range(8)), side(seeds, *range(8, 16))], 0, [])
    assert comparison.tested > 40
    assert low_p(comparison) < 0.2
    # Corrected, one comparison in 20 marks a row; two rows in one are much rarer.
    assert sum(change.verdict is ChangeVerdict.DIFFERS for change in changes(comparison)) <= 1


@pytest.mark.parametrize(
    ("run", "name"), [(REMOTE, "remote frees, kmalloc-256"), (ORDER, "pages a slab, filp")]
)
def test_a_planted_difference_is_the_top_mover(
    seeds: DuckDBPyConnection, run: int, name: str
) -> None:
    comparison = compare([side(seeds, 100), side(seeds, run)], 0, [])
    first = movers(comparison, 1, "Caches")[0]
    assert first.name == name
    asked = {
        # Counted by a query of the test's own: remote frees of all frees whose birth was seen.
        REMOTE: """
            SELECT 100 * avg((gone.cpu <> born.cpu)::int) FROM object_events AS gone
            JOIN object_events AS born ON born.run = gone.run AND born.object = gone.object
            JOIN caches ON caches.run = gone.run AND caches.cache = gone.cache
            WHERE gone.run = ? AND gone.event = 'kfree' AND born.event = 'kmalloc'
                AND name = 'kmalloc-256'
        """,
        ORDER: """
            SELECT avg(1 << "order") FROM pages JOIN caches USING (run, cache)
            WHERE run = ? AND name = 'filp'
        """,
    }
    values = [seeds.execute(asked[run], [each]).fetchall()[0][0] for each in (100, run)]
    assert [value.value for value in first.values] == pytest.approx(values)


def test_two_recordings_a_side_are_not_enough_and_it_says_so(seeds: DuckDBPyConnection) -> None:
    comparison = compare([side(seeds, 0, 1), side(seeds, 2, 3)], 0, [])
    verdicts = {change.verdict for change in changes(comparison)}
    assert ChangeVerdict.REPEATS in verdicts
    assert not verdicts & {ChangeVerdict.DIFFERS, ChangeVerdict.CHANCE, ChangeVerdict.NONE}
    assert comparison.tested == 0


def test_totals_are_those_of_the_views(seeds: DuckDBPyConnection) -> None:
    comparison = compare([side(seeds, 0), side(seeds, 1)], 0, [])
    [objects] = seeds.execute(
        "SELECT count(*) FROM object_events WHERE run = 0 AND event = 'kmalloc'"
    ).fetchone() or [0]
    rows = {(row.quantity.part, row.item): row.values[0].value for row in comparison.rows}
    for policy, locked in seeds.execute(
        "SELECT policy, locked_ops FROM policy_summary WHERE run = 0"
    ).fetchall():
        assert rows["policy_locked", policy] == pytest.approx(1000 * locked / objects)
    for cache, allocs in seeds.execute(
        "SELECT cache, allocs FROM cache_summary WHERE run = 0"
    ).fetchall():
        assert rows["allocs", cache] == pytest.approx(1000 * allocs / objects)


@pytest.mark.parametrize("window", [1000, 1 << 30])
def test_frees_are_those_of_objects_allocated_long_before(
    seeds: DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(measured, "_WINDOW", window)
    [[run], _] = measured.measured([side(seeds, REMOTE), side(seeds, 100)], 0)[1]
    joined = {
        cache: (frees, remote)
        for cache, frees, remote in seeds.execute(
            "SELECT cache, sum(objects), sum(objects) FILTER (alloc_cpu <> free_cpu)"
            f" FROM remote_frees WHERE run = {REMOTE} GROUP BY cache"
        ).fetchall()
    }
    assert sum(remote for _, remote in joined.values()) > 100
    assert joined == {
        cache: (frees.sum(), run["remote_frees"][cache].sum())
        for cache, frees in run["known_frees"].items()
    }


def test_what_one_sides_policy_freezes_is_gone_by_rule(seeds: DuckDBPyConnection) -> None:
    sides = [side(seeds, 0, own="refcounted"), side(seeds, 1, own="linux-7.2")]
    for first, second, change in ((0, 1, -1), (1, 0, float("inf"))):
        comparison = compare([sides[first], sides[second]], 0, [])
        rows = {(row.quantity.name, row.item): row.changes[1] for row in comparison.rows}
        for kind in ("slab", "large_kmalloc"):
            gone = rows["all, own policy:", kind]
            assert gone is not None
            assert (gone.change, gone.verdict) == (change, ChangeVerdict.FROZEN)
            assert np.isnan(gone.p)
        anon = rows["all, own policy:", "anon"]
        assert anon is not None
        assert anon.verdict is not ChangeVerdict.FROZEN
        # By cache and by policy nothing is said of rules.
        assert {
            row.quantity.part for row, each in verdicts(comparison) if each is ChangeVerdict.FROZEN
        } == {"own_ops", "own_locked"}


def verdicts(comparison: Comparison) -> list[tuple[Compared, ChangeVerdict]]:
    return [(row, change.verdict) for row in comparison.rows if (change := row.changes[1])]


def test_what_was_recorded_on_a_frozen_page_is_tested_all_the_same() -> None:
    with empty_database() as connection:
        for run in (1, 2):
            add_seed(connection, run, run, Workload(births=400))
            connection.execute(
                "INSERT INTO page_events BY NAME SELECT run, page AS seq, alloc_ts AS ts,"
                " 'page_ref_mod' AS event, page_kind, 1 AS locked_ops, 0 AS plain_ops"
                " FROM pages WHERE run = ?",
                [run],
            )
        sides = [side(connection, 1, own="refcounted"), side(connection, 2, own="linux-7.2")]
        comparison = compare(sides, 0, [])
        [change] = [
            row.changes[1]
            for row in comparison.rows
            if (row.quantity.part, row.item) == ("recorded_locked", "slab")
        ]
    assert change is not None
    assert change.verdict is not ChangeVerdict.FROZEN
    assert np.isfinite(change.p)


def test_what_is_assumed_is_a_range_and_not_tested() -> None:
    with empty_database() as connection:
        for run in (1, 2):
            add_seed(connection, run, run, Workload(births=400))
            for policy in range(len(POLICIES)):
                insert(
                    connection,
                    "policy_ops",
                    run=run,
                    policy=policy,
                    page_kind="anon",
                    stage="use",
                    frozen=False,
                    plain_ops=0,
                    locked_ops=4,
                    locked_ops_low=2,
                    locked_ops_high=6,
                    plain_ops_per_page=0,
                    locked_ops_per_page=0,
                )
        connection.execute("UPDATE internal.samples SET assumed_uses = page_allocs")
        comparison = compare([side(connection, 1), side(connection, 2)], 0, [])
        again = compare([side(connection, 1), side(connection, 1)], 0, [])
        sums = [
            connection.execute(
                "SELECT sum(locked_ops_low), sum(locked_ops), sum(locked_ops_high) FROM timeline"
                " WHERE run = ? AND policy = 'linux-7.2' AND page_kind = 'anon'",
                [run],
            ).fetchone()
            for run in (1, 2)
        ]
    told = {row.name: (row, change) for row in comparison.rows if (change := row.changes[1])}
    for name in ("locked, own policy", "locked, own policy: anon", "all, own policy: anon"):
        row, change = told[name]
        assert change.verdict is ChangeVerdict.ASSUMED, name
        assert np.isnan(change.p)
        assert all(value.assumed and value.low < value.value < value.high for value in row.values)
    row, change = told["locked, own policy: anon"]
    (low, _, high), (other_low, middle, _) = (each or () for each in sums)
    base, other = row.values
    assert base.high / base.low == pytest.approx(high / low)
    assert other.value / other.low == pytest.approx(middle / other_low)
    # Nothing ties what is assumed of one recording to what is of another.
    assert change.low == pytest.approx(other.low / base.high - 1)
    assert change.high == pytest.approx(other.high / base.low - 1)
    exact, exact_change = told["locked, own policy: page_table"]
    assert not any(value.assumed for value in exact.values)
    assert np.isfinite(exact_change.p)
    assert {each for _, each in verdicts(again)} == {ChangeVerdict.SAME}


def test_quantiles_of_lives_are_exact_and_have_an_interval(seeds: DuckDBPyConnection) -> None:
    comparison = compare([side(seeds, 100), side(seeds, REMOTE)], 0, [])
    rows = {row.name: row for row in comparison.rows if row.quantity.quantile}
    lives = [
        np.array(
            [
                life
                for (life,) in seeds.execute(
                    "SELECT lifetime FROM object_events WHERE run = ? AND event = 'kfree'"
                    " ORDER BY ALL",
                    [run],
                ).fetchall()
            ]
        )
        for run in (100, REMOTE)
    ]
    for name, share in (("objects, median", 0.5), ("objects, 90th percentile", 0.9)):
        for value, each in zip(rows[name].values, lives, strict=True):
            exact = each[int(np.ceil(share * len(each))) - 1] / 1000
            assert value.value == exact
            # Of an exponential distribution the quantile's error is known.
            error = 20_000 * np.sqrt(share / (1 - share) / len(each))
            assert 1.2 * error < value.high - exact < 3.4 * error
    assert rows["median life, dentry"].values[0].value > 0
    # The distribution itself: as many as there are lives, each in its bin.
    [objects, _] = comparison.distributions
    for counts, each in zip(objects.counts, lives, strict=True):
        bins = np.floor(20 * np.log10(np.maximum(each, 1))).astype(int)
        assert counts.tolist() == np.bincount(bins, minlength=240).tolist()


def test_what_all_happened_in_a_few_moments_is_not_tested() -> None:
    with empty_database() as connection:
        for run in (1, 2):
            add_seed(connection, run, run, Workload(births=3000))
            connection.execute(
                'UPDATE pages SET alloc_ts = alloc_ts % 50_000_000, "order" = page % (1 + run)'
                " WHERE run = ?",
                [run],
            )
        comparison = compare([side(connection, 1), side(connection, 2)], 0, [])
        rows = [row for row in comparison.rows if row.quantity.name == "pages a slab,"]
    assert len(rows) > 3
    assert {row.changes[1].verdict for row in rows if row.changes[1]} == {ChangeVerdict.FEW}


def test_the_table_of_quantities_is_sound() -> None:
    for quantity in QUANTITIES:
        assert {quantity.part, quantity.whole} <= set(MEASURES)
        assert quantity.group in GROUPS
        assert quantity.known in KNOWN
        assert (quantity.known == "simulated") == quantity.name.startswith("model")
        assert bool(quantity.bins) == bool(quantity.quantile)
        if quantity.bins:
            assert MEASURES[quantity.bins].binned
        assert quantity.doc.endswith(".")
        assert quantity.unit
    names = [(each.group, each.name, each.unit) for each in QUANTITIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("column", "value", "weight", "said"),
    [
        ("cpus", 8, Weight.MUST, "CPUs not the same"),
        ("arch", "aarch64", Weight.MUST, "architecture"),
        ("page_size", 16384, Weight.MUST, "page size"),
        ("clock", "local", Weight.SHOULD, "clock"),
        ("lost_events", 7, Weight.SHOULD, "lost 7 events"),
        ("kernel_release", "7.3.0", Weight.NOTE, "kernel not the same"),
        ("meta", '{"recorded_events": ["kmalloc"]}', Weight.MUST, "events recorded"),
    ],
)
def test_what_is_not_alike_is_said_with_its_weight(
    column: str, value: object, weight: Weight, said: str
) -> None:
    with empty_database() as connection:
        add_seed(connection, 1, 1, Workload(births=50))
        add_seed(connection, 2, 2, Workload(births=50), **{column: value})
        found = checked([side(connection, 1), side(connection, 2)])
    assert weight in {remark.weight for remark in found if said in remark.text}


def test_one_recording_twice_is_no_repeat(seeds: DuckDBPyConnection) -> None:
    found = checked([side(seeds, 0, 0), side(seeds, 1)])
    assert [remark.weight for remark in found] == [Weight.MUST]
    assert "same recording more than once" in found[0].text
    assert checked([side(seeds, 0), side(seeds, 1)]) == []
