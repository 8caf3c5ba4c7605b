"""Reading /proc/zoneinfo, buddyinfo and pagetypeinfo texts: the machine a recording was made on.

The numbers are observed. Where blocks and used pages lie is not recorded: `placed` puts them in
the same place every time, and whatever follows from the places is assumed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from allocsim.initial_state.nodes import NodesError, as_one_node
from allocsim.page_alloc.nodes import MOST_NODES
from allocsim.page_alloc.zones import (
    MAX_PAGE_ORDER,
    ORDERS,
    PAGEBLOCK,
    PAGEBLOCK_ORDER,
    PRIOR_CHUNK,
    TYPES,
    Mt,
    PcpNumbers,
    Zone,
    ZoneState,
    pageblocks,
    pcp_numbers,
)
from allocsim.recording.page_frames import MAX_PFN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TYPE_NAMES = {"Unmovable": 0, "Movable": 1, "Reclaimable": 2, "HighAtomic": 3}
_HEAD = r"^Node\s+(\d{1,9}), zone\s+(\S+)"
_NUMBER = re.compile(r"^\s*(?:pages free|[a-z_]+:?)\s+(\d+)\s*$")


ZoneKey = tuple[int, str]  #: node and name of a zone


class ZoneTextError(ValueError):
    """A text is not what /proc would say; the message names the text and the line."""


def parse_zoneinfo(text: str, cpus: int) -> tuple[Zone, ...]:
    """The zones of a machine, in the kernel's order, empty ones included.

    Those of several nodes are taken as one node's (allocsim.initial_state.nodes).

    Args:
        text: /proc/zoneinfo. Where it has no high_min and high_max (6.12 prints neither, 7.2
            both: mm/vmstat.c:zoneinfo_show_print), these are computed (R4.12).
        cpus: CPUs of the machine.

    Raises:
        ZoneTextError: a number is missing, or zones of several nodes lie among one another.
    """
    nodes = _nodes(text, cpus)
    try:
        return as_one_node(nodes.values(), cpus)
    except NodesError as error:
        raise ZoneTextError(f"zoneinfo: {error}: its nodes cannot be taken as one") from error


def parse_nodes(text: str, cpus: int) -> tuple[tuple[Zone, ...], tuple[bool, ...]]:
    """The zones of a machine node by node, and which nodes have memory.

    Where zones do not follow one another in the order of the nodes, or there are more than
    MOST_NODES, all are taken as one node's, as by parse_zoneinfo.

    Args:
        text: /proc/zoneinfo, as parse_zoneinfo has it.
        cpus: CPUs of the machine.

    Raises:
        ZoneTextError: as parse_zoneinfo.
    """
    nodes = _nodes(text, cpus)
    zones = tuple(
        replace(zone, node=number) for number, of_node in nodes.items() for zone in of_node
    )
    used = [zone for zone in zones if zone.managed]
    names = {tuple(zone.name for zone in of_node) for of_node in nodes.values()}
    apart = all(lower.end_pfn <= upper.start_pfn for lower, upper in pairwise(used))
    numbered = list(nodes) == list(range(len(nodes))) and len(nodes) <= MOST_NODES
    if len(names) > 1 or not used or not numbered or not apart:
        return parse_zoneinfo(text, cpus), (True,)
    return zones, tuple(any(zone.managed for zone in of_node) for of_node in nodes.values())


def _nodes(text: str, cpus: int) -> dict[int, list[Zone]]:
    """The zones of each node, by its number, in the kernel's order."""
    nodes: dict[int, list[Zone]] = defaultdict(list)
    for part in re.split(r"^(?=Node )", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        found = re.match(_HEAD, head)
        if found is None:
            raise ZoneTextError(f"zoneinfo: {head.strip()!r}: 'Node N, zone NAME' expected")
        nodes[int(found[1])].append(_zone(found[2], body, cpus))
    if not nodes:
        raise ZoneTextError("zoneinfo: no line 'Node 0, zone ...'")
    for zones in nodes.values():
        for zone in zones:
            if zone.managed and len(zone.protection) < len(zones):
                raise ZoneTextError(
                    f"zoneinfo: zone {zone.name} has no 'protection: (...)' of all zones"
                )
    return nodes


def memory_nodes(text: str) -> int:
    """How many nodes of /proc/zoneinfo have memory that the page allocator manages."""
    managed = re.compile(r"^\s+managed\s+0*[1-9]", re.MULTILINE)
    return len({node for node, _, body in _zone_texts(text) if managed.search(body)})


def _zone_texts(text: str) -> Iterator[tuple[str, str, str]]:
    """Node, name and lines of each zone of /proc/zoneinfo."""
    parts = re.split(_HEAD, text, flags=re.MULTILINE)[1:]
    return zip(parts[::3], parts[1::3], parts[2::3], strict=True)


def _zone(name: str, body: str, cpus: int) -> Zone:
    numbers: dict[str, int] = {}
    for line in body.partition("pagesets")[0].splitlines():
        word = line.split()[0].rstrip(":") if line.split() else ""
        match = _NUMBER.match(line)
        if match and word not in numbers:
            numbers[word] = int(match[1])
    start = re.search(r"start_pfn:\s+(\d+)", body)
    for key in ("min", "low", "high", "spanned", "managed"):
        if key not in numbers:
            raise ZoneTextError(f"zoneinfo: zone {name} has no line {key!r}")
    first = int(start[1]) if start else 0
    if numbers["managed"] > numbers["spanned"] or first + numbers["spanned"] > MAX_PFN:
        raise ZoneTextError(
            f"zoneinfo: zone {name} cannot span {numbers['spanned']} pages from frame {first} on"
            f" and manage {numbers['managed']} of them"
        )
    protection = re.search(r"protection: \(([\d, ]+)\)", body)
    return Zone(
        name=name,
        start_pfn=first,
        spanned=numbers["spanned"] if numbers["managed"] else 0,
        managed=numbers["managed"],
        wmark_min=numbers["min"],
        wmark_low=numbers["low"],
        wmark_high=numbers["high"],
        protection=tuple(int(n) for n in protection[1].split(",")) if protection else (),
        pcp=_pagesets(body, numbers["managed"], numbers["low"], cpus) if numbers["managed"] else (),
    )


def _pagesets(body: str, managed: int, low: int, cpus: int) -> tuple[PcpNumbers, ...]:
    computed = pcp_numbers(managed, low, cpus)
    sets: list[PcpNumbers] = []
    for part in re.split(r"^\s+cpu: \d+\s*$", body, flags=re.MULTILINE)[1:]:
        found = {k: int(value) for k, value in re.findall(r"(batch|high\w*):\s+(\d+)", part)}
        sets.append(
            PcpNumbers(
                found.get("batch", computed.batch),
                found.get("high_min", computed.high_min),
                found.get("high_max", computed.high_max),
                found.get("high", 0),
            )
        )
    return tuple((sets + [computed] * (cpus - len(sets)))[:cpus])


def parse_list_pages(text: str, cpus: int, *, apart: bool = False) -> dict[ZoneKey, list[int]]:
    """Pages on each CPU's lists, per zone of /proc/zoneinfo (its ``count`` lines).

    ``apart``: by node; else of all nodes together, as node 0's.
    """
    pages: dict[ZoneKey, list[int]] = {}
    for node, zone, body in _zone_texts(text):
        of_zone = pages.setdefault((int(node) * apart, zone), [0] * cpus)
        counts = re.findall(r"^\s+count:\s+(\d+)", body, re.MULTILINE)[:cpus]
        for cpu, count in enumerate(counts):
            of_zone[cpu] += int(count)
    return pages


def parse_free_pages(text: str, *, apart: bool = False) -> dict[ZoneKey, int]:
    """Pages on each zone's free lists, by /proc/zoneinfo (``pages free``: NR_FREE_PAGES).

    ``apart``: as parse_list_pages has it.
    """
    free: dict[ZoneKey, int] = defaultdict(int)
    for node, zone, body in _zone_texts(text):
        found = re.search(r"^\s+pages free\s+(\d+)$", body, re.MULTILINE)
        free[int(node) * apart, zone] += int(found[1]) if found else 0
    return dict(free)


def parse_pagetypeinfo(
    text: str, *, apart: bool = False
) -> dict[ZoneKey, tuple[list[list[int]], list[int]]]:
    """Per zone: free blocks [order][type] and pageblocks of each type.

    Types that have no pcp list of their own and are never asked for (CMA, Isolate) are left out.
    ``apart``: as parse_list_pages has it.

    Raises:
        ZoneTextError: a line has too few numbers, or something else.
    """
    free: dict[ZoneKey, list[list[int]]] = defaultdict(lambda: [[0] * TYPES for _ in range(ORDERS)])
    blocks: dict[ZoneKey, list[int]] = defaultdict(lambda: [0] * TYPES)
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("Number of blocks type"):
            header = line.split()[4:]
        elif match := re.match(r"Node\s+(\d{1,9}), zone\s+(\S+), type\s+(\S+)\s+(.*)", line):
            zone, name, counts = _key(match, apart=apart), match[3], match[4].split()
            if len(counts) != ORDERS:
                raise ZoneTextError(f"pagetypeinfo: {line.strip()!r}: {ORDERS} numbers expected")
            if name in _TYPE_NAMES:
                for order, count in enumerate(counts):
                    free[zone][order][_TYPE_NAMES[name]] += _count(count.lstrip(">"), line)
        elif match := re.match(r"Node\s+(\d{1,9}), zone\s+(\S+)\s+(\d.*)", line):
            for kind, count in _of_types(header, match[3].split(), line):
                blocks[_key(match, apart=apart)][kind] += count
    return {zone: (free[zone], blocks[zone]) for zone in free}


def _key(match: re.Match[str], *, apart: bool) -> ZoneKey:
    return int(match[1]) * apart, match[2]


def _of_types(header: list[str], counts: list[str], line: str) -> list[tuple[int, int]]:
    if len(counts) != len(header):
        raise ZoneTextError(f"pagetypeinfo: {line.strip()!r}: as many numbers as types expected")
    named = zip(header, counts, strict=True)
    return [
        (_TYPE_NAMES[name], _count(count, line)) for name, count in named if name in _TYPE_NAMES
    ]


def _count(word: str, line: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 19):
        raise ZoneTextError(f"pagetypeinfo: {line.strip()!r}: {word!r} is no number of blocks")
    return int(word)


def placed(zone: Zone, free: Sequence[Sequence[int]], types: Sequence[int]) -> ZoneState:
    """Put counted free blocks somewhere (assumed): no two of them are buddies.

    Pageblocks of a type follow one another, unmovable ones at the zone's start. Small blocks are
    upper halves of regions whose lower half has a used page, so they stay as counted; the largest
    blocks come last. Blocks that do not fit are left out.

    Args:
        zone: the zone.
        free: free blocks [order][type].
        types: pageblocks of each type; those the zone has more (holes) are never free.
    """
    first = -(-zone.start_pfn // PRIOR_CHUNK) * PRIOR_CHUNK
    pairs = max(zone.end_pfn - first, 0) // PRIOR_CHUNK
    wanted = [-(-count // 2) for count in types]
    wanted[Mt.MOVABLE] = max(pairs - sum(wanted) + wanted[Mt.MOVABLE], 0)
    block_types = bytearray([Mt.MOVABLE]) * pageblocks(zone)
    blocks: list[tuple[int, int]] = []
    unused: list[int] = []
    at = 0
    for kind in (Mt.UNMOVABLE, Mt.RECLAIMABLE, Mt.HIGHATOMIC, Mt.MOVABLE):
        regions = [first + PRIOR_CHUNK * n for n in range(at, min(at + wanted[kind], pairs))]
        at += len(regions)
        for region in regions:
            block = (region >> PAGEBLOCK_ORDER) - (zone.start_pfn >> PAGEBLOCK_ORDER)
            block_types[block : block + PRIOR_CHUNK // PAGEBLOCK] = bytes([kind]) * 2
        found, left = _cut_out(regions, [row[kind] for row in free])
        blocks += found
        unused += left
    pages = sum(1 << order for _, order in blocks)
    # Each order takes a chunk of its own, so there may be more chunks than used pages need.
    chunks = (max(zone.managed - pages, 0) // PRIOR_CHUNK + ORDERS) if unused else 0
    return ZoneState(tuple(sorted(blocks)), bytes(block_types), tuple(sorted(unused)[:chunks]))


def _cut_out(regions: list[int], counts: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Place blocks of one type in order-10 regions; the blocks, and regions left alone."""
    whole = min(counts[MAX_PAGE_ORDER], len(regions))
    blocks = [(regions.pop(), MAX_PAGE_ORDER) for _ in range(whole)]
    used_partly: dict[int, list[int]] = defaultdict(list)
    for order in range(MAX_PAGE_ORDER - 1, -1, -1):
        for _ in range(counts[order]):
            above = next((o for o in range(order + 1, ORDERS) if used_partly[o]), None)
            if above is None and regions:
                above = MAX_PAGE_ORDER
                used_partly[above].append(regions.pop())
            if above is None:
                break
            region = used_partly[above].pop()
            for half in range(above - 1, order - 1, -1):
                used_partly[half].append(region)  # the lower half keeps a used page
                region += 1 << half
            blocks.append((region, order))
    return blocks, regions
