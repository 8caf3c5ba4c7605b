"""What a kernel version fixes: SLUB's numbers by rule, and the settings that may change them.

A profile is data. ``cache_shapes`` applies its rules to the caches of a trace and to the user's
settings (``sheaf.capacity=24``, ``slab.order.dentry=2``, ...), which win over the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allocsim.kernels.release import kernel_at
from allocsim.kernels.settings import (
    DEFAULT_KERNEL,
    KERNEL,
    KERNELS,
    SettingError,
    check_settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.page_alloc.zones import PageRules

PAGE_SIZE = 4096
MAX_PAGE_ORDER = 10
MAX_OBJS_PER_PAGE = 32767  #: slab->objects has 15 bits (mm/slub.c, 7.2)


@dataclass(frozen=True, slots=True)
class SlubRules:
    """SLUB's numbers of one kernel version.

    Args:
        sheaf_capacity: (smallest cache size in bytes, objects wanted in a sheaf), largest first
            (R3.10, before the sheaf is grown to fill its kmalloc size).
        sheaf_header: bytes of a sheaf in front of its pointers.
        max_full_sheaves: full sheaves a barn takes (R3.9, step 6 of R3.24).
        max_empty_sheaves: empty sheaves it takes from kfree_rcu (R3.20).
        grace_ns: from the last kfree_rcu into a sheaf until its objects may be used again. Assumed:
            a grace period of RCU takes a few ticks (kernel/rcu/tree.c:rcu_gp_fqs_loop waits one
            to three jiffies before it forces one); about 20 ms fits SLUB_STATS, 0.5 s does not
            (R8.2).
        flush_batch: objects freed at a time when main itself is flushed (PCS_BATCH_MAX).
        max_order: largest order chosen for waste's sake (slub_max_order).
        min_partial: smallest and largest number of slabs kept on the partial list (R3.5).
        no_sheaves: caches that have none (R3.11): SLAB_NO_SHEAVES, SLAB_NOLEAKTRACE.
        sheaf_requests: caches that ask for a capacity of their own, and which (R3.10).
        cpu_partial: (smallest cache size in bytes, objects wanted on a CPU's partial list),
            largest first (R3.30); empty: the kernel has sheaves instead.
    """

    sheaf_capacity: tuple[tuple[int, int], ...]
    sheaf_header: int
    max_full_sheaves: int
    max_empty_sheaves: int
    grace_ns: int
    flush_batch: int
    max_order: int
    min_partial: tuple[int, int]
    no_sheaves: tuple[str, ...]
    sheaf_requests: Mapping[str, int]
    cpu_partial: tuple[tuple[int, int], ...] = ()

    @property
    def cpu_slabs(self) -> bool:
        """Whether a CPU allocates from a slab of its own (R3.40), not from sheaves (R3.22)."""
        return bool(self.cpu_partial)


@dataclass(frozen=True, slots=True)
class Profile:
    """A kernel version: its name and its allocators' numbers."""

    name: str
    slub: SlubRules
    pages: PageRules


LINUX_7_2 = Profile(
    name="linux-7.2",
    slub=SlubRules(
        sheaf_capacity=((4096, 4), (1024, 12), (256, 26), (0, 60)),
        sheaf_header=32,
        max_full_sheaves=10,
        max_empty_sheaves=10,
        grace_ns=20_000_000,
        flush_batch=32,
        max_order=3,
        min_partial=(5, 10),
        # mm/slub.c:kmem_cache_init, mm/kmemleak.c:kmemleak_init,
        # lib/debugobjects.c:debug_objects_mem_init (7.2)
        no_sheaves=(
            "kmem_cache",
            "kmem_cache_node",
            "kmemleak_object",
            "kmemleak_scan_area",
            "debug_objects_cache",
        ),
        # lib/maple_tree.c:maple_tree_init, mm/vma_init.c:vma_state_init (7.2)
        sheaf_requests={"maple_node": 32, "vm_area_struct": 32},
    ),
    pages=kernel_at((7, 2)).pages,
)

LINUX_6_12 = Profile(
    name="linux-6.12",
    slub=SlubRules(
        sheaf_capacity=((0, 0),),
        sheaf_header=0,
        max_full_sheaves=0,
        max_empty_sheaves=0,
        grace_ns=20_000_000,
        flush_batch=1,
        max_order=3,
        min_partial=(5, 10),
        no_sheaves=(),
        sheaf_requests={},
        cpu_partial=((4096, 6), (1024, 24), (256, 52), (0, 120)),
    ),
    pages=kernel_at((6, 12)).pages,
)

PROFILES = {KERNELS["6.12"]: LINUX_6_12, KERNELS["7.2"]: LINUX_7_2}


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
        cpu_partial: objects wanted on a CPU's partial list (R3.30); 0 in a kernel with sheaves.
    """

    name: str
    size: int
    order: int
    objects: int
    min_order: int
    min_objects: int
    min_partial: int
    capacity: int
    cpu_partial: int = 0

    @property
    def cpu_partial_slabs(self) -> int:
        """Slabs on a CPU's partial list at which it is drained (R3.36), each taken as half full.

        mm/slub.c:slub_set_cpu_partial (6.12).
        """
        return -(-2 * self.cpu_partial // self.objects)


def profile_of(settings: Mapping[str, int]) -> Profile:
    """The profile that settings ask for, with its numbers as they say."""
    return with_settings(PROFILES[settings.get(KERNEL, KERNELS[DEFAULT_KERNEL])], settings)


def with_settings(profile: Profile, settings: Mapping[str, int]) -> Profile:
    """The profile with those of its own numbers changed that the user has set."""
    slub, pages = profile.slub, profile.pages
    return replace(
        profile,
        slub=replace(
            slub,
            max_full_sheaves=settings.get("barn.full_sheaves", slub.max_full_sheaves),
            flush_batch=settings.get("sheaf.flush_batch", slub.flush_batch),
            max_order=settings.get("slab.max_order", slub.max_order),
        ),
        pages=replace(pages, scale_max=settings.get("pcp.scale_max", pages.scale_max)),
    )


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


def sheaf_capacity(rules: SlubRules, name: str, size: int) -> int:
    """Objects in a sheaf of a cache of ``size`` bytes (R3.10, R3.11); 0: it has none.

    mm/slub.c:calculate_sheaf_capacity (7.2): the sheaf is grown to fill its kmalloc size, and to
    what the cache asks for itself. A cache that asks is never merged (mm/slab_common.c:
    __kmem_cache_create_args), so its name is its own.
    """
    if name in rules.no_sheaves:
        return 0
    wanted = next(objects for least, objects in rules.sheaf_capacity if size >= least)
    capacity = (kmalloc_size(rules.sheaf_header + 8 * wanted) - rules.sheaf_header) // 8
    return max(capacity, rules.sheaf_requests.get(name, 0))


def kmalloc_size(size: int) -> int:
    """The size class a kmalloc of ``size`` bytes is served from (R3.1)."""
    if 64 < size <= 96:
        return 96
    if 128 < size <= 192:
        return 192
    return max(8, 1 << (size - 1).bit_length())


def cpu_partial(rules: SlubRules, size: int) -> int:
    """Objects wanted on a CPU's partial list of a cache of ``size`` bytes (R3.30).

    mm/slub.c:set_cpu_partial (6.12); 0 in a kernel that has no such list.
    """
    return next((objects for least, objects in rules.cpu_partial if size >= least), 0)


def min_partial(rules: SlubRules, size: int) -> int:
    """Slabs kept on the partial list of a cache of ``size`` bytes (R3.5).

    mm/slub.c:do_kmem_cache_create (7.2).
    """
    low, high = rules.min_partial
    return min(max((size.bit_length() - 1) // 2, low), high)


def cache_shapes(
    profile: Profile,
    caches: Sequence[tuple[str, int]],
    cpus: int,
    settings: Mapping[str, int] | None = None,
) -> list[CacheShape]:
    """The shape of every cache, in the given order.

    Args:
        profile: the kernel version whose rules apply.
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
    return [_shape(profile.slub, name, size, cpus, settings) for name, size in caches]


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
    objects = min((PAGE_SIZE << order) // size, MAX_OBJS_PER_PAGE)
    wanted = setting("slab.cpu_partial", cpu_partial(rules, size)) if rules.cpu_slabs else 0
    return CacheShape(
        name=name,
        size=size,
        order=order,
        objects=objects,
        min_order=min(fallback, order),
        min_objects=min((PAGE_SIZE << min(fallback, order)) // size, MAX_OBJS_PER_PAGE),
        min_partial=setting("min_partial", min_partial(rules, size)),
        capacity=0
        if rules.cpu_slabs
        else setting("sheaf.capacity", sheaf_capacity(rules, name, size)),
        cpu_partial=wanted,
    )
