"""Which node each CPU of a recording is on: from a snapshot, or where its pages came from (I9)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from allocsim.tables import Int64


def cpu_nodes(slab_pages: Int64, pages: Int64) -> tuple[tuple[int, ...], int]:
    """The node of each CPU, and how many CPUs nothing told it of.

    Args:
        slab_pages: (CPUs, nodes) slab pages that each CPU asked for and got from a node (i8).
        pages: the same of all page allocations (i8).
    """
    told = np.where(slab_pages.sum(axis=1, keepdims=True) > 0, slab_pages, pages)
    known = np.flatnonzero(told.sum(axis=1))
    if not len(known):
        return (0,) * len(told), len(told)
    every = np.arange(len(told))
    # The nearest CPU by number that is known, the lower of two.
    nearest = known[np.abs(every[:, None] - known).argmin(axis=1)]
    return tuple(told.argmax(axis=1)[nearest].tolist()), len(told) - len(known)


_NODE = re.compile(
    r"^node(\d{1,4}) cpulist ([\d,-]*) distance ((?: ?\d{1,3})+)$", re.MULTILINE | re.ASCII
)


def parse_cpulists(
    text: str, cpus: int, nodes: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]] | None:
    """Node of each CPU, and distances between nodes, as a snapshot has them.

    Args:
        text: a line of each node: its number, cpulist and distance (drivers/base/node.c).
        cpus: CPUs of the machine.
        nodes: its nodes.

    Returns:
        None where the text does not tell it of every node and CPU.
    """
    of_cpu = [-1] * cpus
    distance: dict[int, tuple[int, ...]] = {}
    for number, cpulist, apart in _NODE.findall(text):
        distance[int(number)] = tuple(map(int, apart.split()))
        for some in filter(None, cpulist.split(",")):
            first, _, last = some.partition("-")
            if not first.isdecimal() or not (last or first).isdecimal():
                return None
            for cpu in range(int(first), min(int(last or first), cpus - 1) + 1):
                of_cpu[cpu] = int(number)
    whole = list(distance) == list(range(nodes)) and min(of_cpu, default=-1) >= 0
    if not whole or any(len(row) != nodes for row in distance.values()):
        return None
    return tuple(of_cpu), tuple(distance.values())
