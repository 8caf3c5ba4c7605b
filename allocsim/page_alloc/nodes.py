"""Memory nodes: which node a CPU is on, which nodes have memory, and what serves for them (R4.35).

Data only, of a machine of one node or more.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_NODE = -1  #: a request that names no node (NUMA_NO_NODE)
# include/linux/topology.h (7.2), of a machine whose firmware has no table
_LOCAL, _REMOTE = 10, 20
MOST_NODES = 16  #: nodes that are modelled


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a machine, numbered from 0.

    Args:
        of_cpu: node of each CPU.
        memory: of each node, whether it has memory.
        distance: of each node, how far every node is; none: those of a machine that says nothing.
    """

    of_cpu: tuple[int, ...]
    memory: tuple[bool, ...] = (True,)
    distance: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check that CPUs and nodes fit each other."""
        if not any(self.memory):
            raise ValueError("no node has memory")
        if self.distance and {len(row) for row in (self.distance, *self.distance)} != {self.count}:
            raise ValueError(f"distances of {len(self.distance)} nodes, not of {self.count}")
        if not all(0 <= node < len(self.memory) for node in self.of_cpu):
            raise ValueError(f"CPUs on nodes {self.of_cpu}, but there are {len(self.memory)} nodes")

    @property
    def count(self) -> int:
        """How many there are, with and without memory."""
        return len(self.memory)

    @property
    def near(self) -> tuple[tuple[int, ...], ...]:
        """Of each node the nodes with memory, in the order of its zonelist.

        mm/page_alloc.c:build_zonelists, find_next_best_node (7.2).
        """
        load = [0] * self.count
        lists = []
        for node in range(self.count):
            order = [node] if self.memory[node] else []
            before = self._apart(node, node)
            rest = {n for n in range(self.count) if self.memory[n]} - {node}
            while rest:
                best = min(rest, key=lambda n: (self._dislike(node, n), load[n], n))
                if self._apart(node, best) != before:
                    load[best] += 1  # the first of those that are equally far
                before = self._apart(node, best)
                order.append(best)
                rest.remove(best)
            lists.append(tuple(order))
        return tuple(lists)

    def _apart(self, node: int, other: int) -> int:
        if self.distance:
            return self.distance[node][other]
        return _LOCAL if node == other else _REMOTE

    def _dislike(self, node: int, other: int) -> int:
        """How far a node is; one more for a lower number, and for having CPUs."""
        return self._apart(node, other) + (other < node) + (other in self.of_cpu)


def one_node(cpus: int) -> Nodes:
    """A machine of one node."""
    return Nodes((0,) * cpus)
