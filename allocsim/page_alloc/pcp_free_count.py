"""The memory of a pcp list: free_count, halved by every allocation (R4.6, R4.7).

f -> f >> 1 at an allocation, f -> f + pages at a free (while f is below its cap). Nested integer
halvings compose exactly: with a_k pages freed between halving k and k + 1,

    f after m halvings = (f + a_0 + 2 a_1 + 4 a_2 + ... + 2^(m-1) a_(m-1)) >> m

as whole numbers, so the value after any batch of events follows without stepping through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_alloc.zones import MAX_PAGE_ORDER

if TYPE_CHECKING:
    from allocsim.tables import Bools, Float64, Ints

_FEW = 48  #: halvings done one by one
_LOOK_BACK = 128  #: events looked at first


def free_count_after(start: int, pages: Ints, halves: Bools, cap: int) -> int:
    """free_count after a batch of one CPU's events in one zone.

    Args:
        start: free_count before the first event.
        pages: pages freed by each event, 0 for an allocation.
        halves: True for an allocation that halves (not one of alloc_pages_bulk, R4.14).
        cap: free_count grows while it is below this.
    """
    if len(pages) > _LOOK_BACK:
        most = max(start, cap - 1 + (1 << MAX_PAGE_ORDER))
        low, high = _recent(most, pages[-_LOOK_BACK:], halves[-_LOOK_BACK:], cap)
        if low == high:
            return low
    return _after(start, pages, halves, cap)


def _recent(most: int, pages: Ints, halves: Bools, cap: int) -> tuple[int, int]:
    """Bounds of free_count after a few events from anything up to ``most``.

    Old events are forgotten but for a carry; mostly the bounds meet.
    """
    low, high = 0, most
    for freed, halved in zip(pages.tolist(), halves.tolist(), strict=True):
        if halved:
            low >>= 1
            high >>= 1
        else:
            low = min(low + freed, max(low, cap))
            high = high + freed if high < cap else max(high, cap - 1 + freed)
    return low, high


def _after(start: int, pages: Ints, halves: Bools, cap: int) -> int:
    if not len(pages):
        return start
    run = np.cumsum(halves)
    last = int(run[-1])
    freed = np.bincount(run, weights=pages, minlength=last + 1).astype(np.int64)
    most = max(start, cap - 1 + int(pages.max()))
    may_reach_cap = freed > cap - (most >> 1)
    may_reach_cap[0] = freed[0] > cap - start
    value, at = start, 0
    for k in np.flatnonzero(may_reach_cap).tolist():
        value = _halvings(value, freed[at:k])
        first, behind = np.searchsorted(run, [k, k + 1]).tolist()
        value = _run_to_cap(value, pages[first:behind], cap)
        at = k + 1
        if k == last:
            return value
        value >>= 1
    return _halvings(value, freed[at:last]) + int(freed[last])


def _run_to_cap(value: int, pages: Ints, cap: int) -> int:
    """Frees without an allocation between: they add until the cap is reached or passed."""
    if value >= cap:
        return value
    reached = value + np.cumsum(pages)
    return int(reached[min(int(np.searchsorted(reached, cap)), len(reached) - 1)])


def _halvings(value: int, freed: Ints) -> int:
    """The value after (value + freed[k]) >> 1 for each k, in one big number."""
    if len(freed) <= _FEW:
        for pages in freed.tolist():
            value = (value + pages) >> 1
        return value
    total = value
    for plane in range(int(freed.max()).bit_length()):
        bits = np.packbits((freed >> plane & 1).astype(bool), bitorder="little")
        total += int.from_bytes(bits.tobytes(), "little") << plane
    return total >> len(freed)


def free_count_bound(start: int, pages: Ints, halves: Bools, cap: int) -> Float64:
    """An upper bound of free_count before each free: that at the end of its run of frees.

    Args:
        start: free_count before the first event, in pages.
        pages: pages that each event frees; 0 of an allocation (integer).
        halves: events that halve free_count (bool).
        cap: pages at which it stops growing.

    Returns:
        Pages, one value an event (f8).
    """
    run = np.cumsum(halves)
    freed = np.bincount(run, weights=pages).astype(np.float64)
    freed[0] += start
    for step in (1, 2, 4, 8):
        earlier: Float64 = freed[:-step] * 0.5**step
        freed[step:] += earlier
    most = max(start, cap - 1 + int(pages.max(initial=0)))
    return freed[run] + most / 65536.0
