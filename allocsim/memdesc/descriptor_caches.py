"""The descriptors' own allocations: slab caches of their own in the model of SLUB (7.2's).

A page life that needs a descriptor is one allocation and one free more. Those descriptors lie on
slabs, which need slab descriptors, whose slabs need some in turn; that goes on until it settles.
Descriptors of blocks older than the recording are allocated first, on one CPU: where they lay is
not known, so they lie as close as they can (assumed).

Left out: the sheaves' own memory (counted as ``sheaves``), the grace period after which a slab of
a SLAB_TYPESAFE_BY_RCU cache is freed, and refusals of the page allocator.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from allocsim.recording.page_kinds import PageKind
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import ObjectRequests
from allocsim.slub.slub import Slub
from allocsim.tables import Columns, concat, empty, stable_order, take

if TYPE_CHECKING:
    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.memdesc.schemes import Scheme
    from allocsim.slub.requests import PageRequests
    from allocsim.tables import I1, I8, U1, Ints

_MOST_PASSES = 64
_COUNTS = (
    *("older", "allocs", "frees", "own_allocs", "own_frees"),
    *("fast", "slab_allocs", "slab_frees"),
)
# Paths on which the CPU's own two sheaves serve a request alone.
_FAST = np.isin(np.arange(256), [AllocPath.MAIN_HIT, AllocPath.SPARE_SWAP, AllocPath.MAIN_PUSH])
# Slab pages asked for and given back, and what the slab descriptors' cache is asked for: ``at``
# is the place of the request in the whole stream, ``column`` that of its time (0: older than the
# recording), ``key`` tells lives apart.
_EVENTS = {
    "at": "i8",
    "ts": "i8",
    "column": "i8",
    "cpu": "i2",
    "cache": "i4",
    "op": "i1",
    "order": "i1",
    "key": "i8",
}


class DescriptorRequests(NamedTuple):
    """Descriptors asked for and given back, in time order; arrays of one length.

    Args:
        ts: time, ns (i8).
        cpu: CPU (integer).
        descriptor: number of the descriptor in its scheme (integer).
        op: +1 allocation, -1 free (i1).
        key: of the block's life, at least 0: no two lives have the same (i8).
    """

    ts: I8
    cpu: Ints
    descriptor: Ints
    op: I1
    key: I8


@dataclass(frozen=True, slots=True)
class DescriptorOutcome:
    """What became of the descriptors of one scheme.

    Args:
        shapes: the shape of each descriptor's cache.
        counts: totals by name, one a descriptor: ``older`` (allocated before the recording),
            ``allocs`` and ``frees`` (for page lives), ``own_allocs`` and ``own_frees`` (slab
            descriptors for descriptors' slabs, in the recording), ``fast`` (of all these but
            ``older``, those that the CPU's own sheaves served), ``slab_allocs``, ``slab_frees``
            (in the recording) and ``sheaves`` (held at the end).
        objects: descriptors live, by descriptor and column of time (0: when the recording begins,
            then the end of each slice).
        slabs: slabs held, likewise.
        pages: pages of these, likewise.
        peak_pages: most pages ever held.
        peak_ts: when that was reached first.
        mean_pages: pages held on average over time.
        passes: how often the slab descriptors of a window were replayed until nothing changed, at
            most.
        settled: nothing changed any more.
    """

    shapes: list[CacheShape]
    counts: dict[str, I8]
    objects: I8
    slabs: I8
    pages: I8
    peak_pages: int
    peak_ts: int
    mean_pages: float
    passes: int
    settled: bool


class _Served(NamedTuple):
    """Keys of the requests that a model of SLUB serves now, rising, and what it calls them (i8)."""

    key: I8
    handle: I8
    next: int

    def handles(self, requests: Columns) -> tuple[I8, _Served]:
        """A handle for each request, rising from one allocation to the next; what is served then.

        Args:
            requests: columns ``op`` and ``key``.
        """
        allocates = requests["op"] > 0
        made = requests["key"][allocates]
        new = self.next + np.arange(len(made))
        key, of_key = np.concatenate([self.key, made]), np.concatenate([self.handle, new])
        order = np.argsort(key)
        key, of_key = key[order], of_key[order]
        handles = np.empty(len(allocates), np.int64)
        handles[allocates] = new
        freed = np.searchsorted(key, requests["key"][~allocates])
        handles[~allocates] = of_key[freed]
        stays = np.ones(len(key), bool)
        stays[freed] = False
        return handles, _Served(key[stays], of_key[stays], self.next + len(made))


_NOTHING = _Served(np.empty(0, np.int64), np.empty(0, np.int64), 0)


class DescriptorSlabs:
    """The caches of one scheme's descriptors, fed with requests window by window.

    Args:
        scheme: the scheme.
        cpus: CPUs of the machine.
        first_ts: when the recording begins, ns.
        last_ts: when it ends.
        slice_ns: length of a time slice.
    """

    def __init__(
        self, scheme: Scheme, cpus: int, first_ts: int, last_ts: int, slice_ns: int
    ) -> None:
        self._first, self._last, self._slice = first_ts, last_ts, slice_ns
        self._columns = (last_ts - first_ts) // slice_ns + 2
        self._cpus = cpus
        caches = [(each.name, each.slot) for each in scheme.descriptors]
        self.shapes = cache_shapes(LINUX_7_2, caches, cpus)
        of_slab = (n for n, each in enumerate(scheme.descriptors) if PageKind.SLAB in each.kinds)
        self._own = next(of_slab, -1)
        self._slub = Slub(LINUX_7_2, self.shapes, cpus)
        count = len(self.shapes)
        # The slab descriptors' cache alone, whose requests depend on the slabs of all.
        own = [self.shapes[self._own]] if self._own >= 0 else []
        self._own_slub = Slub(LINUX_7_2, own, cpus)
        self._served = self._own_served = _NOTHING
        self._live, self._slabs, self._pages = np.zeros((3, count, self._columns), np.int64)
        self._counts = {name: np.zeros(count, np.int64) for name in _COUNTS}
        self._at = 0
        self._held = self._peak = 0  # pages now, and most ever
        self._since = self._peak_ts = first_ts
        self._page_ns = 0  # pages, each for as long as it was held
        self._passes, self._settled = 0, True

    def begin(self, descriptor: I8) -> None:
        """Allocate the descriptors of blocks older than the recording: keys 0, 1, ...

        Args:
            descriptor: number of each one's descriptor.
        """
        count = len(descriptor)
        self._count("older", descriptor)
        requests = DescriptorRequests(
            np.full(count, self._first, np.int64),
            np.zeros(count, np.int16),
            descriptor,
            np.ones(count, np.int8),
            np.arange(count),
        )
        pages = self._request(requests, np.zeros(count, np.int64))
        self._held = self._peak = int(_way(pages).sum())

    def window(self, requests: DescriptorRequests) -> None:
        """Replay a window of requests; frees may be of blocks older than the recording."""
        for name, op in (("allocs", 1), ("frees", -1)):
            self._count(name, requests.descriptor[requests.op == op])
        pages = self._request(requests, self._column(requests.ts))
        for name, op in (("slab_allocs", 1), ("slab_frees", -1)):
            self._count(name, pages["cache"][pages["op"] == op])
        self._note_held(pages)

    def _request(self, requests: DescriptorRequests, column: I8) -> Columns:
        """Replay requests; returns the slab pages of all caches, in order of time."""
        at = self._at + np.arange(len(requests.ts))
        self._at += len(at)
        np.add.at(self._live, (requests.descriptor, column), requests.op)
        events: Columns = {
            "at": at,
            "ts": requests.ts,
            "column": column,
            "cpu": requests.cpu.astype(np.int16),
            "cache": requests.descriptor.astype(np.int32),
            "op": requests.op,
            "order": np.zeros(len(at), np.int8),
            "key": requests.key,
        }
        # Slab descriptors wait until it is known which slabs want some.
        waits = requests.descriptor == self._own
        rest = take(events, ~waits)
        handles, self._served = self._served.handles(rest)
        placed, made = self._slub.window(
            ObjectRequests(np.arange(len(handles)), rest["cpu"], rest["cache"], rest["op"], handles)
        )
        self._count_fast(rest["column"], rest["cache"], placed.path)
        pages = _slab_events(made, rest, made.seq)
        if self._own >= 0:
            pages = self._settle(take(events, waits), pages)
        pages = take(pages, stable_order(pages["at"]))
        place, way = (pages["cache"], pages["column"]), pages["op"].astype(np.int64)
        np.add.at(self._slabs, place, way)
        np.add.at(self._pages, place, way << pages["order"])
        return pages

    def _settle(self, asked: Columns, pages: Columns) -> Columns:
        """Replay the slab descriptors' cache until its own slabs ask for nothing new.

        Up to any moment what it is asked for depends on its own slabs before that moment only, so
        every pass is right a little longer than the one before; and a window whose passes have
        settled stays as it is, whatever comes behind it. A slab that only its own descriptor made
        necessary is none: what an earlier pass supposed would bear itself out.

        Args:
            asked: what page lives ask of it in the window, columns _EVENTS.
            pages: slab pages of the other caches.

        Returns:
            Slab pages of all caches.
        """
        from_slabs = _as_requests(pages, self._own)
        others = len(asked["at"]) + len(from_slabs["at"])
        mine, passes, settled = empty(_EVENTS), 0, False
        while not settled and passes < _MOST_PASSES:
            derived = concat([from_slabs, _as_requests(mine, self._own)])
            requests = concat([asked, derived])
            order = stable_order(requests["at"])
            requests = take(requests, order)
            handles, served = self._own_served.handles(requests)
            slub = deepcopy(self._own_slub)
            placed, made = slub.window(
                ObjectRequests(
                    np.arange(len(order)),
                    requests["cpu"],
                    np.zeros(len(order), np.int32),
                    requests["op"],
                    handles,
                )
            )
            # The slab of its own, if any, whose descriptor's request made each slab necessary.
            cause = order[made.seq] - others
            again = _slab_events(made, requests, made.seq)
            again["cache"] = np.full(len(again["at"]), self._own, np.int32)
            settled = all(np.array_equal(mine[name], again[name]) for name in ("at", "op", "key"))
            if settled:
                caused = cause < np.arange(len(cause))
                settled = bool(caused.all())
                again = again if settled else take(again, caused)
            mine, passes = again, passes + 1
        self._own_slub, self._own_served = slub, served
        self._passes, self._settled = max(self._passes, passes), self._settled and settled
        self._count_fast(requests["column"], requests["cache"], placed.path)
        np.add.at(self._live[self._own], derived["column"], derived["op"].astype(np.int64))
        behind = derived["column"] > 0
        for name, op in (("own_allocs", 1), ("own_frees", -1)):
            self._count(name, derived["cache"][behind & (derived["op"] == op)])
        return concat([pages, mine])

    def _count(self, name: str, descriptor: I8) -> None:
        self._counts[name] += np.bincount(descriptor, minlength=len(self.shapes))

    def _count_fast(self, column: I8, descriptor: I8, path: U1) -> None:
        self._count("fast", descriptor[(column > 0) & _FAST[path]])

    def _column(self, ts: I8) -> I8:
        return (ts - self._first) // self._slice + 1

    def _note_held(self, pages: Columns) -> None:
        """Note how many pages all caches hold from each change on."""
        if not len(pages["at"]):
            return
        total = self._held + np.cumsum(_way(pages))
        highest = int(np.argmax(total))
        if total[highest] > self._peak:
            self._peak, self._peak_ts = int(total[highest]), int(pages["ts"][highest])
        ts = np.append(self._since, pages["ts"])
        self._page_ns += int(np.dot(np.append(self._held, total[:-1]), np.diff(ts)))
        self._held, self._since = int(total[-1]), int(ts[-1])

    def finish(self) -> DescriptorOutcome:
        """What became of them all."""
        counters = self._slub.counters()
        sheaves = counters["sheaf_alloc"] - counters["sheaf_free"]
        if self._own >= 0:
            own = self._own_slub.counters()
            sheaves[self._own] = own["sheaf_alloc"][0] - own["sheaf_free"][0]
        length = self._last - self._first
        page_ns = self._page_ns + self._held * (self._last - self._since)
        return DescriptorOutcome(
            shapes=self.shapes,
            counts=self._counts | {"sheaves": sheaves},
            objects=np.cumsum(self._live, axis=1),
            slabs=np.cumsum(self._slabs, axis=1),
            pages=np.cumsum(self._pages, axis=1),
            peak_pages=self._peak,
            peak_ts=self._peak_ts,
            mean_pages=page_ns / length if length else float(self._held),
            passes=self._passes,
            settled=self._settled,
        )


def _slab_events(pages: PageRequests, requests: Columns, row: I8) -> Columns:
    """Slab pages wanted and returned, at the times of the requests (rows) that did it."""
    return {
        "at": requests["at"][row],
        "ts": requests["ts"][row],
        "column": requests["column"][row],
        "cpu": pages.cpu,
        "cache": pages.cache,
        "op": pages.way,
        "order": pages.order,
        "key": pages.slab,
    }


def _way(pages: Columns) -> I8:
    """Pages that each slab page event takes, or gives back."""
    return pages["op"].astype(np.int64) << pages["order"]


def _as_requests(pages: Columns, cache: int) -> Columns:
    """Slab pages as requests for slab descriptors; keys below those of page lives."""
    return pages | {
        "key": -1 - (pages["cache"].astype(np.int64) << 40 | pages["key"] & (1 << 32) - 1),
        "cache": np.full(len(pages["at"]), cache, np.int32),
    }
