"""Caches as the allocator sees them: a profile's rules, and the user's settings, which win.

Settings are such as ``sheaf.capacity=24`` or ``slab.order.dentry=2``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allocsim.kernels.settings import (
    SettingError,
    at_moment,
    check_settings,
    kernel_profile,
    value_for,
)
from allocsim.kernels.slub_rules import (
    MAX_OBJS_PER_PAGE,
    PAGE_SIZE,
    AskedRules,
    CpuSlabRules,
    SheafRules,
    cpu_partial,
    get_order,
    min_partial,
    sheaf_capacity,
    slab_order,
)
from allocsim.page_alloc.zones import MAX_PAGE_ORDER
from allocsim.tables import row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.kernels.profile import Profile
    from allocsim.kernels.slub_rules import SlubRules


@dataclass(frozen=True, slots=True)
class CacheShape:
    """One cache: what every generation of SLUB has.

    Args:
        name: the cache's name.
        size: bytes from one object to the next, metadata included (``bytes_alloc``, R3.3).
        order: order of a slab; ``objects`` fit one.
        objects: objects in a slab of ``order``.
        min_order: the order tried when ``order`` cannot be had; ``min_objects`` fit one.
        min_objects: objects in a slab of ``min_order``.
        min_partial: an empty slab is kept while the partial list is shorter than this (R3.17).
    """

    name: str
    size: int
    order: int
    objects: int
    min_order: int
    min_objects: int
    min_partial: int


@dataclass(frozen=True, slots=True)
class SheafShape(CacheShape):
    """A cache of a kernel with sheaves.

    Args:
        capacity: objects in a sheaf; 0: this cache has no sheaves (R3.11).
        max_full_sheaves: full sheaves its barn takes (R3.9).
        max_empty_sheaves: empty sheaves its barn takes of kfree_rcu (R3.20).
    """

    capacity: int
    max_full_sheaves: int
    max_empty_sheaves: int


@dataclass(frozen=True, slots=True)
class CpuSlabShape(CacheShape):
    """A cache of a kernel with cpu slabs.

    Args:
        cpu_partial: objects wanted on a CPU's partial list (R3.30).
    """

    cpu_partial: int

    @property
    def cpu_partial_slabs(self) -> int:
        """Slabs on a CPU's partial list at which it is drained (R3.36), each taken as half full.

        mm/slub.c:slub_set_cpu_partial (6.12).
        """
        return -(-2 * self.cpu_partial // self.objects)


@dataclass(frozen=True, slots=True)
class AskedShape(SheafShape):
    """A cache of a kernel with cpu slabs, and sheaves above them where it asked (R3.45).

    Args:
        cpu_partial: as CpuSlabShape has it.
    """

    cpu_partial: int

    @property
    def cpu_slabs(self) -> CpuSlabShape:
        """What is below its sheaves."""
        fields = {name: getattr(self, name) for name in CacheShape.__dataclass_fields__}
        return CpuSlabShape(**fields, cpu_partial=self.cpu_partial)


def profile_of(settings: Mapping[str, int]) -> Profile:
    """The profile that settings ask for, with its numbers as they say.

    Raises:
        SettingError: there is no such kernel.
    """
    return with_settings(kernel_profile(settings), settings)


def with_settings(profile: Profile, settings: Mapping[str, int]) -> Profile:
    """The profile with those of its own numbers changed that the user has set."""
    slub, pages = profile.slub, profile.pages
    slub = replace(slub, max_order=settings.get("slab.max_order", slub.max_order))
    if isinstance(slub, SheafRules):
        slub = _with_batch(slub, settings)
    elif isinstance(slub, AskedRules):
        slub = replace(slub, sheaves=_with_batch(slub.sheaves, settings))
    pages = replace(
        pages,
        scale_max=settings.get("pcp.scale_max", pages.scale_max),
        own_blocks=bool(settings.get("pcp.own_blocks", pages.own_blocks)),
    )
    return replace(profile, slub=slub, pages=pages)


def _with_batch(sheaves: SheafRules, settings: Mapping[str, int]) -> SheafRules:
    return replace(sheaves, flush_batch=settings.get("sheaf.flush_batch", sheaves.flush_batch))


def cache_shapes(
    profile: Profile,
    caches: Sequence[tuple[str, int]],
    cpus: int,
    settings: Mapping[str, int] | None = None,
    moment: int = -1,
) -> list[CacheShape]:
    """The shape of every cache, in the given order, of the generation of the profile's rules.

    Args:
        profile: the kernel version whose rules apply.
        caches: (name, size in bytes) of each cache.
        cpus: CPUs present, unless ``settings`` has ``cpus``. R3.4: with one CPU present the
            kernel counts the possible ones instead; pass that number then.
        settings: key -> value; a key of SETTINGS, or one with ``.<cache>`` behind it, which wins.
        moment: which of them hold (settings.at_moment): those of the start, if none is given.

    Raises:
        SettingError: a key that does not exist, a cache that is not in the trace, a value out of
            range; the message names the key, the range and the near misses.
    """
    settings = settings or {}
    check_settings(settings, [name for name, _ in caches])
    settings = at_moment(settings, moment)
    cpus = settings.get("cpus", cpus)
    return [_shape(profile.slub, name, size, cpus, settings) for name, size in caches]


def _shape(
    rules: SlubRules, name: str, size: int, cpus: int, settings: Mapping[str, int]
) -> CacheShape:
    def setting(key: str, by_rule: int) -> int:
        found = value_for(settings, key, name)
        return by_rule if found is None else found

    fallback = get_order(size)
    key = f"slab.order.{name}"
    if settings.get(key, fallback) < fallback:
        raise SettingError(
            f"setting {key}={settings[key]}: an object of {size} bytes needs order {fallback}; "
            f"the range is {fallback} to {MAX_PAGE_ORDER}"
        )
    # A slab.order for all caches must not stop those whose objects are larger than it.
    order = max(setting("slab.order", slab_order(rules, size, cpus)), fallback)
    slabs = CacheShape(
        name=name,
        size=size,
        order=order,
        objects=min((PAGE_SIZE << order) // size, MAX_OBJS_PER_PAGE),
        min_order=min(fallback, order),
        min_objects=min((PAGE_SIZE << min(fallback, order)) // size, MAX_OBJS_PER_PAGE),
        min_partial=setting("min_partial", min_partial(rules, size)),
    )

    def sheafed(sheaves: SheafRules) -> SheafShape:
        return SheafShape(
            **row_of(slabs),
            capacity=setting("sheaf.capacity", sheaf_capacity(sheaves, name, size)),
            max_full_sheaves=setting("barn.full_sheaves", sheaves.max_full_sheaves),
            max_empty_sheaves=setting("barn.empty_sheaves", sheaves.max_empty_sheaves),
        )

    match rules:
        case SheafRules():
            return sheafed(rules)
        case CpuSlabRules():
            wanted = setting("slab.cpu_partial", cpu_partial(rules, size))
            return CpuSlabShape(**row_of(slabs), cpu_partial=wanted)
        case AskedRules():
            wanted = setting("slab.cpu_partial", cpu_partial(rules.cpu_slabs, size))
            return AskedShape(**row_of(sheafed(rules.sheaves)), cpu_partial=wanted)
