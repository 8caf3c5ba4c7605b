"""What /sys/kernel/slab of the recorded machine says of its caches."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allocsim.kernels.cache_shapes import AskedShape, CpuSlabShape, SheafShape
from allocsim.kernels.profile import profile_of
from allocsim.kernels.release import Generation
from allocsim.kernels.settings import value_for
from allocsim.kernels.slub_rules import PAGE_SIZE, get_order
from allocsim.page_alloc.zones import MAX_PAGE_ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.kernels.release import Kernel

# Attributes that are read, and the most that each can be: a slab's objects are counted in 15 bits
# (mm/slab.h:struct slab, 7.2), and no cache is of more than a page block of the largest order.
_NUMBERS = {
    "slab_size": 1 << (12 + MAX_PAGE_ORDER),
    "order": MAX_PAGE_ORDER,
    "objs_per_slab": (1 << 15) - 1,
    "min_partial": (1 << 31) - 1,
    "cpu_partial": (1 << 31) - 1,
    "sheaf_capacity": (1 << 15) - 1,
    "reclaim_account": 1,
    "cache_dma": 1,
}
# What slab_debug sets; such a cache has neither sheaves nor CPU slabs (mm/slub.c:kmem_cache_debug).
_DEBUG = frozenset({"sanity_checks", "red_zone", "poison", "store_user", "trace"})


class SlabTextError(ValueError):
    """A text is not what /sys/kernel/slab would say; the message has the cache and the number."""


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """Attributes of one cache, as its files in sysfs name them; None where there is no such file.

    Args:
        slab_size: bytes from one object to the next.
        order: order of a slab.
        objs_per_slab: objects in it.
        min_partial: slabs kept on the partial list.
        sheaf_capacity: objects in a sheaf (kernels with sheaves only).
        reclaim_account: its pages are of migratetype reclaimable.
        cache_dma: its pages come from ZONE_DMA.
        debugged: slab_debug checks, pads or poisons its objects.
        cpu_partial: objects wanted on a CPU's partial list (kernels with cpu slabs only).
    """

    slab_size: int | None = None
    order: int | None = None
    objs_per_slab: int | None = None
    min_partial: int | None = None
    sheaf_capacity: int | None = None
    reclaim_account: int | None = None
    cache_dma: int | None = None
    debugged: bool = False
    cpu_partial: int | None = None


def parse_sysfs_slab(text: str) -> dict[str, CacheFacts]:
    """The facts of every cache, by each of its names.

    Args:
        text: lines ``cache attribute value``, and ``name -> cache`` for a link, as merged caches
            have them (mm/slub.c:sysfs_slab_alias); other lines are passed over.

    Raises:
        SlabTextError: a number is larger than a kernel's can be, or objects do not fit their slab.
    """
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    links: dict[str, str] = {}
    debugged: set[str] = set()
    for line in text.splitlines():
        words = line.split(None, 3)
        if len(words) == 3 and words[1] == "->":
            links[words[0]] = words[2]
        elif len(words) >= 3 and words[1] in _NUMBERS and words[2].isdecimal():
            number = int(words[2])
            if number > _NUMBERS[words[1]]:
                raise SlabTextError(f"{line[:80]!r}: {_NUMBERS[words[1]]} is the most")
            numbers[words[0]][words[1]] = number
        elif len(words) >= 3 and words[1] in _DEBUG and words[2] == "1":
            debugged.add(words[0])
    for name, found in numbers.items():
        if found.keys() >= {"slab_size", "order", "objs_per_slab"} and (
            found["slab_size"] * found["objs_per_slab"] > PAGE_SIZE << found["order"]
        ):
            raise SlabTextError(f"{name[:80]!r}: its objects are larger than its slabs")
    facts = {
        name: CacheFacts(**found, debugged=name in debugged) for name, found in numbers.items()
    }
    return facts | {name: facts[cache] for name, cache in links.items() if cache in facts}


def facts_for(facts: CacheFacts, kernel: Kernel, profile: Profile) -> CacheFacts:
    """What a recorded kernel's facts say of a cache in the kernel that is modelled.

    The capacity of a sheaf is the rule of a version (R3.10): that of another one says nothing, nor
    do the zeros of 6.18 in caches that have cpu slabs instead. A kernel with sheaves alone still
    has the file cpu_partial, which says 0 whatever the cache (mm/slub.c:cpu_partial_show, 7.2).

    Args:
        facts: what was recorded.
        kernel: the recorded kernel.
        profile: the kernel that is modelled.
    """
    own = profile_of(kernel)
    if own is None or own.version != profile.version:
        facts = replace(facts, sheaf_capacity=None)
    if kernel.slub is Generation.SHEAVES:
        facts = replace(facts, cpu_partial=None)
    return facts


def recorded_shape(
    shape: CacheShape,
    facts: CacheFacts,
    settings: Mapping[str, int],
    cpus: int,
) -> CacheShape:
    """A shape by rule, with what was recorded in place of what was computed.

    What the user has set stays. Another number of CPUs, or another largest order, makes other
    orders (R3.4), so then the recorded one does not count.

    Args:
        shape: the shape by rule.
        facts: what was recorded.
        settings: what the user has set.
        cpus: CPUs of the recorded machine.
    """

    def free(key: str) -> bool:
        return value_for(settings, key, shape.name) is None

    order, objects = facts.order, facts.objs_per_slab
    by_rule = settings.get("cpus", cpus) != cpus or "slab.max_order" in settings
    if order is not None and objects and free("slab.order") and not by_rule:
        shape = replace(shape, order=order, objects=objects)
        if order < shape.min_order:
            shape = replace(shape, min_order=order, min_objects=objects)
    if facts.min_partial is not None and free("min_partial"):
        shape = replace(shape, min_partial=facts.min_partial)
    told = facts.sheaf_capacity
    if isinstance(shape, SheafShape) and told is not None and free("sheaf.capacity"):
        shape = replace(shape, capacity=told)
    if (
        isinstance(shape, CpuSlabShape | AskedShape)
        and facts.cpu_partial is not None
        and free("slab.cpu_partial")
    ):
        shape = replace(shape, cpu_partial=facts.cpu_partial)
    return shape


def recorded_order(size: int, facts: CacheFacts | None, by_rule: int) -> int:
    """Order of the recorded kernel's slabs: as recorded, else by rule."""
    if facts is not None and facts.order is not None:
        return facts.order
    return min(max(by_rule, get_order(max(size, 1))), MAX_PAGE_ORDER)
