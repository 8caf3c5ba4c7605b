"""Object events of a window: their lives, and their caches as far as objects alone tell.

A cache is known, best first: from the event itself (its name, or its size class); on a free
without a name, from the allocation it ends; on an allocation without a name (kmem_cache_alloc
before 7.x), from the name on its free. What is left waits for its slab or, at the end of the
trace, for its call site: allocsim.recording.late_cache_names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.recording.lifetimes import ZERO_SIZE_PTR, Lifetimes, Pairing
from allocsim.tables import I8, Bools, Columns, column, take
from allocsim.trace.events import Ev
from allocsim.trace.results import CacheHow

if TYPE_CHECKING:
    from allocsim.recording.cache_names import Caches
    from allocsim.recording.late_cache_names import CallSites
    from allocsim.tables import I1, I4, U1, U8
    from allocsim.trace.late_results import EventWindow

_CARRY = {
    "seq": "i8",
    "ts": "i8",
    "cpu": "i2",
    "cache": "i4",
    "bytes_alloc": "i8",
    "call_site": "u8",
    "large": "?",
    "metadata": "?",
}
COUNTS = (
    "null_frees",
    "failed_allocations",
    "unknown_frees",
    "reallocations",
    "remote_frees",
)


@dataclass(slots=True)
class ObjectWindow:
    """The object events of a window in (address, time) order.

    Args:
        row: row of the window.
        ptr: address.
        allocates: allocation, else free.
        ends_previous: free of the allocation at the row before.
        handle: seq of the first event of its life.
        lifetime: ns; -1: open or not known.
        own: cache the event itself tells; -1: none.
        cache: cache as far as known; -1: not yet, or whole pages.
        cache_how: CacheHow; -1: whole pages, which have no cache.
        large: an object of whole pages (kmalloc above the largest class).
        on_slab: it surely lies on a slab.
        ended: allocation whose life a later event of this window ended, or a free.
        call_site: where the object was allocated; 0: allocation not seen.
        bytes_alloc: with which size; -1: allocation not seen.
        closed: seqs of allocations of earlier windows whose life ended in this one.
        named: of these, those whose free gave the cache.
        replaced: seqs of allocations whose free went untraced, as another allocation of their
            address in this window shows (T6); the allocator's own metadata is left out (T7).
        replaced_ts: time of that allocation.
    """

    row: I8
    ptr: U8
    allocates: Bools
    ends_previous: Bools
    handle: I8
    lifetime: I8
    own: I4
    cache: I4
    cache_how: I1
    large: Bools
    on_slab: Bools
    ended: Bools
    call_site: U8
    bytes_alloc: I8
    closed: I8
    named: I8
    replaced: I8
    replaced_ts: I8


class Objects:
    """Live objects, carried from window to window.

    Args:
        caches: the caches of the trace.
        sites: learns which call sites allocate from which cache.
    """

    def __init__(self, caches: Caches, sites: CallSites) -> None:
        self._caches = caches
        self._sites = sites
        self._lifetimes = Lifetimes(_CARRY)
        self.counts = dict.fromkeys(COUNTS, 0)

    @property
    def live(self) -> Columns:
        """Objects allocated in the trace and not freed so far, sorted by address."""
        return self._lifetimes.live

    def window(self, window: EventWindow) -> ObjectWindow | None:
        """Pair and name the object events of a window; None if it has none.

        Lifetimes and caches of allocations of earlier windows are amended.
        """
        columns = window.columns
        rows = self._rows(columns)
        if not len(rows):
            return None
        code = columns["event"][rows]
        allocates = (code == Ev.KMALLOC) | (code == Ev.KMEM_CACHE_ALLOC)
        own, by_site = self._own_caches(columns, rows, code)
        pairing = self._lifetimes.pair(columns["ptr"][rows], allocates)
        order = pairing.order
        objects = _pair_results(window, rows[order], own[order], pairing, self._caches)
        objects.cache_how[by_site[order]] = CacheHow.BY_CALL_SITE
        self._count(columns, pairing, objects)
        self._carried(window, pairing, objects)
        self._learn(columns, objects)
        self._keep(window, objects, pairing)
        return objects

    def _rows(self, columns: Columns) -> I8:
        """Rows that allocate or free an object; NULL and ZERO_SIZE_PTR are counted (T4)."""
        if "ptr" not in columns:
            return np.empty(0, np.int64)
        rows = np.flatnonzero(columns["event"] <= Ev.KMEM_CACHE_FREE)
        ptr = columns["ptr"][rows]
        nothing = ptr <= ZERO_SIZE_PTR
        if not nothing.any():
            return rows
        code = columns["event"][rows[nothing]]
        frees = int(((code == Ev.KFREE) | (code == Ev.KMEM_CACHE_FREE)).sum())
        self.counts["null_frees"] += frees
        self.counts["failed_allocations"] += len(code) - frees
        return rows[~nothing]

    def _own_caches(self, columns: Columns, rows: I8, code: U1) -> tuple[I4, Bools]:
        """Cache that each event itself tells, and whether it is its call site that tells.

        By its name, by size class and gfp (R3.2), or by a call site known to have one cache.
        """
        if "cache" in columns:
            own = columns["cache"][rows].astype(np.int32)
        else:
            own = np.full(len(rows), -1, np.int32)
        by_site = (own < 0) & (code == Ev.KMEM_CACHE_ALLOC)
        own[by_site] = self._caches.of_site(column(columns, "call_site", rows[by_site]))
        by_site &= own >= 0
        kmalloc = np.flatnonzero(code == Ev.KMALLOC)
        if len(kmalloc):
            at = rows[kmalloc]
            own[kmalloc] = self._caches.of_kmalloc(
                columns["bytes_alloc"][at], columns["gfp_flags"][at], columns["bytes_req"][at]
            )
        known = np.flatnonzero((own >= 0) & ((code == Ev.KMEM_CACHE_ALLOC) | (code == Ev.KMALLOC)))
        if len(known):
            self._caches.learn_sizes(own[known], columns["bytes_alloc"][rows[known]])
        return own, by_site

    def _carried(self, window: EventWindow, pairing: Pairing, objects: ObjectWindow) -> None:
        """Lives of earlier windows that end here, or that an allocation at their address closes."""
        at = np.flatnonzero(pairing.carried >= 0)
        old = take(self._lifetimes.live, pairing.carried[at])
        objects.closed = old["seq"]
        frees = ~objects.allocates[at]
        window.late.add(old["seq"][~frees], lifetime=-1)
        self._replaced(window, pairing, objects, at[~frees], take(old, ~frees))
        at, old = at[frees], take(old, frees)
        lifetime = window.columns["ts"][objects.row[at]] - old["ts"]
        objects.handle[at] = old["seq"]
        objects.lifetime[at] = lifetime
        window.late.add(old["seq"], lifetime=lifetime)

        own, large = objects.own[at], old["large"]
        objects.large[at[large]] = True
        objects.on_slab[at[large]] = False
        objects.cache_how[at[large & (own < 0)]] = -1
        asks = (own < 0) & (old["cache"] >= 0)
        objects.cache[at[asks]] = old["cache"][asks]
        objects.cache_how[at[asks]] = CacheHow.BY_ALLOC
        tells = (own >= 0) & (old["cache"] < 0) & ~large
        tells &= self._caches.fits(own, old["bytes_alloc"])
        objects.named = old["seq"][tells]
        window.late.add(objects.named, cache=own[tells], cache_how=CacheHow.BY_FREE)
        still = objects.cache[at] < 0
        objects.call_site[at[still]] = old["call_site"][still]
        objects.bytes_alloc[at[still]] = old["bytes_alloc"][still]
        told = take(old, tells)
        self._caches.vote_sizes(own[tells], told["bytes_alloc"])
        self._sites.learn(told["call_site"], told["bytes_alloc"], own[tells])

    def _replaced(
        self, window: EventWindow, pairing: Pairing, objects: ObjectWindow, at: I8, old: Columns
    ) -> None:
        """Objects whose address is allocated again: at rows ``at`` those of earlier windows."""
        again = np.flatnonzero(pairing.reallocates & (pairing.carried < 0))
        row = objects.row[again - 1]
        seq = np.concatenate((old["seq"], row + window.seq))
        metadata = column(window.columns, "metadata", row).astype(np.bool_)
        known = ~np.concatenate((old["metadata"], metadata))
        objects.replaced = seq[known]
        by = objects.row[np.concatenate((at, again))[known]]
        objects.replaced_ts = window.columns["ts"][by]

    def _learn(self, columns: Columns, objects: ObjectWindow) -> None:
        """Tell the call sites of allocations that a free of this window named."""
        told = np.flatnonzero(objects.allocates & (objects.cache_how == CacheHow.BY_FREE))
        if len(told):
            row = objects.row[told]
            size, cache = columns["bytes_alloc"][row], objects.cache[told]
            self._caches.vote_sizes(cache, size)
            self._sites.learn(columns["call_site"][row], size, cache)

    def _keep(self, window: EventWindow, objects: ObjectWindow, pairing: Pairing) -> None:
        kept = self._lifetimes.survivors(pairing)
        row = objects.row[kept]
        survivors = {
            name: column(window.columns, name, row).astype(_CARRY[name])
            for name in ("ts", "cpu", "bytes_alloc", "call_site", "metadata")
        }
        survivors["ptr"] = objects.ptr[kept]
        survivors["seq"] = row + window.seq
        survivors["cache"] = objects.own[kept]
        survivors["large"] = objects.large[kept]
        self._lifetimes.keep(pairing, survivors)

    def _count(self, columns: Columns, pairing: Pairing, objects: ObjectWindow) -> None:
        self.counts["unknown_frees"] += int(pairing.unknown.sum())
        self.counts["reallocations"] += int(pairing.reallocates.sum())
        cpu = columns["cpu"]
        frees = np.flatnonzero(pairing.ends_previous)
        remote = int((cpu[objects.row[frees]] != cpu[objects.row[frees - 1]]).sum())
        at = np.flatnonzero((pairing.carried >= 0) & ~pairing.allocates)
        alloc_cpu = self._lifetimes.live["cpu"][pairing.carried[at]]
        remote += int((cpu[objects.row[at]] != alloc_cpu).sum())
        self.counts["remote_frees"] += remote


def _pair_results(
    window: EventWindow, row: I8, own: I4, pairing: Pairing, caches: Caches
) -> ObjectWindow:
    """What the pairing of a window's events tells, all in (address, time) order."""
    columns = window.columns
    code = columns["event"][row]
    address = columns["ptr"][row]
    ts = columns["ts"][row]
    frees = np.flatnonzero(pairing.ends_previous)
    allocs = frees - 1

    handle = row + window.seq
    handle[frees] = handle[allocs]
    lifetime = np.full(len(row), -1, np.int64)
    lifetime[frees] = lifetime[allocs] = ts[frees] - ts[allocs]

    large = np.zeros(len(row), bool)
    nameless = np.flatnonzero(pairing.allocates & (own < 0))
    if len(nameless):
        big = columns["bytes_alloc"][row[nameless]] > caches.largest
        large[nameless] = big & (code[nameless] == Ev.KMALLOC)
    large[frees] = large[allocs]

    cache = own.copy()
    how = np.full(len(row), CacheHow.UNRESOLVED, np.int8)
    how[own >= 0] = CacheHow.NAMED
    how[(own >= 0) & (code == Ev.KMALLOC)] = CacheHow.SIZE_CLASS
    ask = frees[(own[frees] < 0) & (own[allocs] >= 0)]
    cache[ask] = own[ask - 1]
    how[ask] = CacheHow.BY_ALLOC
    tell = allocs[(own[allocs] < 0) & (own[frees] >= 0) & ~large[allocs]]
    if len(tell):
        tell = tell[caches.fits(own[tell + 1], columns["bytes_alloc"][row[tell]])]
    cache[tell] = own[tell + 1]
    how[tell] = CacheHow.BY_FREE
    how[large & (own < 0)] = -1

    # An address that is not page-aligned cannot be a large kmalloc (R3.1).
    aligned = (address & np.uint64(caches.page_size - 1)) == 0
    on_slab = ~large & (
        (code != Ev.KFREE) | ~aligned | pairing.ends_previous | (pairing.carried >= 0)
    )
    ended = ~pairing.allocates
    ended[:-1] |= pairing.allocates[:-1] & ~pairing.first[1:]
    nowhere = np.empty(0, np.int64)
    return ObjectWindow(
        row,
        address,
        pairing.allocates,
        pairing.ends_previous,
        handle,
        lifetime,
        own,
        cache,
        how,
        large,
        on_slab,
        ended,
        *_sites(columns, row, (cache < 0) & ~large, pairing),
        nowhere,
        nowhere,
        nowhere,
        nowhere,
    )


def _sites(columns: Columns, row: I8, asks: Bools, pairing: Pairing) -> tuple[U8, I8]:
    """Call site and size of the allocation behind the events that ask for them."""
    site = np.zeros(len(row), np.uint64)
    size = np.full(len(row), -1, np.int64)
    if "call_site" not in columns:
        return site, size
    own = np.flatnonzero(asks & pairing.allocates)
    site[own] = columns["call_site"][row[own]]
    size[own] = column(columns, "bytes_alloc", row[own])  # a trace of frees only has none
    frees = np.flatnonzero(asks & pairing.ends_previous)
    site[frees] = site[frees - 1]
    size[frees] = size[frees - 1]
    return site, size
