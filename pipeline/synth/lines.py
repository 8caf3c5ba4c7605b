"""What each line of a spec is to the model and in the trace: requests to make, events to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.kernels.release import GFP_BITS, kernel_of
from allocsim.kernels.slub_rules import PAGE_SIZE, get_order, kmalloc_size
from allocsim.page_alloc.gfp import highest_zones, urgency
from allocsim.recording.cache_names import LARGE_KMALLOC
from allocsim.recording.sheaf_runs import FLAGS
from allocsim.trace.events import Ev
from pipeline.synth.page_requests import PAGE_KINDS
from pipeline.synth.rows import GFP_KERNEL, migratetype
from pipeline.synth.spec.model import KMALLOC_TYPES, sheaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I1, I4, I8, U1
    from pipeline.synth.machine import SpecMachine
    from pipeline.synth.rows import Templates
    from pipeline.synth.spec.model import Entry, Spec, Work

#: Functions of the allocators that are innermost on every stack of a page allocation.
_ALLOCATOR = ("__alloc_frozen_pages_noprof", "alloc_pages_mpol")
_NONE = -1


class SpecLines(NamedTuple):
    """Arrays by number of a spec's line, through all works; template numbers are -1 for none.

    Args:
        cache: number of the cache (i4); -1: pages.
        order: order of the pages (i1).
        migratetype: of the request (i1).
        highest: highest zone it may come from (i1).
        flags: as PageEvents has them (u1).
        alloc: template of the allocation; -1: it has no event (i4).
        free: template of the free; -1: it has no event (i4).
        pages_before: template of the page allocation of a large kmalloc, before its event (i4).
        pages_after: likewise of the page free, behind it (i4).
        batched: template of mm_page_free_batched, behind the free (i4).
    """

    cache: I4
    order: I1
    migratetype: I1
    highest: I1
    flags: U1
    alloc: I4
    free: I4
    pages_before: I4
    pages_after: I4
    batched: I4


def pieces(spec: Spec) -> I8:
    """In how many pieces each line's pages are freed (i8)."""
    entries = [entry for work in spec.works for entry in work.entries]
    splits = kernel_of(spec.kernel).vmalloc_splits
    return np.array(
        [
            1 << entry.order if splits and entry.pages and PAGE_KINDS[entry.pages].split else 1
            for entry in entries
        ],
        np.int64,
    )


class PrefilledLines(NamedTuple):
    """By number of a spec's line, the prefilled sheaf that its objects come out of.

    Args:
        objects: objects of that sheaf (i8); 0: they do not come out of one.
        sheaf: number of the first line that the sheaf has objects for (i8).
    """

    objects: I8
    sheaf: I8


def prefilled(spec: Spec) -> PrefilledLines:
    """What comes out of prefilled sheaves: what adjacent lines of a batch have of one cache."""
    count: list[int] = []
    sheaf: list[int] = []
    for work in spec.works:
        for lines in sheaves(work.entries, work.pick):
            of, first = sum(entry.count for entry in lines if entry.prefilled), len(sheaf)
            count += [of] * len(lines)
            sheaf += [first] * len(lines)
    return PrefilledLines(np.array(count, np.int64), np.array(sheaf, np.int64))


def make_lines(spec: Spec, machine: SpecMachine, templates: Templates) -> SpecLines:
    """The lines of a spec, and their events among the templates."""
    maker = _LinesMaker(spec, machine, templates)
    made = [maker.line(work, entry) for work in spec.works for entry in work.entries]
    columns = zip(*made, strict=True)
    dtypes = ("i4", "i1", "i1", "i1", "u1", "i4", "i4", "i4", "i4", "i4")
    return SpecLines(*(np.array(c, dtype) for c, dtype in zip(columns, dtypes, strict=True)))


class _LinesMaker:
    def __init__(self, spec: Spec, machine: SpecMachine, templates: Templates) -> None:
        self._caches = {cache.name: cache for cache in spec.caches}
        self._machine = machine
        self._templates = templates
        kernel = kernel_of(spec.kernel)
        self._named, self._splits = kernel.events_name_cache, kernel.vmalloc_splits

    def line(self, work: Work, entry: Entry) -> Sequence[int]:
        function = "".join(c if c.isalnum() else "_" for c in work.name)
        if entry.pages:
            return self._pages(entry)
        if entry.cache:
            return self._cache(entry, function)
        return self._kmalloc(entry, function)

    def _cache(self, entry: Entry, function: str) -> Sequence[int]:
        add, cache = self._templates.add, self._caches[entry.cache]
        number = self._machine.names.index(entry.cache)
        account = "account" in cache.flags
        gfp = GFP_KERNEL | (GFP_BITS["__GFP_ACCOUNT"] if account else 0)
        if entry.prefilled:
            gfp = sum(GFP_BITS[name] for name in FLAGS)
        named = {"cache": entry.cache}
        alloc = add(
            Ev.KMEM_CACHE_ALLOC,
            call_site=self._templates.site(f"{function}_alloc"),
            bytes_req=cache.size,
            bytes_alloc=cache.size,
            gfp_flags=gfp,
            node=-1,
            accounted=account,
            **(named if self._named else {}),
        )
        free = add(Ev.KMEM_CACHE_FREE, call_site=self._templates.site(f"{function}_free"), **named)
        free = free if entry.free.traced else _NONE
        alloc = alloc if entry.traced else _NONE
        return (number, 0, 0, 0, 0, alloc, free, _NONE, _NONE, _NONE)

    def _kmalloc(self, entry: Entry, function: str) -> Sequence[int]:
        add = self._templates.add
        bit = KMALLOC_TYPES[entry.type]
        gfp = GFP_KERNEL | (GFP_BITS[bit] if bit else 0)
        large = entry.kmalloc > LARGE_KMALLOC
        order = get_order(entry.kmalloc) if large else 0
        given = PAGE_SIZE << order if large else kmalloc_size(entry.kmalloc)
        alloc = add(
            Ev.KMALLOC,
            call_site=self._templates.site(f"{function}_alloc"),
            bytes_req=entry.kmalloc,
            bytes_alloc=given,
            gfp_flags=gfp | (GFP_BITS["__GFP_COMP"] if large else 0),
            node=-1,
        )
        free = add(Ev.KFREE, call_site=self._templates.site(f"{function}_free"))
        free = free if entry.free.traced else _NONE
        if large:
            before, after = self._page_events(
                gfp | GFP_BITS["__GFP_COMP"], order, ("___kmalloc_large_node", "__kmalloc_noprof")
            )
            after = after if entry.free.traced else _NONE
            return (_NONE, order, *self._request(gfp), alloc, free, before, after, _NONE)
        number = int(
            self._machine.caches.of_kmalloc(
                np.array([given]), np.array([gfp], np.uint64), np.array([given])
            )[0]
        )
        alloc = alloc if entry.traced else _NONE
        return (number, 0, 0, 0, 0, alloc, free, _NONE, _NONE, _NONE)

    def _pages(self, entry: Entry) -> Sequence[int]:
        kind = PAGE_KINDS[entry.pages]
        gfp = kind.gfp_flags(entry.order)
        alloc, free = self._page_events(gfp, entry.order, kind.frames)
        if kind.split and self._splits:
            free = self._templates.add(Ev.MM_PAGE_FREE, order=0)
        batched = self._templates.add(Ev.MM_PAGE_FREE_BATCHED) if kind.batched else _NONE
        if not entry.free.traced:
            free = batched = _NONE
        return (
            _NONE,
            entry.order,
            *self._request(gfp),
            alloc,
            free,
            _NONE,
            _NONE,
            batched,
        )

    def _page_events(self, gfp: int, order: int, frames: tuple[str, ...]) -> tuple[int, int]:
        alloc = self._templates.add(
            Ev.MM_PAGE_ALLOC,
            order=order,
            gfp_flags=gfp,
            migratetype=migratetype(gfp),
            stack=self._templates.stack((*_ALLOCATOR, *frames)),
        )
        return alloc, self._templates.add(Ev.MM_PAGE_FREE, order=order)

    def _request(self, gfp: int) -> tuple[int, int, int]:
        """Migratetype, highest zone and urgency of a request with these flags."""
        flags = np.array([gfp], np.uint64)
        zones = self._machine.world.machine.zones
        return migratetype(gfp), int(highest_zones(flags, zones)[0]), int(urgency(flags)[0])
