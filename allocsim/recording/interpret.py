"""One trace through the layers of the model: objects, pages, whose pages, what their counts cost.

    replay = Replay(Recording(release="7.2.13", cache_names=[...], stacks=[...], ...))
    seq = 0
    for columns in windows:                  # dict of arrays, EVENT_COLUMNS
        result = replay.window(columns)      # columns, closed page lives, late results
    final = replay.finish()                  # lives open at the end, late results, tables

Results do not depend on how the trace is cut into windows. State between windows is bounded by
live objects, live page blocks and the rows that wait for the end of one of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.release import kernel_of
from allocsim.recording.cache_names import Caches
from allocsim.recording.late_cache_names import CallSites, LateCacheNames
from allocsim.recording.objects import Objects, ObjectWindow
from allocsim.recording.page_lives import Pages, PageWindow, Place
from allocsim.recording.page_owner import Ownership
from allocsim.recording.sheaf_runs import PrefilledSheaves
from allocsim.recording.shmem_hints import ShmemHints
from allocsim.tables import Bools, Columns, Int64, take
from allocsim.trace.events import Ev
from allocsim.trace.late_results import EventWindow, LateResultCollector, LateResults
from allocsim.trace.results import EVENT_RESULTS, PAGE_RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.recording.opening_stock import OpeningStock
    from allocsim.recording.untraced import SheafRuns
    from allocsim.tables import Int8, Int16

#: Rows of a window: more would not fit where rows and frame numbers share a word.
MAX_WINDOW = 1 << 26
#: Event columns a replay reads, as far as the trace has them.
COLUMNS = (
    *("ts", "cpu", "pid", "event", "irq_flags", "call_site", "ptr", "cache", "bytes_req"),
    *("bytes_alloc", "gfp_flags", "pfn", "order", "page_flags", "mapping", "val", "ret", "count"),
    *("sheaf", "stack", "probe", "metadata"),
)

# Results of page lives that only page_ref events tell.
_FROM_PAGE_REF = (
    *("ref_plain", "ref_locked", "ref_use_plain", "ref_use_locked", "ref_takes", "peak_count"),
)

# The direct map of x86-64 spans at most 64 TiB with 4 levels of page tables. With 5 it may span
# more than frame numbers are taken for (allocsim.recording.page_frames).
_DIRECT_MAP_BYTES = {4: 1 << 46, 5: 1 << 48}
_FOUR_LEVELS = 0xFFFF_8000_0000_0000


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """What a replay must know of a recording besides its events.

    Args:
        release: uname -r of the recorded kernel.
        cache_names: names of the column ``cache``, by code.
        stacks: function names of each distinct stack, innermost first.
        functions: function of each call site, as far as it is known.
        direct_map_base: virtual address of page frame 0 (I1); None if the vote found none: then
            no object is placed on a page.
        page_ref: the recording has page_ref events.
        kernel_caches: slot size by cache name from its slabinfo snapshot; empty without one.
        charges_cgroups: the kernel can charge objects to memory cgroups; None: not known.
        gfp_bits: gfp bits by name from its format text; None: the kernel's.
        page_size: bytes of a page.
        opening: what the kernel's page owner said of the blocks that were there before; None: it
            was not asked.
    """

    release: str
    cache_names: Sequence[str] = ()
    stacks: Sequence[Sequence[str]] = ()
    functions: Mapping[int, str] = field(default_factory=dict)
    direct_map_base: int | None = None
    page_ref: bool = False
    kernel_caches: Mapping[str, int] = field(default_factory=dict)
    charges_cgroups: bool | None = None
    gfp_bits: Mapping[str, int] | None = None
    page_size: int = 4096
    opening: OpeningStock | None = None


@dataclass(slots=True)
class UntracedResult:
    """What events do not say themselves.

    Args:
        unfreed: allocations that no free in the trace ends (i8); not the allocator's metadata.
        again_ts: when the address of each was allocated again (T6); -1: never (i8).
        runs: allocations out of prefilled sheaves (R3.16).
    """

    unfreed: Int64
    again_ts: Int64
    runs: SheafRuns


@dataclass(slots=True)
class WindowResult:
    """What one window gave.

    Args:
        columns: EVENT_RESULTS, row for row.
        open: rows that allocate what is live at the end of the window: each is given its lifetime
            as a late result once that life has ended, -1 where it ended unseen (T6).
        pages: PAGE_RESULTS of the lives that ended.
        late_results: (rows of the trace, values) by column, for rows of earlier windows.
        untraced: what its events do not say themselves.
    """

    columns: Columns
    open: Bools
    pages: Columns
    late_results: LateResults
    untraced: UntracedResult


@dataclass(slots=True)
class FinalResult:
    """What the end of the trace gave.

    Args:
        pages: PAGE_RESULTS of the lives still open.
        late_results: as in WindowResult.
        untraced: what was not known before the end.
        caches: name and slot size (bytes, -1: never seen) of each cache, by number.
        counts: the counts behind the quality figures, by name.
    """

    pages: Columns
    late_results: LateResults
    untraced: UntracedResult
    caches: list[tuple[str, int]]
    counts: dict[str, int]


@dataclass(slots=True)
class _Layers:
    objects: Objects
    pages: Pages
    ownership: Ownership
    shmem_hints: ShmemHints
    late_names: LateCacheNames
    sites: CallSites
    caches: Caches
    prefilled: PrefilledSheaves
    late: LateResultCollector = field(default_factory=LateResultCollector)


class Replay:
    """Feeds a trace, window by window, through the model.

    Args:
        recording: what is known of the recording as a whole.

    Raises:
        ValueError: its release is not a kernel version.
    """

    def __init__(self, recording: RecordingFacts) -> None:
        kernel = kernel_of(recording.release, recording.gfp_bits)
        sites = CallSites()
        caches = Caches(
            recording.cache_names,
            recording.kernel_caches,
            kernel.gfp,
            recording.functions,
            recording.page_size,
            charges_cgroups=recording.charges_cgroups is not False,
        )
        self._layers = _Layers(
            Objects(caches, sites),
            Pages(set_before_alloc=kernel.set_before_alloc),
            Ownership(kernel, recording.stacks, recording.page_size, recording.opening),
            ShmemHints(recording.functions, kernel.gfp),
            LateCacheNames(sites, caches),
            sites,
            caches,
            PrefilledSheaves(kernel, recording.cache_names),
        )
        self._recording = recording
        self._seq = 0
        self._counts = dict.fromkeys(
            (
                "unknown_page_frees",
                "missed_page_frees",
                "failed_page_allocations",
                "damaged_page_events",
            ),
            0,
        )

    def window(self, columns: Columns) -> WindowResult:
        """Replay the next events of the trace.

        Args:
            columns: event columns, equally long, in time order: of COLUMNS, those the trace has;
                at most MAX_WINDOW rows.

        Raises:
            ValueError: the window has more rows.
        """
        if len(columns["event"]) > MAX_WINDOW:
            raise ValueError(f"a window of {len(columns['event'])} rows; at most {MAX_WINDOW} fit")
        layers, seq = self._layers, self._seq
        window = EventWindow(columns, seq, layers.late)
        pages = layers.pages.window(window)
        objects = layers.objects.window(window)
        place = self._place(pages, objects)
        near = layers.shmem_hints.window(columns)
        kind, how = layers.ownership.window(window, pages, objects, place, near)
        results = _defaults(columns)
        self._page_results(pages, kind, how, results)
        self._ask_slabs(pages, objects, place)
        if objects is not None:
            _object_results(pages, objects, place, results)
        still = self._open(pages, objects, len(columns["event"]))
        layers.pages.carry(pages)
        self._count(columns, pages)
        late_results = _apply(layers.late.drain(), seq, results)
        nowhere = np.empty(0, np.int64)
        untraced = UntracedResult(
            nowhere if objects is None else objects.replaced,
            nowhere if objects is None else objects.replaced_ts,
            layers.prefilled.window(columns, seq),
        )
        self._seq += len(columns["event"])
        ended = self._lives(pages.lives, pages.closed)
        return WindowResult(results, still, ended, late_results, untraced)

    def finish(self) -> FinalResult:
        """End the trace. No window may follow."""
        layers = self._layers
        frames = layers.ownership.frames
        layers.late_names.finish(frames["pfn"], frames["cache"], layers.late)
        lives = layers.pages.lives
        caches = list(zip(layers.caches.names, layers.caches.sizes, strict=True))
        counts = {
            **self._counts,
            **layers.objects.counts,
            "live_objects": len(layers.objects.live["ptr"]),
            "ambiguous_call_sites": layers.sites.ambiguous,
            "object_frames_without_page_event": len(frames["pfn"]),
        }
        everything = np.ones(len(lives["page"]), bool)
        live = layers.objects.live
        unfreed = live["seq"][~live["metadata"]]
        untraced = UntracedResult(unfreed, np.full(len(unfreed), -1), layers.prefilled.finish())
        late_results = layers.late.drain()
        return FinalResult(self._lives(lives, everything), late_results, untraced, caches, counts)

    def _place(self, pages: PageWindow, objects: ObjectWindow | None) -> Place:
        """Which page life each object lies on, through the direct map."""
        if objects is None:
            return Place(*(np.empty(0, np.int64),) * 6)
        base = self._recording.direct_map_base
        if base is None:
            nothing = np.full(len(objects.row), -1, np.int64)
            return Place(nothing, nothing, nothing, nothing, nothing, nothing[:0])
        levels = 4 if base >= _FOUR_LEVELS else 5
        offset = objects.ptr - np.uint64(base)
        pfn = (offset // np.uint64(self._recording.page_size)).astype(np.int64)
        pfn[offset >= np.uint64(_DIRECT_MAP_BYTES[levels])] = -1
        return _placed(self._layers.pages, pages, objects, pfn)

    def _ask_slabs(self, pages: PageWindow, objects: ObjectWindow | None, place: Place) -> None:
        """Let slabs tell the caches that neither an object nor its partner told."""
        late_names, lives = self._layers.late_names, pages.lives
        handle = np.append(lives["page"], -1)
        late_names.touch(pages.unknown_before, handle[pages.unknown_before["life"]])
        if objects is not None:
            late_names.end(objects.closed, objects.named)
            rows = np.flatnonzero((objects.cache < 0) & ~objects.large)
            rows = rows[np.argsort(objects.row[rows], kind="stable")]
            life = np.maximum(place.life, place.later)[rows]
            alone = (place.life[rows] < 0) & (place.later[rows] == -1)
            late_names.add(
                {
                    "seq": objects.row[rows] + self._seq,
                    "page": np.where(life >= 0, handle[life], -1),
                    "pfn": np.where(alone, place.pfn[rows], -1),
                    "call_site": objects.call_site[rows],
                    "bytes_alloc": objects.bytes_alloc[rows],
                    "allocates": objects.allocates[rows],
                    "open": ~objects.ended[rows],
                }
            )
        late_names.ask_slabs(lives["page"], lives["cache"], self._layers.late)

    def _page_results(self, pages: PageWindow, kind: Int16, how: Int8, results: Columns) -> None:
        lives, rows, life = pages.lives, pages.rows, pages.life
        results["page"][rows] = lives["page"][life]
        results["page_kind"][rows] = kind[life]
        results["kind_how"][rows] = how[life]
        results["plain_ops"][rows] = pages.plain
        results["locked_ops"][rows] = pages.locked
        ended = take(lives, pages.closed & (lives["alloc_seq"] >= 0))
        freed = ended["free_seq"] >= 0
        length = np.where(freed, ended["free_ts"] - ended["alloc_ts"], -1)
        results["lifetime"][ended["free_seq"][freed] - self._seq] = length[freed]
        self._layers.late.add(ended["alloc_seq"], lifetime=length)

    def _open(self, pages: PageWindow, objects: ObjectWindow | None, rows: int) -> Bools:
        """Rows that allocate what is live at the end of the window."""
        still = np.zeros(rows, bool)
        begun = pages.lives["alloc_seq"][~pages.closed] - self._seq
        still[begun[begun >= 0]] = True
        if objects is not None:
            still[objects.row[~objects.ended]] = True
        return still

    def _lives(self, lives: Columns, rows: Bools) -> Columns:
        """PAGE_RESULTS of some lives."""
        lives = take(lives, rows)
        lives["page_kind"], lives["kind_how"] = lives["reported"], lives["reported_how"]
        if not self._recording.page_ref:
            for name in _FROM_PAGE_REF:
                lives[name] = np.full_like(lives[name], -1)
        return {column.name: lives[column.name] for column in PAGE_RESULTS}

    def _count(self, columns: Columns, pages: PageWindow) -> None:
        self._counts["unknown_page_frees"] += pages.unknown_frees
        self._counts["missed_page_frees"] += pages.missed_frees
        self._counts["damaged_page_events"] += pages.damaged
        if "pfn" in columns:
            allocs = columns["event"] == Ev.MM_PAGE_ALLOC
            self._counts["failed_page_allocations"] += int((columns["pfn"][allocs] < 0).sum())


def _placed(pages: Pages, window: PageWindow, objects: ObjectWindow, pfn: Int64) -> Place:
    """Place objects; a free lies where its allocation lay, while that page lives."""
    asks = np.flatnonzero(~objects.ends_previous)
    place = pages.place(window, pfn[asks], objects.row[asks])
    whole = place.spread(np.cumsum(~objects.ends_previous) - 1)
    again = np.flatnonzero(objects.ends_previous & (whole.until <= objects.row))
    whole.put(again, pages.place(window, pfn[again], objects.row[again]))
    whole.asked = np.concatenate([asks, again])
    return whole


def _defaults(columns: Columns) -> Columns:
    rows = len(columns["event"])
    results = {column.name: np.full(rows, -1, column.dtype) for column in EVENT_RESULTS}
    results["plain_ops"][:] = results["locked_ops"][:] = 0
    return results


def _object_results(
    pages: PageWindow, objects: ObjectWindow, place: Place, results: Columns
) -> None:
    row = objects.row
    results["object"][row] = objects.handle
    results["cache"][row] = objects.cache
    results["cache_how"][row] = objects.cache_how
    results["lifetime"][row] = objects.lifetime
    handle = np.append(pages.lives["page"], -1)
    results["page"][row] = handle[place.life]
    head = np.append(pages.lives["pfn"], -1)
    results["slab"][row] = np.where(objects.on_slab, head[place.life], -1)


def _apply(late_results: LateResults, seq: int, results: Columns) -> LateResults:
    """Put late results of rows of this window into its results; the others are returned."""
    earlier: LateResults = {}
    for name, (rows, values) in late_results.items():
        here = rows >= seq
        results[name][rows[here] - seq] = values[here]
        if not here.all():
            earlier[name] = (rows[~here], values[~here])
    return earlier
