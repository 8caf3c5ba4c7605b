"""Page requests of real recordings: model = oracle, and beside the kernel's own counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from allocsim.page_replay import PageReplay
from allocsim.page_start import COLUMNS as START_COLUMNS
from allocsim.page_start import ListsAtStart
from pipeline.ingest.recording import import_recording
from pipeline.trace_set import TraceSet
from tests.allocsim.recorded_pages import as_columns, plain_lists, recorded_pages
from tests.oracle.page_lists import PageAllocator as Oracle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "recording",
    ["6.12-hackbench", "6.12p-net-gt", "7.2p-net-gt", "7.2p-mixed-gt", "7.3-churn-4cpu"],
    indirect=True,
)
def test_model_equals_oracle_on_a_recording(recording: Path, tmp_path: Path) -> None:
    trace = TraceSet.open(import_recording(recording, tmp_path))
    pages = recorded_pages(trace, recording)
    results, _ = PageReplay(pages.machine).window(as_columns(pages.rows))
    model = PageReplay(pages.machine)
    columns = as_columns(pages.rows)
    held, refilled = plain_lists(trace, pages.machine)
    found = ListsAtStart(pages.machine.zones, pages.machine.cpus, thp=pages.machine.rules.thp)
    for window in trace.windows(10_007, START_COLUMNS):
        found.add(window)
    assert {at: found.held[at] for at in held} == held
    assert found.held.sum() == sum(held.values())
    assert set(zip(*(axis.tolist() for axis in found.refilled.nonzero()), strict=True)) == refilled
    paths = []
    for first in range(0, len(pages.rows), 1000):
        part = {name: column[first : first + 1000] for name, column in columns.items()}
        paths += model.window(part)[0].path.tolist()
    assert paths == results.path.tolist()
    oracle = Oracle(pages.machine)
    for row, path, pfn in zip(pages.rows, results.path.tolist(), results.pfn.tolist(), strict=True):
        found = oracle.event(*row[:5], highest=row[5], flags=row[6], offset=row[7])
        assert (found.path, found.pfn) == (path, pfn), row
    assert model.counters == {name: oracle.counters[name] for name in model.counters}
    simulated, counted = model.counters, pages.truth
    print(  # noqa: T201 - shown with -s: how far the simulated placement is from the kernel's
        f"{recording.name}: blocks taken under zone->lock {simulated['zone_locked']} simulated, "
        f"{counted['mm_page_alloc_zone_locked']} recorded; drained "
        f"{simulated['pcp_drain_blocks']}, {counted['mm_page_pcpu_drain']}; fallbacks "
        f"{simulated['claim'] + simulated['steal']}, {counted['mm_page_alloc_extfrag']}"
    )
