"""A machine with other memory nodes than it was recorded with: a what-if.

Its memory is taken as one node's, and cut into as many nodes as are wanted, of equal size, at
borders that no free block crosses. Each has a zone of every name, of what lies in its part.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from allocsim.initial_state.nodes import NodesError, as_one_node, with_reserves
from allocsim.kernels.settings import SettingError
from allocsim.page_alloc.nodes import Nodes
from allocsim.page_alloc.zones import (
    PAGEBLOCK_ORDER,
    PRIOR_CHUNK,
    Mt,
    Zone,
    ZoneState,
    block_index,
    pageblocks,
    pcp_numbers,
    zone_classes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS = ("nodes", "node.memory", "cpu.node")
BLOCKS, TURNS = range(2)  #: of cpu.node: neighbours share a node; or CPUs take turns on the nodes


def sets_nodes(settings: Mapping[str, int]) -> bool:
    """Whether settings give the machine other nodes than it was recorded with."""
    return any(key in settings for key in KEYS)


def on_nodes(
    zones: Sequence[Zone],
    states: Sequence[ZoneState],
    nodes: Nodes,
    cpus: int,
    settings: Mapping[str, int],
) -> tuple[tuple[Zone, ...], tuple[ZoneState, ...], Nodes]:
    """The zones of a machine, what they hold, and its nodes, with some settings.

    Args:
        zones: as recorded, node by node.
        states: what they held at the start.
        nodes: the recorded nodes.
        cpus: CPUs of the recording.
        settings: keys of settings.SETTINGS.

    Raises:
        SettingError: the machine cannot be cut so.
    """
    count = settings.get("cpus", cpus)
    if not sets_nodes(settings):
        of_cpu = [nodes.of_cpu[cpu % cpus] for cpu in range(count)]
        return tuple(zones), tuple(states), replace(nodes, of_cpu=tuple(of_cpu))
    wanted = settings.get("nodes", nodes.count)
    memory = settings.get("node.memory", wanted)
    if memory > wanted:
        raise SettingError(f"setting node.memory={memory}: there are {wanted} nodes")
    turns = settings.get("cpu.node", BLOCKS) == TURNS
    of_cpu = [cpu % wanted if turns else cpu * wanted // count for cpu in range(count)]
    found = Nodes(tuple(of_cpu), tuple(node < memory for node in range(wanted)))
    one, held = _as_one(zones, states, cpus)
    if wanted == 1:
        return one, tuple(held), found
    return *_cut(one, held, found, cpus), found


def _as_one(
    zones: Sequence[Zone], states: Sequence[ZoneState], cpus: int
) -> tuple[tuple[Zone, ...], list[ZoneState]]:
    """Zones of one name as one zone, with what all of them hold."""
    classes = zone_classes(zones)
    by_node = [zones[at : at + classes] for at in range(0, len(zones), classes)]
    try:
        merged = as_one_node(by_node, cpus)
    except NodesError as error:
        raise SettingError(f"settings {', '.join(KEYS)}: {error}") from error
    held = []
    for at, whole in enumerate(merged):
        types = bytearray([Mt.MOVABLE]) * pageblocks(whole)
        parts = list(zip(zones[at::classes], states[at::classes], strict=True))
        for zone, state in parts:
            first = block_index(whole, zone.start_pfn) if zone.managed else 0
            types[first : first + len(state.block_types)] = state.block_types
        held.append(
            ZoneState(
                tuple(block for _, state in parts for block in state.free),
                bytes(types),
                tuple(chunk for _, state in parts for chunk in state.prior),
                _lists([state for _, state in parts]),
            )
        )
    return tuple(replace(zone, node=0) for zone in merged), held


def _lists(states: Sequence[ZoneState]) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """The page lists of several zones, a list of each CPU behind the same of the zone before."""
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    for state in states:
        for cpu, index, blocks in state.lists:
            found[cpu, index] = found.get((cpu, index), ()) + blocks
    return tuple((*key, blocks) for key, blocks in found.items())


def _cut(
    zones: Sequence[Zone], states: Sequence[ZoneState], nodes: Nodes, cpus: int
) -> tuple[tuple[Zone, ...], tuple[ZoneState, ...]]:
    """The zones of each node, and what they hold."""
    ends = [zone.end_pfn for zone in zones if zone.managed]
    first, pages = (
        min(zone.start_pfn for zone in zones if zone.managed),
        sum(zone.managed for zone in zones),
    )
    with_memory = sum(nodes.memory)
    borders, taken, at = [first], 0, 0
    used = [zone for zone in zones if zone.managed]
    for part in range(1, with_memory):
        while taken + used[at].managed < pages * part // with_memory:
            taken += used[at].managed
            at += 1
        zone = used[at]
        inside = (pages * part // with_memory - taken) * zone.spanned // zone.managed
        borders.append((zone.start_pfn + inside) // PRIOR_CHUNK * PRIOR_CHUNK)
    borders.append(max(ends))
    if any(upper - lower < 2 * PRIOR_CHUNK for lower, upper in pairwise(borders)):
        raise SettingError(f"setting nodes={nodes.count}: nodes would be of less than 8 MiB")
    cut: list[Zone] = []
    held: list[ZoneState] = []
    parts = iter(pairwise(borders))
    for node, has_memory in enumerate(nodes.memory):
        low, high = next(parts) if has_memory else (0, 0)
        here = nodes.of_cpu.count(node) or len(nodes.of_cpu)
        some = [_part(zone, low, high, node, here, cpus) for zone in zones]
        cut += with_reserves(some)
        held += [
            _held(zone, state, part) for zone, state, part in zip(zones, states, some, strict=True)
        ]
    return tuple(cut), tuple(held)


def _part(  # noqa: PLR0913 - a zone, a part, and whose it is
    zone: Zone, low: int, high: int, node: int, here: int, cpus: int
) -> Zone:
    """What of a zone lies in a node's part; R4.12 says its limits by the node's CPUs."""
    start, end = max(zone.start_pfn, low), min(zone.end_pfn, high)
    if not zone.managed or start >= end:
        return replace(zone, start_pfn=0, spanned=0, managed=0, pcp=(), node=node, protection=())
    managed = max(zone.managed * (end - start) // zone.spanned, 1)
    low_mark = zone.wmark_low * managed // zone.managed
    limits = pcp_numbers(managed, low_mark, here, zone.pcp[0].batch)
    return Zone(
        name=zone.name,
        start_pfn=start,
        spanned=end - start,
        managed=managed,
        wmark_min=zone.wmark_min * managed // zone.managed,
        wmark_low=low_mark,
        wmark_high=zone.wmark_high * managed // zone.managed,
        protection=zone.protection,
        pcp=(limits,) * cpus,
        node=node,
    )


def _held(zone: Zone, state: ZoneState, part: Zone) -> ZoneState:
    """What of a zone's state lies in a part of it."""
    if not part.managed:
        return ZoneState((), b"")

    def inside(pfn: int) -> bool:
        return part.start_pfn <= pfn < part.end_pfn

    first = (part.start_pfn >> PAGEBLOCK_ORDER) - (zone.start_pfn >> PAGEBLOCK_ORDER)
    lists = ((cpu, index, tuple(filter(inside, pfns))) for cpu, index, pfns in state.lists)
    return ZoneState(
        tuple(block for block in state.free if inside(block[0])),
        state.block_types[first : first + pageblocks(part)],
        tuple(filter(inside, state.prior)),
        tuple(row for row in lists if row[2]),
    )
