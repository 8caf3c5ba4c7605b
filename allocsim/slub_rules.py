"""SLUB's numbers, by the rules of a kernel version: slab orders, sheaf capacities, min_partial.

``cache_shapes`` applies the rules to the caches of a trace; the user's settings win over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocsim.settings import MAX_PAGE_ORDER, SettingError, check_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE_SIZE = 4096
MAX_OBJS_PER_PAGE = 32767  #: slab->objects has 15 bits (mm/slub.c, 7.2)


@dataclass(frozen=True, slots=True)
class SlubRules:
    """SLUB's numbers of one kernel version.

    Args:
        sheaf_capacity: (smallest cache size in bytes, objects wanted in a sheaf), largest first
            (R3.10, before the sheaf is grown to fill its kmalloc size).
        sheaf_header: bytes of a sheaf in front of its pointers.
        max_full_sheaves: full sheaves a barn takes (R3.10, R3.16 free 6).
        flush_batch: objects freed at a time when main itself is flushed (PCS_BATCH_MAX).
        max_order: largest order chosen for waste's sake (slub_max_order).
        min_partial: smallest and largest number of slabs kept on the partial list (R3.5).
        no_sheaves: caches that have none (R3.11).
    """

    sheaf_capacity: tuple[tuple[int, int], ...]
    sheaf_header: int
    max_full_sheaves: int
    flush_batch: int
    max_order: int
    min_partial: tuple[int, int]
    no_sheaves: tuple[str, ...]


LINUX_7_2 = SlubRules(
    sheaf_capacity=((4096, 4), (1024, 12), (256, 26), (0, 60)),
    sheaf_header=32,
    max_full_sheaves=10,
    flush_batch=32,
    max_order=3,
    min_partial=(5, 10),
    no_sheaves=("kmem_cache", "kmem_cache_node"),
)


@dataclass(frozen=True, slots=True)
class CacheShape:
    """One cache as the allocator sees it.

    Args:
        name: the cache's name.
        size: bytes from one object to the next, metadata included (``bytes_alloc``, R3.3).
        order: order of a slab; ``objects`` fit one.
        objects: objects in a slab of ``order``.
        min_order: the order tried when ``order`` cannot be had; ``min_objects`` fit one.
        min_objects: objects in a slab of ``min_order``.
        min_partial: an empty slab is kept while the partial list is shorter than this (R3.17).
        capacity: objects in a sheaf; 0: the cache has no sheaves (R3.11).
    """

    name: str
    size: int
    order: int
    objects: int
    min_order: int
    min_objects: int
    min_partial: int
    capacity: int


def get_order(size: int) -> int:
    """The smallest order whose block holds ``size`` bytes."""
    return ((size - 1) // PAGE_SIZE).bit_length()


def slab_order(rules: SlubRules, size: int, cpus: int) -> int:
    """Order of a slab of objects of ``size`` bytes with ``cpus`` present (R3.4).

    mm/slub.c:calculate_order, calc_slab_order (7.2).
    """
    min_objects = min(4 * (cpus.bit_length() + 1), max((PAGE_SIZE << rules.max_order) // size, 1))
    start = get_order(min_objects * size)
    if (PAGE_SIZE << start) // size > MAX_OBJS_PER_PAGE:
        return get_order(size * MAX_OBJS_PER_PAGE) - 1
    for fraction in (16, 8, 4, 2):
        for order in range(start, rules.max_order + 1):
            slab = PAGE_SIZE << order
            if slab % size <= slab // fraction:
                return order
    return get_order(size)


def sheaf_capacity(rules: SlubRules, size: int) -> int:
    """Objects in a sheaf of a cache of ``size`` bytes (R3.10).

    mm/slub.c:calculate_sheaf_capacity (7.2): the sheaf is grown to fill its kmalloc size.
    """
    wanted = next(objects for least, objects in rules.sheaf_capacity if size >= least)
    return (kmalloc_size(rules.sheaf_header + 8 * wanted) - rules.sheaf_header) // 8


def kmalloc_size(size: int) -> int:
    """The size class a kmalloc of ``size`` bytes is served from (R3.1)."""
    if 64 < size <= 96:
        return 96
    if 128 < size <= 192:
        return 192
    return max(8, 1 << (size - 1).bit_length())


def min_partial(rules: SlubRules, size: int) -> int:
    """Slabs kept on the partial list of a cache of ``size`` bytes (R3.5).

    mm/slub.c:do_kmem_cache_create (7.2).
    """
    low, high = rules.min_partial
    return min(max((size.bit_length() - 1) // 2, low), high)


def cache_shapes(
    rules: SlubRules,
    caches: Sequence[tuple[str, int]],
    cpus: int,
    settings: Mapping[str, int] | None = None,
) -> list[CacheShape]:
    """The shape of every cache, in the given order.

    Args:
        rules: those of the kernel version.
        caches: (name, size in bytes) of each cache.
        cpus: CPUs present, unless ``settings`` has ``cpus``. R3.4: with one CPU present the
            kernel counts the possible ones instead; pass that number then.
        settings: key -> value; a key of SETTINGS, or one with ``.<cache>`` behind it, which wins.

    Raises:
        SettingError: a key that does not exist, a cache that is not in the trace, a value out of
            range; the message names the key, the range and the near misses.
    """
    settings = settings or {}
    check_settings(settings, [name for name, _ in caches])
    cpus = settings.get("cpus", cpus)
    return [_shape(rules, name, size, cpus, settings) for name, size in caches]


def _shape(
    rules: SlubRules, name: str, size: int, cpus: int, settings: Mapping[str, int]
) -> CacheShape:
    def setting(key: str, by_rule: int) -> int:
        return settings.get(f"{key}.{name}", settings.get(key, by_rule))

    fallback = get_order(size)
    key = f"slab.order.{name}"
    if settings.get(key, fallback) < fallback:
        raise SettingError(
            f"setting {key}={settings[key]}: an object of {size} bytes needs order {fallback}; "
            f"the range is {fallback} to {MAX_PAGE_ORDER}"
        )
    # A slab.order for all caches must not stop those whose objects are larger than it.
    order = max(setting("slab.order", slab_order(rules, size, cpus)), fallback)
    capacity = 0 if name in rules.no_sheaves else sheaf_capacity(rules, size)
    return CacheShape(
        name=name,
        size=size,
        order=order,
        objects=min((PAGE_SIZE << order) // size, MAX_OBJS_PER_PAGE),
        min_order=min(fallback, order),
        min_objects=min((PAGE_SIZE << min(fallback, order)) // size, MAX_OBJS_PER_PAGE),
        min_partial=setting("min_partial", min_partial(rules, size)),
        capacity=setting("sheaf.capacity", capacity),
    )
