"""Object events whose cache neither they nor their partner tells.

All objects of a slab are of one cache, so an object of known cache tells for the others
(BY_SLAB). What no slab tells waits for the end of the trace. If every named life of its call site
and size had one cache, it is of that cache too (BY_CALL_SITE); else it is of the cache that alone
has its size in the kernel's slabinfo (SIZE_CLASS). Rows wait as long as their object or their
slab lives, or, where no slab tells, to the end: 40 bytes each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.page_extents import within
from allocsim.tables import I8, Bools, Columns, concat, empty, find, take
from allocsim.trace.results import CacheHow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocsim.recording.cache_names import Caches
    from allocsim.tables import I4, U8
    from allocsim.trace.late_results import LateResultCollector

_WAITING = {
    "seq": "i8",
    "page": "i8",  # handle of the life its page belongs to; -1: not known
    "pfn": "i8",  # its page frame while no life is known; -1: none
    "call_site": "u8",
    "bytes_alloc": "i8",
    "cache": "i4",  # what its slab says
    "allocates": "?",
    "open": "?",  # an allocation whose life goes on: its free may still name the cache
}


class CallSites:
    """Which cache each call site and size allocates from, learnt from named lives."""

    def __init__(self) -> None:
        self._cache: dict[tuple[int, int], int] = {}

    def learn(self, site: U8, size: I8, cache: I4) -> None:
        """Take in named lives: call site, bytes_alloc and cache of each."""
        rows = _distinct(site, size, cache)
        for key, told in zip(
            zip(site[rows].tolist(), size[rows].tolist(), strict=True),
            cache[rows].tolist(),
            strict=True,
        ):
            if self._cache.setdefault(key, told) != told:
                self._cache[key] = -1

    @property
    def ambiguous(self) -> int:
        """Call sites and sizes that named lives of more than one cache share."""
        return sum(cache < 0 for cache in self._cache.values())

    def cache_of(self, site: U8, size: I8) -> I4:
        """Cache of each call site and size (i4); -1: never named, or not one cache only."""
        table: Mapping[tuple[int, int], int] = self._cache
        keys = zip(site.tolist(), size.tolist(), strict=True)
        return np.fromiter((table.get(key, -1) for key in keys), np.int32, len(site))


def _distinct(site: U8, size: I8, cache: I4) -> I8:
    """Rows that hold every distinct triple at least once, and few of them twice.

    One row a bucket of a hash stands for the rows equal to it; only rows that differ from the
    one in their bucket are sorted.
    """
    bucket = (site ^ (size.astype(np.uint64) << np.uint64(7))) * np.uint64(0x9E3779B97F4A7C15)
    bucket = (bucket >> np.uint64(48)).astype(np.int64)
    keeper = np.zeros(1 << 16, np.int64)
    keeper[bucket] = np.arange(len(site))
    stands = keeper[bucket]
    differs = (site[stands] != site) | (size[stands] != size) | (cache[stands] != cache)
    rest = np.flatnonzero(differs)
    columns = np.stack([site[rest].astype(np.int64), size[rest], cache[rest].astype(np.int64)])
    _, first = np.unique(columns, axis=1, return_index=True)
    return np.concatenate([np.unique(stands), rest[first]])


class LateCacheNames:
    """Rows of the trace that wait for their cache.

    Args:
        sites: what call sites were learnt to allocate from.
        caches: the caches of the trace, and their sizes.
    """

    def __init__(self, sites: CallSites, caches: Caches) -> None:
        self._sites = sites
        self._caches = caches
        self._rows = empty(_WAITING)

    def add(self, rows: Columns) -> None:
        """Rows that have no cache yet: columns of the waiting table but ``cache``."""
        rows = {**rows, "cache": np.full(len(rows["seq"]), -1, np.int32)}
        self._rows = concat([self._rows, {name: rows[name] for name in _WAITING}])

    def end(self, closed: I8, named: I8) -> None:
        """Lives that ended: allocations, by seq, and those of them whose free gave the name."""
        if not len(self._rows["seq"]) or not len(closed):
            return
        at = find(self._rows["seq"], closed)
        self._rows["open"][at[at >= 0]] = False
        at = find(self._rows["seq"], named)
        self._rows = {name: np.delete(values, at[at >= 0]) for name, values in self._rows.items()}

    def touch(self, cells: Columns, page: I8) -> None:
        """First events on frames no life was known of: the life they reveal, or -1 for none.

        Args:
            cells: ``start`` and ``end`` of runs of frames, ascending.
            page: handle of the life for each.
        """
        waiting = np.flatnonzero(self._rows["pfn"] >= 0)
        at = within(cells, self._rows["pfn"][waiting])
        hit = waiting[at >= 0]
        self._rows["page"][hit] = page[at[at >= 0]]
        self._rows["pfn"][hit] = -1

    def ask_slabs(self, page: I8, cache: I4, late: LateResultCollector) -> None:
        """Take the cache of each page life, by handle ascending; -1 where it is not known."""
        rows = self._rows
        waiting = np.flatnonzero((rows["cache"] < 0) & (rows["page"] >= 0))
        at = find(page, rows["page"][waiting])
        rows["cache"][waiting[at >= 0]] = cache[at[at >= 0]]
        done = (rows["cache"] >= 0) & ~rows["open"]
        if done.any():
            self._amend_by_slab(done, late)
            self._rows = take(rows, ~done)

    def finish(self, frames: I8, cache: I4, late: LateResultCollector) -> None:
        """The trace is over: amend every row that its slab or its call site can tell.

        Args:
            frames: page frames without a known life on which objects were seen, ascending.
            cache: the cache of each; -1: not known.
            late: takes ``cache`` and ``cache_how``.
        """
        rows = self._rows
        waiting = np.flatnonzero((rows["cache"] < 0) & (rows["pfn"] >= 0))
        at = find(frames, rows["pfn"][waiting])
        rows["cache"][waiting[at >= 0]] = cache[at[at >= 0]]
        told = rows["cache"] >= 0
        self._amend_by_slab(told, late)
        rest = take(rows, ~told)
        cache = self._sites.cache_of(rest["call_site"], rest["bytes_alloc"])
        how = np.where(cache >= 0, CacheHow.BY_CALL_SITE, CacheHow.SIZE_CLASS)
        for size in np.unique(rest["bytes_alloc"][cache < 0]).tolist():
            cache[(cache < 0) & (rest["bytes_alloc"] == size)] = self._caches.of_size(size)
        how[~rest["allocates"]] = CacheHow.BY_ALLOC
        known = cache >= 0
        late.add(rest["seq"][known], cache=cache[known], cache_how=how[known])
        self._vote(rest, known, cache)
        self._rows = empty(_WAITING)

    def _amend_by_slab(self, mask: Bools, late: LateResultCollector) -> None:
        rows = self._rows
        late.add(rows["seq"][mask], cache=rows["cache"][mask], cache_how=CacheHow.BY_SLAB)
        self._vote(rows, mask, rows["cache"])

    def _vote(self, rows: Columns, mask: Bools, cache: I4) -> None:
        """What the allocations among rows, whose cache is known now, say of its slot size."""
        told = mask & rows["allocates"]
        self._caches.vote_sizes(cache[told], rows["bytes_alloc"][told])
