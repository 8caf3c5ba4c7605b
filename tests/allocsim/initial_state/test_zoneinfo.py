"""The machine read from /proc texts, and its numbers changed by settings."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from allocsim.initial_state.zoneinfo import (
    ZoneTextError,
    memory_nodes,
    parse_free_pages,
    parse_list_pages,
    parse_nodes,
    parse_pagetypeinfo,
    parse_zoneinfo,
    placed,
)
from allocsim.kernels.page_settings import page_machine
from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.settings import SettingError
from allocsim.page_alloc.allocator import ATOMIC
from allocsim.page_alloc.gfp import highest_zones, migratetypes, urgency
from allocsim.page_alloc.replay import PageReplay
from allocsim.page_alloc.unusable_index import unusable_index
from allocsim.page_alloc.zones import MachineZones, PcpNumbers, all_free, computed_zone
from tests.conftest import RECORDINGS

if TYPE_CHECKING:
    from pathlib import Path

ZONEINFO = """\
Node 0, zone    DMA32
  per-node stats
      nr_inactive_anon 25
  pages free     503562
        boost    0
        min      5618
        low      7022
        high     8426
        promo    9830
        spanned  1048575
        present  524149
        managed  504564
        cma      0
        protection: (0, 1976, 1976)
      nr_free_pages 503562
  pagesets
    cpu: 0
              count:    23
              high:     3511
              batch:    63
              high_min: 3511
              high_max: 31473
  vm stats threshold: 20
    cpu: 1
              count:    979
              high:     3511
              batch:    63
              high_min: 3511
              high_max: 31473
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone   Normal
  pages free     344258
        min      5645
        low      7056
        high     8467
        spanned  524288
        managed  506066
        protection: (0, 0, 0)
  pagesets
    cpu: 0
              batch: 63
  start_pfn:           1048576
Node 0, zone  Movable
  pages free     0
        min      32
        low      32
        high     32
        spanned  0
        managed  0
        protection: (0, 0, 0)
"""


def test_zoneinfo_is_read_zone_by_zone() -> None:
    dma32, normal, movable = parse_zoneinfo(ZONEINFO, 2)
    assert (dma32.name, dma32.start_pfn, dma32.end_pfn) == ("DMA32", 1, 1048576)
    assert (dma32.managed, dma32.wmark_min, dma32.wmark_low, dma32.wmark_high) == (
        504564,
        5618,
        7022,
        8426,
    )
    assert dma32.protection == (0, 1976, 1976)
    assert dma32.pcp == (PcpNumbers(63, 3511, 31473, 3511),) * 2
    # Before 6.7 high_min and high_max are not printed: R4.12 gives them.
    assert normal.pcp == (PcpNumbers(63, 7056 // 2, 506066 // 8 // 2),) * 2
    assert (movable.managed, movable.pcp) == (0, ())


def zone_text(node: int, name: str, start: int, pages: int) -> str:
    return (
        f"Node {node}, zone {name}\n  min 0\n  low 0\n  high 0\n  spanned {pages}\n"
        f"  managed {pages}\n  protection: (0, 0, 0)\n  start_pfn: {start}\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line"),
        ("Node x, zone Normal\n", "expected"),
        (
            zone_text(0, "Normal", 10, 90)
            + zone_text(0, "Movable", 100, 9)
            + zone_text(1, "Normal", 200, 90),
            "zones Normal and Movable lie among one another: its nodes cannot be taken as one",
        ),
        ("Node 0, zone Normal\n  pages free 3\n", "no line 'min'"),
    ],
)
def test_a_text_that_is_not_zoneinfo_is_named(text: str, message: str) -> None:
    with pytest.raises(ZoneTextError, match=message):
        parse_zoneinfo(text, 1)


TWO_NODES = """\
Node 0, zone      DMA
  per-node stats
      nr_slab_reclaimable 132
  pages free     3776
        min      129
        low      161
        high     193
        spanned  4095
        managed  3840
        protection: (0, 948, 948)
  pagesets
    cpu: 0
              count:    1
              batch:    1
  start_pfn:           1
Node 0, zone    DMA32
  pages free     180290
        min      8108
        low      10135
        high     12162
        spanned  258048
        managed  242867
        protection: (0, 0, 0)
  pagesets
    cpu: 0
              count:    500
              high:     14072
              batch:    31
    cpu: 1
              count:    7
              high:     5067
              batch:    31
  start_pfn:           4096
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        managed  0
        protection: (0, 0, 0)
Node 1, zone      DMA
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        managed  0
        protection: (0, 0, 0)
Node 1, zone    DMA32
  per-node stats
      nr_slab_reclaimable 9
  pages free     197993
        min      8658
        low      10822
        high     12986
        spanned  262106
        managed  257578
        protection: (0, 0, 0)
  pagesets
    cpu: 0
              count:    20
              high:     5411
              batch:    31
    cpu: 1
              count:    30
              high:     5411
              batch:    31
  start_pfn:           262144
Node 1, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        managed  0
        protection: (0, 0, 0)
"""


def test_two_nodes_are_taken_as_one_with_all_their_memory() -> None:
    dma, dma32, normal = parse_zoneinfo(TWO_NODES, 2)
    assert (dma.start_pfn, dma.end_pfn, dma.managed) == (1, 4096, 3840)
    assert dma.protection == (0, (242867 + 257578) // 256, (242867 + 257578) // 256)
    assert (dma32.start_pfn, dma32.end_pfn) == (4096, 262144 + 262106)
    assert dma32.managed == 242867 + 257578
    assert (dma32.wmark_min, dma32.wmark_low, dma32.wmark_high) == (16766, 20957, 25148)
    assert dma32.protection == (0, 0, 0)
    # R4.11, R4.12 for 500445 pages and a low watermark of 20957: batch 63, low / 2, managed / 16.
    assert dma32.pcp == (
        PcpNumbers(63, 10478, 31277, 14072),
        PcpNumbers(63, 10478, 31277, 5411),
    )
    assert (normal.managed, normal.pcp) == (0, ())
    assert memory_nodes(TWO_NODES) == 2
    assert memory_nodes(ZONEINFO) == 1
    assert memory_nodes("") == 0
    listed = {(0, "DMA"): [1, 0], (0, "DMA32"): [520, 37], (0, "Normal"): [0, 0]}
    assert parse_list_pages(TWO_NODES, 2) == listed
    free = {(0, "DMA"): 3776, (0, "DMA32"): 180290 + 197993, (0, "Normal"): 0}
    assert parse_free_pages(TWO_NODES) == free


def test_two_nodes_have_zones_of_their_own() -> None:
    """Each as the text has it, with the watermarks and limits of that node."""
    zones, memory = parse_nodes(TWO_NODES, 2)
    assert memory == (True, True)
    assert [(zone.node, zone.name, zone.managed) for zone in zones] == [
        (0, "DMA", 3840),
        (0, "DMA32", 242867),
        (0, "Normal", 0),
        (1, "DMA", 0),
        (1, "DMA32", 257578),
        (1, "Normal", 0),
    ]
    assert parse_free_pages(TWO_NODES, apart=True)[1, "DMA32"] == 197993


def test_nodes_whose_memory_lies_among_one_another_are_taken_as_one() -> None:
    swapped = TWO_NODES.replace("Node 0,", "Node 2,").replace("Node 1,", "Node 0,")
    zones, memory = parse_nodes(swapped.replace("Node 2,", "Node 1,"), 2)
    assert memory == (True,)
    assert len(zones) == 3


def test_a_node_without_memory_changes_nothing() -> None:
    empty = "".join(zone_text(1, name, 0, 0) for name in ("DMA32", "Normal", "Movable"))
    assert parse_zoneinfo(ZONEINFO + empty, 2) == parse_zoneinfo(ZONEINFO, 2)
    assert memory_nodes(ZONEINFO + empty) == 1


def test_free_blocks_of_two_nodes_add_up() -> None:
    text = """\
Node    0, zone    DMA32, type      Movable      3  0  0  0  0  0  0  0  0  0  >100
Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic
Node 0, zone    DMA32           10          700            3            0
Node    1, zone    DMA32, type      Movable      4  1  0  0  0  0  0  0  0  0  7
Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic
Node 1, zone    DMA32            1           90            0            1
"""
    [(free, types)] = parse_pagetypeinfo(text).values()
    assert [row[1] for row in free] == [7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 107]
    assert types == [11, 790, 3, 1]


@pytest.mark.parametrize("folder", sorted(RECORDINGS.glob("*/snapshots/before")), ids=str)
def test_placed_blocks_stay_as_counted(folder: Path) -> None:
    zones = parse_zoneinfo((folder / "zoneinfo").read_text("utf-8"), 2)
    counts = parse_pagetypeinfo((folder / "pagetypeinfo").read_text("utf-8"))
    for zone in zones:
        if not zone.managed or zone.name == "DMA":  # DMA's 4095 pages have no aligned start
            continue
        free, types = counts[0, zone.name]
        state = placed(zone, free, types)
        model = PageReplay(MachineZones((replace(zone, pcp=zone.pcp[:1]),), (state,), 1))
        buddy = model.allocator.buddies[0]
        found = buddy.free_blocks()
        wanted = np.array(free)
        assert np.abs(found - wanted).sum() <= 1  # the first pages of an unaligned zone
        # No two free blocks are buddies, so each would still be there after a free elsewhere.
        starts = dict(state.free)
        assert not [p for p, o in state.free if o < 10 and starts.get(p ^ (1 << o)) == o]
        used = {p for chunk in state.prior for p in range(chunk, chunk + 1024)}
        assert not used & starts.keys()


# -- settings


def machine(settings: dict[str, int], cpus: int = 2) -> MachineZones:
    zone = computed_zone(1 << 18, 2)
    return page_machine(LINUX_7_2, (zone,), (all_free(zone),), cpus, settings)


def test_without_settings_the_recorded_numbers_stand() -> None:
    found = machine({}).zones[0]
    assert found == computed_zone(1 << 18, 2)
    assert found.pcp == (PcpNumbers(63, 643, 16384),) * 2


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({"pcp.batch": 31}, PcpNumbers(31, 643, 16384)),
        ({"pcp.batch": 255}, PcpNumbers(255, 1020, 16384)),
        ({"pcp.high_min": 100}, PcpNumbers(63, 100, 16384)),
        ({"pcp.high_min": 20000}, PcpNumbers(63, 20000, 20000)),
        ({"pcp.high_max": 500}, PcpNumbers(63, 500, 500)),
        ({"cpus": 4}, PcpNumbers(63, 321, 8192)),
        # min 2024, to low max(2024 / 4, 262144 * 10 / 10000) = 506: (2024 + 506) / 2 CPUs.
        ({"watermarks.min": 2024}, PcpNumbers(63, 1265, 16384)),
        ({"watermarks.low": 1500}, PcpNumbers(63, 750, 16384)),
    ],
)
def test_settings_change_what_they_name_and_what_follows_by_r4_12(
    settings: dict[str, int], numbers: PcpNumbers
) -> None:
    found = machine(settings)
    assert found.cpus == settings.get("cpus", 2)
    assert found.zones[0].pcp == (numbers,) * found.cpus


def test_watermarks_are_shared_by_size() -> None:
    zones = parse_zoneinfo(ZONEINFO, 2)
    states = [all_free(zone) for zone in zones]
    found = page_machine(LINUX_7_2, zones, states, 2, {"watermarks.min": 1000})
    assert [zone.wmark_min for zone in found.zones] == [499, 500, 32]
    # 504,564 managed pages: watermark_scale_factor's 504 exceed a quarter of min.
    assert found.zones[0].wmark_high == 499 + 2 * 504
    assert found.normal == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pcp.bach": 3}, r"pcp\.bach: no such key \(did you mean pcp\.batch"),
        ({"pcp.batch": 0}, r"pcp\.batch=0: out of range, 1 to 65536"),
        ({"pcp.high_min": 9, "pcp.high_max": 8}, "must not exceed"),
        ({"watermarks.low": 10}, "min <= low <= high"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        machine(settings)


def test_settings_of_other_layers_are_left_to_them() -> None:
    assert machine({"sheaf.capacity.kmalloc-64": 12}).zones == machine({}).zones


# -- requests


def test_gfp_flags_say_type_zone_and_urgency() -> None:
    zones = parse_zoneinfo(ZONEINFO, 2)
    kernel, user, atomic, dma32, reclaimable = 0xCC0, 0x140CCA, 0x820, 0xCC4, 0xCD0
    both = 0xCD8  # a bug in a caller
    gfp = np.array([kernel, user, atomic, dma32, reclaimable, both], np.uint64)
    assert migratetypes(gfp).tolist() == [0, 1, 0, 0, 2, 1]
    assert highest_zones(gfp, zones).tolist() == [1, 2, 1, 0, 1, 1]
    assert urgency(gfp).tolist() == [0, 0, ATOMIC, 0, 0, 0]


def test_only_a_kernel_with_zone_dma32_avoids_mixing_types_in_normal() -> None:
    dma, normal = (
        replace(computed_zone(1 << 16, 2), name="DMA"),
        computed_zone(1 << 18, 2, start_pfn=1 << 16),
    )
    states = (all_free(dma), all_free(normal))
    assert page_machine(LINUX_7_2, (dma, normal), states, 2).normal == frozenset()
    dma32 = replace(dma, name="DMA32")
    assert page_machine(LINUX_7_2, (dma32, normal), states, 2).normal == {1}


# -- fragmentation


def test_unusable_index_by_hand() -> None:
    # 4 pages in single ones, 4 in one block of order 2: half of it cannot serve orders 1 and 2.
    free = np.array([4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    assert unusable_index(free).tolist() == [0, 0.5, 0.5] + [1.0] * 8
    assert unusable_index(np.zeros((2, 11), int)).tolist() == [[1.0] * 11] * 2


def test_page_sets_of_more_cpus_than_there_are_are_left_out() -> None:
    """As the fuzzer found it: a line doubled in one zone of one node."""
    doubled = TWO_NODES.replace("    cpu: 1\n", "    cpu: 1\n    cpu: 1\n", 1)
    assert doubled != TWO_NODES
    assert {len(zone.pcp) for zone in parse_zoneinfo(doubled, 2) if zone.managed} == {2}


@pytest.mark.parametrize(("key", "value"), [("start_pfn:", 1 << 36), ("managed ", 1 << 40)])
def test_zones_that_no_machine_has_are_refused(key: str, value: int) -> None:
    old = re.search(rf"^\s+{key}\s+\d+$", TWO_NODES, re.MULTILINE)
    assert old is not None
    with pytest.raises(ZoneTextError, match="cannot span"):
        parse_zoneinfo(TWO_NODES.replace(old[0], f"  {key} {value}"), 2)
