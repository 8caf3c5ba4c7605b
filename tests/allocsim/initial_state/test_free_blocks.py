"""What was free at the first event: changed counts, against the oracle's buddy and by hand."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocsim.initial_state.free_blocks import free_pages, raised, with_free_pages
from allocsim.initial_state.zoneinfo import parse_free_pages, placed
from allocsim.page_alloc.zones import ORDERS, TYPES, MachineZones, Mt, PcpNumbers, computed_zone
from allocsim.trace.results import How
from pipeline.ingest.recording import import_recording
from pipeline.replay.pricing import find_policies, shipped_pricing
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import WINDOW_ROWS, replay_trace
from pipeline.replay.simulated import simulate
from pipeline.trace_set.reader import TraceSet
from tests.allocsim.initial_state.test_zoneinfo import ZONEINFO
from tests.conftest import examples
from tests.oracle.buddy import Buddy

SHIPPED = Path(__file__).parents[3] / "traces"
ZONE = computed_zone(1 << 16, 1)  # 64 blocks of order 10, 128 pageblocks


def counts_of(buddy: Buddy) -> Counter[tuple[int, int]]:
    return Counter(
        {
            (order, kind): len(buddy.lists[order][kind])
            for order in range(ORDERS)
            for kind in range(TYPES)
        }
    )


@st.composite
def held(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Free blocks [order][type] that the zone has room for, and pageblocks of each type."""
    small = st.integers(0, 2)
    free = [[draw(small) for _ in range(3)] + [0] for _ in range(ORDERS - 1)]
    free.append([draw(small), draw(st.integers(0, 20)), draw(small), 0])
    return free, [20, 92, 16, 0]


@given(held(), st.integers(0, 1 << 16))
def test_so_many_pages_are_free_as_were_wanted(
    found: tuple[list[list[int]], list[int]], pages: int
) -> None:
    free, types = with_free_pages(*found, pages)
    assert free_pages(free) == pages
    assert min(min(row) for row in free) >= 0
    assert min(types) >= 0
    assert sum(types) == sum(found[1])


@examples(30)
@given(held(), st.integers(0, 9000))
def test_taken_pages_leave_what_the_oracle_leaves(
    found: tuple[list[list[int]], list[int]], wanted: int
) -> None:
    """As far as pages of the own type and whole pageblocks of others go: what a zone holds most."""
    state = placed(ZONE, *found)
    buddy = Buddy(MachineZones((ZONE,), (state,), 1), 0)
    before = counts_of(buddy)
    assert before == Counter(
        {(o, k): n for o, row in enumerate(found[0]) for k, n in enumerate(row)}
    )
    within = sum(row[Mt.UNMOVABLE] << order for order, row in enumerate(found[0]))
    within += sum(sum(row[1:]) << order for order, row in enumerate(found[0]) if order >= 9)
    taken = min(wanted, within)
    for _ in range(taken):
        page, mode = buddy.rmqueue(0, Mt.UNMOVABLE, "own", nofragment=True)
        assert (page is not None, mode) == (True, "own")
    free, types = with_free_pages(*found, free_pages(found[0]) - taken)
    assert counts_of(buddy) == Counter(
        {(o, k): n for o, row in enumerate(free) for k, n in enumerate(row)}
    )
    claimed = types[Mt.UNMOVABLE] - found[1][Mt.UNMOVABLE]
    assert Counter(buddy.types)[Mt.UNMOVABLE] - state.block_types.count(Mt.UNMOVABLE) == claimed


def test_pages_given_back_find_room() -> None:
    """Of 128 pageblocks 100 are unmovable; 40 free blocks of order 10 need 80 movable ones."""
    free = [[0, 0, 0, 0] for _ in range(ORDERS)]
    free[0] = [1, 1, 0, 0]
    found, types = with_free_pages(free, [100, 28, 0, 0], 2 + 40 * 1024)
    assert found[10] == [0, 40, 0, 0]
    assert types == [46, 82, 0, 0]  # a single free page lies in a block that has no other
    state = placed(ZONE, found, types)
    assert sum(1 << order for _, order in state.free) == 2 + 40 * 1024


def test_lists_may_be_longer_after_pages_were_taken() -> None:
    """R4.5: each refill adds its size to high, up to high_max; one never raised is high_min."""
    numbers = (PcpNumbers(63, 3511, 31473, 0), PcpNumbers(63, 3511, 31473, 5000))
    assert [each.high for each in raised(numbers, 1000)] == [4511, 6000]
    assert [each.high for each in raised(numbers, 100_000)] == [31473, 31473]
    assert [each.high for each in raised(numbers, -5)] == [3511, 5000]


def test_free_pages_are_read_zone_by_zone() -> None:
    assert parse_free_pages(ZONEINFO) == {
        (0, "DMA32"): 503562,
        (0, "Normal"): 344258,
        (0, "Movable"): 0,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "recording",
    ["7.2p-boot-churn", "7.2p-mixed-gt", "7.2p-net-gt", "7.3-churn-4cpu"],
    indirect=True,
)
def test_pages_of_the_end_add_up(recording: Path, tmp_path: Path) -> None:
    """The simulation's own free pages at its end, beside buddyinfo: no page was lost on the way.

    They differ by what the CPUs' lists hold, and by the pages no event shows.
    """
    trace = TraceSet.open(import_recording(recording, tmp_path / "sets"))
    db = tmp_path / "results.duckdb"
    run = replay_trace(trace, db, find_policies([]), shipped_pricing())
    with duckdb.connect(db) as connection:
        source = RecordedRun(connection, run, trace, WINDOW_ROWS)
        assert source.recorded.zones_how == How.INFERRED
        rows = simulate(source.recorded, {}, source.requests()[1]).rows["free_blocks"]
    large = sum(row["blocks"] for row in rows if row["slice"] is None and row["order"] == 10)
    text = (trace.path / "snapshots" / "after" / "buddyinfo").read_text("utf-8")
    kernel = sum(int(line.split()[-1]) for line in text.splitlines())
    print(f"{recording.name}: {large} free blocks of order 10, kernel {kernel}")  # noqa: T201
    assert abs(large - kernel) <= 0.01 * kernel


@pytest.mark.slow
def test_without_zones_there_is_nothing_to_count_back(tmp_path: Path) -> None:
    """No zoneinfo before the recording: the zones are computed, and stay assumed."""
    copy = tmp_path / "7.2p-net-gt"
    shutil.copytree(SHIPPED / "7.2p-net-gt", copy)
    (copy / "snapshots" / "before" / "zoneinfo").unlink()
    trace, db = TraceSet.open(copy), tmp_path / "results.duckdb"
    run = replay_trace(trace, db, find_policies([]), shipped_pricing())
    with duckdb.connect(db) as connection:
        source = RecordedRun(connection, run, trace, WINDOW_ROWS)
    assert source.recorded.zones_how == How.ASSUMED
    managed = [zone.name for zone in source.recorded.zones if zone.managed]
    assert managed == ["DMA", "DMA32", "Normal"]
