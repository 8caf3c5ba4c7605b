"""What a trace set says of its machine's memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.initial_state.zoneinfo import memory_nodes
from allocsim.kernels.release import GFP_BITS
from allocsim.trace.events import Ev
from allocsim.trace.results import How
from pipeline.trace_set.side_files import side_text

if TYPE_CHECKING:
    from pipeline.trace_set.reader import TraceSet


_LOOKED_AT = 1 << 18  # events at once


class MachinePages(NamedTuple):
    """Page frames that have memory behind them.

    Args:
        pages: how many.
        how: how that is known.
        source: what says so.
    """

    pages: int
    how: How
    source: str


def machine_pages(trace: TraceSet, highest: int) -> MachinePages:
    """The pages of a trace set's machine: each has a word, whoever uses it.

    Zoneinfo's ``present`` pages; else iomem's System RAM; else, assumed, every frame up to the
    highest one in the recording.

    Args:
        trace: the trace set.
        highest: highest page frame in the recording.
    """
    for when in ("before", "after"):
        text = trace.snapshot_text("zoneinfo", when) or ""
        found = re.findall(r"^\s+present\s+(\d+)$", text, re.MULTILINE)
        if found:
            return MachinePages(sum(map(int, found)), How.OBSERVED, "zoneinfo")
    iomem = side_text(trace.file("iomem"))
    if iomem is not None:
        size = trace.meta["page_size"]
        pages = 0
        for line in iomem.splitlines():
            span = re.fullmatch(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM", line)
            if span:
                first, last = int(span[1], 16), int(span[2], 16)
                pages += (last + 1) // size - -(-first // size)
        if pages > 1:  # without privileges every address reads as 0
            return MachinePages(pages, How.OBSERVED, "iomem")
    return MachinePages(highest + 1, How.ASSUMED, "highest page frame in the recording")


class CpuPlace(NamedTuple):
    """Where a CPU is: its number, its core, and the package of that; None: not known."""

    cpu: int
    core: int | None
    package: int | None


def cpu_topology(trace: TraceSet) -> list[CpuPlace]:
    """Where the CPUs of a trace set's machine are, by its cpuinfo; empty without one.

    Which of them share a last-level cache, or lie on which node, it does not say.
    """
    places = []
    for part in (side_text(trace.file("cpuinfo")) or "").split("\n\n"):
        lines = re.findall(
            r"^(processor|core id|physical id)\s*:\s*([0-9]{1,6})$", part, re.MULTILINE
        )
        found = {name: int(number) for name, number in lines}
        if found.get("processor", trace.meta["cpus"]) < trace.meta["cpus"]:
            core, package = found.get("core id"), found.get("physical id")
            places.append(CpuPlace(found["processor"], core, package))
    return places


class MemoryNodes(NamedTuple):
    """Nodes of a machine's memory, and how far its allocations kept to the CPU's own.

    Args:
        nodes: how many have memory.
        local: page allocations between the snapshots on the node of the CPU that asked, by
            vmstat (numa_local); None: not known.
        other: those on another node (numa_other).
    """

    nodes: int
    local: int | None
    other: int | None


def machine_nodes(trace: TraceSet) -> MemoryNodes:
    """The memory nodes of a trace set's machine; one where no zoneinfo tells them."""
    nodes = memory_nodes(trace.snapshot_text("zoneinfo") or "")
    before, after = (_numa(trace, when) for when in ("before", "after"))
    if not before.keys() & after.keys():
        return MemoryNodes(nodes or 1, None, None)
    grown = {name: after[name] - before[name] for name in before.keys() & after.keys()}
    return MemoryNodes(nodes or 1, grown.get("local"), grown.get("other"))


def _numa(trace: TraceSet, when: str) -> dict[str, int]:
    text = trace.snapshot_text("vmstat", when) or ""
    found = re.findall(r"^numa_(local|other) (\d+)$", text, re.MULTILINE)
    return {name: int(number) for name, number in found}


#: What pressure on memory moves, by counters of vmstat of which each is the sum (I14).
PRESSURE = {
    "allocstalls": r"allocstall_\w+",
    "pages_scanned_direct": "pgscan_direct",
    "pages_reclaimed_direct": "pgsteal_direct",
    "pages_scanned_kswapd": "pgscan_kswapd",
    "pages_reclaimed_kswapd": "pgsteal_kswapd",
    "pages_swapped_in": "pswpin",
    "pages_swapped_out": "pswpout",
    "compact_stalls": "compact_stall",
}


def pressure(trace: TraceSet) -> dict[str, int]:
    """What reclaim and compaction did between the snapshots, by vmstat; empty where one lacks it.

    The kernel's counters go on between a snapshot and the recording, so these are at least what
    lies in it, but for what a CPU had not yet added to the sums.
    """
    texts = [trace.snapshot_text("vmstat", when) for when in ("before", "after")]
    if not all(texts):
        return {}
    before, after = (_counters(text) for text in texts if text)
    return {
        name: sum(after[name]) - sum(before[name])
        for name in PRESSURE
        if after[name] and len(after[name]) == len(before[name])
    }


def _counters(text: str) -> dict[str, list[int]]:
    """The counters that each of PRESSURE is the sum of."""
    return {
        name: list(map(int, re.findall(rf"^{counter} (\d{{1,18}})$", text, re.MULTILINE)))
        for name, counter in PRESSURE.items()
    }


def used_pages(trace: TraceSet) -> int | None:
    """Pages that were not free before the recording, by its meminfo; None: it has none.

    MemTotal has no reserved pages in it, and those have no descriptors.
    """
    text = trace.snapshot_text("meminfo") or ""
    found = dict(re.findall(r"^(MemTotal|MemFree):\s+(\d+) kB$", text, re.MULTILINE))
    if len(found) < 2:
        return None
    kib = int(found["MemTotal"]) - int(found["MemFree"])
    page_size: int = trace.meta["page_size"]
    return -(-kib * 1024 // page_size)


def kernel_caches(trace: TraceSet) -> dict[str, int]:
    """Slot size of each of the kernel's caches, by the snapshot of /proc/slabinfo, if there is one.

    SLUB prints its slot size as objsize (mm/slab_common.c:cache_show).
    """
    text = trace.snapshot_text("slabinfo") or ""
    # Two lines of heading, then a line a cache: name, active_objs, num_objs, objsize, ...
    rows = [line.split() for line in text.splitlines()[2:]]
    return {row[0]: int(row[3]) for row in rows if len(row) > 3 and row[3].isdecimal()}


def charges_cgroups(trace: TraceSet) -> bool | None:
    """Whether objects and pages can be charged to memory cgroups (CONFIG_MEMCG); None: not known.

    By slabinfo, where such a kernel has kmalloc caches of their own for it (R3.2: kmalloc-cg-*);
    without one, by the first events that tell. kmem_cache_alloc says whether its object is charged,
    which one asked for with __GFP_ACCOUNT always is, and none without CONFIG_MEMCG
    (include/trace/events/kmem.h:kmem_cache_alloc, 6.12, 7.2). With cgroup.memory=nokmem, which
    nothing recorded tells then, the caches are missing though (mm/slab_common.c:new_kmalloc_cache).
    """
    slabinfo = trace.snapshot_text("slabinfo")
    if slabinfo is not None:
        return "\nkmalloc-cg-" in slabinfo
    columns = {"event", "gfp_flags", "accounted"}
    if not columns <= {column.name for column in trace.columns}:
        return None
    asks = np.uint64(GFP_BITS["__GFP_ACCOUNT"])
    for window in trace.windows(_LOOKED_AT, columns):
        # Null, as on other events, reads as not charged.
        allocates = window["event"] == Ev.KMEM_CACHE_ALLOC
        if window["accounted"][allocates].any():
            return True
        if (window["gfp_flags"][allocates] & asks).any():
            return False
    return None
