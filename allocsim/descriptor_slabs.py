"""The descriptors' own allocations: slab caches of their own in the model of SLUB (7.2's).

A page life that needs a descriptor is one allocation and one free more. Those descriptors lie on
slabs, which need slab descriptors, whose slabs need some in turn; that goes on until it settles.
Descriptors of blocks older than the recording are allocated first, on one CPU: where they lay is
not known, so they lie as close as they can (assumed).

Left out: the sheaves' own memory (counted as ``sheaves``), the grace period after which a slab of
a SLAB_TYPESAFE_BY_RCU cache is freed, and refusals of the page allocator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.columns import Columns, concat, empty, stable_order, take
from allocsim.page_kinds import Kind
from allocsim.paths import Path
from allocsim.profile import LINUX_7_2, cache_shapes
from allocsim.requests import ObjectRequests
from allocsim.slub import Slub

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.columns import Index
    from allocsim.descriptors import Scheme
    from allocsim.profile import CacheShape
    from allocsim.requests import PageRequests

_MOST_PASSES = 64
# Paths on which the CPU's own two sheaves serve a request alone.
_FAST = np.isin(np.arange(256), [Path.MAIN_HIT, Path.SPARE_SWAP, Path.MAIN_PUSH])
# Slab pages asked for and given back, and what the slab descriptors' cache is asked for: ``at``
# is the place of the request in the whole stream, ``key`` tells lives apart.
_EVENTS = {
    "at": "i8",
    "ts": "i8",
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
        handle: of the block's life, from 0: rising from one allocation to the next (i8).
    """

    ts: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.integer]
    descriptor: npt.NDArray[np.integer]
    op: npt.NDArray[np.int8]
    handle: npt.NDArray[np.int64]


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
        passes: how often the slab descriptors were replayed until nothing changed.
        settled: nothing changed any more.
    """

    shapes: list[CacheShape]
    counts: dict[str, npt.NDArray[np.int64]]
    objects: npt.NDArray[np.int64]
    slabs: npt.NDArray[np.int64]
    pages: npt.NDArray[np.int64]
    peak_pages: int
    peak_ts: int
    mean_pages: float
    passes: int
    settled: bool


class _Settling(NamedTuple):
    """How the slab descriptors' cache settled.

    Args:
        pages: its slab pages, columns _EVENTS.
        derived: the requests that slabs of descriptors made of it, likewise.
        fast: operations in the recording that its CPUs' sheaves served alone.
        sheaves: sheaves it has at the end.
        passes: replays it took.
        settled: the last of them changed nothing.
    """

    pages: Columns
    derived: Columns
    fast: int
    sheaves: int
    passes: int
    settled: bool


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
        of_slab = (n for n, each in enumerate(scheme.descriptors) if Kind.SLAB in each.kinds)
        self._own = next(of_slab, -1)
        self._slub = Slub(LINUX_7_2, self.shapes, cpus)
        count = len(self.shapes)
        self._live = np.zeros((count, self._columns), np.int64)
        self._counts = {name: np.zeros(count, np.int64) for name in ("older", "allocs", "frees")}
        self._at = self._older = 0
        self._fast = np.zeros(count, np.int64)
        self._pages = [empty(_EVENTS)]
        self._wanted = [empty(_EVENTS)]

    def begin(self, descriptor: Index) -> None:
        """Allocate the descriptors of blocks older than the recording: handles 0, 1, ...

        Args:
            descriptor: number of each one's descriptor.
        """
        count = len(descriptor)
        self._counts["older"] += np.bincount(descriptor, minlength=len(self.shapes))
        self._request(
            DescriptorRequests(
                np.full(count, self._first, np.int64),
                np.zeros(count, np.int16),
                descriptor,
                np.ones(count, np.int8),
                np.arange(count),
            ),
            np.zeros(count, np.int64),
        )
        self._older = self._at
        self._fast[:] = 0

    def window(self, requests: DescriptorRequests) -> None:
        """Replay a window of requests; frees may be of blocks older than the recording."""
        for name, op in (("allocs", 1), ("frees", -1)):
            rows = requests.descriptor[requests.op == op]
            self._counts[name] += np.bincount(rows, minlength=len(self.shapes))
        self._request(requests, (requests.ts - self._first) // self._slice + 1)

    def _request(self, requests: DescriptorRequests, column: Index) -> None:
        at = self._at + np.arange(len(requests.ts))
        self._at += len(at)
        np.add.at(self._live, (requests.descriptor, column), requests.op)
        events: Columns = {
            "at": at,
            "ts": requests.ts,
            "cpu": requests.cpu.astype(np.int16),
            "cache": requests.descriptor.astype(np.int32),
            "op": requests.op,
            "order": np.zeros(len(at), np.int8),
            "key": requests.handle,
        }
        # Slab descriptors wait until it is known which slabs want some.
        waits = requests.descriptor == self._own
        self._wanted.append(take(events, waits))
        rest = take(events, ~waits)
        placed, pages = self._slub.window(
            ObjectRequests(rest["at"], rest["cpu"], rest["cache"], rest["op"], rest["key"])
        )
        self._fast += np.bincount(rest["cache"][_FAST[placed.path]], minlength=len(self.shapes))
        self._pages.append(_slab_events(pages, rest["at"], rest["ts"]))

    def finish(self) -> DescriptorOutcome:
        """What became of them all."""
        counters = self._slub.counters()
        sheaves = counters["sheaf_alloc"] - counters["sheaf_free"]
        pages = concat(self._pages)
        counts = self._counts | {
            name: np.zeros(len(self.shapes), np.int64) for name in ("own_allocs", "own_frees")
        }
        passes, settled = 0, True
        if self._own >= 0:
            settling = self._settle(pages)
            pages = concat([pages, settling.pages])
            self._count_own(counts, settling.derived)
            self._fast[self._own], sheaves[self._own] = settling.fast, settling.sheaves
            passes, settled = settling.passes, settling.settled
        pages = take(pages, stable_order(pages["at"]))
        counts |= {"fast": self._fast, "sheaves": sheaves}
        behind = pages["at"] >= self._older
        for name, op in (("slab_allocs", 1), ("slab_frees", -1)):
            rows = pages["cache"][behind & (pages["op"] == op)]
            counts[name] = np.bincount(rows, minlength=len(self.shapes))
        slabs, held = self._over_time(pages)
        total, change = self._held(pages)
        peak = int(np.argmax(total))
        return DescriptorOutcome(
            shapes=self.shapes,
            counts=counts,
            objects=np.cumsum(self._live, axis=1),
            slabs=slabs,
            pages=held,
            peak_pages=int(total[peak]),
            peak_ts=int(change[peak]),
            mean_pages=self._mean(total, change),
            passes=passes,
            settled=settled,
        )

    def _settle(self, pages: Columns) -> _Settling:
        """Replay the slab descriptors' cache until its own slabs ask for nothing new.

        Up to any moment what it is asked for depends on its own slabs before that moment only, so
        every pass is right a little longer than the one before.
        """
        asked = concat(self._wanted)
        from_slabs = _as_requests(pages, self._own)
        own, passes, settled = empty(_EVENTS), 0, False
        while not settled and passes < _MOST_PASSES:
            derived = concat([from_slabs, _as_requests(own, self._own)])
            requests = concat([asked, derived])
            requests = take(requests, stable_order(requests["at"]))
            again, fast, sheaves = self._pass(requests)
            settled = all(np.array_equal(own[name], again[name]) for name in ("at", "op", "key"))
            own, passes = again, passes + 1
        return _Settling(own, derived, fast, sheaves, passes, settled)

    def _pass(self, requests: Columns) -> tuple[Columns, int, int]:
        """Replay the slab descriptors' cache.

        Returns:
            Its slab pages, operations in the recording that its CPUs' sheaves served alone, and
            sheaves at the end.
        """
        slub = Slub(LINUX_7_2, [self.shapes[self._own]], self._cpus)
        handles = _handles(requests)
        older = int(np.searchsorted(requests["at"], self._older))
        made, fast = [], 0
        for part in (slice(0, older), slice(older, None)):
            at, ts = requests["at"][part], requests["ts"][part]
            one = np.zeros(len(at), np.int32)
            placed, got = slub.window(
                ObjectRequests(at, requests["cpu"][part], one, requests["op"][part], handles[part])
            )
            made.append(_slab_events(got, at, ts))
            fast = int(np.count_nonzero(_FAST[placed.path]))
        pages = concat(made)
        pages["cache"] = np.full(len(pages["at"]), self._own, np.int32)
        counters = slub.counters()
        return pages, fast, int(counters["sheaf_alloc"][0] - counters["sheaf_free"][0])

    def _count_own(self, counts: dict[str, npt.NDArray[np.int64]], derived: Columns) -> None:
        """Count slab descriptors of descriptors' slabs in."""
        behind = derived["at"] >= self._older
        for name, op in (("own_allocs", 1), ("own_frees", -1)):
            counts[name][self._own] = int(np.count_nonzero(behind & (derived["op"] == op)))
        np.add.at(self._live[self._own], self._column(derived), derived["op"].astype(np.int64))

    def _column(self, events: Columns) -> Index:
        column = (events["ts"] - self._first) // self._slice + 1
        return np.where(events["at"] < self._older, 0, column)

    def _over_time(self, pages: Columns) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Slabs and their pages by cache at the end of each slice."""
        slabs, held = np.zeros((2, len(self.shapes), self._columns), np.int64)
        place = (pages["cache"], self._column(pages))
        way = pages["op"].astype(np.int64)
        np.add.at(slabs, place, way)
        np.add.at(held, place, way << pages["order"])
        return np.cumsum(slabs, axis=1), np.cumsum(held, axis=1)

    def _held(self, pages: Columns) -> tuple[Index, Index]:
        """Pages of all caches from each change on, and when it was; first of all at the start."""
        way = pages["op"].astype(np.int64) << pages["order"]
        before = int(np.searchsorted(pages["at"], self._older))
        total = np.cumsum(way)
        start = int(total[before - 1]) if before else 0
        return np.append(start, total[before:]), np.append(self._first, pages["ts"][before:])

    def _mean(self, total: Index, change: Index) -> float:
        length = self._last - self._first
        if not length:
            return float(total[-1])
        return float(np.dot(total, np.diff(change, append=self._last)) / length)


def _slab_events(pages: PageRequests, at: Index, ts: Index) -> Columns:
    """Slab pages wanted and returned, at the times of the requests that did it."""
    return {
        "at": pages.seq,
        "ts": ts[np.searchsorted(at, pages.seq)] if len(at) else ts,
        "cpu": pages.cpu,
        "cache": pages.cache,
        "op": pages.way,
        "order": pages.order,
        "key": pages.slab,
    }


def _as_requests(pages: Columns, cache: int) -> Columns:
    """Slab pages as requests for slab descriptors; keys below those of page lives."""
    return pages | {
        "key": -1 - (pages["cache"].astype(np.int64) << 40 | pages["key"] & (1 << 32) - 1),
        "cache": np.full(len(pages["at"]), cache, np.int32),
    }


def _handles(requests: Columns) -> Index:
    """A handle for each request, rising from one allocation to the next."""
    allocates = requests["op"] > 0
    keys = requests["key"][allocates]
    order = np.argsort(keys)
    handles = np.empty(len(allocates), np.int64)
    handles[allocates] = np.arange(len(keys))
    freed = requests["key"][~allocates]
    handles[~allocates] = order[np.searchsorted(keys[order], freed)]
    return handles
