"""Memory nodes: which node a CPU is on, which nodes have memory, and what serves for them (R4.34).

Data only, of a machine of one node or more.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_NODE = -1  #: a request that names no node (NUMA_NO_NODE)
MOST_NODES = 16  #: nodes that are modelled


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a machine, numbered from 0.

    Args:
        of_cpu: node of each CPU.
        memory: of each node, whether it has memory.
    """

    of_cpu: tuple[int, ...]
    memory: tuple[bool, ...] = (True,)

    def __post_init__(self) -> None:
        """Check that CPUs and nodes fit each other."""
        if not any(self.memory):
            raise ValueError("no node has memory")
        if not all(0 <= node < len(self.memory) for node in self.of_cpu):
            raise ValueError(f"CPUs on nodes {self.of_cpu}, but there are {len(self.memory)} nodes")

    @property
    def count(self) -> int:
        """How many there are, with and without memory."""
        return len(self.memory)

    @property
    def near(self) -> tuple[tuple[int, ...], ...]:
        """Of each node the nodes with memory, in the order of its zonelist.

        mm/page_alloc.c:build_zonelists, find_next_best_node (7.2), where all are equally far.
        """
        load = [0] * self.count
        lists = []
        for node in range(self.count):
            order = [node] if self.memory[node] else []
            others = [n for n in range(self.count) if self.memory[n] and n != node]
            others.sort(key=lambda n: ((n < node) + (n in self.of_cpu), load[n], n))
            if others:
                # The first of those that are equally far from this node.
                load[others[0]] += 1
            lists.append((*order, *others))
        return tuple(lists)


def one_node(cpus: int) -> Nodes:
    """A machine of one node."""
    return Nodes((0,) * cpus)
