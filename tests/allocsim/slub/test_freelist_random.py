"""R3.6: the free list of a new slab, ascending or a permutation from a seed."""

from __future__ import annotations

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from allocsim.slub.freelist_random import freelist_order

SHAPES = cache_shapes(LINUX_7_2, [("a", 64), ("b", 64), ("c", 9792)], 2)


def test_ascending_without_a_seed() -> None:
    assert freelist_order(0, SHAPES) is None


def test_every_slab_starts_elsewhere_in_its_cache_s_permutation() -> None:
    order = freelist_order(7, SHAPES)
    assert order is not None
    first = list(order(0, 0, 64))
    assert sorted(first) == list(range(64))
    assert first != list(range(64))
    starts = set()
    for slab in range(200):
        other = list(order(0, slab, 64))
        at = other.index(first[0])
        assert other[at:] + other[:at] == first
        starts.add(at)
    assert len(starts) > 50
    assert list(order(1, 0, 64)) != first


def test_a_smaller_slab_leaves_out_what_it_has_not() -> None:
    order = freelist_order(7, SHAPES)
    assert order is not None
    assert sorted(order(0, 5, 10)) == list(range(10))
    assert [place for place in order(0, 5, 64) if place < 10] == list(order(0, 5, 10))


def test_the_seed_decides() -> None:
    orders = [freelist_order(seed, SHAPES) for seed in (1, 1, 2)]
    one, again, other = [list(order(0, 3, 64)) for order in orders if order is not None]
    assert one == again != other
