"""Whether the times of all CPUs are of one clock: whether frees follow their allocations.

Where one CPU's clock is behind another's by more than things live, what the one frees comes before
the other allocated it: its frees are of unknown objects, and what was allocated seems to be in use
for ever. Shifted by the difference, the frees follow the allocations. Nothing else looks like that:
frees of what was allocated before the recording, or without an event, are followed by allocations
at any distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.tables import distinct, joined, rows_of
from allocsim.trace.events import Ev

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.tables import Array, Bools, Int16, Int64, UInt64
    from pipeline.trace_set.column import Values

# Of an event: nothing, or whether it allocates or frees what a column names.
_OTHER, _ALLOC, _FREE = range(3)
_KIND = {name: np.zeros(256, np.uint8) for name in ("ptr", "pfn")}
_KIND["ptr"][[Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC]] = _ALLOC
_KIND["ptr"][[Ev.KFREE, Ev.KMEM_CACHE_FREE]] = _FREE
_KIND["pfn"][[Ev.MM_PAGE_ALLOC]] = _ALLOC
_KIND["pfn"][[Ev.MM_PAGE_FREE]] = _FREE
_NO_OBJECT = 16  # ZERO_SIZE_PTR, and below it NULL
_MOST = 1 << 16  # events that are looked at: those of some addresses, where there are more
_MOST_OF_TWO = 1 << 14  # of these, used by just two CPUs
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # spreads neighbouring addresses
_FEWEST = 30  # frees from which on something is said
_MENDED = 0.75  # of its frees of what is not allocated: contradictions that the shift must resolve
_NEAR = 0.2  # of the shift: what half of the things must live less than
_SLACK = 0.02  # of the recording's length: how much later than all others a CPU may end
_ROUNDS, _NEAR_SHIFT = 2, 0.02
_QUANTILES = np.array([0.1, *np.arange(0.3, 0.96, 0.05), 0.97, 0.98, 0.99, 1.0])


@dataclass(frozen=True, slots=True)
class Behind:
    """One CPU whose times are behind another's.

    Attributes:
        cpu: the CPU.
        of: the other one.
        by: ns that its times are behind.
        uses: allocations and frees of addresses that only these two used, as far as looked at.
        before: of these, frees of what is not allocated and allocations of what is.
        after: how many of these remain once its times are shifted.
    """

    cpu: int
    of: int
    by: int
    uses: int
    before: int
    after: int


class _Uses(NamedTuple):
    """Allocations and frees.

    Attributes:
        key: u8, what is allocated or freed: an address, or a page as an odd number.
        ts: i8, when.
        cpu: i2, on which CPU.
        alloc: bool, whether it is allocated.
    """

    key: UInt64
    ts: Int64
    cpu: Int16
    alloc: Bools

    def take(self, rows: Array) -> _Uses:
        return rows_of(self, rows)


class ClockCheck:
    """Looks at allocations and frees, window by window."""

    def __init__(self) -> None:
        self._parts: list[_Uses] = []
        self._held = 0
        self._halvings = 0
        self._last: dict[int, int] = {}
        self._first_ts = 0

    def window(self, columns: Mapping[str, Values]) -> None:
        """Take in the events of a window.

        Args:
            columns: of a trace set's events, in order of time.
        """
        ts, cpu, event = (columns[name].values for name in ("ts", "cpu", "event"))
        if not self._last:
            self._first_ts = int(ts[0])
        last = np.full(int(cpu.max()) + 1, -1, np.int64)
        last[cpu] = np.arange(len(cpu))  # of several values the last one stays
        cpus = np.flatnonzero(last >= 0)
        self._last |= dict(zip(cpus.tolist(), ts[last[cpus]].tolist(), strict=True))
        for name, kinds in _KIND.items():
            if name not in columns:
                continue
            values, valid = columns[name].values, columns[name].valid
            key = values.astype(np.uint64, copy=False)
            real = key > _NO_OBJECT if name == "ptr" else values >= 0
            if name == "pfn":  # made odd, which no object's address is
                key = key << np.uint64(1) | np.uint64(1)
            # Of a long recording few addresses are chosen: first of all.
            used = np.flatnonzero(_chosen(key, self._halvings) & real)
            row = used if valid is None else np.flatnonzero(valid)[used]
            kind = kinds.take(event[row])
            some = kind != _OTHER
            used, row = used[some], row[some]
            self._hold(_Uses(key[used], ts[row], cpu[row], kind[some] == _ALLOC))

    def _hold(self, uses: _Uses) -> None:
        self._parts.append(uses)
        self._held += len(uses.key)
        while self._held > _MOST:
            self._halvings += 1
            self._parts = [part.take(_chosen(part.key, self._halvings)) for part in self._parts]
            self._held = sum(len(part.key) for part in self._parts)

    def behind(self) -> list[Behind]:
        """The CPUs whose times are behind another's, after the last window."""
        if len(self._last) < 2:
            return []
        uses = joined(self._parts)
        uses = uses.take(np.lexsort((uses.ts, uses.key)))
        # Of each address: whether just two CPUs used it, and which.
        start = np.flatnonzero(np.append(True, uses.key[1:] != uses.key[:-1])[: len(uses.key)])
        if not start.size:
            return []
        low, high = (f.reduceat(uses.cpu, start) for f in (np.minimum, np.maximum))
        row = np.repeat(np.arange(len(start)), np.diff(start, append=len(uses.key)))
        two = np.logical_and.reduceat((uses.cpu == low[row]) | (uses.cpu == high[row]), start)
        two &= low != high
        pair = distinct(low[two].astype(np.int64) << 16 | high[two])
        found = [
            self._pair(uses.take((two & (low == one) & (high == other))[row]), int(cpu), int(of))
            for one, other in zip((pair >> 16).tolist(), (pair & 0xFFFF).tolist(), strict=True)
            for cpu, of in ((one, other), (other, one))
        ]
        return [each for each in found if each is not None]

    def _pair(self, uses: _Uses, cpu: int, of: int) -> Behind | None:
        """Whether ``cpu`` is behind ``of``, by what just these two used, ordered as ``behind``."""
        halvings = self._halvings
        while len(uses.key) > _MOST_OF_TWO:
            halvings += 1
            uses = uses.take(_chosen(uses.key, halvings))
        before = _contradictions(uses)
        unknown = int(((uses.cpu == cpu) & ~uses.alloc & ~_follows(uses)).sum())
        if unknown < _FEWEST:
            return None
        apart = self._apart(uses, cpu, of)
        shift, after = 0, before
        # All of the range first, then what is near the best of it.
        for _ in range(_ROUNDS):
            for other in _some(apart):
                left = _contradictions(_shifted(uses, cpu, other))
                shift, after = (other, left) if left < after else (shift, after)
            apart = apart[np.abs(apart - shift) <= _NEAR_SHIFT * shift]
        if before - after < _MENDED * unknown:
            return None
        moved = _shifted(uses, cpu, shift)
        freed = np.flatnonzero((moved.cpu == cpu) & ~moved.alloc & _follows(moved))
        freed = freed[moved.cpu[freed - 1] == of]
        if not freed.size or np.median(moved.ts[freed] - moved.ts[freed - 1]) > _NEAR * shift:
            return None
        return Behind(cpu, of, shift, len(uses.key), before, after)

    def _apart(self, uses: _Uses, cpu: int, of: int) -> Int64:
        """From frees on ``cpu`` to the allocations on ``of`` that they may be of, in ns.

        The first free of an address and its first allocation, the second and the second, ...: the
        order on one CPU does not depend on its clock.
        """
        length = max(self._last.values()) - self._first_ts
        # A CPU that is behind ends as much before the other as it is behind.
        most = self._last[of] - self._last[cpu] + int(_SLACK * length)
        alloc = np.flatnonzero(uses.alloc & (uses.cpu == of))
        free = np.flatnonzero(~uses.alloc & (uses.cpu == cpu))
        named = [uses.key[rows] + _rank(uses.key[rows]) * _GOLDEN for rows in (alloc, free)]
        _, at_a, at_f = np.intersect1d(named[0], named[1], return_indices=True)
        apart = uses.ts[alloc[at_a]] - uses.ts[free[at_f]] + 1
        return apart[(apart > 1) & (apart <= most)]


def _chosen(key: UInt64, halvings: int) -> Bools:
    """Which addresses are looked at: half of them, a quarter, ... where there are too many."""
    if not halvings:
        return np.ones(len(key), np.bool_)
    chosen: Bools = key * _GOLDEN < np.uint64(1 << (64 - halvings))
    return chosen


def _some(apart: Int64) -> list[int]:
    """Distances that stand for all of them."""
    if not apart.size:
        return []
    return sorted(set(np.quantile(apart, _QUANTILES, method="nearest").tolist()))


def _shifted(uses: _Uses, cpu: int, shift: int) -> _Uses:
    """The uses in order by address and time, those on ``cpu`` later by ``shift``."""
    moved = _Uses(
        uses.key, np.where(uses.cpu == cpu, uses.ts + shift, uses.ts), uses.cpu, uses.alloc
    )
    return moved.take(np.lexsort((moved.ts, moved.key)))


def _rank(key: UInt64) -> UInt64:
    """How many of the same key stand before each of ``key``, which is ascending."""
    start = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    count = np.diff(start, append=len(key))
    return (np.arange(len(key)) - np.repeat(start, count)).astype(np.uint64)


def _follows(uses: _Uses) -> Bools:
    """Whether each use follows an allocation of the same address."""
    follows = np.zeros(len(uses.key), np.bool_)
    follows[1:] = (uses.key[1:] == uses.key[:-1]) & uses.alloc[:-1]
    return follows


def _contradictions(uses: _Uses) -> int:
    """Frees of what is not allocated, and allocations of what is."""
    return int((_follows(uses) == uses.alloc).sum())


def said(behind: list[Behind]) -> str:
    """One line about clocks that disagree: the pair with the most frees, and how many others."""
    most = max(behind, key=lambda pair: pair.before)
    more = f" (and {len(behind) - 1} more pairs of CPUs)" if len(behind) > 1 else ""
    return (
        f"two clocks: the times of CPU {most.cpu} are about {most.by / 1e9:.3g} s behind those of "
        f"CPU {most.of}{more}: {most.before} of {most.uses} uses of what both allocate or free "
        f"contradict each other, shifted by that {most.after}; record with trace_clock mono"
    )
