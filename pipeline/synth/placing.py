"""Requests through the model, and the events that a kernel would have traced of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.events import Ev
from allocsim.page_paths import PagePath
from allocsim.paths import Path
from allocsim.profile import MAX_PAGE_ORDER, PAGE_SIZE
from allocsim.recorded_requests import PAGE_SHIFT, PageEvents
from allocsim.requests import ObjectRequests
from allocsim.vmstat import VmstatTurns
from pipeline.errors import InputError
from pipeline.modelled import PROFILE
from pipeline.synth.lines import make_lines, pieces
from pipeline.synth.machine import DIRECT_MAP
from pipeline.synth.rows import GFP_KERNEL, slab_gfp

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.simulation import SimulatedWindow
    from pipeline.synth.calendar import Moments
    from pipeline.synth.machine import Machine
    from pipeline.synth.rows import Templates
    from pipeline.synth.spec import Spec

    Ints = npt.NDArray[np.int64]

_SLAB_STACK = ("__alloc_frozen_pages_noprof", "allocate_slab", "refill_objects")
_FEW = 1024  # requests
_NUMBER = (1 << 32) - 1  # of a slab within its cache
# Where the further events of one request stand, its own being at _OWN: what an allocation asks
# for comes before it (T13), what a free leads to behind it (T4, T5).
_HOME_PAGES, _SHEAF, _PAGES, _OWN, _HOME_PAGES_OF_FREE, _SHEAF_OF_FREE, _PAGES_FREED, _BATCHED = (
    range(8)
)


class Rows(NamedTuple):
    """Events in order of time; arrays of one length.

    Args:
        ts: ns (i8).
        cpu: CPU (i2).
        template: number of the template (i4).
        place: address of an object's event, first page frame of a page's (i8).
    """

    ts: Ints
    cpu: npt.NDArray[np.int16]
    template: npt.NDArray[np.int32]
    place: Ints

    def of(self, which: npt.NDArray[np.bool_] | slice) -> Rows:
        """Some of the rows."""
        return Rows(self.ts[which], self.cpu[which], self.template[which], self.place[which])


class Placing:
    """Places the requests of a spec, window by window.

    Args:
        spec: the spec.
        machine: its machine.
        templates: takes the templates of its events.
    """

    def __init__(self, spec: Spec, machine: Machine, templates: Templates) -> None:
        self._spec = spec
        self._names = machine.names
        self._simulation = machine.world.simulation
        self._shapes = machine.world.shapes
        self._templates = templates
        self._lines = make_lines(spec, machine, templates)
        self._pieces = pieces(spec)
        self._sizes = np.array([shape.size for shape in self._shapes], np.int64)
        self._pfns = _SlabFrames(len(self._shapes))
        self._workers = VmstatTurns()
        self._homes = self._simulation.slub.homes
        self._slab_events, self._sheaf_events = self._make_slab_events()

    @property
    def failed_pages(self) -> int:
        """Page requests for which there was no memory; their frees are left out."""
        return self._simulation.counts["refused_pages"]

    def _make_slab_events(self) -> tuple[npt.NDArray[np.int32], dict[tuple[int, int, int], int]]:
        """Templates of slab pages by (cache, order, way), and of sheaves by (cache, home, op)."""
        add, site = self._templates.add, self._templates.site
        stack = self._templates.stack(_SLAB_STACK)
        pages = np.full((len(self._shapes), MAX_PAGE_ORDER + 1, 2), -1, np.int32)
        migratetypes, _ = self._simulation.slab_pages
        for number, shape in enumerate(self._shapes):
            kind = int(migratetypes[number])
            for order in {shape.order, shape.min_order}:
                pages[number, order, 1] = add(
                    Ev.MM_PAGE_ALLOC,
                    order=order,
                    gfp_flags=slab_gfp(order, reclaimable=kind == 2),
                    migratetype=kind,
                    stack=stack,
                )
                pages[number, order, 0] = add(Ev.MM_PAGE_FREE, order=order)
        sheaves = {}
        header = PROFILE.slub.sheaf_header
        for number in range(len(self._shapes)):
            at, home = number, self._homes[number]
            while home >= 0:
                for op, function in (
                    (1, "__pcs_replace_empty_main"),
                    (-1, "__pcs_replace_full_main"),
                ):
                    sheaves[number, home, op] = add(
                        Ev.KMALLOC,
                        call_site=site(function),
                        bytes_req=header + 8 * self._shapes[at].capacity,
                        bytes_alloc=self._shapes[home].size,
                        gfp_flags=GFP_KERNEL,
                        node=-1,
                        metadata=True,
                    )
                at, home = home, self._homes[home]
        return pages, sheaves

    def window(self, moments: Moments) -> Rows:
        """The events of a window's requests.

        Raises:
            InputError: the memory of the machine does not suffice for the objects.
        """
        # Where memory is short the model goes event by event: a few at a time are looked at, so
        # that the first object without memory ends it.
        count, free = len(moments.ts), int(self._simulation.pages.sample(0).free_pages.sum())
        if free > count or count <= _FEW:
            return self._part(moments)
        parts = [
            self._part(moments.of(slice(first, first + _FEW))) for first in range(0, count, _FEW)
        ]
        return Rows(
            np.concatenate([part.ts for part in parts]),
            np.concatenate([part.cpu for part in parts]),
            np.concatenate([part.template for part in parts]),
            np.concatenate([part.place for part in parts]),
        )

    def _part(self, moments: Moments) -> Rows:
        lines = self._lines
        cache = lines.cache[moments.entry]
        of_pages = cache < 0
        pages = np.flatnonzero(of_pages)
        objects = np.flatnonzero(~of_pages) if len(pages) else slice(None)
        result = self._simulation.window(
            ObjectRequests(
                moments.seq[objects],
                moments.cpu[objects],
                cache[objects],
                moments.op[objects],
                moments.handle[objects],
            ),
            self._page_events(moments, pages),
            turns=moments.seq[self._workers.before(moments.ts)].tolist(),
        )
        self._check_memory(moments, objects, result)
        place = np.empty(len(cache), np.int64)
        self._pfns.add(result)
        place[objects] = self._addresses(cache[objects], result.objects.slab, result.objects.index)
        place[pages] = result.pages.pfn
        return self._rows(moments, pages, cache, place, result)

    def _page_events(self, moments: Moments, rows: Ints) -> PageEvents:
        lines, entry = self._lines, moments.entry[rows]
        order = lines.order[entry]
        order[(self._pieces[entry] > 1) & (moments.op[rows] < 0)] = 0
        return PageEvents(
            moments.seq[rows],
            moments.cpu[rows],
            moments.op[rows],
            moments.handle[rows] << PAGE_SHIFT,
            order,
            lines.migratetype[entry],
            lines.highest[entry],
            lines.flags[entry],
            moments.piece[rows],
        )

    def _check_memory(
        self, moments: Moments, objects: Ints | slice, result: SimulatedWindow
    ) -> None:
        failed = np.flatnonzero(result.objects.path == Path.FAILED)
        if not len(failed):
            return
        row = np.arange(len(moments.ts))[objects][failed[0]]
        name = self._names[self._lines.cache[moments.entry[row]]]
        after = max(int(moments.ts[row]), 0) / 10**9
        raise InputError(
            f"spec {self._spec.name}: no memory is left for {name} after {after:.3f} s;"
            " say memory = a larger size, or let less live at a time"
        )

    def _addresses(
        self, cache: npt.NDArray[np.int32], slab: Ints, index: npt.NDArray[np.int32]
    ) -> Ints:
        found = self._pfns.of(cache, slab)
        found *= PAGE_SIZE
        found += index * self._sizes[cache]
        # Addresses above 2^63, as the signed numbers with the same bits.
        found += DIRECT_MAP - (1 << 64)
        return found

    def _rows(
        self,
        moments: Moments,
        pages: Ints,
        cache: npt.NDArray[np.int32],
        place: Ints,
        result: SimulatedWindow,
    ) -> Rows:
        """The requests' own events, and between them those that come of them."""
        lines, entry = self._lines, moments.entry
        template = np.where(moments.op > 0, lines.alloc[entry], lines.free[entry])
        unplaced = pages[result.pages.path == PagePath.UNPLACED]
        template[unplaced] = -1  # the end of a page that could not be had
        further = self._further(moments, pages, cache, place, result)
        row, rank, more_template, more_place = further
        if len(pages):
            large = pages[lines.pages_before[entry[pages]] >= 0]
            frame = place[large]
            # A kmalloc that fails has no address.
            place[large] = np.where(frame < 0, 0, frame * PAGE_SIZE + (DIRECT_MAP - (1 << 64)))
        order = np.argsort(row * 8 + rank, kind="stable")
        row, rank = row[order], rank[order]
        total = len(template) + len(row)
        early = rank < _OWN
        before = np.bincount(row[early], minlength=len(template))
        after = np.bincount(row[~early], minlength=len(template) + 1)
        own = np.arange(len(template)) + np.cumsum(before)
        own[1:] += np.cumsum(after[: len(template) - 1])
        other = np.arange(len(row)) + row + ~early
        rows = Rows(*(np.empty(total, dtype) for dtype in ("i8", "i2", "i4", "i8")))
        for made, theirs, more in (
            (rows.ts, moments.ts, moments.ts[row]),
            (rows.cpu, moments.cpu, moments.cpu[row]),
            (rows.template, template, more_template[order]),
            (rows.place, place, more_place[order]),
        ):
            made[own] = theirs
            made[other] = more
        if rows.template.min(initial=0) < 0:
            shown = rows.template >= 0
            rows = rows.of(shown)
        return rows

    def _further(
        self,
        moments: Moments,
        pages: Ints,
        cache: npt.NDArray[np.int32],
        place: Ints,
        result: SimulatedWindow,
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Events that come of others: row of the cause, rank beside it, template, place."""
        wanted, sheaves = result.slab_pages, result.sheaves
        parts: list[tuple[Ints, Ints, Ints, Ints]] = []
        if len(wanted.seq):
            row = np.searchsorted(moments.seq, wanted.seq)
            home = wanted.cache != cache[row]
            rank = np.where(
                wanted.way < 0,
                _PAGES_FREED,
                np.where(
                    moments.op[row] < 0,
                    _HOME_PAGES_OF_FREE,
                    np.where(home, _HOME_PAGES, _PAGES),
                ),
            )
            template = self._slab_events[wanted.cache, wanted.order, (wanted.way > 0).astype(int)]
            parts.append((row, rank, template.astype(np.int64), result.slab_pfns))
        if len(sheaves.row):
            objects = np.flatnonzero(cache >= 0)
            row = objects[sheaves.row]
            op = moments.op[row]
            keys = zip(cache[row].tolist(), sheaves.cache.tolist(), op.tolist(), strict=True)
            template = np.array([self._sheaf_events[key] for key in keys], np.int64)
            where = self._addresses(sheaves.cache, sheaves.slab, sheaves.place)
            parts.append((row, np.where(op > 0, _SHEAF, _SHEAF_OF_FREE), template, where))
        if len(pages):
            entry, op = moments.entry[pages], moments.op[pages]
            placed = result.pages.path != PagePath.UNPLACED
            for of_line, way, rank_ in (
                (self._lines.pages_before, 1, _PAGES),
                (self._lines.pages_after, -1, _PAGES_FREED),
                (self._lines.batched, -1, _BATCHED),
            ):
                found = np.flatnonzero((op == way) & (of_line[entry] >= 0) & placed)
                row = pages[found]
                parts.append(
                    (
                        row,
                        np.full(len(row), rank_),
                        of_line[entry[found]].astype(np.int64),
                        place[row],
                    )
                )
        nothing = np.empty(0, np.int64)
        row, rank, template, where = (
            np.concatenate([nothing, *(part[at] for part in parts)]) for at in range(4)
        )
        return row, rank, template, where


class _SlabFrames:
    """First page frame of every slab that was ever made, by cache and number.

    Four bytes a slab: one table for all caches, in which each has room for twice what it has made.
    """

    def __init__(self, caches: int) -> None:
        self._room = np.full(caches, 16, np.int64)
        self._first = np.cumsum(self._room) - self._room
        self._frames = np.zeros(int(self._room.sum()), np.uint32)

    def add(self, result: SimulatedWindow) -> None:
        """Note the slabs of a window."""
        born = np.flatnonzero(result.slab_pages.way > 0)
        if not len(born):
            return
        cache, number = result.slab_pages.cache[born], result.slab_pages.slab[born] & _NUMBER
        most = np.zeros(len(self._room), np.int64)
        np.maximum.at(most, cache, number + 1)
        if np.any(most > self._room):
            self._grow(np.where(most > self._room, 2 * most, self._room))
        self._frames[self._first[cache] + number] = result.slab_pfns[born]

    def _grow(self, room: Ints) -> None:
        frames = np.zeros(int(room.sum()), np.uint32)
        first = np.cumsum(room) - room
        for old, new, count in zip(
            self._first.tolist(), first.tolist(), self._room.tolist(), strict=True
        ):
            frames[new : new + count] = self._frames[old : old + count]
        self._room, self._first, self._frames = room, first, frames

    def of(self, cache: npt.NDArray[np.int32], slab: Ints) -> Ints:
        """First page frame of each slab (i8)."""
        at = slab & _NUMBER
        at += self._first[cache]
        frames: Ints = self._frames[at].astype(np.int64)
        return frames
