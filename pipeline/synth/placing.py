"""Requests through the model, and the events that a kernel would have traced of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.initial_state.vmstat_worker import VmstatTurns
from allocsim.kernels.slub_rules import PAGE_SIZE
from allocsim.page_alloc.paths import PagePath
from allocsim.page_alloc.zones import MAX_PAGE_ORDER, ORDERS
from allocsim.recording.requests import HANDLE_SHIFT, UNKNOWN_PAGE, PageEvents
from allocsim.slub.paths import AllocPath
from allocsim.slub.requests import ObjectRequests, Op
from allocsim.tables import joined, rows_of
from allocsim.trace.events import Ev
from pipeline.errors import InputError
from pipeline.synth.further import Further, Rank
from pipeline.synth.lines import make_lines, pieces
from pipeline.synth.machine import DIRECT_MAP
from pipeline.synth.pre_trace import place_pre_trace, pre_trace_rows
from pipeline.synth.rows import GFP_KERNEL, slab_gfp
from pipeline.synth.slab_frames import SlabFrames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocsim.simulated_window import SimulatedWindow
    from allocsim.tables import I1, I2, I4, I8, Bools
    from pipeline.synth.calendar import Moments
    from pipeline.synth.machine import SpecMachine
    from pipeline.synth.rows import Templates
    from pipeline.synth.spec.model import Spec


_SLAB_STACK = ("__alloc_frozen_pages_noprof", "allocate_slab", "refill_objects")
_FEW = 1024  # requests
#: Function that makes a sheaf for a request, and the one that frees one at it (mm/slub.c 7.2).
_MAKES = {
    Op.ALLOC: "__pcs_replace_empty_main",
    Op.FREE: "__pcs_replace_full_main",
    Op.FROM_SHEAF: "kmem_cache_prefill_sheaf",
    Op.FREE_RCU: "__kfree_rcu_sheaf",
}
_RETURNS = "kmem_cache_return_sheaf"
_CALLBACK = "rcu_free_sheaf"


class PlacedRows(NamedTuple):
    """Events in order of time; arrays of one length.

    Args:
        ts: ns (i8).
        cpu: CPU (i2).
        template: number of the template (i4).
        place: address of an object's event, first page frame of a page's (i8).
    """

    ts: I8
    cpu: I2
    template: I4
    place: I8

    def of(self, which: Bools | slice) -> PlacedRows:
        """Some of the rows."""
        return rows_of(self, which)


class Placing:
    """Places the requests of a spec, window by window.

    Args:
        spec: the spec.
        machine: its machine.
        templates: takes the templates of its events.
    """

    def __init__(self, spec: Spec, machine: SpecMachine, templates: Templates) -> None:
        self._spec = spec
        self._machine = machine
        self._names = machine.names
        self._simulation = machine.world.simulation
        self._shapes = machine.world.shapes
        self._templates = templates
        self._lines = make_lines(spec, machine, templates)
        self._pieces = pieces(spec)
        # A free of an object that has no event is taken for a kfree_rcu (T6, R3.20).
        silent = (self._lines.cache >= 0) & (self._lines.free < 0)
        prefilled = np.array([e.prefilled for work in spec.works for e in work.entries], np.bool_)
        self._ops = np.stack(
            [
                np.where(prefilled, Op.FROM_SHEAF, Op.ALLOC),
                np.where(silent, Op.FREE_RCU, Op.FREE),
            ]
        ).astype(np.int8)
        self._plain = bool(np.all(np.abs(self._ops) == 1))
        self._sizes = np.array([shape.size for shape in self._shapes], np.int64)
        self._work = np.repeat(
            np.arange(len(spec.works)), [len(work.entries) for work in spec.works]
        )
        self._first_handle = 0  # of what is not older than the trace
        #: Text of the places that are free on slabs older than the trace.
        self.free_places = ""
        self._pfns = SlabFrames(len(self._shapes))
        self._workers = VmstatTurns()
        self._kmalloc_caches = self._simulation.slub.kmalloc_caches
        self._slab_events, self._sheaf_events = self._make_slab_events()

    @property
    def failed_pages(self) -> int:
        """Page requests for which there was no memory; their frees are left out."""
        return self._simulation.counts["refused_pages"]

    def _make_slab_events(self) -> tuple[I4, dict[tuple[int, ...], int]]:
        """Templates of slab pages by (cache, order, way), and of sheaves: see _sheaf_templates."""
        add = self._templates.add
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
        return pages, self._sheaf_templates()

    def _sheaf_templates(self) -> dict[tuple[int, ...], int]:
        """Templates of sheaves made by (cache, home, op), and of those freed by (op of the cause,).

        Only those of requests that the spec has.
        """
        add, site = self._templates.add, self._templates.site
        sheaves: dict[tuple[int, ...], int] = {}
        ops = sorted(
            {*self._ops.ravel().tolist(), Op.ALLOC, Op.FREE}, key=lambda op: (abs(op), -op)
        )
        for number in range(len(self._shapes)):
            at, kmalloc_cache = number, self._kmalloc_caches[number]
            while kmalloc_cache >= 0:
                for op in ops:
                    sheaves[number, kmalloc_cache, op] = add(
                        Ev.KMALLOC,
                        call_site=site(_MAKES[Op(op)]),
                        bytes_req=self._simulation.slub.with_sheaves[at].sheaf_bytes,
                        bytes_alloc=self._shapes[kmalloc_cache].size,
                        gfp_flags=GFP_KERNEL,
                        node=-1,
                        metadata=True,
                    )
                at, kmalloc_cache = kmalloc_cache, self._kmalloc_caches[kmalloc_cache]
        for op, function in ((Op.FROM_SHEAF, _RETURNS), (Op.FREE_RCU, _CALLBACK)):
            if op in ops:
                sheaves[(op,)] = add(Ev.KFREE, call_site=site(function), metadata=True)
        return sheaves

    def begin(self, moments: Moments) -> None:
        """Put what is older than the trace where it lies when the trace begins.

        Args:
            moments: allocations before the trace, and the frees of what is gone again.

        Raises:
            InputError: the memory in use before the trace does not suffice.
        """
        if not len(moments.seq):
            return
        cache = self._lines.cache[moments.entry]
        rows = pre_trace_rows(moments, cache, self._work[moments.entry])
        pages = moments.entry[(moments.op > 0) & (cache < 0)]
        pieces_of = self._pieces[pages]
        order = np.where(pieces_of > 1, 0, self._lines.order[pages])
        freed = np.bincount(order, weights=pieces_of, minlength=ORDERS).astype(np.int64)
        pre_trace = place_pre_trace(self._machine, rows, freed, self._spec.name)
        self._simulation, self.free_places = pre_trace.world.simulation, pre_trace.free_places
        self._pfns.pre_trace = pre_trace.frames
        self._first_handle = int(moments.seq[-1]) + 1

    def window(self, moments: Moments) -> PlacedRows:
        """The events of a window's requests.

        Raises:
            InputError: the memory of the machine does not suffice for the objects.
        """
        # Where memory is short the model goes event by event: a few at a time are looked at, so
        # that the first object without memory ends it.
        count, free = len(moments.ts), int(self._simulation.pages.sample(0).free_pages.sum())
        if free > count or count <= _FEW:
            return self._part(moments)
        firsts = range(0, count, _FEW)
        return joined([self._part(moments.of(slice(first, first + _FEW))) for first in firsts])

    def _part(self, moments: Moments) -> PlacedRows:
        lines = self._lines
        cache = lines.cache[moments.entry]
        of_pages = cache < 0
        pages = np.flatnonzero(of_pages)
        objects = np.flatnonzero(~of_pages) if len(pages) else slice(None)
        op = self._ops[(moments.op < 0).astype(int), moments.entry]
        result = self._simulation.window(
            ObjectRequests(
                moments.seq[objects],
                moments.cpu[objects],
                cache[objects],
                op[objects],
                moments.handle[objects],
                *(() if self._plain else self._as_untraced(moments, objects)),
            ),
            self._page_events(moments, pages),
            turns=moments.seq[self._workers.before(moments.ts)].tolist(),
        )
        self._check_memory(moments, objects, result)
        place = np.empty(len(cache), np.int64)
        self._pfns.add(result)
        place[objects] = self._addresses(cache[objects], result.objects.slab, result.objects.index)
        place[pages] = result.pages.pfn
        return self._rows(moments, pages, cache, op, place, result)

    @staticmethod
    def _as_untraced(moments: Moments, objects: I8 | slice) -> tuple[I8, I8, I4]:
        """What requests say besides, where some are kfree_rcu or out of prefilled sheaves."""
        return moments.ts[objects], moments.run[objects], moments.left[objects]

    def _page_events(self, moments: Moments, rows: I8) -> PageEvents:
        lines, entry = self._lines, moments.entry[rows]
        order = lines.order[entry]
        order[(self._pieces[entry] > 1) & (moments.op[rows] < 0)] = 0
        pre_trace = moments.handle[rows] < self._first_handle
        return PageEvents(
            moments.seq[rows],
            moments.cpu[rows],
            moments.op[rows],
            np.where(pre_trace, UNKNOWN_PAGE, moments.handle[rows] << HANDLE_SHIFT),
            order,
            lines.migratetype[entry],
            lines.highest[entry],
            lines.flags[entry],
            np.where(pre_trace, 0, moments.piece[rows]),
        )

    def _check_memory(self, moments: Moments, objects: I8 | slice, result: SimulatedWindow) -> None:
        failed = np.flatnonzero(result.objects.path == AllocPath.FAILED)
        if not len(failed):
            return
        row = np.arange(len(moments.ts))[objects][failed[0]]
        name = self._names[self._lines.cache[moments.entry[row]]]
        after = max(int(moments.ts[row]), 0) / 10**9
        raise InputError(
            f"spec {self._spec.name}: no memory is left for {name} after {after:.3f} s;"
            " say memory = a larger size (or --memory), or let less live at a time"
        )

    def _addresses(self, cache: I4, slab: I8, index: I4) -> I8:
        found = self._pfns.of(cache, slab)
        found *= PAGE_SIZE
        found += index * self._sizes[cache]
        # Addresses above 2^63, as the signed numbers with the same bits.
        found += DIRECT_MAP - (1 << 64)
        return found

    def _rows(  # noqa: PLR0913 - requests, and what became of them
        self, moments: Moments, pages: I8, cache: I4, op: I1, place: I8, result: SimulatedWindow
    ) -> PlacedRows:
        """The requests' own events, and between them those that come of them."""
        lines, entry = self._lines, moments.entry
        template = np.where(moments.op > 0, lines.alloc[entry], lines.free[entry])
        unplaced = pages[result.pages.path == PagePath.UNPLACED]
        template[unplaced] = -1  # the end of a page that could not be had
        further = self._further(moments, pages, cache, op, place, result)
        if len(pages):
            large = pages[lines.pages_before[entry[pages]] >= 0]
            frame = place[large]
            # A kmalloc that fails has no address.
            place[large] = np.where(frame < 0, 0, frame * PAGE_SIZE + (DIRECT_MAP - (1 << 64)))
        order = np.argsort(further.row * len(Rank) + further.rank, kind="stable")
        row, rank = further.row[order], further.rank[order]
        total = len(template) + len(row)
        early = rank < Rank.OWN
        before = np.bincount(row[early], minlength=len(template))
        after = np.bincount(row[~early], minlength=len(template) + 1)
        own = np.arange(len(template)) + np.cumsum(before)
        own[1:] += np.cumsum(after[: len(template) - 1])
        other = np.arange(len(row)) + row + ~early
        rows = PlacedRows(*(np.empty(total, dtype) for dtype in ("i8", "i2", "i4", "i8")))
        for made, theirs, more in (
            (rows.ts, moments.ts, moments.ts[row]),
            (rows.cpu, moments.cpu, further.cpu[order]),
            (rows.template, template, further.template[order]),
            (rows.place, place, further.place[order]),
        ):
            made[own] = theirs
            made[other] = more
        if rows.template.min(initial=0) < 0:
            shown = rows.template >= 0
            rows = rows.of(shown)
        return rows

    def _further(  # noqa: PLR0913 - likewise
        self, moments: Moments, pages: I8, cache: I4, op: I1, place: I8, result: SimulatedWindow
    ) -> Further:
        """Events that come of others: of slabs, of sheaves, of the pages' own lines."""
        # A prefilled sheaf is given back behind the allocation that was the last out of it.
        behind = (op < 0) | (moments.left == 1)
        parts = []
        if len(result.slab_pages.seq):
            parts.append(self._of_slabs(moments, cache, op, behind, result))
        if len(result.sheaves.row):
            objects = np.flatnonzero(cache >= 0) if len(pages) else np.arange(len(cache))
            parts.append(self._of_sheaves(moments, objects, cache, op, behind, result))
        if len(pages):
            parts += self._of_pages(moments, pages, place, result)
        return Further.joined(parts)

    def _of_slabs(
        self, moments: Moments, cache: I4, op: I1, behind: Bools, result: SimulatedWindow
    ) -> Further:
        """Pages of slabs made and freed."""
        wanted = result.slab_pages
        row = np.searchsorted(moments.seq, wanted.seq)
        made, after = wanted.way > 0, behind[row]
        rank = np.where(
            wanted.cache != cache[row],
            np.where((op[row] < 0) | (after & ~made), Rank.HOME_PAGES_OF_FREE, Rank.HOME_PAGES),
            np.where(made, Rank.PAGES, np.where(after, Rank.PAGES_FREED, Rank.PAGES_FREED_BEFORE)),
        )
        template = self._slab_events[wanted.cache, wanted.order, made.astype(int)]
        frame = result.slab_pfns.copy()
        old = np.flatnonzero(wanted.slab < 0)
        frame[old] = self._pfns.of(wanted.cache[old], wanted.slab[old])
        return Further(row, rank, template.astype(np.int64), frame, wanted.cpu.astype(np.int64))

    def _of_sheaves(  # noqa: PLR0913 - likewise
        self,
        moments: Moments,
        objects: I8,
        cache: I4,
        op: I1,
        behind: Bools,
        result: SimulatedWindow,
    ) -> Further:
        """Sheaves made and freed; ``objects`` are the rows of requests of objects."""
        sheaves = result.sheaves
        row = objects[sheaves.row]
        rank = np.where(
            sheaves.way > 0,
            np.where(op[row] > 0, Rank.SHEAF, Rank.SHEAF_OF_FREE),
            np.where(behind[row], Rank.SHEAF_FREED, Rank.SHEAF_FREED_BEFORE),
        )
        returned = Op.FROM_SHEAF if (Op.FROM_SHEAF,) in self._sheaf_events else Op.FREE_RCU
        template = np.array(
            [
                self._sheaf_events[
                    (of, kmalloc_cache, cause) if way > 0 else (returned if last else Op.FREE_RCU,)
                ]
                for of, kmalloc_cache, cause, way, last in zip(
                    cache[row].tolist(),
                    sheaves.cache.tolist(),
                    op[row].tolist(),
                    sheaves.way.tolist(),
                    (moments.left[row] == 1).tolist(),
                    strict=True,
                )
            ],
            np.int64,
        )
        where = self._addresses(sheaves.cache, sheaves.slab, sheaves.place)
        return Further(row, rank, template, where, sheaves.cpu.astype(np.int64))

    def _of_pages(
        self, moments: Moments, pages: I8, place: I8, result: SimulatedWindow
    ) -> Iterator[Further]:
        """What a line of pages has traced besides the page itself; ``pages`` are their rows."""
        entry, way = moments.entry[pages], moments.op[pages]
        placed = result.pages.path != PagePath.UNPLACED
        for of_line, wanted_way, rank in (
            (self._lines.pages_before, 1, Rank.PAGES),
            (self._lines.pages_after, -1, Rank.PAGES_FREED),
            (self._lines.batched, -1, Rank.BATCHED),
        ):
            found = np.flatnonzero((way == wanted_way) & (of_line[entry] >= 0) & placed)
            row = pages[found]
            yield Further(
                row,
                np.full(len(row), rank),
                of_line[entry[found]].astype(np.int64),
                place[row],
                moments.cpu[row].astype(np.int64),
            )
