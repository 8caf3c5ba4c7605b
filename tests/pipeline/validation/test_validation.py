"""Bounds, snapshots and comparisons, on data made by hand and on a real recording."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.processes.progress import Progress
from pipeline.trace_set.snapshots import page_flags, slab_caches
from pipeline.validation import cpu_slabs
from pipeline.validation.bounds import CountCheck, judged, shipped_bounds
from pipeline.validation.kinds import kind_by_flags, page_kinds
from pipeline.validation.placement import BY_CACHE, IN_TOTAL, SUMS
from pipeline.validation.run import validate_traces
from reports.sections.validation.standings import Standing
from tests.conftest import RECORDINGS

if TYPE_CHECKING:
    from pathlib import Path

SYSFS = """\
:0000136 order 0
:0000136 slabs_cpu_partial 12(3)
:0000136 total_objects 30
:0000136 alloc_slab 7 C0=4 C1=3
:0000136 free_slab 2 C1=2
:0000136 reclaim_account 0
kernfs_node_cache -> :0000136
"""


def test_every_bound_gives_its_reason() -> None:
    for bound in shipped_bounds():
        assert bound.reason.endswith(".")
        assert bound.quantities
        assert bound.scopes
        assert bound.pct is not None or not bound.slack
        # What is counted apart while it holds needs a bound to be beyond.
        assert bound.apart is None or bound.pct is not None


@pytest.mark.parametrize(
    ("comparison", "error", "bound", "ok"),
    [
        # Exact kinds: one operation more or less is too much.
        (CountCheck("page_ref_locked", "slab", 100, 100), 0, 0, True),
        (CountCheck("page_ref_locked", "slab", 100, 101), 1, 0, False),
        # 2 % or four slabs, whichever is more; the kernel's figure is what it is a share of.
        (CountCheck("alloc_slab", "dentry", 10, 14), 40, 40, True),
        (CountCheck("alloc_slab", "dentry", 10, 5), -50, 40, False),
        (CountCheck("alloc_slab", "dentry", 1000, 1020), 2, 2, True),
        (CountCheck("alloc_slab", "dentry", 1000, 1021), 2.1, 2, False),
        (CountCheck("alloc_slab", "dentry", 5, 1), -80, 80, True),
        # A bound of 100 % or more holds for a model that says nothing; beyond it is beyond it.
        (CountCheck("alloc_slab", "dentry", 4, 1), -75, 100, None),
        (CountCheck("alloc_slab", "dentry", 0, 4), None, 2, None),
        (CountCheck("alloc_slab", "dentry", 0, 5), None, 2, False),
        # What the recording cannot tell at all is no error, what lies beyond it is.
        (
            CountCheck("alloc_slab", "dentry", 51, 12, "", 12, 55, unobservable=True),
            -76.47,
            7.84,
            True,
        ),
        (
            CountCheck("alloc_slab", "dentry", 51, 12, "", 12, 40, unobservable=True),
            -76.47,
            7.84,
            False,
        ),
        # So wide that a model which says nothing would do; and one slab less wide.
        (
            CountCheck("alloc_slab", "dentry", 51, 12, "", 8, 55, unobservable=True),
            -76.47,
            7.84,
            None,
        ),
        (
            CountCheck("alloc_slab", "dentry", 51, 12, "", 9, 55, unobservable=True),
            -76.47,
            7.84,
            True,
        ),
        # A rule alone; still a miss where it does not hold.
        (CountCheck("slab_order", "dentry", 1, 1), 0, 0, None),
        (CountCheck("slab_order", "dentry", 1, 0), -100, 0, False),
        # A ceiling that any small figure is below.
        (
            CountCheck("pages_without_event", "freed", 9, 2, "", 2, 9, unobservable=True),
            -77.78,
            0,
            None,
        ),
        (
            CountCheck("pages_without_event", "freed", 9, 10, "", 10, 10, unobservable=True),
            11.11,
            0,
            False,
        ),
        # A median error of nothing is a check: any error would be one too many.
        (CountCheck("simulated_alloc_slab_median_error", "", 0, 0), 0, 0, True),
        (CountCheck("simulated_alloc_slab_median_error", "", 0, 0.1), None, 0, False),
        # No bound: the difference is shown, and nothing is held against it.
        (CountCheck("page_ref_locked_per_life", "anon", 10, 4), -60, None, None),
        (CountCheck("page_ref_locked_per_life", "thp", 4, 43.9), 997.5, None, None),
        (CountCheck("page_ref_plain_per_life", "thp", 1, 1), 0, 5, True),
    ],
)
def test_a_comparison_is_held_to_its_bound(
    comparison: CountCheck, error: float | None, bound: float | None, ok: bool | None
) -> None:
    row = judged(comparison)
    assert row["error_pct"] == (None if error is None else pytest.approx(error, abs=0.01))
    assert row["bound_pct"] == (None if bound is None else pytest.approx(bound, abs=0.01))
    assert row["ok"] is ok
    assert row["reason"]
    checks = {Standing.WITHIN: True, Standing.BEYOND: False}
    assert checks.get(row["standing"]) is ok
    assert (row["allowed"] is None) == (row["miss"] is None) == (row["standing"] == "no bound")


def test_what_is_missed_and_what_is_allowed_are_absolute() -> None:
    """4 slabs, or 2 %; of an interval, what the kernel's figure lies outside of it."""
    off = judged(CountCheck("alloc_slab", "dentry", 1000, 1013))
    assert (off["miss"], off["allowed"], off["standing"]) == (13, 20, Standing.WITHIN)
    outside = judged(CountCheck("alloc_slab", "dentry", 51, 12, "", 12, 40, unobservable=True))
    assert (outside["miss"], outside["allowed"], outside["standing"]) == (11, 4, Standing.BEYOND)


def test_attributes_aliases_and_counters_of_sysfs(tmp_path: Path) -> None:
    path = tmp_path / "sysfs_slab.txt"
    path.write_text(SYSFS)
    caches = slab_caches(path)
    assert caches is not None
    assert caches.values[":0000136", "alloc_slab"] == 7
    assert caches.values[":0000136", "slabs_cpu_partial"] == 12
    assert caches.stats == [(":0000136", "alloc_slab"), (":0000136", "free_slab")]
    assert caches.folder("kernfs_node_cache") == caches.folder(":0000136") == ":0000136"
    assert caches.folder("nobody") is None
    assert slab_caches(tmp_path / "none") is None


def test_a_damaged_snapshot_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "sysfs_slab.txt"
    path.write_text(SYSFS + "half a\n")
    with pytest.raises(InputError, match="line 8"):
        slab_caches(path)
    flags = tmp_path / "kpageflags.zst"
    flags.write_bytes(b"not zstd at all")
    with pytest.raises(InputError, match="the compressed data is damaged"):
        page_flags(flags)


def test_kinds_of_exported_flags() -> None:
    bits = [(7,), (26,), (5, 12, 14), (12, 22, 14), (5,), (11,), (5, 14), (10,), ()]
    words = np.array([sum(1 << bit for bit in page) for page in bits], np.uint64)
    assert kind_by_flags(words).tolist() == [
        *("slab", "page_table", "anon", "thp", "page_cache", "page_cache", "shmem", "", ""),
    ]


@pytest.mark.parametrize(("symbol", "ok"), [(None, None), ("shmem_alloc_folio", False)])
def test_shmem_called_anonymous_is_an_error_only_where_functions_are_known(
    symbol: str | None, ok: bool
) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE call_sites (run INT, symbol VARCHAR)")
        connection.execute("INSERT INTO call_sites VALUES (1, ?), (2, 'of another run')", [symbol])
        connection.execute(
            "CREATE TABLE pages (run INT, pfn INT, page_kind VARCHAR, alloc_seq INT, free_ts INT)"
        )
        said = ["anon"] * 400 + ["page_cache"]
        lives = [(1, pfn, kind, pfn, None) for pfn, kind in enumerate(said)]
        connection.executemany("INSERT INTO pages VALUES (?, ?, ?, ?, ?)", lives)
        words = np.full(401, 1 << 5 | 1 << 14, np.uint64)
        [compared] = page_kinds(connection, 1, words)
    assert (compared.kernel, compared.model) == (401, 0)
    row = judged(compared)
    assert row["ok"] is ok
    # From 0 to 400 of 401: nothing could lie outside of it, so that it is no check.
    open_, shut = (0, 400, Standing.WIDE_INTERVAL), (None, None, Standing.BEYOND)
    found = (row["model_low"], row["model_high"], row["standing"])
    assert found == (shut if symbol else open_)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The comparisons of a recording from boot on a kernel with SLUB_STATS."""
    recording = RECORDINGS / "7.2p-boot-churn"
    if not recording.is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    db = tmp_path_factory.mktemp("db") / "results.duckdb"
    assert validate_traces([recording], db, Progress()).runs == [1]
    with duckdb.connect(db, read_only=True) as connection:
        result = connection.execute("FROM validation")
        names = [name for name, *_ in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.slow
def test_slabs_of_a_recording_from_boot_are_those_slub_counted(rows: list[dict[str, Any]]) -> None:
    total = {row["quantity"]: row for row in rows if row["scope"] == "total"}
    # By the counters in sysfs_slab.txt, after less before, added up by hand.
    assert total["alloc_slab"]["kernel"] == 4143
    assert total["free_slab"]["kernel"] == 2963
    assert abs(total["alloc_slab"]["error_pct"]) < 1
    assert abs(total["free_slab"]["error_pct"]) < 1
    by_cache = [row for row in rows if row["quantity"] == "alloc_slab" and row["scope"] != "total"]
    assert sum(row["kernel"] for row in by_cache) == 4143


@pytest.mark.slow
def test_all_of_it_is_within_its_bound(rows: list[dict[str, Any]]) -> None:
    compared = {row["quantity"] for row in rows}
    assert compared >= {"page_kind", "slab_order", "objects_per_slab", "alloc_slab", "free_slab"}
    assert compared >= {f"simulated_{name}" for name in (*SUMS, *BY_CACHE, *IN_TOTAL)}
    assert [row for row in rows if row["ok"] is False] == []
    standings = Counter(row["standing"] for row in rows)
    assert standings[Standing.WITHIN] == 66
    shapes = [row for row in rows if row["quantity"] in {"slab_order", "objects_per_slab"}]
    assert standings[Standing.BY_RULE] == len(shapes) == 126
    assert all(row["ok"] is None for row in shapes)
    assert all(row["trace"] == "7.2p-boot-churn" and row["run"] == 1 for row in rows)


@pytest.mark.slow
def test_the_simulated_placement_counts_what_slub_stats_counted(rows: list[dict[str, Any]]) -> None:
    """Totals as in sysfs_slab.txt, after less before; most caches to the last object."""
    total = {row["quantity"]: row for row in rows if row["scope"] == "total"}
    kernel = {"alloc_slab": 4143, "sheaf_refill": 110647, "sheaf_flush": 85400, "barn_get": 1908}
    for name, count in kernel.items():
        row = total[f"simulated_{name}"]
        assert row["kernel"] == count
        assert row["ok"] is True
        # Part of them was never recorded: the second snapshot's are those of the first, again.
        assert "played again behind the end" in row["note"]
        # When the untraced frees were is not known: that is a range, not a figure.
        assert row["model_low"] <= row["model"] <= row["model_high"]
    exact = [
        row["error_pct"] == 0
        for row in rows
        if row["quantity"] == "simulated_sheaf_flush" and row["scope"] != "total"
    ]
    assert sum(exact) >= 12
    by_cache = {(row["quantity"], row["scope"]): row for row in rows}
    assert by_cache["simulated_sheaf_refill", ":0004096"]["model"] == 3132


@pytest.fixture(scope="module")
def of_cpu_slabs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The comparisons of a recording from boot on a kernel with cpu slabs and SLUB_STATS."""
    recording = RECORDINGS / "6.12p-boot-churn"
    if not recording.is_dir():
        pytest.skip("recordings are not at hand (set ALLOCSIM_RECORDINGS)")
    db = tmp_path_factory.mktemp("db") / "results.duckdb"
    assert validate_traces([recording], db, Progress()).runs == [1]
    with duckdb.connect(db, read_only=True) as connection:
        result = connection.execute("FROM validation WHERE quantity LIKE 'simulated_cpu_slabs_%'")
        names = [name for name, *_ in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.slow
def test_cpu_slabs_count_what_slub_stats_counted(of_cpu_slabs: list[dict[str, Any]]) -> None:
    """Where every event was traced, 6.12's own counters; by sysfs_slab.txt, after less before."""
    rows = {
        (row["quantity"].removeprefix(cpu_slabs.PREFIX), row["scope"]): row for row in of_cpu_slabs
    }
    assert {name for name, _ in rows} >= set(cpu_slabs.COUNTERS)
    assert [row for row in of_cpu_slabs if row["ok"] is False] == []
    # To the last one: what moves slabs through the CPUs' partial lists, in 65 of 78 caches.
    for name, count in (
        *(("cpu_partial_alloc", 1501), ("cpu_partial_node", 751), ("cpu_partial_drain", 867)),
        ("deactivate_bypass", 5817),
    ):
        row = rows[name, cpu_slabs.TRACED]
        assert (row["kernel"], row["model"]) == (count, count)
    assert rows["alloc_slab", cpu_slabs.TRACED]["kernel"] == 4061
    # kmalloc-rcl-192 and filp, each by itself.
    for cache, figures in ((":a-0000192", (809, 484, 53)), ("filp", (606, 590, 61))):
        for name, count in zip(
            ("alloc_slab", "free_slab", "cpu_partial_drain"), figures, strict=True
        ):
            assert rows[name, cache]["kernel"] == rows[name, cache]["model"] == count
    # The maple tree's nodes are allocated in bulk, without an event; they are merged with
    # kmalloc-256. That is told, and the difference shown.
    assert rows["alloc_slowpath", ":0000256"]["kernel"] == 4833
    assert rows["alloc_slowpath", ":0000256"]["ok"] is None
