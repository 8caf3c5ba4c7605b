"""The machine of a spec: its memory and its caches, in the words of /proc and /sys.

They are written as texts and read back as those of a recording are, so that a replay of the trace
set simulates the very machine that it was made on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.initial_state.slabs import FirstSeen
from allocsim.initial_state.sysfs_slab import parse_sysfs_slab
from allocsim.initial_state.zoneinfo import parse_pagetypeinfo, parse_zoneinfo, placed
from allocsim.kernels.cache_shapes import CpuSlabShape, SheafShape, cache_shapes
from allocsim.kernels.profile import DEFAULT
from allocsim.kernels.release import GFP_BITS
from allocsim.page_alloc.nodes import one_node
from allocsim.page_alloc.zones import (
    MAX_PAGE_ORDER,
    ORDERS,
    PAGEBLOCK,
    PCP_LISTS,
    PRIOR_CHUNK,
    computed_zone,
)
from allocsim.recording.cache_names import KMALLOC_CLASSES, Caches, class_name
from allocsim.trace.results import How
from pipeline.replay.world import Recorded, make_world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.page_alloc.zones import Zone
    from pipeline.replay.world import World
    from pipeline.synth.spec.model import Spec

#: Where ZONE_NORMAL begins on x86-64: at 4 GiB.
START_PFN = 1 << 20
#: Where the direct map begins without KASLR and with four levels (arch/x86/include/asm/page_64.h).
DIRECT_MAP = 0xFFFF_8880_0000_0000
_PREFIXES = {"cg": "kmalloc-cg-", "rcl": "kmalloc-rcl-", "dma": "dma-kmalloc-"}
_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic")
_SYSFS = (
    ("object_size", "size"),
    ("slab_size", "size"),
    ("order", "order"),
    ("objs_per_slab", "objects"),
    ("min_partial", "min_partial"),
)
#: The files that a generation of SLUB has besides.
_OWN_SYSFS = {
    SheafShape: ("sheaf_capacity", "capacity"),
    CpuSlabShape: ("cpu_partial", "cpu_partial"),
}


@dataclass(frozen=True, slots=True)
class SpecMachine:
    """What a spec runs on.

    Args:
        recorded: what a replay knows of it.
        world: the model, at the beginning.
        caches: all caches; those that are named first, then kmalloc's.
        names: their names.
        snapshots: texts of /proc and /sys, by file name.
    """

    recorded: Recorded
    world: World
    caches: Caches
    names: list[str]
    snapshots: dict[str, str]


def release(spec: Spec) -> str:
    """What uname -r says: nobody should take it for a kernel's."""
    return f"{spec.kernel}.0-synthetic"


def make_machine(spec: Spec, settings: Mapping[str, int] | None = None) -> SpecMachine:
    """The machine of a spec, with numbers of the model changed where settings are given."""
    sizes = _sizes(spec)
    caches = Caches(list(spec.sizes), sizes, GFP_BITS, {})
    sized = [(name, sizes.get(name, -1)) for name in caches.names]
    known = [(name, size) for name, size in sized if size > 0]
    shapes = cache_shapes(DEFAULT, known, spec.cpus)
    zone = computed_zone(spec.memory >> 12, spec.cpus, start_pfn=START_PFN)
    snapshots = {
        "zoneinfo": _zoneinfo(zone),
        "pagetypeinfo": _pagetypeinfo(spec, zone),
        "slabinfo": _slabinfo(shapes),
        "sysfs_slab.txt": _sysfs_slab(spec, shapes),
    }
    zones = parse_zoneinfo(snapshots["zoneinfo"], spec.cpus)
    held = parse_pagetypeinfo(snapshots["pagetypeinfo"])
    recorded = Recorded(
        run=0,
        release=release(spec),
        cpus=spec.cpus,
        caches=sized,
        seen=FirstSeen().table,
        slices=[],
        turns=[],
        facts=parse_sysfs_slab(snapshots["sysfs_slab.txt"]),
        zones=zones,
        states=tuple(placed(each, *held[each.node, each.name]) for each in zones),
        zones_how=How.OBSERVED,
        nodes=one_node(spec.cpus),
        nodes_how=How.OBSERVED,
        memory_nodes=1,
        span=None,
        direct_map=None,
        lists=np.zeros((len(zones), spec.cpus, PCP_LISTS), np.int64),
        thp=True,
    )
    world = make_world(recorded, settings or {})
    return SpecMachine(recorded, world, caches, list(caches.names), snapshots)


def _sizes(spec: Spec) -> dict[str, int]:
    """Size of every cache there is: the named ones, and kmalloc's of the types that are used."""
    sizes = dict(spec.sizes)
    used = {entry.type for work in spec.works for entry in work.entries if entry.kmalloc}
    for prefix in ("kmalloc-", *(_PREFIXES[kind] for kind in sorted(used - {"normal"}))):
        for size in KMALLOC_CLASSES:
            sizes[prefix + class_name(size)] = size
    return sizes


def _zoneinfo(zone: Zone) -> str:
    lines = [
        f"Node 0, zone {zone.name:>8}",
        f"  pages free     {zone.managed}",
        f"        min      {zone.wmark_min}",
        f"        low      {zone.wmark_low}",
        f"        high     {zone.wmark_high}",
        f"        spanned  {zone.spanned}",
        f"        present  {zone.spanned}",
        f"        managed  {zone.managed}",
        f"        protection: ({', '.join(str(pages) for pages in zone.protection)})",
        "  pagesets",
    ]
    for cpu, numbers in enumerate(zone.pcp):
        lines += [
            f"    cpu: {cpu}",
            "              count:    0",
            f"              high:     {numbers.high}",
            f"              batch:    {numbers.batch}",
            f"              high_min: {numbers.high_min}",
            f"              high_max: {numbers.high_max}",
        ]
    lines.append(f"  start_pfn:           {zone.start_pfn}")
    return "\n".join(lines) + "\n"


def _pagetypeinfo(spec: Spec, zone: Zone) -> str:
    """All that is free is in the largest blocks, movable; the rest is in use."""
    chunks = zone.managed // PRIOR_CHUNK
    free = chunks - int(chunks * spec.used)
    heading = "".join(f"{order:>6}" for order in range(ORDERS))
    lines = [
        "Page block order: 9",
        f"Pages per block:  {PAGEBLOCK}",
        "",
        f"Free pages count per migrate type at order {heading} ",
    ]
    for name in _TYPES:
        counts = [0] * MAX_PAGE_ORDER + [free if name == "Movable" else 0]
        numbers = "".join(f"{count:>6} " for count in counts)
        lines.append(f"Node    0, zone {zone.name:>8}, type {name:>12} {numbers}")
    blocks = chunks * (PRIOR_CHUNK // PAGEBLOCK)
    lines += [
        "",
        "Number of blocks type " + " ".join(f"{name:>12}" for name in _TYPES) + " ",
        f"Node 0, zone {zone.name:>8} "
        + " ".join(f"{blocks if name == 'Movable' else 0:>12}" for name in _TYPES)
        + " ",
    ]
    return "\n".join(lines) + "\n"


def _slabinfo(shapes: list[CacheShape]) -> str:
    head = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab>"
    rows = [
        f"{shape.name} 0 0 {shape.size} {shape.objects} {1 << shape.order} : tunables 0 0 0"
        " : slabdata 0 0 0"
        for shape in shapes
    ]
    return "\n".join([head + " <pagesperslab>", *rows]) + "\n"


def _sysfs_slab(spec: Spec, shapes: list[CacheShape]) -> str:
    flags = {cache.name: cache.flags for cache in spec.caches}
    lines = []
    for shape in shapes:
        own = flags.get(shape.name, ())
        for attribute, name in (*_SYSFS, _OWN_SYSFS[type(shape)]):
            lines.append(f"{shape.name} {attribute} {getattr(shape, name)}")
        for attribute, flag, prefix in (
            ("reclaim_account", "reclaimable", _PREFIXES["rcl"]),
            ("cache_dma", "dma", _PREFIXES["dma"]),
            ("destroy_by_rcu", "typesafe_by_rcu", "\0"),
        ):
            is_set = flag in own or shape.name.startswith(prefix)
            lines.append(f"{shape.name} {attribute} {int(is_set)}")
    return "\n".join(lines) + "\n"
