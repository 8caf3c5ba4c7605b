"""What the lists held at the start, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from allocsim.initial_state.pcp_lists import ListDepths, for_cpus, with_lists, with_pages
from allocsim.page_alloc.pcp import list_index, list_order, list_type
from allocsim.page_alloc.replay import PageReplay
from allocsim.page_alloc.zones import MachineZones, all_free, computed_zone


def depths(pcp_list: list[int], op: list[int], pcp_lists: int, window: int = 100) -> ListDepths:
    found = ListDepths(pcp_lists)
    for first in range(0, len(pcp_list), window):
        part = slice(first, first + window)
        found.add(np.array(pcp_list[part]), np.array(op[part]))
    return found


@pytest.mark.parametrize("window", [1, 3, 100])
def test_a_list_is_empty_at_its_first_refill(window: int) -> None:
    # List 2: two freed, five taken, refilled: three were there. What follows says nothing.
    found = depths([2] * 10, [1, -1, 1, -1, 1, 1, 1, 0, 1, 1], 4, window)
    assert found.held.tolist() == [0, 0, 3, 0]
    assert found.refilled.tolist() == [False, False, True, False]


@pytest.mark.parametrize("window", [1, 2, 100])
def test_without_a_refill_the_least_that_serves_every_allocation(window: int) -> None:
    found = depths([0, 1, 0, 1, 0, 0], [1, -1, 1, -1, -1, -1], 2, window)
    assert found.held.tolist() == [2, 0]
    assert found.refilled.tolist() == [False, False]


def test_a_cpu_that_is_no_more_gives_its_blocks_to_the_one_that_does_its_work() -> None:
    held = np.zeros((1, 3, 14), np.int64)
    held[0, :, 1] = 5, 7, 9
    assert for_cpus(held, 2)[0, :, 1].tolist() == [14, 7]
    assert for_cpus(held, 4)[0, :, 1].tolist() == [5, 7, 9, 0]


def test_pages_that_no_list_is_known_to_have_go_below_an_unknown_one() -> None:
    held, refilled = np.zeros((3, 14), np.int64), np.zeros((3, 14), np.bool_)
    held[:, 9] = 2  # 16 pages
    refilled[1, 1] = True
    refilled[2, :3] = True
    found = with_pages(held, refilled, np.array([20, 20, 20]))
    assert found[:, :3].tolist() == [[0, 4, 0], [4, 0, 0], [0, 0, 0]]
    assert with_pages(held, refilled, np.array([3, 3, 3])).tolist() == held.tolist()


def test_list_numbers_orders_and_types_belong_together() -> None:
    for index in range(14):
        assert list_index(list_order(index), list_type(index), thp=True) == index


def test_blocks_on_lists_come_from_used_pages_of_pageblocks_of_their_type() -> None:
    zone = computed_zone(1 << 16, 2)
    state = all_free(zone, reserved=8192)
    held = np.zeros((2, 14), np.int64)
    held[0, 0], held[1, 1], held[1, 9], held[0, 13] = 5, 7, 3, 1
    found = with_lists(zone, state, held)
    assert {(cpu, index, len(blocks)) for cpu, index, blocks in found.lists} == {
        (0, 0, 5),
        (1, 1, 7),
        (1, 9, 3),
        (0, 13, 1),
    }
    model = PageReplay(MachineZones((zone,), (found,), 2))
    assert [pcp.count for pcp in model.allocator.pcps[0]] == [5 + 512, 7 + 24]
    assert not model.routes.impure_pcp_lists().any()
    taken = {
        page
        for _, index, blocks in found.lists
        for block in blocks
        for page in range(block, block + (1 << list_order(index)))
    }
    assert len(taken) == 5 + 7 + 24 + 512
    assert not taken & {p for chunk in found.prior for p in range(chunk, chunk + 1024)}


def test_lists_stay_shorter_where_no_used_pages_are_left() -> None:
    zone = computed_zone(1 << 16, 1)
    held = np.zeros((1, 14), np.int64)
    held[0, 1] = 2000
    found = with_lists(zone, all_free(zone, reserved=1024), held)
    assert [len(blocks) for _, _, blocks in found.lists] == [1024]
    assert found.prior == ()
