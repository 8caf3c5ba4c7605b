"""What a trace set holds besides its events, and how it is told from other folders.

Apart from pipeline.trace_set so that whoever only writes one need not wait for a Parquet reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.zones import MAX_PAGE_ORDER, MAX_PAGE_ORDERS
from allocsim.recording.page_frames import MAX_PFN
from allocsim.tables import find
from allocsim.trace.events import EVENTS, Column, Ev

if TYPE_CHECKING:
    from pathlib import Path

    from allocsim.tables import Int64, UInt64

SCHEMA_VERSION = 1
EVENTS_FILE = "events.parquet"
TABLES = (EVENTS_FILE, "stacks.parquet", "symbols.parquet")  #: the tables of a trace set
SNAPSHOTS = "snapshots"  #: the folder that has what /proc and /sys said, "before" and "after"
CPUS = 8192  #: most that a kernel can have (NR_CPUS, arch/x86/Kconfig)
PIDS = 1 << 22  #: PID_MAX_LIMIT (include/linux/threads.h, 7.2)
BELIEVED_PFN = 1 << 28  #: 1 TiB of 4 KiB pages: of frames from here on a zoneinfo must tell
PAGE_SIZES = (1 << 12, 1 << 14, 1 << 16)  #: that a kernel can have


#: Columns of stacks.parquet and symbols.parquet, whose texts alone may be null.
STACK_COLUMNS = (
    Column("stack", "i4", "", "Number of the stack, from 0.", required=True),
    Column("depth", "i2", "", "Number of the frame, from 0 for the innermost.", required=True),
    Column("address", "u8", "", "Address the frame returns to.", required=True),
)
SYMBOL_COLUMNS = (
    Column("address", "u8", "", "Address of code.", required=True),
    Column("symbol", "str", "", "Function it lies in; null: not known.", required=True),
    Column("offset", "i8", "bytes", "Distance from the function's start.", required=True),
    Column("module", "str", "", "Module of the function; null: the kernel.", required=True),
)


def event_limits(page_size: int) -> dict[str, tuple[int, int]]:
    """The least and the most that a column of events can hold, by its name."""
    return {
        "event": (0, len(EVENTS) - 1),
        "order": (0, MAX_PAGE_ORDERS.get(page_size, MAX_PAGE_ORDER)),
        "pfn": (-1, MAX_PFN - 1),
        "pid": (0, PIDS),
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a recording is asked for, where that is not all of it.

    Attributes:
        events: the events.
        columns: their columns.
    """

    events: frozenset[Ev]
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stacks:
    """Every distinct kernel stack.

    Attributes:
        start: i8, length stacks + 1: stack ``s`` is ``address[start[s]:start[s + 1]]``.
        address: u8, the frames' addresses, innermost first.
    """

    start: Int64
    address: UInt64

    def __len__(self) -> int:
        return len(self.start) - 1

    def frames(self, stack: int) -> UInt64:
        """The addresses of one stack, innermost first."""
        return self.address[self.start[stack] : self.start[stack + 1]]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Code addresses and the symbols they lie in.

    Attributes:
        address: u8, ascending: every call site and stack address of the trace set.
        symbol: the symbol an address lies in; None where no symbol is known.
        offset: i8, bytes from the symbol's beginning; 0 where no symbol is known.
        module: the module the symbol belongs to; None for the kernel itself.
    """

    address: UInt64
    symbol: list[str | None]
    offset: Int64
    module: list[str | None]

    def name(self, address: int) -> str | None:
        """The symbol ``address`` lies in; None where it is not known."""
        at = int(np.searchsorted(self.address, np.uint64(address)))
        if at == len(self.address) or int(self.address[at]) != address:
            return None
        return self.symbol[at]

    def some(self, addresses: UInt64) -> Symbols:
        """The symbols of some addresses; none where the trace set has not the address."""
        at = find(self.address, addresses)
        here, known = at.tolist(), at >= 0
        return Symbols(
            addresses,
            [self.symbol[row] if row >= 0 else None for row in here],
            np.where(known, self.offset[at], 0) if len(self.offset) else at + 1,
            [self.module[row] if row >= 0 else None for row in here],
        )


def is_trace_set(path: Path) -> bool:
    """Whether the folder looks like a trace set (rather than a recording)."""
    if (path / EVENTS_FILE).is_file():
        return True
    # With tables of other names it is another tool's folder.
    others = {table.name for table in path.glob("*.parquet")} - set(TABLES)
    return (path / "meta.json").is_file() and not others
