"""Which node CPUs are on, by what a recording has; and machines cut into other nodes."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.initial_state.cpu_nodes import cpu_nodes, parse_cpulists
from allocsim.initial_state.node_settings import on_nodes
from allocsim.kernels.settings import SettingError
from allocsim.page_alloc.nodes import Nodes, one_node
from allocsim.page_alloc.zones import all_free, computed_zone

SNAPSHOT = "node0 cpulist 0,2-3 distance 10 21\nnode1 cpulist 1 distance 21 10\n"


def test_a_snapshot_says_it() -> None:
    assert parse_cpulists(SNAPSHOT, 4, 2) == ((0, 1, 0, 0), ((10, 21), (21, 10)))


@pytest.mark.parametrize(
    ("text", "cpus", "nodes"),
    [
        ("", 4, 2),
        (SNAPSHOT, 5, 2),
        (SNAPSHOT, 4, 3),
        (SNAPSHOT.replace("2-3", "2-"), 4, 2),
        (SNAPSHOT.replace("10 21", "10"), 4, 2),
    ],
)
def test_a_snapshot_that_does_not_say_all_says_nothing(text: str, cpus: int, nodes: int) -> None:
    assert parse_cpulists(text, cpus, nodes) is None


def test_slab_pages_say_it_before_others_and_neighbours_last() -> None:
    slabs = np.array([[5, 1], [0, 0], [0, 0], [0, 2]])
    pages = np.array([[0, 9], [1, 4], [0, 0], [9, 0]])
    assert cpu_nodes(slabs, pages) == ((0, 1, 1, 1), 1)
    nothing = np.zeros((2, 2), np.int64)
    assert cpu_nodes(nothing, nothing) == ((0, 0), 2)


def test_zonelists_go_by_distance() -> None:
    """find_next_best_node: the own one first, then nearer ones, those with CPUs behind."""
    far = ((10, 20, 40), (20, 10, 20), (40, 20, 10))
    assert Nodes((0, 1, 2), (True,) * 3, far).near == ((0, 1, 2), (1, 2, 0), (2, 1, 0))
    assert Nodes((0, 1, 1), (True,) * 3).near[0] == (0, 2, 1)
    assert Nodes((0, 1), (False, True)).near == ((1,), (1,))


def test_a_machine_is_cut_into_nodes_that_hold_what_it_held() -> None:
    zone = computed_zone(1 << 18, 4)
    state = all_free(zone, reserved=4096)
    zones, states, nodes = on_nodes([zone], [state], one_node(4), 4, {"nodes": 3, "node.memory": 2})
    assert nodes == Nodes((0, 0, 1, 2), (True, True, False))
    assert [(each.start_pfn, each.end_pfn) for each in zones] == [
        (zone.start_pfn, zone.start_pfn + (1 << 17)),
        (zone.start_pfn + (1 << 17), zone.end_pfn),
        (0, 0),
    ]
    assert sum(each.managed for each in zones) == zone.managed
    assert [block for each in states for block in each.free] == list(state.free)
    assert states[1].prior == state.prior
    turns = on_nodes([zone], [state], one_node(4), 4, {"nodes": 2, "cpu.node": 1})[2]
    assert turns.of_cpu == (0, 1, 0, 1)


def test_what_cannot_be_cut_is_refused() -> None:
    zone = computed_zone(4096, 2)
    with pytest.raises(SettingError, match="there are 2 nodes"):
        on_nodes([zone], [all_free(zone)], one_node(2), 2, {"nodes": 2, "node.memory": 3})
    with pytest.raises(SettingError, match="less than 8 MiB"):
        on_nodes([zone], [all_free(zone)], one_node(2), 2, {"nodes": 4})
