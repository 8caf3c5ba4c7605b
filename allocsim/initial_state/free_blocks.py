"""What each zone had free when a recording began: inferred backwards from the snapshot behind it.

Between the snapshot before a recording and its first event the tracer allocates its buffers, which
may be all of a zone. The snapshot behind follows the last event at once; its free pages, and what
the events took and gave back, are what there was at the first event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from allocsim.page_alloc.zones import MAX_PAGE_ORDER, ORDERS, PAGEBLOCK_ORDER, Mt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.page_alloc.zones import PcpNumbers

#: R4.24, of unmovable requests.
_CLAIMED = (Mt.RECLAIMABLE, Mt.MOVABLE)


def with_free_pages(
    free: Sequence[Sequence[int]], types: Sequence[int], pages: int
) -> tuple[list[list[int]], list[int]]:
    """Counted free blocks, changed as if pages had been taken or given back until so many are left.

    Pages too many are taken one by one, as unmovable (assumed: a tracer's buffer is): the smallest
    blocks of the own type first, then the largest of another, whose pageblocks change their type
    (R4.20, R4.24, R4.26). Pages too few come back as the largest movable blocks they make;
    unmovable pageblocks without free pages become movable where those have no room (assumed).

    Args:
        free: free blocks [order][type].
        types: pageblocks of each type.
        pages: free pages wanted.

    Returns:
        Free blocks [order][type] and pageblocks of each type.
    """
    blocks, pageblocks = [list(row) for row in free], list(types)
    missing = pages - free_pages(blocks)
    if missing >= 0:
        _give(blocks, Mt.MOVABLE, missing)
        short = _room(blocks, Mt.MOVABLE) - pageblocks[Mt.MOVABLE]
        spare = pageblocks[Mt.UNMOVABLE] - _room(blocks, Mt.UNMOVABLE)
        changed = max(min(short, spare), 0)
        pageblocks[Mt.MOVABLE] += changed
        pageblocks[Mt.UNMOVABLE] -= changed
        return blocks, pageblocks
    left = _take(blocks, Mt.UNMOVABLE, -missing)
    for order in range(MAX_PAGE_ORDER, -1, -1):
        for kind in _CLAIMED:
            claimed = min(blocks[order][kind], -(-left // (1 << order)))
            blocks[order][kind] -= claimed
            if order < PAGEBLOCK_ORDER:
                # A part of a pageblock: what is left over of it keeps its type.
                _give(blocks, kind, max((claimed << order) - left, 0))
            else:
                pageblocks[kind] -= claimed << (order - PAGEBLOCK_ORDER)
                pageblocks[Mt.UNMOVABLE] += claimed << (order - PAGEBLOCK_ORDER)
                _give(blocks, Mt.UNMOVABLE, max((claimed << order) - left, 0))
            left = max(left - (claimed << order), 0)
    return blocks, pageblocks


def raised(pcp: tuple[PcpNumbers, ...], pages: int) -> tuple[PcpNumbers, ...]:
    """Limits of the CPUs' lists after each CPU took pages one by one.

    A refill adds what it asks for to high (R4.5, mm/page_alloc.c:nr_pcp_alloc). How much time
    passed since, and so the decay of R4.13, is not known; none is assumed.

    Args:
        pcp: limits of every CPU.
        pages: pages that each took; fewer than none raise nothing.
    """
    return tuple(
        replace(each, high=min(max(each.high, each.high_min) + max(pages, 0), each.high_max))
        for each in pcp
    )


def free_pages(free: Sequence[Sequence[int]]) -> int:
    """Pages in counted free blocks [order][type]."""
    return sum(sum(row) << order for order, row in enumerate(free))


def _room(blocks: list[list[int]], kind: Mt) -> int:
    """Pageblocks that the free blocks of a type lie in, each smaller one beside a used page."""
    whole, partly = blocks[MAX_PAGE_ORDER][kind], max(row[kind] for row in blocks[:-1])
    return (whole + partly) << (MAX_PAGE_ORDER - PAGEBLOCK_ORDER)


def _take(blocks: list[list[int]], kind: Mt, pages: int) -> int:
    """Take pages of a type, the smallest blocks first; pages that there were not."""
    for order in range(ORDERS):
        whole = min(blocks[order][kind], -(-pages // (1 << order)))
        blocks[order][kind] -= whole
        if (whole << order) > pages:
            _give(blocks, kind, (whole << order) - pages)
            return 0
        pages -= whole << order
    return pages


def _give(blocks: list[list[int]], kind: Mt, pages: int) -> None:
    """Add pages of a type, as the largest blocks they make."""
    for order in range(MAX_PAGE_ORDER, -1, -1):
        blocks[order][kind] += pages >> order
        pages &= (1 << order) - 1
