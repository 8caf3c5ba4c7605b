"""Zones that no snapshot tells: against what kernels said of theirs, and by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.initial_state.assumed_zones import assumed_states, assumed_zones
from allocsim.initial_state.zone_fallbacks import ZoneFallbacks
from allocsim.initial_state.zoneinfo import parse_zoneinfo
from allocsim.page_alloc.zones import min_free_pages, pcp_numbers, watermarks
from allocsim.trace.events import Ev
from tests.conftest import ROOT, recordings

if TYPE_CHECKING:
    from pathlib import Path

ALLOC, FREE = int(Ev.MM_PAGE_ALLOC), int(Ev.MM_PAGE_FREE)
GFP_KERNEL, GFP_DMA, GFP_DMA32 = 0xCC0, 0xCC1, 0xCC4
_INIT = 10 << 8  # pages that the kernel and its initrd have until it has started, at most
KERNELS = sorted(
    path / "snapshots" / "before" / "zoneinfo"
    for path in [
        *(meta.parent for meta in (ROOT / "traces").glob("*/meta.json")),
        *recordings("*"),
    ]
    # Its two nodes are taken as one, which no kernel's rule is for.
    if path.is_dir() and path.name != "7.2n-numa-huge"
)


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: f"{path.parents[2].name}")
def test_watermarks_and_limits_by_rule_are_the_kernels(path: Path) -> None:
    """Huge pages were enabled there, and nobody had set min_free_kbytes.

    But for _INIT: zones got their shares before the kernel freed its init memory to them.
    """
    cpus = path.read_text("utf-8").count("  cpu: ") // path.read_text("utf-8").count("pagesets")
    zones = [zone for zone in parse_zoneinfo(path.read_text("utf-8"), cpus) if zone.managed]
    lowmem = sum(zone.managed for zone in zones)
    close = _INIT / lowmem
    for zone in zones:
        marks = watermarks(zone.managed, lowmem, len(zones))
        recorded = zone.wmark_min, zone.wmark_low, zone.wmark_high
        assert marks == pytest.approx(recorded, rel=close, abs=1), zone.name
        numbers = pcp_numbers(zone.managed, marks[1], cpus)
        found = zone.pcp[0]
        assert numbers.batch == found.batch
        assert (numbers.high_min, numbers.high_max) == pytest.approx(
            (found.high_min, found.high_max), rel=close, abs=1
        )


def test_khugepaged_asks_for_no_more_than_a_twentieth() -> None:
    gib = 1 << 18
    assert min_free_pages(2 * gib) == 1448
    assert min_free_pages(2 * gib, 2) == 512 * 2 * (2 + 9)
    small = gib * 5 // 8  # 640 MiB: 163840 pages, min 809, high 1213
    assert min_free_pages(small, 2) == (small - 1213) // 20
    assert min_free_pages(gib // 8, 2) == 362, "khugepaged is not started"


def test_zones_begin_where_the_architecture_has_them() -> None:
    def named(highest: int, arch: str = "x86_64", **given: bool) -> list[tuple[str, int, int]]:
        zones = assumed_zones(highest, 2, arch, **given)
        return [(zone.name, zone.start_pfn, zone.end_pfn) for zone in zones if zone.managed]

    assert named(524_239) == [("DMA", 1, 4096), ("DMA32", 4096, 524_288)]
    assert named(1_572_657, dma=False) == [
        ("DMA32", 1, 786_432),  # up to where devices have their addresses, in the fourth GiB
        ("Normal", 1_048_576, 1_572_864),
    ]
    assert named(0) == [("DMA", 1, 4096), ("DMA32", 4096, 262_144)]
    assert named(300_000, "aarch64") == [("Normal", 0, 524_288)]


def test_a_machine_of_2_gib_has_about_the_limits_the_kernel_gave_one() -> None:
    """6.12-hackbench: min 11178, low 13972, high 16766, and 6986 pages a CPU."""
    dma32 = assumed_zones(524_239, 2, "x86_64")[1]
    assert (dma32.wmark_min, dma32.wmark_low) == (11_176, 13_970)
    assert dma32.pcp[0].high_min == 6_985


def test_a_zone_that_is_passed_by_was_as_full_as_that_says() -> None:
    zones = assumed_zones(1_572_657, 2, "x86_64")
    normal, dma32 = zones[2].start_pfn + 5, zones[1].start_pfn + 5
    events = [
        (ALLOC, dma32, 0, GFP_DMA32),  # may not come from above
        (ALLOC, normal, 3, GFP_KERNEL),
        (FREE, normal, 1, 0),
        (ALLOC, dma32, 0, GFP_KERNEL),  # Normal had nothing left for it
        (ALLOC, normal, 0, GFP_KERNEL),
        (ALLOC, dma32, 0, GFP_KERNEL),
    ]
    for window in (1, 2, 100):
        found = ZoneFallbacks(zones)
        for first in range(0, len(events), window):
            part = events[first : first + window]
            event, pfn, order, gfp = (np.array(column) for column in zip(*part, strict=True))
            found.add({"event": event, "pfn": pfn, "order": order, "gfp_flags": gfp.astype("u8")})
        free = found.free().tolist()
        assert free == [-1, -1, zones[2].wmark_low + 8 - 2]
        states = assumed_states(zones, found.free())
        pages = [sum(1 << order for _, order in state.free) for state in states]
        assert free[2] <= pages[2] < free[2] + 1024
        assert pages[1] == zones[1].spanned - zones[1].spanned // 4 // 1024 * 1024
