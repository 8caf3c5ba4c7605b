"""The oracle of 6.12 against vector V3 and against steps worked out by hand (R3.29 - R3.40)."""

from __future__ import annotations

import pytest

from allocsim.kernels.cache_shapes import CpuSlabShape, cache_shapes
from allocsim.kernels.profile import LINUX_6_12
from tests.oracle.cpu_slabs import CpuSlabs


class Run:
    """One cache, and events on it by CPU; slabs and handles count from 1."""

    def __init__(self, shape: CpuSlabShape) -> None:
        self.slub = CpuSlabs([shape])
        self.cache = self.slub.caches[0]
        self.seq = 0
        self.last = 0

    def alloc(self, cpu: int = 0, count: int = 1) -> list[tuple[str, int, int]]:
        done = []
        for _ in range(count):
            self.last += 1
            done.append(self._event(cpu, +1, self.last))
        return done

    def free(self, *handles: int, cpu: int = 0) -> list[tuple[str, int, int]]:
        return [self._event(cpu, -1, handle) for handle in handles]

    def _event(self, cpu: int, op: int, handle: int) -> tuple[str, int, int]:
        path, slab, index = self.slub.event(self.seq, cpu, 0, op, handle)
        self.seq += 1
        return path, slab + 1, index

    def freed_slabs(self) -> list[int]:
        return [slab + 1 for _, _, _, slab, _, way, _ in self.slub.pages if way < 0]

    def node_list(self) -> list[tuple[int, int]]:
        return [(slab.number + 1, slab.inuse) for slab in self.cache.nodes[0].partial]

    def cpu_list(self, cpu: int = 0) -> list[int]:
        return [slab.number + 1 for slab in self.cache.cpus[cpu].partial]

    def stat(self) -> dict[str, int]:
        return {name: value for name, value in self.cache.stat.items() if value}


def small(**changes: int) -> CpuSlabShape:
    """Two objects a slab, two slabs on a CPU's partial list, two kept on the node's."""
    shape = {"order": 0, "objects": 2, "min_order": 0, "min_objects": 2, "min_partial": 2}
    return CpuSlabShape("c", 2048, **(shape | {"cpu_partial": 2} | changes))


def test_v3_960_there_and_back() -> None:
    [shape] = cache_shapes(LINUX_6_12, [("c", 64)], 2)
    assert (shape.objects, shape.cpu_partial_slabs, shape.min_partial) == (64, 4, 5)
    run = Run(shape)
    there = run.alloc(0, 960)
    assert [(slab, index) for _, slab, index in there] == [
        (slab, index) for slab in range(1, 16) for index in range(64)
    ]
    back = run.free(*range(1, 961))
    drains = [slab for path, slab, _ in back if path == "cpu_partial_drain"]
    assert drains == [5, 9, 13]
    assert run.freed_slabs() == [5, 6, 7, 9, 10, 11, 12]
    assert run.node_list() == [(4, 0), (3, 0), (2, 0), (1, 0), (8, 0)]
    assert run.cpu_list() == [14, 13]
    assert run.cache.cpus[0].slab.number + 1 == 15
    assert run.stat() == {
        "alloc_fastpath": 945,
        "alloc_slowpath": 15,
        "alloc_slab": 15,
        "deactivate_bypass": 14,  # every slab but the first found the one before exhausted
        "free_fastpath": 64,  # of slab 15
        "free_slowpath": 896,
        "cpu_partial_free": 14,
        "cpu_partial_drain": 3,
        "free_add_partial": 5,
        "deactivate_empty": 7,
        "free_slab": 7,
        "list_lock": 17,  # a drain each, and the last object of 14 slabs
        "freelist_cmpxchg": 14 + 896,
    }


@pytest.mark.parametrize(
    ("size", "slabs"),
    [(8, 1), (64, 4), (192, 12), (256, 7), (512, 7), (1024, 3), (2048, 3), (4096, 2), (8192, 3)],
)
def test_cpu_partial_slabs_at_two_cpus(size: int, slabs: int) -> None:
    """The table of R3.8."""
    assert cache_shapes(LINUX_6_12, [("c", size)], 2)[0].cpu_partial_slabs == slabs


def test_a_free_is_quick_only_on_the_cpu_that_has_the_slab() -> None:
    run = Run(small(objects=4, cpu_partial=4))
    assert run.alloc(0, 3) == [("new_slab", 1, 0), ("cpu_slab_hit", 1, 1), ("cpu_slab_hit", 1, 2)]
    assert run.free(1) == [("cpu_slab_push", 1, 0)]
    assert run.free(2, cpu=1) == [("free_frozen", 1, 1)]
    # The CPU's own list first, last freed first out; then what the other CPU gave back.
    assert run.alloc(0, 3) == [
        ("cpu_slab_hit", 1, 0),
        ("cpu_slab_hit", 1, 3),
        ("cpu_slab_refill", 1, 1),
    ]
    assert run.stat()["alloc_refill"] == 1
    assert run.alloc(0) == [("new_slab", 2, 0)]
    assert run.stat()["deactivate_bypass"] == 1


def test_a_slab_stays_the_cpus_when_its_last_object_is_taken() -> None:
    run = Run(small())
    run.alloc(0, 2)
    assert run.free(2) == [("cpu_slab_push", 1, 1)]
    assert run.alloc(0) == [("cpu_slab_hit", 1, 1)]
    assert run.free(1, 3, cpu=1) == [("free_frozen", 1, 0), ("free_frozen", 1, 1)]
    assert run.alloc(0, 2) == [("cpu_slab_refill", 1, 1), ("cpu_slab_hit", 1, 0)]
    assert run.freed_slabs() == []


def test_the_first_free_of_a_full_slab_goes_to_the_freeing_cpus_list() -> None:
    run = Run(small())
    run.alloc(0, 4)  # slab 1 is full and nobody's, slab 2 is CPU 0's
    assert run.free(1, cpu=1) == [("cpu_partial_put", 1, 0)]
    assert (run.cpu_list(0), run.cpu_list(1)) == ([], [1])
    # Empty now, but on a CPU's list, where nobody looks.
    assert run.free(2, cpu=0) == [("slab_push", 1, 1)]
    assert run.freed_slabs() == []
    assert run.alloc(1) == [("cpu_partial", 1, 1)]
    assert run.stat()["cpu_partial_alloc"] == 1


def test_a_drain_keeps_min_partial_empty_slabs() -> None:
    run = Run(small())
    run.alloc(0, 16)  # 8 slabs, the last CPU 0's
    run.free(1, 2, 3, 4)  # 1 and 2, empty, on the CPU's list
    assert run.cpu_list() == [2, 1]
    assert run.free(5) == [("cpu_partial_drain", 3, 0)]
    assert (run.node_list(), run.cpu_list()) == ([(2, 0), (1, 0)], [3])
    run.free(6, 7, 8)
    assert run.free(9) == [("cpu_partial_drain", 5, 0)]
    # Two are there, so empty ones go, the one seen last first.
    assert (run.node_list(), run.freed_slabs()) == ([(2, 0), (1, 0)], [3, 4])
    run.free(11)
    assert run.free(13) == [("cpu_partial_drain", 7, 0)]
    assert run.node_list() == [(2, 0), (1, 0), (6, 1), (5, 1)]
    # The last object of a slab on the node's list, of which there are enough.
    assert run.free(12) == [("slab_freed", 6, 1)]
    assert run.stat()["free_remove_partial"] == 1


def test_partial_slabs_are_taken_in_numbers() -> None:
    run = Run(small())
    run.alloc(0, 16)
    run.free(1, 3, 5, 7, 9, 11, 13)
    assert run.node_list() == [(2, 1), (1, 1), (4, 1), (3, 1), (6, 1), (5, 1)]
    assert run.cpu_list() == [7]
    # One for the CPU, and 2 / 2 + 1 for its list, the last of them first.
    assert run.alloc(1) == [("node_partial", 2, 0)]
    assert run.cpu_list(1) == [4, 1]
    assert run.node_list() == [(3, 1), (6, 1), (5, 1)]
    assert run.stat()["cpu_partial_node"] == 2
    assert run.alloc(1, 2) == [("cpu_partial", 4, 0), ("cpu_partial", 1, 0)]
    # The list that was filled so counts as full at the next slab that is put on it (R3.36).
    assert run.alloc(1) == [("node_partial", 3, 0)]
    assert run.cpu_list(1) == [5, 6]
    assert run.free(16, cpu=1) == [("free_frozen", 8, 1)]
    assert run.free(4, cpu=1) == [("cpu_partial_drain", 2, 1)]
    assert run.cpu_list(1) == [2]


def test_without_room_for_partial_slabs_a_list_still_holds_one() -> None:
    """cpu_partial written 0 in sysfs, in a kernel with CONFIG_SLUB_CPU_PARTIAL."""
    run = Run(small(cpu_partial=0))
    run.alloc(0, 8)
    assert run.free(1, 3) == [("cpu_partial_put", 1, 0), ("cpu_partial_drain", 2, 0)]
    assert (run.cpu_list(), run.node_list()) == ([2], [(1, 1)])
    run.alloc(1)
    assert (run.cpu_list(1), run.node_list()) == ([], [])


def test_refused_pages() -> None:
    run = Run(small(order=1, objects=4))
    run.slub.max_order = lambda seq: (0, 0, 0, -1, -1, 10)[seq]
    assert [path for path, _, _ in run.alloc(0, 2)] == ["new_slab", "cpu_slab_hit"]
    assert run.stat()["order_fallback"] == 1
    run.free(1)
    run.alloc(0)
    assert run.alloc(0)[0] == ("failed", 0, -1)
    assert run.alloc(0)[0] == ("new_slab", 2, 0)
    assert run.stat()["deactivate_bypass"] == 1


def test_slabs_from_before() -> None:
    free = [(0, -2, 1, 0), (0, -3, 0, 0), (0, -4, 1, -1), (0, -5, 0, 0)]
    run = Run(small())
    run.slub = CpuSlabs([small()], free_before=free, existing={100: (-2, 0), 101: (-7, 1)})
    run.cache = run.slub.caches[0]
    assert run.alloc(0, 4) == [
        ("cpu_slab_hit", -1, 1),
        ("cpu_partial", -2, 0),
        ("cpu_partial", -4, 0),
        ("node_partial", -3, 1),
    ]
    assert run.free(101) == [("cpu_partial_put", -6, 1)]
    assert run.free(100) == [("cpu_partial_put", -1, 0)]
