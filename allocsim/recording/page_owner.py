"""Whose page each life is: evidence in, kind and how it is known out.

What stands, best first: a rule for the allocation's stack; the first evidence seen in the life
(an object on the page, page->mapping in a page_ref event); a stack no rule knows; the gfp flags
and order of the allocation. A row is given the kind known at the end of its window; should
evidence of a later window say otherwise, the row is amended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from allocsim.recording.page_extents import within
from allocsim.recording.page_kinds import (
    PageKind,
    kinds_by_gfp,
    kinds_by_mapping,
    kinds_of_stacks,
    pmd_order,
)
from allocsim.tables import Columns, Int64, concat, empty, find, take
from allocsim.trace.events import Ev
from allocsim.trace.results import How

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.release import Kernel
    from allocsim.recording.objects import ObjectWindow
    from allocsim.recording.opening_stock import OpeningStock
    from allocsim.recording.page_lives import PageWindow, Place
    from allocsim.tables import Int8, Int16
    from allocsim.trace.late_results import EventWindow

_SEEN = {"pfn": "i8", "cache": "i4"}
_WAITING = {"page": "i8", "seq": "i8"}
_NOTHING = np.iinfo(np.int64).max
_BITS = 20  # of a packed (row, value): kinds and cache numbers stay below 2^20


@dataclass(slots=True)
class Evidence:
    """Statements on page lives: what life, from which row on, and a value."""

    life: Int64
    row: Int64
    value: Int64


class Ownership:
    """Kinds of lives, carried from window to window.

    Args:
        kernel: the recorded kernel.
        stacks: function names of each distinct stack, innermost first.
        page_size: bytes of a page.
        opening: what is known of the blocks that are older than the recording.
    """

    def __init__(
        self,
        kernel: Kernel,
        stacks: Sequence[Sequence[str]],
        page_size: int = 4096,
        opening: OpeningStock | None = None,
    ) -> None:
        self._opening = opening and replace(opening)  # of which no block has told anything yet
        self._page_size = page_size
        self._kernel = kernel
        self._by_stack = kinds_of_stacks(stacks)
        self.frames = empty(_SEEN)
        self._waiting = empty(_WAITING)

    def window(
        self,
        window: EventWindow,
        pages: PageWindow,
        objects: ObjectWindow | None,
        place: Place,
        near: Int64,
    ) -> tuple[Int16, Int8]:
        """Settle the lives of a window; rows of earlier windows are amended.

        Args:
            window: the window.
            pages: what the window did to pages; ``seen``, ``cache`` and ``reported`` of its lives
                are brought up to date.
            objects: its object events.
            place: where each of these lies.
            near: rows of page allocations that follow what tmpfs does
                (allocsim.recording.shmem_hints).

        Returns:
            Kind (i2) and How (i1) of every life of ``pages.lives``.
        """
        lives = pages.lives
        if self._opening is not None:
            self._opening.tell(lives, window.seq)
        kinds, caches = self._from_objects(objects, place)
        frame_kinds, frame_caches = self._from_frames(pages)
        mappings = _from_mappings(window.columns, pages)
        _settle(lives["seen"], 0, [frame_kinds, kinds, mappings])
        _settle(lives["cache"], -1, [frame_caches, caches])
        at = find(pages.rows, near)
        lives["near"][pages.life[at[at >= 0]]] = 1
        kind, how = self._kinds(lives)
        self._tell(window, pages, kind, how)
        self._remember(pages, objects, place)
        return kind, how

    def _from_objects(
        self, objects: ObjectWindow | None, place: Place
    ) -> tuple[Evidence, Evidence]:
        """What objects say: of kind, and of cache (from their own name or size class)."""
        if objects is None:
            nothing = Evidence(*(np.empty(0, np.int64),) * 3)
            return nothing, nothing
        # A free says no more than its allocation did, but the name of a cache.
        frees = np.flatnonzero(objects.ends_previous & (objects.own >= 0))
        at = np.concatenate([place.asked, frees[objects.own[frees - 1] < 0]])
        on_slab, large, own = objects.on_slab[at], objects.large[at], objects.own[at]
        life = place.life[at]
        life = np.where(on_slab, np.maximum(life, place.later[at]), life)
        row = np.maximum(objects.row[at], place.reveal[at])
        says = (life >= 0) & (on_slab | (large & objects.allocates[at]))
        value = np.where(large, PageKind.LARGE_KMALLOC, PageKind.SLAB)
        named = (life >= 0) & (own >= 0) & on_slab
        return (
            Evidence(life[says], row[says], value[says]),
            Evidence(life[named], row[named], own[named].astype(np.int64)),
        )

    def _from_frames(self, pages: PageWindow) -> tuple[Evidence, Evidence]:
        """What objects of earlier windows say of older pages that this window reveals."""
        at = within(pages.unknown_before, self.frames["pfn"])
        hit = np.flatnonzero(at >= 0)
        hit = hit[pages.unknown_before["life"][at[hit]] >= 0]
        life, row = (pages.unknown_before[name][at[hit]] for name in ("life", "row"))
        cache = self.frames["cache"][hit].astype(np.int64)
        known = cache >= 0
        return (
            Evidence(life, row, np.full(len(hit), int(PageKind.SLAB))),
            Evidence(life[known], row[known], cache[known]),
        )

    def _kinds(self, lives: Columns) -> tuple[Int16, Int8]:
        by_stack = self._by_stack[lives["stack"]]
        kind = kinds_by_gfp(lives["gfp_flags"], lives["order"], self._kernel.gfp, self._page_size)
        kind[(lives["near"] > 0) & (kind == PageKind.ANON)] = PageKind.SHMEM
        how = np.where(kind == PageKind.OTHER, How.ASSUMED, How.INFERRED).astype(np.int8)
        older = (lives["alloc_seq"] < 0) & (lives["gfp_flags"] < 0)
        kind[older], how[older] = PageKind.UNKNOWN, How.UNKNOWN
        seen = np.where(
            (lives["seen"] == PageKind.ANON) & (lives["order"] == pmd_order(self._page_size)),
            PageKind.THP,
            lives["seen"],
        )
        for says in (
            np.where(by_stack == PageKind.OTHER, by_stack, PageKind.UNKNOWN),
            seen,
            np.where(by_stack == PageKind.OTHER, PageKind.UNKNOWN, by_stack),
        ):
            stands = says != PageKind.UNKNOWN
            kind[stands] = says[stands]
            how[stands] = How.OBSERVED
        return kind, how

    def _tell(self, window: EventWindow, pages: PageWindow, kind: Int16, how: Int8) -> None:
        """Amend rows given another kind before; keep those whose kind may change yet."""
        lives = pages.lives
        waiting = self._waiting
        at = find(lives["page"], waiting["page"])
        changed = (lives["reported"] != kind) | (lives["reported_how"] != how)
        rows = changed[at]
        window.late.add(waiting["seq"][rows], page_kind=kind[at[rows]], kind_how=how[at[rows]])
        lives["reported"], lives["reported_how"] = kind, how
        by_stack = self._by_stack[lives["stack"]]
        # A life that a set began may yet be joined by its mm_page_alloc, with a stack.
        whole = (lives["alloc_seq"] >= 0) | (lives["alloc_ts"] < 0)
        settled = (by_stack != PageKind.OTHER) & (by_stack != PageKind.UNKNOWN)
        settled |= whole & (lives["seen"] > 0)
        open_ended = ~settled & ~pages.closed
        stays = open_ended[pages.life]
        new = {"page": lives["page"][pages.life[stays]], "seq": pages.rows[stays] + window.seq}
        self._waiting = concat([take(waiting, open_ended[at]), new])

    def _remember(self, pages: PageWindow, objects: ObjectWindow | None, place: Place) -> None:
        """Objects on frames no life is known of: for the day an event reveals their page."""
        frames = take(self.frames, within(pages.unknown_before, self.frames["pfn"]) < 0)
        if objects is not None:
            alone = objects.on_slab & (place.life < 0) & (place.later == -1) & (place.pfn >= 0)
            at = np.flatnonzero(alone)
            frames = concat([frames, {"pfn": place.pfn[at], "cache": objects.own[at]}])
        self.frames = _lowest(frames)


def opening_kinds(
    stock: OpeningStock, stacks: Sequence[Sequence[str]], kernel: Kernel, page_size: int
) -> tuple[Int16, Int8]:
    """Kind and How of blocks of the opening stock: by stack, else by flags and order."""
    by_stack = kinds_of_stacks(stacks)[stock.stack]
    kind = kinds_by_gfp(stock.gfp_flags, stock.order, kernel.gfp, page_size)
    how = np.where(kind == PageKind.OTHER, How.ASSUMED, How.INFERRED).astype(np.int8)
    told = by_stack != PageKind.UNKNOWN
    kind[told] = by_stack[told]
    how[told] = How.OBSERVED
    return kind, how


def _from_mappings(columns: Columns, pages: PageWindow) -> Evidence:
    if "mapping" not in columns:
        return Evidence(*(np.empty(0, np.int64),) * 3)
    is_ref = columns["event"][pages.rows] >= Ev.PAGE_REF_SET
    row, life = pages.rows[is_ref], pages.life[is_ref]
    kind = kinds_by_mapping(columns["mapping"][row], columns["page_flags"][row])
    shows = kind != PageKind.UNKNOWN
    return Evidence(life[shows], row[shows], kind[shows].astype(np.int64))


def _settle(state: npt.NDArray[np.int_], unset: int, evidence: list[Evidence]) -> None:
    """Give lives without a value that of their first evidence; at one row, the lowest value."""
    first = np.full(len(state), _NOTHING)
    for part in evidence:
        asks = state[part.life] == unset
        packed = (part.row[asks] << _BITS) + part.value[asks]
        np.minimum.at(first, part.life[asks], packed)
    told = first != _NOTHING
    state[told] = first[told] & ((1 << _BITS) - 1)


def _lowest(frames: Columns) -> Columns:
    """One row a frame, with the lowest cache number known for it."""
    cache = frames["cache"].astype(np.int64)
    packed = (frames["pfn"] << _BITS) + np.where(cache < 0, (1 << _BITS) - 1, cache)
    packed = np.sort(packed)
    pfn = packed >> _BITS
    first = np.ones(len(pfn), bool)
    first[1:] = pfn[1:] != pfn[:-1]
    low = packed[first] & ((1 << _BITS) - 1)
    low[low == (1 << _BITS) - 1] = -1
    return {"pfn": pfn[first], "cache": low.astype(np.int32)}
