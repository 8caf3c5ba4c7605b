"""What developers ask of slabs, blocks and lives, of recordings, against other ways to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from allocsim.trace.events import Ev
from pipeline.processes.progress import Progress
from pipeline.replay.pricing import find_policies
from pipeline.replay.recorded import replay_traces
from pipeline.replay.settings import parse_settings
from pipeline.store.database import reading
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
Rows = list[tuple[Any, ...]]
TRACE = ROOT / "traces" / "7.2p-hackbench-gt"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Rows]]:
    db = tmp_path_factory.mktemp("db") / "results.duckdb"
    replay_traces([TRACE], db, [], Progress(), {})
    with reading(db) as connection:
        yield lambda query: connection.execute(query).fetchall()


def test_fallbacks_are_those_that_trace_cmd_prints(tmp_path: Path) -> None:
    db = tmp_path / "results.duckdb"
    replay_traces([ROOT / "traces" / "6.12-tmpfsfiles"], db, [], Progress())
    with reading(db) as connection:
        found = connection.execute(
            'SELECT pid, cpu, pfn, "order", fallback_order, migratetype, fallback_migratetype,'
            " changed_ownership FROM extfrag_events"
        ).fetchall()
    # trace-cmd 3.1.6 report -R of the recording.
    assert found == [
        (201, 0, 0x1C000, 2, 10, "unmovable", "movable", True),
        (202, 1, 0x2A800, 0, 10, "reclaimable", "movable", True),
        (202, 1, 0x2AC00, 0, 10, "reclaimable", "movable", True),
        (202, 1, 0x2B400, 2, 10, "unmovable", "movable", True),
    ]


def test_the_kernels_columns_are_those_of_its_files(ask: Callable[[str], Rows]) -> None:
    """Worked out as tools/mm/slabinfo.c does, from the text of the snapshot."""
    files: dict[str, dict[str, int]] = defaultdict(dict)
    folders = {}
    text = (TRACE / "snapshots" / "after" / "sysfs_slab.txt").read_text()
    for line in text.splitlines():
        name, file, value, *_ = line.split()
        if file == "->":
            folders[name] = value
        elif value.isdecimal():
            files[name][file] = int(value)
    found = ask(
        "SELECT name, kernel_objects, kernel_space, kernel_loss, kernel_slabs, kernel_partial,"
        " kernel_cpu_slabs, floor(kernel_free_pct), floor(kernel_efficiency_pct), flags, objsize"
        " FROM slabinfo WHERE kernel_slabs > 0"
    )
    assert len(found) > 20
    for name, *columns in found:
        of = files[folders.get(name, name)]
        space = of["slabs"] * (4096 << of["order"])
        used = of["objects"] * of["object_size"]
        assert columns == [
            *(of["objects"], space, space - used, of["slabs"], of["partial"], of["cpu_slabs"]),
            *(of["partial"] * 100 // of["slabs"], used * 100 // space),
            ("*" if of["aliases"] else "")
            + ("A" if of["hwcache_align"] else "")
            + ("a" if of["reclaim_account"] else ""),
            of["object_size"],
        ], name


# Of caches whose objects all have events, and none of which RCU frees behind the end.
SAME = {"kernfs_node_cache", "ext4_inode_cache", "sock_inode_cache", "task_struct", "inode_cache"}


@pytest.mark.parametrize("recording", ["7.2p-boot-churn"], indirect=True)
def test_from_boot_on_the_model_has_the_kernels_objects(recording: Path, tmp_path: Path) -> None:
    """Against sysfs; and objects by slabs and lists against those by requests and sheaves."""
    db = tmp_path / "results.duckdb"
    replay_traces([recording], db, [], Progress(), {})
    with reading(db) as connection:
        by_requests = connection.execute(
            """
            SELECT slabinfo.name, slabinfo.objects, live_objects + sheaf_objects + placed.in_sheaves
            FROM slabinfo
            INNER JOIN caches USING (run, name)
            INNER JOIN placed_caches AS placed USING (run, cache)
            WHERE slabinfo.older_slabs = 0
            """
        ).fetchall()
        kernels = connection.execute(
            "SELECT name, objects, kernel_objects, slabs, kernel_slabs FROM slabinfo"
        ).fetchall()
        taken = connection.execute(
            "SELECT migratetype, fallback_order, fallback_migratetype, changed_ownership, count(*)"
            " FROM extfrag_events GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        blocks = connection.execute(
            "SELECT count(DISTINCT block), count(*) FILTER (mixed) FROM pageblocks"
            " WHERE placement = 'recorded' AND block_bytes = 2 << 20"
        ).fetchall()
        [(failed,)] = connection.execute("SELECT count(*) FROM failed_requests").fetchall()
    assert len(by_requests) > 40
    for name, objects, held in by_requests:
        assert objects == held, name
    assert {name for name, objects, of_kernel, *_ in kernels if objects == of_kernel} >= SAME
    for name, _, _, slabs, of_kernel in kernels:
        if name in SAME:
            assert abs(slabs - of_kernel) <= 1, name
    # As docs/questions.md has it (9 and 13).
    of_movable = (10, "movable", True)
    assert taken == [("unmovable", *of_movable, 82), ("reclaimable", *of_movable, 2)]
    assert blocks == [(191, 0)]
    assert failed == 0


# Of 6.12: all of whose columns are the kernel's.
EQUAL = {
    *("kernfs_node_cache", "buffer_head", "inode_cache", "shmem_inode_cache", "signal_cache"),
    *("sock_inode_cache", "kmalloc-1k", "kmalloc-2k", "kmalloc-4k", "task_struct"),
}


@pytest.mark.parametrize("recording", ["6.12p-boot-churn"], indirect=True)
def test_from_boot_on_cpu_slabs_are_the_kernels(recording: Path, tmp_path: Path) -> None:
    """Objects, slabs, those on the node's list and those with CPUs: against sysfs."""
    db = tmp_path / "results.duckdb"
    replay_traces([recording], db, [], Progress(), parse_settings(["kernel=6.12"]))
    with reading(db) as connection:
        found = connection.execute(
            "SELECT name, (objects, slabs, partial, cpu_slabs),"
            " (kernel_objects, kernel_slabs, kernel_partial, kernel_cpu_slabs) FROM slabinfo"
        ).fetchall()
    assert {name for name, ours, kernels in found if ours == kernels} >= EQUAL


def test_blocks_hold_what_the_events_put_there(ask: Callable[[str], Rows]) -> None:
    """Page by page over the trace set's own rows: what is live at the end, by migratetype."""
    names = ["event", "pfn", "order", "migratetype"]
    table = pq.read_table(TRACE / "events.parquet", columns=names).to_pydict()
    live: dict[int, int] = {}
    for event, pfn, order, migratetype in zip(*(table[name] for name in names), strict=True):
        if event == Ev.MM_PAGE_ALLOC and pfn >= 0:
            live |= dict.fromkeys(range(pfn, pfn + (1 << order)), migratetype)
        elif event == Ev.MM_PAGE_FREE:
            for page in range(pfn, pfn + (1 << order)):
                live.pop(page, None)
    expected = Counter((page // 512, migratetype) for page, migratetype in live.items())
    last = ask(
        "SELECT block, unmovable, movable, reclaimable FROM pageblocks"
        " WHERE placement = 'recorded' AND block_bytes = 2 << 20 AND slice = 19"
    )
    found = {
        (block, migratetype): pages
        for block, *types in last
        for migratetype, pages in enumerate(types)
        if pages
    }
    assert len(found) > 10
    assert found == expected
    for placement in ("recorded", "simulated"):
        [(wrong,)] = ask(
            "SELECT count(*) FROM pageblocks WHERE unmovable + movable + reclaimable + unknown"
            f" NOT BETWEEN 0 AND block_bytes // 4096 AND placement = '{placement}'"
        )
        assert wrong == 0, placement


def test_regions_are_those_of_the_slabs_that_are_left(ask: Callable[[str], Rows]) -> None:
    for placement, table, left in (
        ("recorded", "pages", "page_kind = 'slab' AND alloc_seq IS NOT NULL AND free_ts IS NULL"),
        ("simulated", "placed_slabs", "alloc_seq IS NOT NULL AND free_seq IS NULL"),
    ):
        slabs = ask(f'SELECT pfn, "order" FROM {table} WHERE {left}')
        assert slabs
        pages = sum(1 << order for _, order in slabs)
        regions = len({pfn >> 9 for pfn, _ in slabs})
        found = ask(
            "SELECT slabs, pages, regions, regions_peak FROM huge_regions"
            f" WHERE placement = '{placement}' AND cache IS NULL"
        )
        assert [row[:3] for row in found] == [(len(slabs), pages, regions)]
        assert found[0][3] >= regions


def test_the_peak_is_the_highest_of_all_moments(ask: Callable[[str], Rows]) -> None:
    """Event by event, with what the store says of each life."""
    changes = []
    for begun, ended, size in ask("SELECT alloc_ts, end_ts, bytes_alloc FROM object_lives"):
        changes.append((begun, size))
        if ended is not None:
            changes.append((ended, -size))
    held = highest = 0
    for _, change in sorted(changes):
        held += change
        highest = max(highest, held)
    assert ask("SELECT sum(amount) FROM peak WHERE measure = 'object bytes'") == [(highest,)]


def test_what_freezing_saves_is_what_the_recorded_kernel_spends(tmp_path: Path) -> None:
    """frozen_savings, by policies' costs of each life, and freezability, by page_ref events."""
    db = tmp_path / "results.duckdb"
    policies = find_policies(["everything-freezable"])
    replay_traces([ROOT / "traces" / "6.12p-hackbench-gt"], db, policies, Progress())
    with reading(db) as connection:
        found = connection.execute(
            """
            SELECT freezability.page_kind, saved, locked_ops_saved
            FROM (
                SELECT run, page_kind, sum(locked_ops_saved) AS saved FROM frozen_savings
                WHERE policy = 'everything-freezable' AND frozen GROUP BY ALL
            )
            INNER JOIN freezability USING (run, page_kind)
            WHERE scope = 'kind' ORDER BY ALL
            """
        ).fetchall()
    assert [kind for kind, _, _ in found] == ["slab", "page_table", "tlb_batch"]
    for kind, by_policy, spent in found:
        assert by_policy == spent > 0, kind
