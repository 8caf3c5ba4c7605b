"""What `perf kmem stat` prints, as numbers."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SLAB = re.compile(r"^ (0x[0-9a-f]+) +\| +(\d+)/(\d+) +\| +(\d+)/(\d+) +\| +(\d+) +\| +(\d+) +\| ")
_PAGE = re.compile(r"^ +(?:(\d+) \| +)?(\d+) \| +(\d+) \| +(\d+) \| +(\S+) \| +(\S+) +\| \S+$")
_FLAGS = re.compile(r"^# ([0-9a-f]{8}): +(\S+): ")
_TOTAL = re.compile(r"^([A-Z][A-Za-z +-]+?) *: +([\d.]+)%?(?:/(\d+)| +\[ +(\d+) KB \])?$")
_ORDER = re.compile(r"^ +(\d+)((?: +(?:\d+|\.)){5})$")
#: perf's names of migratetypes are those before 4.4 (mm: enum migratetype); by their place.
PLACES = {"UNMOVABL": 0, "RECLAIM": 1, "MOVABLE": 2, "RESERVED": 3, "CMA/ISLT": 4}


@dataclass(frozen=True)
class SlabRow:
    """A row of a table of objects."""

    address: int
    bytes_alloc: int
    bytes_req: int
    hit: int
    pingpong: int


@dataclass(frozen=True)
class PageRow:
    """A row of a table of pages; no pfn in the table of callers."""

    pfn: int | None
    kib: int
    hit: int
    order: int
    place: int
    gfp: int


@dataclass(frozen=True)
class PerfKmem:
    """What perf kmem prints.

    Attributes:
        slab: rows of its first table of objects.
        page: rows of its first table of pages.
        totals: of the summaries, by the words there: a number, and one of bytes or KiB behind it.
        orders: allocations by order and place of the migratetype.
    """

    slab: list[SlabRow]
    page: list[PageRow]
    totals: dict[str, tuple[float, int | None]]
    orders: dict[tuple[int, int], int]


def perf_kmem(file: Path, *options: str) -> PerfKmem:
    """Run perf kmem stat on a perf.data; raises CalledProcessError where it gives up."""
    command = ["perf", "kmem", "-f", "-i", str(file), "--raw-ip", *options, "stat"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENV)
    return parsed(done.stdout)


_ENV = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "HOME": "/nonexistent"}


def parsed(text: str) -> PerfKmem:
    """The numbers in what perf kmem stat printed."""
    slab, page, flags = [], [], {}
    totals: dict[str, tuple[float, int | None]] = {}
    orders = {}
    for line in text.splitlines():
        if found := _SLAB.match(line):
            address, alloc, _, req, _, hit, pingpong = found.groups()
            slab.append(SlabRow(int(address, 16), int(alloc), int(req), int(hit), int(pingpong)))
        elif found := _FLAGS.match(line):
            flags[found[2]] = int(found[1], 16)
        elif found := _PAGE.match(line):
            pfn, kib, hit, order, kind, gfp = found.groups()
            number = None if pfn is None else int(pfn)
            page.append(PageRow(number, int(kib), int(hit), int(order), PLACES[kind], flags[gfp]))
        elif found := _TOTAL.match(line):
            more = found[3] or found[4]
            totals[found[1]] = (float(found[2]), int(more) if more else None)
        elif found := _ORDER.match(line):
            for place, number in enumerate(found[2].split()):
                if number != ".":
                    orders[int(found[1]), place] = int(number)
    return PerfKmem(slab, page, totals, orders)
