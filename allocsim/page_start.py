"""What the per-CPU page lists held when a recording began: inferred from how it goes on.

A list is empty at its first refill (R4.4), so it held at the start as many blocks as were taken
from it until then, less those freed to it. mm_page_alloc_zone_locked tells the refill (T12).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_lists import list_order, list_type
from allocsim.zones import PAGEBLOCK, PCP_LISTS, PRIOR_CHUNK, Mt, block_index

if TYPE_CHECKING:
    import numpy.typing as npt

    from allocsim.zones import Zone, ZoneState

_BELOW = (Mt.MOVABLE, Mt.UNMOVABLE, Mt.RECLAIMABLE)  #: lists of order 0, likeliest first


def blocks_at_start(
    lane: npt.NDArray[np.integer], op: npt.NDArray[np.integer], lanes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Blocks each list held before the first event.

    Args:
        lane: list of each event, 0 to ``lanes`` - 1; events of a list in order of time.
        op: +1 a block was allocated, -1 freed, 0 the list was refilled (before the allocation
            that found it empty).
        lanes: number of lists.

    Returns:
        (lanes) blocks, and whether a refill was seen. Where one was, the blocks make the list
        empty then (inferred); else they are the least that serves every allocation.
    """
    by_lane = np.argsort(lane, kind="stable")
    lane, op = lane[by_lane], op[by_lane]
    taken = np.cumsum(op)
    starts = np.searchsorted(lane, np.arange(lanes + 1))
    before = np.concatenate(([0], taken))[starts]
    held, refilled = np.zeros(lanes, np.int64), np.zeros(lanes, np.bool_)
    for number in np.flatnonzero(np.diff(starts)).tolist():
        part = slice(starts[number], starts[number + 1])
        depth = taken[part] - before[number]
        refills = np.flatnonzero(op[part] == 0)
        # Frees to the list of another pageblock type can make the sum smaller than its least.
        upto = int(refills[0]) + 1 if len(refills) else len(depth)
        held[number] = max(int(depth[:upto].max()), 0)
        refilled[number] = len(refills) > 0
    return held, refilled


def with_pages(
    held: npt.NDArray[np.int64], refilled: npt.NDArray[np.bool_], pages: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """Blocks held, and single pages below them up to the number each CPU's lists had.

    Args:
        held: (CPUs, PCP_LISTS) blocks of blocks_at_start.
        refilled: (CPUs, PCP_LISTS) lists known to have held no more.
        pages: (CPUs) pages on all lists together (zoneinfo.parse_list_pages: observed).

    Returns:
        (CPUs, PCP_LISTS) blocks. What is missing is put on the movable list of order 0, or on
        another of order 0 where that one is known (assumed).
    """
    found = held.copy()
    sizes = 1 << np.array([list_order(index) for index in range(PCP_LISTS)])
    for cpu, missing in enumerate((pages - (held * sizes).sum(axis=1)).tolist()):
        unknown = [index for index in _BELOW if not refilled[cpu, index]]
        if missing > 0 and unknown:
            found[cpu, unknown[0]] += missing
    return found


def with_lists(zone: Zone, state: ZoneState, held: npt.NDArray[np.int64]) -> ZoneState:
    """The state with blocks on the lists, out of used pages of pageblocks of their type (assumed).

    Args:
        zone: the zone.
        state: what it holds; chunks are taken from the end of ``prior``.
        held: (CPUs, PCP_LISTS) blocks; where ``prior`` runs out, lists stay shorter.
    """
    types = bytearray(state.block_types)
    chunks = list(state.prior)
    room: dict[int, tuple[int, int]] = {}  # migratetype -> next pfn and end in its chunk
    lists = []
    # Large blocks first: each is aligned where the one before it ends.
    for index in sorted(range(PCP_LISTS), key=lambda index: -list_order(index)):
        order, kind = list_order(index), list_type(index)
        for cpu in range(held.shape[0]):
            blocks: list[int] = []
            while len(blocks) < held[cpu, index]:
                at, end = room.get(kind, (0, 0))
                if at + (1 << order) > end:
                    if not chunks:
                        break
                    at = chunks.pop()
                    end = at + PRIOR_CHUNK
                    first = block_index(zone, at)
                    types[first : first + PRIOR_CHUNK // PAGEBLOCK] = bytes([kind]) * 2
                blocks.append(at)
                room[kind] = at + (1 << order), end
            if blocks:
                lists.append((cpu, index, tuple(blocks)))
    return replace(state, block_types=bytes(types), prior=tuple(chunks), lists=tuple(lists))
