"""What a person reads where a row has a code: symbols, names of tasks, gfp flags, migratetypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.gfp import gfp_names
from allocsim.kernels.release import kernel_of
from allocsim.page_alloc.zones import Mt
from allocsim.refcount.alloc_levels import allocator_frames, recorded_frames
from pipeline.source_places import by_name
from pipeline.stat.tables import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocsim.kernels.release import Kernel
    from allocsim.tables import Int64, UInt64
    from pipeline.stat.source import EventSource

_WORD = 1 << 64  # addresses are kept as signed words
_NEWEST = "7.3"  # whose names stand where the recording does not say its kernel
_KINDS = {int(kind): kind.name.lower() for kind in Mt}
# include/linux/mmzone.h, up to the kernel that gave __GFP_WAIT up.
_OLD_KINDS = {0: "unmovable", 1: "reclaimable", 2: "movable"}
_NUMBERS = {"cpu", "pid", "order", f"{PAGE} address"}
WHOLE_PAGES = -2  #: in place of a cache: a large kmalloc
NOT_KNOWN = -1  #: of a cache, a stack, the site of a page without a stack


class Labels:
    """Words for the keys of a trace's rows.

    Args:
        source: the trace, all of whose windows have been read.
        caches: names of caches by number.
    """

    def __init__(self, source: EventSource, caches: Sequence[str]) -> None:
        self._source = source
        facts = source.facts()
        self._comms = {int(pid): comm for pid, comm in facts["comms"].items()}
        kernel = _kernel(facts["kernel_release"])
        kinds = _KINDS if kernel.gfp_direct_reclaim else _OLD_KINDS
        self._sites: dict[int, str] = {}
        self._stacks: dict[int, list[str]] = {}
        self._site_of_stack: dict[int, int] = {}
        self._directories: dict[int, str] = {}
        self._release: str = facts["kernel_release"] or _NEWEST
        self._texts: dict[str, Callable[[int], str | None]] = {
            "site": self._site,
            "cache": {WHOLE_PAGES: "large kmalloc: pages", **dict(enumerate(caches))}.get,
            "address": lambda address: f"{address % _WORD:#x}",
            "directory": self._directories.get,
            "pid": lambda pid: f"{self._comms.get(pid, '?')}-{pid}",
            "migratetype": lambda kind: kinds.get(kind, f"type {kind}"),
            "gfp": lambda gfp: gfp_names(gfp, kernel) or f"{gfp:#x}",
            "stack": lambda stack: ";".join(reversed(self._stacks[stack])) if stack >= 0 else None,
        }

    def know_sites(self, addresses: UInt64) -> None:
        """Look up the symbols of call sites, while the trace is open."""
        found = self._source.symbols(np.unique(addresses))
        rows = zip(found.address.tolist(), found.symbol, found.offset.tolist(), strict=True)
        for address, symbol, offset in rows:
            self._sites[address] = f"{symbol}+{offset:#x}" if symbol else f"{address:#x}"

    def know_stacks(self, numbers: Int64) -> None:
        """Look up the functions of stacks, while the trace is open."""
        numbers = np.unique(numbers[numbers >= 0])
        stacks = self._source.stacks()
        frames = {number: stacks.frames(number) for number in numbers.tolist()}
        if not frames:
            return
        found = self._source.symbols(np.unique(np.concatenate([*frames.values()])))
        names = dict(zip(found.address.tolist(), found.symbol, strict=True))
        for number, addresses in frames.items():
            words = [names[address] or hex(address) for address in addresses.tolist()]
            self._stacks[number] = recorded_frames(words)
            inside = allocator_frames(words)
            if inside < len(words):
                self._site_of_stack[number] = int(addresses[inside].astype(np.int64))

    def sites_of(self, stacks: Int64) -> Int64:
        """The call site of page allocations with these stacks; -1: not known."""
        numbers, place = np.unique(stacks, return_inverse=True)
        sites = [self._site_of_stack.get(number, NOT_KNOWN) for number in numbers.tolist()]
        return np.array(sites, np.int64)[place]

    @property
    def directories_by(self) -> str:
        """What directories are known by."""
        version = by_name.nearest(self._release)
        return f"by the names of functions in the sources of Linux {version}"

    def directories_of(self, sites: Int64) -> Int64:
        """The source directory of call sites, in alphabetical order; -1: not known.

        Inferred, by the names of their functions in the sources of a kernel near the recorded one.
        """
        addresses, place = np.unique(sites.view(np.uint64), return_inverse=True)
        named = by_name.places(by_name.nearest(self._release))
        # Of all there are: each table asks for its own sites, and all have the same numbers.
        every = sorted({path.rpartition("/")[0] for path in named.values()})
        numbers = {folder: number for number, folder in enumerate(every)}
        self._directories |= dict(enumerate(every))
        symbols = self._source.symbols(addresses).symbol
        paths = [named.get(by_name.function_of(symbol), "") if symbol else "" for symbol in symbols]
        found = [numbers[path.rpartition("/")[0]] if path else NOT_KNOWN for path in paths]
        return np.array(found, np.int64)[place]

    def text(self, key: str, layer: str, value: int) -> str | None:
        """A key's value as a person reads it; None: not known.

        Args:
            key: one of tables.KEYS.
            layer: of the table.
            value: as StatTable.keys has it.
        """
        if key == "address" and layer == PAGE:
            return str(value)
        known = self._texts.get(key)
        return str(value) if known is None else known(value)

    def record(self, key: str, layer: str, value: int) -> int | str | None:
        """A key's value for programs: a number where it is one, else as a person reads it."""
        return (
            value
            if key in _NUMBERS or f"{layer} {key}" in _NUMBERS
            else self.text(key, layer, value)
        )

    def code(self, key: str, value: int) -> int | str | None:
        """What a program is told besides (tables.Key.code): addresses and flags in hex."""
        if key == "pid":
            return self._comms.get(value)
        if key == "site":
            return None if value == NOT_KNOWN else f"{value % _WORD:#x}"
        return f"{value:#x}" if key == "gfp" else value

    def _site(self, value: int) -> str | None:
        address = value % _WORD
        return None if value == NOT_KNOWN else self._sites.get(address, f"{address:#x}")


def _kernel(release: str | None) -> Kernel:
    """The recorded kernel; the newest where the recording does not say which."""
    try:
        return kernel_of(release or "")
    except ValueError:
        return kernel_of(_NEWEST)
