"""The memory zones of a machine that no snapshot tells: the kernel's rules, on an assumed size.

How much memory there is shows only in the page frames of the events: it reaches as far as they do,
in whole GiB (assumed). Where zones begin, what their watermarks are and how long the CPUs' lists
may get follows by rule from that size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.initial_state.nodes import with_reserves
from allocsim.page_alloc.zones import (
    PRIOR_CHUNK,
    Zone,
    all_free,
    pcp_numbers,
    watermarks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import ZoneState
    from allocsim.tables import Ints

_GIB = 1 << 18  # pages
# arch/x86/mm/init.c:arch_zone_limits_init (7.2; zone_sizes_init in 6.12), x86-64: the first page
# frame of each zone.
_X86_64 = {"DMA": 1, "DMA32": 1 << 12, "Normal": 1 << 20}
_OTHERS = {"Normal": 0}
# Where memory lies above 4 GiB, what lies below it ends where the addresses of devices begin.
_DEVICES = 3 * _GIB
_MEMMAP = 64  # pages whose struct pages take one page: 64 bytes each
_USED = 4  # one part of so many is in use: frees of pages older than the trace are of it


def assumed_zones(
    highest: int, cpus: int, arch: str | None, *, dma: bool = True, thp: bool = True
) -> tuple[Zone, ...]:
    """The zones, in the kernel's order.

    Args:
        highest: highest page frame in the recording.
        cpus: CPUs of the machine.
        arch: its architecture, as uname -m calls it.
        dma: on x86-64: there is a ZONE_DMA (CONFIG_ZONE_DMA).
        thp: huge pages are enabled: khugepaged raises the watermarks.
    """
    end = max(-(-(highest + 1) // _GIB), 1) * _GIB
    starts = dict(_X86_64 if arch == "x86_64" else _OTHERS)
    if "DMA" in starts and not dma:
        starts["DMA32"] = starts.pop("DMA")
    spans = {
        name: (min(start, end), min(behind, end))
        for (name, start), behind in zip(starts.items(), [*starts.values(), end][1:], strict=True)
    }
    if "DMA32" in spans and end > spans["DMA32"][1]:
        spans["DMA32"] = spans["DMA32"][0], _DEVICES
    managed = {name: _managed(last - first) for name, (first, last) in spans.items()}
    lowmem = sum(managed.values())
    with_memory = sum(pages > 0 for pages in managed.values()) if thp else 0
    zones = []
    for name, (first, last) in spans.items():
        marks = watermarks(managed[name], lowmem, with_memory)
        numbers = pcp_numbers(managed[name], marks[1], cpus)
        limits = (numbers,) * cpus if managed[name] else ()
        zones.append(Zone(name, first, last - first, managed[name], *marks, (), limits))
    return tuple(with_reserves(zones))


def assumed_states(zones: Sequence[Zone], free: Ints | None = None) -> tuple[ZoneState, ...]:
    """What the zones hold: so many pages free at their beginnings, in blocks as large as can be.

    Args:
        zones: of assumed_zones.
        free: free pages of each, where that was inferred; -1, or None: three quarters of it.
    """
    known = [-1] * len(zones) if free is None else free.tolist()
    used = [
        zone.spanned // _USED if pages < 0 else max(zone.spanned - pages, 0)
        for zone, pages in zip(zones, known, strict=True)
    ]
    return tuple(
        all_free(zone, reserved=pages // PRIOR_CHUNK * PRIOR_CHUNK)
        for zone, pages in zip(zones, used, strict=True)
    )


def _managed(pages: int) -> int:
    return pages - pages // _MEMMAP
