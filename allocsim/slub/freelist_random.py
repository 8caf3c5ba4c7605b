"""The order in which a new slab hands its objects out (R3.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import CacheShape

#: The places of a new slab as it hands them out, by cache, number of the slab and objects.
FreelistOrder = Callable[[int, int, int], Sequence[int]]


def freelist_order(seed: int, shapes: Sequence[CacheShape]) -> FreelistOrder | None:
    """Orders as CONFIG_SLAB_FREELIST_RANDOM makes them, from a seed; None (ascending) for seed 0.

    mm/slub.c:init_cache_random_seq, next_slab_obj (7.2): each cache has one permutation of the
    places in a slab, each slab starts somewhere in it; a slab of the smaller fallback order leaves
    out the places it does not have. The kernel's own draws are not in a recording, so the orders
    are of the same kind, not the same.

    Returns:
        (cache, how many slabs before it, objects) -> places in the order they are handed out.
    """
    if not seed:
        return None

    @cache
    def permutation(cache: int) -> list[int]:
        rng = np.random.default_rng((seed, cache))
        return [int(place) for place in rng.permutation(shapes[cache].objects)]

    def order(cache: int, slab: int, objects: int) -> Sequence[int]:
        places = permutation(cache)
        start = _scramble(seed ^ cache << 40 ^ slab) % len(places)
        return [place for place in places[start:] + places[:start] if place < objects]

    return order


def _scramble(value: int) -> int:
    """A number that shows no pattern for a row of values (the finaliser of splitmix64)."""
    value &= (1 << 64) - 1
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    value = (value ^ value >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
    return value ^ value >> 31
