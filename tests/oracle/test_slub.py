"""The oracle against vectors V2, V4 and V5, to the last number."""

from __future__ import annotations

import pytest

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from tests.oracle.slub import Slub


class Run:
    """One cache of one size on one CPU at 2 CPUs present, and the handles it has live."""

    def __init__(self, size: int) -> None:
        self.slub = Slub(cache_shapes(LINUX_7_2, [("c", size)], 2))
        self.cache = self.slub.caches[0]
        self.handles: list[int] = []
        self.seq = 0

    def event(self, op: int, handle: int) -> tuple[str, int, int]:
        found = self.slub.event(self.seq, 0, 0, op, handle)
        self.seq += 1
        return found

    def alloc(self, count: int) -> list[tuple[str, int, int]]:
        first = self.seq
        self.handles += range(first, first + count)
        return [self.event(+1, handle) for handle in range(first, first + count)]

    def free_all(self) -> list[tuple[str, int, int]]:
        done = [self.event(-1, handle) for handle in self.handles]
        self.handles = []
        return done

    def freed_slabs(self) -> list[int]:
        """Slabs freed, counted from 1 as the vectors do."""
        return [slab + 1 for _, _, _, slab, _, way, _ in self.slub.pages if way < 0]

    def partial_list(self) -> list[tuple[int, int]]:
        return [(slab.number + 1, slab.inuse) for slab in self.cache.nodes[0].partial]

    def sheaves(self) -> int:
        """Sheaves that exist, the main sheaf made at boot included."""
        return 1 + self.cache.stat["sheaf_alloc"] - self.cache.stat["sheaf_free"]


def test_v2_first_allocations() -> None:
    run = Run(64)
    first = run.alloc(60)
    assert [(slab + 1, index) for _, slab, index in first] == [(1, i) for i in range(59, -1, -1)]
    assert run.cache.stat["sheaf_alloc"] == 1
    assert run.cache.stat["alloc_slab"] == 1
    assert run.partial_list() == [(1, 60)]
    assert run.cache.pcs[0].spare.objects == []
    path, slab, index = run.alloc(1)[0]
    assert (path, slab + 1, index) == ("refill_new", 2, 55)
    assert run.partial_list() == [(2, 56)]
    rest = [(slab, index) for slab, index in run.cache.pcs[0].main.objects]
    assert [(slab.number + 1, index) for slab, index in rest[:4]] == [(1, i) for i in range(60, 64)]


def test_v2_960_there_and_back() -> None:
    run = Run(64)
    run.alloc(960)
    assert run.cache.stat["alloc_slab"] == 15
    assert run.partial_list() == []
    pcs = run.cache.pcs[0]
    assert (pcs.main.objects, pcs.spare.objects) == ([], [])
    paths = [path for path, _, _ in run.free_all()]
    pcs = run.cache.pcs[0]
    assert (len(pcs.main.objects), len(pcs.spare.objects)) == (60, 60)
    assert (len(run.cache.nodes[0].full), len(run.cache.nodes[0].empty)) == (10, 0)
    assert run.sheaves() == 12
    assert run.freed_slabs() == []
    assert sum(64 - used for _, used in run.partial_list()) == 240
    assert run.partial_list() == [(1, 4), (11, 20), (12, 0), (13, 0), (14, 56)]
    puts = [i + 1 for i, path in enumerate(paths) if path == "barn_put"]
    assert (puts[0], puts[9], len(puts)) == (121, 661, 10)
    assert [i + 1 for i, path in enumerate(paths) if path == "flush"] == [721, 781, 841, 901]


def test_v2_1920_there_and_back() -> None:
    run = Run(64)
    run.alloc(1920)
    assert run.cache.stat["alloc_slab"] == 30
    run.free_all()
    assert sorted(run.freed_slabs()) == list(range(14, 29))
    assert run.partial_list() == [(1, 4), (11, 20), (12, 0), (13, 0), (29, 56)]


def test_v4() -> None:
    run = Run(256)
    path, slab, index = run.alloc(1)[0]
    assert (path, slab + 1, index, run.cache.stat["alloc_slab"]) == ("refill_new", 2, 11, 2)
    run.alloc(559)
    assert run.cache.stat["alloc_slab"] == 35
    run.free_all()
    assert sorted(run.freed_slabs()) == list(range(23, 32))
    assert run.partial_list() == [(1, 0), (2, 4), (20, 4), (21, 0), (22, 0), (32, 8)]


def test_v5() -> None:
    run = Run(4096)
    assert run.alloc(200)[0] == ("refill_new", 0, 3)
    assert run.cache.stat["alloc_slab"] == 25
    run.free_all()
    assert sorted(run.freed_slabs()) == list(range(10, 25))
    assert run.partial_list() == [(1, 4), (6, 4), (7, 0), (8, 0), (9, 0)]
    assert run.sheaves() == 12


@pytest.mark.parametrize("size", [64, 4096])
def test_counters_have_the_kernel_s_units(size: int) -> None:
    """sheaf_refill and sheaf_flush count objects; refill and slow path never count twice."""
    run = Run(size)
    run.alloc(400)
    run.free_all()
    stat = run.cache.stat
    capacity = run.cache.shape.capacity
    assert stat["alloc_fastpath"] == stat["free_fastpath"] == 400
    assert stat["alloc_slowpath"] == stat["free_slowpath"] == 0
    assert stat["sheaf_refill"] == stat["barn_get_fail"] * capacity
    assert stat["sheaf_flush"] == stat["barn_put_fail"] * capacity
    # Free 1 to capacity fills main; every capacity frees later main is full: once spare is
    # installed, from then on the barn is asked.
    assert stat["barn_put"] + stat["barn_put_fail"] == 399 // capacity - 1


def test_exhaustion_ends_in_the_slow_path_and_then_in_failure() -> None:
    """R3.13 short: what the refill got is flushed, then R3.15 hands out the last objects."""
    shapes = cache_shapes(LINUX_7_2, [("c", 64)], 2)
    slub = Slub(shapes, max_order=lambda seq: 10 if seq < 60 else -1)
    results = [slub.event(seq, 0, 0, +1, seq) for seq in range(70)]
    assert [path for path, _, _ in results[60:]] == ["slow_partial"] * 4 + ["failed"] * 6
    stat = slub.caches[0].stat
    # The first short refill took the 4 last objects, with spare's sheaf, which then was freed.
    assert (stat["sheaf_flush"], stat["sheaf_free"], stat["alloc_slowpath"]) == (4, 1, 10)
    assert slub.event(70, 0, 0, -1, 69) == ("ignored", -1, -1)


def test_a_smaller_slab_when_the_order_is_refused() -> None:
    shapes = cache_shapes(LINUX_7_2, [("c", 512)], 2)
    slub = Slub(shapes, max_order=lambda _: 0)
    slub.event(0, 0, 0, +1, 0)
    assert [order for _, _, _, _, order, *_ in slub.pages] == [0, 0, 0, 0]
    assert slub.caches[0].stat["order_fallback"] == 4
