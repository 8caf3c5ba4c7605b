"""The page allocator's settings: which numbers of the zones a user may change, and what follows.

Watermarks are given for the machine and shared among its zones by their size, as the kernel
shares min_free_kbytes (mm/page_alloc.c:__setup_per_zone_wmarks, 7.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from allocsim.kernels.settings import SETTINGS, SettingError, check_settings
from allocsim.page_alloc.nodes import one_node
from allocsim.page_alloc.zones import MachineZones, PcpNumbers, pcp_numbers, wmark_distance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.nodes import Nodes
    from allocsim.page_alloc.zones import Zone, ZoneState

_MARKS = ("min", "low", "high")
_MOVABLE = "Movable"


def page_machine(  # noqa: PLR0913 - a machine is that much
    profile: Profile,
    zones: Sequence[Zone],
    states: Sequence[ZoneState],
    cpus: int,
    settings: Mapping[str, int] | None = None,
    nodes: Nodes | None = None,
) -> MachineZones:
    """The machine the page allocator is replayed on.

    Args:
        profile: kernel version whose rules apply.
        zones: the zones of the recording, or computed ones.
        states: what each holds at the start.
        cpus: CPUs of the recording, unless ``settings`` has ``cpus``.
        settings: keys of settings.SETTINGS; those of other layers are ignored here. Without
            ``pcp.high_min`` and ``pcp.high_max``, a changed number of CPUs, batch or low
            watermark changes these two as R4.12 says; without ``watermarks.low`` and
            ``watermarks.high``, a changed ``watermarks.min`` changes these two.
        nodes: the memory nodes, in whose order ``zones`` are; None: one.

    Raises:
        SettingError: an unknown key, a value out of range, or values that contradict each other.
    """
    settings = settings or {}
    of_caches = tuple(f"{setting.key}." for setting in SETTINGS if setting.per_cache)
    # Settings of single caches are checked by cache_shapes, which knows the caches.
    check_settings({k: v for k, v in settings.items() if not k.startswith(of_caches)}, [])
    count = settings.get("cpus", cpus)
    managed = sum(zone.managed for zone in zones if zone.name != _MOVABLE)
    nodes = nodes or one_node(count)
    here = [nodes.of_cpu.count(zone.node) or count for zone in zones]
    changed = tuple(
        _zone(zone, managed, (count, near), count != cpus, settings)
        for zone, near in zip(zones, here, strict=True)
    )
    normal = _normal(zones, nodes)
    return MachineZones(changed, tuple(states), count, profile.pages, normal, nodes)


def _normal(zones: Sequence[Zone], nodes: Nodes) -> frozenset[int]:
    """R4.28, alloc_flags_nofragment: only where ZONE_DMA32 was built in, be it empty.

    On several nodes that node's must not be. A computed zone stands for all of node 0's.
    """
    names = [zone.name for zone in zones]
    if len(set(names)) == 1:
        return frozenset({0} if names[0] == "Normal" else ())
    return frozenset(
        z
        for z, name in enumerate(names)
        if name == "Normal" and "DMA32" in names and (nodes.count == 1 or zones[z - 1].managed)
    )


def _zone(
    zone: Zone,
    managed: int,
    cpus: tuple[int, int],
    other_cpus: bool,
    settings: Mapping[str, int],
) -> Zone:
    """A zone with settings; ``cpus``: all, and those of its node."""
    if not zone.managed:
        return zone
    marks = [zone.wmark_min, zone.wmark_low, zone.wmark_high]
    if "watermarks.min" in settings:
        share = settings["watermarks.min"] * zone.managed // managed
        least = min(max(zone.managed // 1024, 32), 128) if zone.name == _MOVABLE else share
        # watermark_scale_factor shows in a distance that min does not account for.
        recorded = zone.wmark_low - zone.wmark_min
        scaled = recorded if recorded > zone.wmark_min >> 2 else None
        distance = wmark_distance(zone.managed, share, scaled)
        marks = [least, least + distance, least + 2 * distance]
    for at, name in enumerate(_MARKS):
        if f"watermarks.{name}" in settings:
            marks[at] = settings[f"watermarks.{name}"] * zone.managed // managed
    if sorted(marks) != marks:
        raise SettingError(
            f"settings watermarks.*: zone {zone.name} would have min {marks[0]}, low {marks[1]}, "
            f"high {marks[2]} pages; min <= low <= high is needed"
        )
    pcp = zone.pcp if not other_cpus else (zone.pcp[0],) * cpus[0]
    if other_cpus or marks[1] != zone.wmark_low or "pcp.batch" in settings:
        batches = [settings.get("pcp.batch", numbers.batch) for numbers in pcp]
        by_rule = [pcp_numbers(zone.managed, marks[1], cpus[1], batch) for batch in batches]
        pcp = tuple(replace(new, high=old.high) for new, old in zip(by_rule, pcp, strict=True))
    pcp = tuple(_pcp(numbers, settings) for numbers in pcp)
    return replace(zone, wmark_min=marks[0], wmark_low=marks[1], wmark_high=marks[2], pcp=pcp)


def _pcp(numbers: PcpNumbers, settings: Mapping[str, int]) -> PcpNumbers:
    """A CPU's limits as set; a limit that is not set gives way to the one that is."""
    high_min = settings.get("pcp.high_min", numbers.high_min)
    high_max = settings.get("pcp.high_max", numbers.high_max)
    if "pcp.high_max" not in settings:
        high_max = max(high_max, high_min)
    elif "pcp.high_min" not in settings:
        high_min = min(high_min, high_max)
    if high_min > high_max:
        raise SettingError(
            f"settings pcp.high_min={high_min}, pcp.high_max={high_max}: the first must not "
            "exceed the second"
        )
    return replace(numbers, high_min=high_min, high_max=high_max)
