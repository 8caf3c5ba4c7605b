"""Descriptors the plain way: one request, one block, one page frame at a time.

Read beside R6.4 and the docstrings of allocsim.memdesc.pre_trace_blocks and
allocsim.memdesc.descriptor_caches.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allocsim.recording.page_kinds import PageKind
from tests.oracle.slub import Slub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.cache_shapes import CacheShape

Request = tuple[int, int, int, int]  # CPU, descriptor, +1 or -1, key of the life
Block = tuple[int, int, int]  # first frame, order, kind


@dataclass
class Descriptors:
    """Every descriptor cache of a scheme; ``own`` is the slab descriptors' one.

    ``pages``: (request, cache, order, way) of each slab page wanted or returned.
    """

    shapes: Sequence[CacheShape]
    own: int
    pages: list[tuple[int, int, int, int]] = field(default_factory=list)
    fast: Counter[int] = field(default_factory=Counter)
    derived: Counter[tuple[int, int]] = field(default_factory=Counter)  # of older, way
    live: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.slub = Slub(self.shapes)
        self.handles: dict[object, int] = {}
        self.seq = 0

    def request(self, number: int, request: Request, *, pre_trace: bool) -> None:
        """One page life begins or ends; then its descriptors' slabs need descriptors, ..."""
        queue: deque[tuple[int, int, int, object]] = deque([request])
        first = True
        while queue:
            cpu, cache, op, key = queue.popleft()
            if not first:
                self.derived[int(pre_trace), op] += 1
            first = False
            if op > 0:
                self.handles[key] = self.seq
            handle = self.handles[key] if op > 0 else self.handles.pop(key)
            seen = len(self.slub.pages)
            path, _, _ = self.slub.event(self.seq, cpu, cache, op, handle)
            self.seq += 1
            self.live[cache] += op
            if not pre_trace and path in {"main_hit", "spare_swap", "main_push"}:
                self.fast[cache] += 1
            for _, at_cpu, of_cache, slab, order, way, _ in self.slub.pages[seen:]:
                self.pages.append((number, of_cache, order, way))
                queue.append((at_cpu, self.own, way, (of_cache, slab)))


def opening(
    lives: Sequence[dict[str, int]], before: list[Block] | None, after: list[Block] | None
) -> tuple[list[Block], list[Block], int]:
    """Blocks known to be there when a recording begins, those that may be, and those gone.

    ``lives``: page, pfn, order, kind, start and end (-1: before, never), by page.
    """
    known: list[Block] = []
    for life in lives:
        if life["start"] >= 0:
            continue
        kind, order = life["kind"], life["order"]
        for blocks, speaks in ((before, True), (after, life["end"] < 0)):
            for pfn, block_order, block_kind in blocks or ():
                if speaks and pfn == life["pfn"] and kind in (PageKind.UNKNOWN, block_kind):
                    kind = block_kind
                    order = max(order, block_order) if life["end"] < 0 else order
        known.append((life["pfn"], order, kind))

    def first_life(block: Block) -> dict[str, int] | None:
        frames = set(range(block[0], block[0] + (1 << block[1])))
        return next(
            (
                life
                for life in lives
                if frames & set(range(life["pfn"], life["pfn"] + (1 << life["order"])))
            ),
            None,
        )

    gone = sum(1 for block in before or () if (life := first_life(block)) and life["start"] >= 0)
    shown = [
        [block for block in blocks if first_life(block) is None]
        for blocks in (before, after)
        if blocks is not None
    ]
    if len(shown) < 2:
        return known + [block for blocks in shown for block in blocks], [], gone
    heads = {pfn for pfn, _, _ in shown[1]}
    unsure = [block for block in shown[0] if block not in shown[1] and block[0] not in heads]
    unsure += [block for block in shown[1] if block not in shown[0]]
    return known + [block for block in shown[1] if block in shown[0]], unsure, gone


def live_at(
    lives: Sequence[dict[str, int]], moments: Sequence[int]
) -> list[Counter[tuple[int, int, int]]]:
    """Blocks live at each moment, by kind, order and charge; -1 stands for the beginning."""
    return [
        Counter(
            (life["kind"], life["order"], life["charged"])
            for life in lives
            if life["start"] <= moment and not (0 <= life["end"] <= moment)
        )
        for moment in moments
    ]
