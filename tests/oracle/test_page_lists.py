"""The page allocator's oracle against vector V7 and against hand-worked ones."""

from __future__ import annotations

import pytest

from allocsim.page_alloc.paths import PagePath, Pressure
from allocsim.page_alloc.zones import (
    MachineZones,
    Mt,
    PageRules,
    PcpNumbers,
    Zone,
    ZoneState,
    all_free,
    computed_zone,
    pcp_numbers,
    watermarks,
)
from tests.oracle.page_lists import ATOMIC, BULK, PageAllocator

GIB = 1 << 18  # pages
TINY = PcpNumbers(1, 4, 4)
M, U, R = Mt.MOVABLE, Mt.UNMOVABLE, Mt.RECLAIMABLE


def one_gib(**rules: bool) -> PageAllocator:
    zone = computed_zone(GIB, 2)
    return PageAllocator(MachineZones((zone,), (all_free(zone),), 2, PageRules(**rules)))


def small(
    free: list[tuple[int, int]],
    types: list[Mt],
    *,
    pcp: PcpNumbers = TINY,
    marks: tuple[int, int, int] = (0, 0, 0),
    prior: tuple[int, ...] = (),
    **rules: bool,
) -> PageAllocator:
    """One zone of as many pageblocks as there are types, only ``free`` being free."""
    zone = Zone("DMA32", 0, 512 * len(types), 512 * len(types), *marks, (0,), (pcp,))
    state = ZoneState(tuple(free), bytes(types), prior)
    return PageAllocator(MachineZones((zone,), (state,), 1, PageRules(**rules)))


def free_list(oracle: PageAllocator, order: int, migratetype: Mt) -> list[int]:
    return list(oracle.zones[0].lists[order][migratetype])


def direct(oracle: PageAllocator, order: int, migratetype: Mt = M) -> int:
    """An allocation past the pcp lists."""
    pfn, _ = oracle.zones[0].rmqueue(order, migratetype, "own", nofragment=False)
    return -1 if pfn is None else pfn


# -- per-CPU lists


def test_v7_refills_double_until_alloc_factor_stops_at_five() -> None:
    oracle = one_gib()
    pcp = oracle.pcps[0][0]
    assert (pcp.batch, pcp.high_min, pcp.high_max) == (63, 643, 16384)
    sizes, highs, factors = [], [], []
    for page in range(63 + 126 + 252 + 504 + 1008 + 2016 + 1):
        outcome = oracle.event(0, 1, page, 0, M)
        if outcome.path == PagePath.REFILL:
            sizes.append(len(pcp.lists[1]) + 1)
            highs.append(pcp.high)
            factors.append(pcp.alloc_factor)
        assert outcome.pfn == page  # one big block splits in ascending order
    assert sizes == [63, 126, 252, 504, 1008, 2016, 2016]
    assert highs == [643 + 63, 832, 1084, 1588, 2596, 4612, 6628]
    assert factors == [1, 2, 3, 4, 5, 5, 5]
    oracle.event(0, -1, 0)
    assert pcp.alloc_factor == 2
    oracle.event(0, -1, 1)
    assert pcp.alloc_factor == 1


@pytest.mark.parametrize(
    ("gib", "cpus", "marks", "numbers"),
    [
        (1, 2, (1024, 1286, 1548), (63, 643, 16384)),
        (2, 2, (1448, 1972, 2496), (63, 986, 32768)),
        (4, 2, (2048, 3096, 4144), (63, 1548, 65536)),
        (8, 4, (2896, 4993, 7090), (63, 1248, 65536)),
        (16, 8, (4096, 8290, 12484), (63, 1036, 65536)),
        (64, 16, (8192, 24969, 41746), (63, 1560, 131072)),
    ],
)
def test_the_table_of_r4_12(
    gib: int, cpus: int, marks: tuple[int, int, int], numbers: tuple[int, int, int]
) -> None:
    assert watermarks(gib * GIB) == marks
    found = pcp_numbers(gib * GIB, marks[1], cpus)
    assert (found.batch, found.high_min, found.high_max) == numbers


@pytest.mark.parametrize(("mib", "batch"), [(1024, 63), (256, 15), (64, 3), (32, 1), (16, 1)])
def test_batch_of_r4_11(mib: int, batch: int) -> None:
    assert pcp_numbers(mib << 8, 0, 1).batch == batch


@pytest.mark.parametrize(("order", "blocks"), [(0, 63), (1, 31), (2, 15), (3, 7), (9, 2)])
def test_a_refill_of_order_o_fetches_batch_over_2_to_the_o_blocks(order: int, blocks: int) -> None:
    oracle = one_gib()
    assert oracle.event(0, 1, 0, order, M).path == PagePath.REFILL
    assert oracle.counters["pcp_refill_blocks"] == blocks
    assert oracle.pcps[0][0].count == (blocks - 1) << order
    assert oracle.counters["zone_lock"] == 1


def test_orders_without_a_list_go_to_the_buddy() -> None:
    oracle = one_gib(thp=False)
    paths = [oracle.event(0, 1, page, order, M).path for page, order in enumerate([4, 8, 9, 10])]
    assert paths == [PagePath.BUDDY] * 4
    paths = [oracle.event(0, -1, page, order).path for page, order in enumerate([4, 8, 9, 10])]
    assert paths == [PagePath.BUDDY_FREE] * 4
    assert oracle.zones[0].free_pages == GIB


def test_lists_are_lifo_and_drained_from_the_tail() -> None:
    # batch 1, high fixed at 4: refills of 1, 2 and 3 pages; the fourth page on the lists drains
    # 3: free_count 4 cut to high - batch (R4.9).
    oracle = small([(0, 9)], [M], pcp=PcpNumbers(1, 4, 4))
    pfns = [oracle.event(0, 1, page, 0, M).pfn for page in range(6)]
    assert pfns == [0, 1, 2, 3, 4, 5]
    assert oracle.counters["pcp_refill"] == 3
    for page in (0, 1, 2):
        assert oracle.event(0, -1, page).path == PagePath.PUSH
    assert oracle.event(0, -1, 3).path == PagePath.DRAIN
    assert list(oracle.pcps[0][0].lists[1]) == [3]
    drained = [entry[1] for entry in oracle.zones[0].log if entry[0] == "drain"]
    assert drained == [0, 1, 2]
    # 7.2 lets go of zone->lock after each batch (here: 1).
    assert oracle.counters["pcp_drain"] == 3
    assert oracle.event(0, 1, 9, 0, M).pfn == 3


def test_6_12_drains_under_one_hold() -> None:
    oracle = small([(0, 9)], [M], pcp=PcpNumbers(1, 4, 4), drain_in_batches=False)
    for page in range(6):
        oracle.event(0, 1, page, 0, M)
    for page in range(4):
        oracle.event(0, -1, page)
    assert oracle.counters["pcp_drain"] == 1
    assert oracle.counters["pcp_drain_blocks"] == 3


def test_the_drain_goes_on_cyclically_from_the_list_freed_to() -> None:
    # Pages 0 (unmovable list) and 512 (movable list), then 1 (unmovable): start at list 0,
    # oldest first (0, then 1), then the movable one.
    oracle = small([(0, 9), (512, 9)], [U, M], pcp=PcpNumbers(3, 6, 6), free_high_half=True)
    pages = [oracle.event(0, 1, page, 0, U if page % 2 == 0 else M).pfn for page in range(6)]
    assert pages == [0, 512, 1, 513, 2, 514]
    pcp = oracle.pcps[0][0]
    assert pcp.count == 0  # both refills brought max(3 >> 0, 2) = 3 blocks
    for page in range(5):
        assert oracle.event(0, -1, page).path == PagePath.PUSH
    # free_count 6 is cut to high - batch = 3 (R4.9): list 1 holds 512, 513, 514.
    assert oracle.event(0, -1, 5).path == PagePath.DRAIN
    drained = [entry[1] for entry in oracle.zones[0].log if entry[0] == "drain"]
    assert drained == [512, 513, 514]
    assert list(pcp.lists[0]) == [2, 1, 0]


def test_free_count_and_high_after_a_burst_of_frees() -> None:
    # 1 GiB / 2 CPUs, 5000 pages freed without an allocation between: free_count rises to
    # batch << 5 = 2016 and stops (R4.7); high was raised to 8644 by seven refills, so nothing
    # is drained before count reaches it.
    oracle = one_gib()
    for page in range(63 + 126 + 252 + 504 + 1008 + 2016 + 2016):
        oracle.event(0, 1, page, 0, M)
    pcp = oracle.pcps[0][0]
    assert (pcp.count, pcp.high) == (0, 6628)
    for page in range(5985):
        assert oracle.event(0, -1, page).path == PagePath.PUSH
    assert pcp.free_count == 2016
    oracle.event(0, 1, 10_000, 0, M)
    assert pcp.free_count == 1008


def test_a_drain_at_high_frees_free_count_pages_in_batches() -> None:
    oracle = one_gib()
    for page in range(63 + 126 + 252 + 504 + 1):
        oracle.event(0, 1, page, 0, M)
    pcp = oracle.pcps[0][0]
    assert (pcp.count, pcp.high) == (1007, 2596)
    for cell in range(946 - 1):
        oracle.event(0, -1, cell)
    assert (pcp.count, pcp.free_count) == (1952, 945)
    # other CPU's pages come home to this CPU's list
    for page in range(644):
        oracle.event(1, 1, 20_000 + page, 0, M)
    paths = [oracle.event(0, -1, 20_000 + page).path for page in range(644)]
    assert paths == [PagePath.PUSH] * 643 + [PagePath.DRAIN]
    # count 2596, free_count 1589: 1589 pages go, 26 batches of 63 with a last one of 14.
    assert pcp.count == 2596 - 1589
    assert oracle.counters["pcp_drain"] == 26
    assert oracle.counters["pcp_drain_blocks"] == 1589
    assert pcp.high == 2596  # 1589 + 63 is below it


def test_free_high_drains_everything_at_the_second_high_order_free_in_a_row() -> None:
    # 6.12: threshold = batch = 63 pages: order-3 frees add 8 each, so free_count is 64 before
    # the ninth, which drains min(count, 2016) pages.
    oracle = one_gib(free_high_half=False, drain_in_batches=False, free_high_batch=False)
    for page in range(14):
        oracle.event(0, 1, page, 3, M)
    pcp = oracle.pcps[0][0]
    assert (pcp.count, pcp.high) == (0, 643 + 126)
    paths = [oracle.event(0, -1, page, 3).path for page in range(9)]
    assert paths == [PagePath.PUSH] * 8 + [PagePath.DRAIN]
    assert pcp.count == 0
    assert pcp.high == 643  # lowered by batch << 5, not under high_min
    # An order-0 free clears the flag, so the next order-3 one does not drain.
    oracle.event(1, 1, 50, 0, M)
    assert oracle.event(0, -1, 50).path == PagePath.PUSH
    assert oracle.event(0, -1, 9, 3).path == PagePath.PUSH
    assert oracle.event(0, -1, 10, 3).path == PagePath.DRAIN


def test_7_2_needs_half_of_high_min_more_for_free_high() -> None:
    # threshold 63 + 321 = 384 = 48 order-3 blocks
    oracle = one_gib(free_high_batch=False)
    for page in range(50):
        oracle.event(0, 1, page, 3, M)
    paths = [oracle.event(0, -1, page, 3).path for page in range(50)]
    assert paths == [PagePath.PUSH] * 48 + [PagePath.DRAIN] * 2


def test_with_a_large_cache_free_high_waits_for_a_batch_of_pages() -> None:
    oracle = one_gib()
    for page in range(60):
        oracle.event(0, 1, page, 3, M)
    paths = [oracle.event(0, -1, page, 3).path for page in range(60)]
    # The 49th empties the lists; 8 blocks later 64 pages are there again.
    assert [at for at, path in enumerate(paths, 1) if path == PagePath.DRAIN] == [49, 57]


def test_below_high_stops_growth_and_shrinks_high() -> None:
    # 1024 pages free, high watermark 1000: refills of 3, 6 and 12 pages leave 1003, one of 24
    # (the 22nd allocation) falls below; the 23rd finds it so.
    oracle = small([(0, 10)], [M, M], pcp=PcpNumbers(3, 12, 100), marks=(0, 0, 1000))
    pcp = oracle.pcps[0][0]
    taken = 0
    while not oracle.below_high[0]:
        oracle.event(0, 1, taken, 0, M)
        taken += 1
    assert oracle.zones[0].free_pages == 1024 - 3 - 6 - 12 - 24
    assert taken == 23
    assert pcp.high == 57
    oracle.event(0, -1, 0)  # high - max(free_count 1, batch 3); count 23 >= high_min: drain
    assert pcp.high == 54
    assert oracle.counters["pcp_drain"] == 1
    assert oracle.below_high[0]


def test_decay_lowers_high_by_an_eighth_and_drains_the_rest() -> None:
    oracle = one_gib()
    for page in range(63 + 126 + 252 + 504 + 1):
        oracle.event(0, 1, page, 0, M)
    pcp = oracle.pcps[0][0]
    assert (pcp.count, pcp.high) == (1007, 2596)
    assert oracle.event(0, 0).path == PagePath.DECAY
    assert pcp.high == 2596 - 324
    for _ in range(20):
        oracle.event(0, 0)
    assert (pcp.high, pcp.count) == (643, 643)


def test_bulk_allocations_leave_free_count_alone() -> None:
    oracle = one_gib()
    for page in range(40):
        oracle.event(0, 1, page, 0, M)
    for page in range(20):
        oracle.event(0, -1, page)
    oracle.event(0, 1, 100, 0, M, flags=BULK)
    assert oracle.pcps[0][0].free_count == 20
    oracle.event(0, 1, 101, 0, M)
    assert oracle.pcps[0][0].free_count == 10


def test_a_page_returns_to_the_list_of_its_pageblock_not_of_its_request() -> None:
    # Everything is unmovable; a movable request below order 4 may only steal.
    oracle = small([(0, 3)], [U], pcp=PcpNumbers(1, 100, 100))
    assert oracle.event(0, 1, 0, 0, M).path == PagePath.REFILL_STEAL
    oracle.event(0, -1, 0)
    assert list(oracle.pcps[0][0].lists[0]) == [0]
    assert not oracle.pcps[0][0].lists[1]


# -- zones


def two_zones(**rules: bool) -> PageAllocator:
    pcp = (PcpNumbers(1, 1, 1),)  # lists that hold nothing
    low = Zone("DMA32", 0, 1024, 1024, 0, 10, 20, (0, 100, 100), pcp)
    normal = Zone("Normal", 1024, 1024, 1024, 0, 10, 20, (0, 0, 0), pcp)
    empty = Zone("Movable", 0, 0, 0, 0, 0, 0, (0, 0, 0), ())
    states = (
        ZoneState(((0, 10),), bytes([M, M])),
        ZoneState(((1024, 10),), bytes([M, M])),
        ZoneState((), b""),
    )
    return PageAllocator(
        MachineZones((low, normal, empty), states, 1, PageRules(**rules), normal=frozenset({1}))
    )


def test_the_highest_zone_is_used_down_to_its_low_watermark_then_the_next() -> None:
    oracle = two_zones()
    outcomes = [oracle.event(0, 1, page, 0, M, highest=2) for page in range(2000)]
    in_normal = [out.pfn >= 1024 for out in outcomes]
    # Normal gives while more than 10 pages are free: 1014 pages; DMA32 while more than
    # 10 + 100 are: 914. After that kswapd would run: Normal's last 10, then DMA32 to 100.
    assert in_normal.index(False) == 1014
    assert [o.pressure for o in outcomes].index(Pressure.KSWAPD) == 1014 + 914
    assert sum(in_normal) == 1024
    assert oracle.event(0, 1, 5000, 0, M, highest=0).pfn >= 0


def test_an_exhausted_machine_fails_and_says_so() -> None:
    oracle = small([(0, 0)], [M])
    assert oracle.event(0, 1, 0, 0, M).pfn == 0
    failed = oracle.event(0, 1, 1, 0, M)
    assert (failed.path, failed.pfn, failed.pressure) == (PagePath.NO_BLOCK, -1, Pressure.RECLAIM)
    assert oracle.event(0, 1, 2, 5, M).path == PagePath.NO_BLOCK


def test_an_atomic_request_below_low_refills_its_list_only_up_to_6_19() -> None:
    # 512 free pages of 2 blocks: above min (10), not above low (600).
    for past_lists, path in ((True, PagePath.BUDDY), (False, PagePath.REFILL)):
        oracle = small([(0, 9)], [U, U], marks=(10, 600, 700), atomic_past_lists=past_lists)
        plain = oracle.event(0, 1, 0, 1, U)
        assert (plain.path, plain.pressure) == (PagePath.REFILL, Pressure.KSWAPD)
        oracle = small([(0, 9)], [U, U], marks=(10, 600, 700), atomic_past_lists=past_lists)
        atomic = oracle.event(0, 1, 0, 1, U, flags=ATOMIC)
        assert (atomic.path, atomic.pressure) == (path, Pressure.KSWAPD)


def test_nofragment_prefers_the_next_zone_to_a_small_block_of_another_type() -> None:
    oracle = two_zones()
    oracle.zones[1].claim(0, U, nofragment=False)  # all of Normal is unmovable now
    for _page in range(1023 - 200):
        oracle.zones[1].smallest(0, U)
    # Normal has 200 pages, all unmovable and below pageblock order: DMA32 comes first.
    assert oracle.event(0, 1, 0, 0, M, highest=2).pfn == 0
    # ... but where no zone has own-type blocks the second pass steals in Normal.
    for _ in range(1023):
        oracle.zones[0].smallest(0, M)
    oracle.zones[0].free_pages += 500  # as if held by blocks this order cannot use
    found = oracle.event(0, 1, 1, 0, M, highest=2)
    assert found.path == PagePath.REFILL_STEAL
    assert found.pfn >= 1024


# -- the buddy


def test_split_keeps_the_lower_part_and_heads_the_upper_ones() -> None:
    oracle = small([(0, 3), (16, 3)], [M])
    assert direct(oracle, 0) == 0
    assert [free_list(oracle, order, M) for order in range(4)] == [[1], [2], [4], [16]]
    assert direct(oracle, 1) == 2
    assert direct(oracle, 1) == 4
    assert free_list(oracle, 1, M) == [6]
    assert oracle.counters["split"] == 4


def test_merging_goes_up_and_stops_at_a_used_buddy() -> None:
    oracle = small([(1, 0), (2, 1), (8, 3)], [M])
    buddy = oracle.zones[0]
    buddy.free_block(0, 0)  # 0+1, +2..3 -> order 2 at 0; its buddy 4..7 is used
    assert free_list(oracle, 2, M) == [0]
    assert oracle.counters["merge"] == 2
    buddy.free_block(4, 2)  # 4..7 + 0..3 + 8..15 -> order 4 at 0
    assert free_list(oracle, 4, M) == [0]
    assert oracle.counters["merge"] == 4


def test_which_end_a_freed_block_goes_to() -> None:
    # Page 4's buddy (5) is used. The next merge would make 4..5, whose buddy is 6..7: free, so
    # a merge is likely and the page goes to the tail; page 8's next-higher buddy 10..11 is used.
    oracle = small([(6, 1), (32, 0)], [M])
    oracle.zones[0].free_block(4, 0)
    assert free_list(oracle, 0, M) == [32, 4]
    oracle.zones[0].free_block(8, 0)
    assert free_list(oracle, 0, M) == [8, 32, 4]


def test_which_end_at_orders_8_9_and_10() -> None:
    # Order 8 still looks (order + 1 = 9); orders 9 and 10 always go to the head.
    oracle = small([(512, 9), (1024 + 256, 8), (1536, 9)], [M] * 8)
    buddy = oracle.zones[0]
    buddy.free_block(256, 8)
    assert free_list(oracle, 8, M) == [1024 + 256, 256]
    buddy.free_block(2048, 9)
    assert free_list(oracle, 9, M) == [2048, 512, 1536]


def test_blocks_above_a_pageblock_merge_pageblock_by_pageblock() -> None:
    oracle = small([], [M, R])
    oracle.zones[0].free_block(0, 10)
    # 512..1023 is reclaimable; its free makes 0..511 reclaimable too (R4.21), one order-10 block.
    assert free_list(oracle, 10, R) == [0]
    assert oracle.zones[0].types == [R, R]
    assert oracle.counters["merge"] == 1


def test_highatomic_pageblocks_do_not_merge_with_others() -> None:
    oracle = small([], [M, Mt.HIGHATOMIC])
    oracle.zones[0].free_block(0, 10)
    assert free_list(oracle, 9, M) == [0]
    assert free_list(oracle, 9, Mt.HIGHATOMIC) == [512]


def test_a_claim_takes_whole_pageblocks_from_the_largest_block() -> None:
    oracle = small([(0, 10), (1024, 9)], [M] * 4)
    assert direct(oracle, 0, U) == 0
    assert oracle.zones[0].types == [U, U, M, M]
    assert free_list(oracle, 9, U) == [512]
    assert oracle.counters == {"claim": 1, "split": 10}  # and no zone_locked (T12)


@pytest.mark.parametrize(("free_pages", "claims"), [(256, True), (252, False)])
def test_a_claim_below_a_pageblock_needs_half_of_it(free_pages: int, claims: bool) -> None:
    # Reclaimable meets unmovable: alike is 0, so free pages alone decide: 256 of 512.
    free = [(0, 7), (128, 6), (192, 5), (224, 4), (240, 3)]
    free += [(248, 2), (252, 2)] if free_pages == 256 else [(248, 2)]
    oracle = small(free, [U])
    assert direct(oracle, 0, R) >= 0
    assert oracle.counters["claim"] == claims
    assert oracle.counters["steal"] == (not claims)
    assert oracle.zones[0].types == [R if claims else U]
    if claims:  # the wanted order is then taken by R4.20: the smallest block, its lower part
        assert free_list(oracle, 2, R) == [252]
        assert free_list(oracle, 0, R) == [249]
    else:  # from the wanted order up: the order-2 block, its rest stays unmovable
        assert free_list(oracle, 0, U) == [249]


def test_alike_pages_of_a_movable_request_are_the_movable_ones() -> None:
    oracle = small([(0, 9)], [M], pcp=PcpNumbers(1, 4, 4))
    for page in range(240):
        oracle.event(0, 1, page, 0, M)
    oracle.zones[0].set_type(0, U)
    for _order, lists in enumerate(oracle.zones[0].lists):
        for pfn in list(lists[M]):
            del lists[M][pfn]
            lists[U][pfn] = None
    while oracle.zones[0].free_pages > 16:
        oracle.zones[0].smallest(0 if oracle.zones[0].free_pages % 16 else 4, U)
    # 16 free + 240 movable = 256: a movable request of order 4 takes the pageblock over ...
    assert direct(oracle, 4, M) >= 0
    assert oracle.zones[0].types == [M]


def test_a_movable_request_below_order_4_does_not_claim_small_blocks() -> None:
    oracle = small([(0, 3), (8, 3), (16, 3)] + [(32 * n, 3) for n in range(1, 14)], [U])
    assert direct(oracle, 0, M) >= 0
    assert oracle.counters["steal"] == 1
    assert oracle.counters["claim"] + oracle.counters["claim_refused"] == 0


def test_an_unmovable_request_counts_pages_neither_free_nor_movable_as_alike() -> None:
    # 8 free, 0 known movable: alike = 512 - 8, so the pageblock is claimed.
    oracle = small([(0, 3)], [M])
    assert direct(oracle, 0, U) == 0
    assert oracle.zones[0].types == [U]
    assert oracle.counters["zone_locked"] == 1  # after a small claim R4.20 serves it (T12)


def test_after_a_steal_a_refill_goes_on_stealing() -> None:
    # The movable refill of 3 finds only small unmovable blocks: it steals 1, and the next two
    # from the same block, without looking at its own type again (R4.25).
    oracle = small([(0, 2), (64, 2)], [U], pcp=PcpNumbers(3, 100, 100))
    assert oracle.event(0, 1, 0, 0, M).path == PagePath.REFILL_STEAL
    assert oracle.counters["steal"] == 3
    assert list(oracle.pcps[0][0].lists[1]) == [1, 2]
    assert oracle.counters["zone_lock"] == 1


def test_frees_of_pages_from_before_the_trace_come_from_the_reserved_range() -> None:
    oracle = small([(0, 10)], [M] * 6, prior=(1024, 2048))
    outcomes = [oracle.event(0, -1, 100 + n, order) for n, order in enumerate([0, 3, 0, 3, 10])]
    # One chunk of 1024 pages for order 0, one for order 3; none is left for order 10.
    assert [out.pfn for out in outcomes] == [1024, 2048, 1025, 2056, -1]
    assert outcomes[-1].path == PagePath.UNPLACED


def test_parts_of_a_split_block_are_freed_by_offset() -> None:
    oracle = small([(0, 9)], [M], pcp=PcpNumbers(1, 100, 100))
    block = oracle.event(0, 1, 0, 2, M).pfn
    freed = [oracle.event(0, -1, 0, 0, offset=offset).pfn for offset in range(4)]
    assert freed == [block, block + 1, block + 2, block + 3]
    assert not oracle.live
