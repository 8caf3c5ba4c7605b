"""What a trace set says of its machine's memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from allocsim.initial_state.zoneinfo import memory_nodes
from allocsim.trace.results import How

if TYPE_CHECKING:
    from pipeline.trace_set.reader import TraceSet


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
        path = trace.path / "snapshots" / when / "zoneinfo"
        if path.is_file():
            found = re.findall(
                r"^\s+present\s+(\d+)$", path.read_text("utf-8", "replace"), re.MULTILINE
            )
            if found:
                return MachinePages(sum(map(int, found)), How.OBSERVED, "zoneinfo")
    path = trace.path / "iomem"
    if path.is_file():
        size = trace.meta["page_size"]
        pages = 0
        for line in path.read_text("utf-8", "replace").splitlines():
            span = re.fullmatch(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", line)
            if span:
                first, last = int(span[1], 16), int(span[2], 16)
                pages += (last + 1) // size - -(-first // size)
        if pages > 1:  # without privileges every address reads as 0
            return MachinePages(pages, How.OBSERVED, "iomem")
    return MachinePages(highest + 1, How.ASSUMED, "highest page frame in the recording")


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
    path = trace.path / "snapshots" / "before" / "zoneinfo"
    nodes = memory_nodes(path.read_text("utf-8", "replace")) if path.is_file() else 0
    before, after = (_numa(trace, when) for when in ("before", "after"))
    if not before.keys() & after.keys():
        return MemoryNodes(nodes or 1, None, None)
    grown = {name: after[name] - before[name] for name in before.keys() & after.keys()}
    return MemoryNodes(nodes or 1, grown.get("local"), grown.get("other"))


def _numa(trace: TraceSet, when: str) -> dict[str, int]:
    path = trace.path / "snapshots" / when / "vmstat"
    if not path.is_file():
        return {}
    text = path.read_text("utf-8", "replace")
    found = re.findall(r"^numa_(local|other) (\d+)$", text, re.MULTILINE)
    return {name: int(number) for name, number in found}


def used_pages(trace: TraceSet) -> int | None:
    """Pages that were not free before the recording, by its meminfo; None: it has none.

    MemTotal has no reserved pages in it, and those have no descriptors.
    """
    path = trace.path / "snapshots" / "before" / "meminfo"
    if not path.is_file():
        return None
    found = dict(
        re.findall(
            r"^(MemTotal|MemFree):\s+(\d+) kB$", path.read_text("utf-8", "replace"), re.MULTILINE
        )
    )
    if len(found) < 2:
        return None
    kib = int(found["MemTotal"]) - int(found["MemFree"])
    page_size: int = trace.meta["page_size"]
    return -(-kib * 1024 // page_size)


def charges_cgroups(trace: TraceSet) -> bool | None:
    """Whether pages can be charged to memory cgroups (CONFIG_MEMCG); None: not known.

    Kernels that can have kmalloc caches of their own for it (R3.2: kmalloc-cg-*).
    """
    path = trace.path / "snapshots" / "before" / "slabinfo"
    return "\nkmalloc-cg-" in path.read_text("utf-8", "replace") if path.is_file() else None
