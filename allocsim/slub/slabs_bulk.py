"""Many refills, or many flushes, of one cache at once: what its slabs give and take, in numpy.

Between a refill and a flush nothing is known beforehand: a refill gives what flushes before it gave
back. But the slow events of a cache come in runs of one kind, and within a run all is known: which
slabs a row of refills empties, in which order a row of flushes fills them. The rules are those of
allocsim.slub.slabs, one batch at a time, to which the results are equal.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.node_partial import INDEX_BITS, NO_ROW
from allocsim.slub.sheaves.slab_steps import LOOKAHEAD
from allocsim.tables import stable_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.slub.node_partial import PartialList
    from allocsim.slub.slabs import Slabs
    from allocsim.tables import Bools, Int64, Ints

_PLACE = (1 << INDEX_BITS) - 1


def refill_run(slabs: Slabs, times: Sequence[int], want: int) -> tuple[Int64, list[int]]:
    """Refills that follow one another, no pages being refused (R3.13).

    Args:
        slabs: the cache's slabs.
        times: the events that refill.
        want: objects of each.

    Returns:
        (refills, want) objects as Slabs.refill gives them, and which refills made a slab.
    """
    got = np.empty((len(times), want), np.int64)
    grew: list[int] = []
    at = 0
    while at < len(times):
        if slabs.partial.objects < want:
            made = _from_new_slabs(slabs, got[at:], times[at:])
            grew += (at + made).tolist()
            break
        at += _from_partial(slabs, got[at:])
    return got, grew


def _from_new_slabs(slabs: Slabs, got: Int64, times: Sequence[int]) -> Int64:
    """Serve refills when the list is too short for the first; which of them made a slab.

    From there on every refill takes what the one before has left of its last slab, and then new
    slabs: objects follow one another as the slabs hand them out.
    """
    shape, stat, partial = slabs.shape, slabs.stat, slabs.partial
    refills, want = got.shape
    stat["freelist_cmpxchg"] += len(partial)
    rows, entries = partial.ahead(want)
    on_list = _heads(partial, rows, partial.count[rows])
    partial.pass_by(int(entries.max(initial=-1)) + 1)
    partial.drop_many(rows)
    begins = np.arange(refills + 1) * want - len(on_list)  # in the new slabs' objects
    made = -(-np.maximum(begins, 0) // shape.objects)  # slabs made before
    spare = made * shape.objects - begins  # objects on the list then
    new = slabs.new_slabs(np.repeat(times, np.diff(made)).tolist())
    objects = np.concatenate((on_list, new.reshape(-1)))
    got[:] = objects[: refills * want].reshape(refills, want)
    grew = np.flatnonzero(np.diff(made))
    stat["list_lock"] += int(np.count_nonzero(spare[:-1])) + int(
        np.count_nonzero(spare[:-1] > want)
    )
    stat["list_lock"] += int(np.count_nonzero(spare[1:][grew]))
    stat["freelist_cmpxchg"] += int(np.count_nonzero(spare[1:-1])) + int(
        np.count_nonzero(spare[1:-1] > want)
    )
    rest = objects[refills * want :]
    if len(rest):
        partial.add(int(rest[0]) >> INDEX_BITS, rest[::-1] & _PLACE)
    return grew


def _from_partial(slabs: Slabs, got: Int64) -> int:
    """Serve as many refills as slabs now on the list can serve in full; how many they were.

    What is left of a refill's last slab goes to the tail, behind what is looked at here.
    """
    partial = slabs.partial
    wanted, want = got.shape
    rows, entries = partial.ahead(wanted * want)
    held = partial.count[rows].astype(np.int64)
    upto: list[int] = np.cumsum(held).tolist()
    lasts: list[int] = []  # of each refill, the last slab it takes from
    left: list[int] = []  # and what it leaves there
    reached = last = 0
    while len(lasts) < wanted:
        last = bisect_left(upto, reached + want, last)
        if last == len(upto):
            break
        lasts.append(last)
        left.append(upto[last] - reached - want)
        reached = upto[last]
    used = lasts[-1] + 1
    rows, held = rows[:used], held[:used]
    took = held.copy()
    took[lasts] -= left
    got[: len(lasts)] = _heads(partial, rows, took).reshape(len(lasts), want)
    partial.pass_by(int(entries[used - 1]) + 1)
    rest = np.flatnonzero(took < held)
    partial.hold(rows[rest], held[rest] - took[rest])
    partial.append(partial.slab[rows[rest]])
    partial.drop_many(rows[took == held])
    slabs.stat["list_lock"] += len(lasts) + len(rest)
    slabs.stat["freelist_cmpxchg"] += used + len(rest)
    return len(lasts)


def _heads(partial: PartialList, rows: Int64, took: Ints) -> Int64:
    """So many objects of each slab, head first: from the end of its free places (i8)."""
    ends = np.repeat(rows * partial.width + partial.count[rows] + np.cumsum(took) - took - 1, took)
    places = partial.free.reshape(-1).take(ends - np.arange(len(ends)))
    objects: Int64 = np.repeat(partial.slab[rows] << INDEX_BITS, took)
    objects |= places
    return objects


def flush_run(slabs: Slabs, objects: Int64, times: Sequence[int]) -> None:
    """Flushes that follow one another: their objects go back to their slabs (R3.17, R3.18).

    Args:
        slabs: the cache's slabs.
        objects: (flushes, objects) of each sheaf, in its order.
        times: the events that flush.
    """
    pushed, begins = _chains(objects)
    of_slab = pushed >> INDEX_BITS
    by_slab = stable_order(of_slab)
    grouped = of_slab.take(by_slab)
    starts = np.flatnonzero(np.diff(grouped, prepend=grouped[0] - 1))
    counts = np.diff(starts, append=len(grouped))
    names = grouped[starts]
    partial = slabs.partial
    before = len(partial)
    rows = partial.rows(names)
    new = np.flatnonzero(rows == NO_ROW)
    rows[new] = partial.new_rows(names[new])
    held = partial.count[rows].astype(np.int64)
    cells = np.repeat(rows * partial.width + held - starts, counts) + np.arange(len(grouped))
    partial.free.reshape(-1)[cells] = pushed.take(by_slab) & _PLACE
    now = held + counts
    partial.hold(rows, now)
    first = by_slab[starts]  # when each slab got its first object back
    new = new[np.argsort(first[new])]
    slabs.stat["freelist_cmpxchg"] += int(np.count_nonzero(begins))
    slabs.stat["list_lock"] += len(new)
    slabs.stat["free_add_partial"] += len(new)
    empty = np.flatnonzero(now == slabs.shape.objects)
    gone: list[int] = []
    if len(empty):
        last = by_slab[starts + counts - 1]
        gone = _empty(slabs, names, empty, first, last, begins, before, first[new], times)
        partial.drop_many(rows[gone])
        new = new[~np.isin(new, gone)]
    partial.append(names[new])


def _empty(  # noqa: PLR0913 - what is known of the slabs of a run
    slabs: Slabs,
    names: Int64,
    empty: Int64,
    first: Int64,
    last: Int64,
    begins: Bools,
    before: int,
    added: Int64,
    times: Sequence[int],
) -> list[int]:
    """Which of the slabs that became empty are freed, in the order they do so.

    Args:
        slabs: the cache's slabs.
        names: the slabs of the run.
        empty: which of them have all their objects back.
        first: place of each slab's first object among those pushed.
        last: of its last.
        begins: which places begin a chain.
        before: slabs on the list before the run.
        added: places at which slabs came onto it, rising.
        times: events of the flushes, which have equally many objects each.
    """
    stat, gone = slabs.stat, list[int]()
    empty = empty[np.argsort(last[empty])]
    start, end = first[empty], last[empty]
    chain = np.cumsum(begins)
    # A slab that was full and comes back in one chain never is on the list if it is freed.
    at_once = (chain[start] == chain[end]) & (end - start + 1 == slabs.shape.objects)
    stat["list_lock"] += len(empty) - int(np.count_nonzero(at_once))
    listed = before - at_once + added.searchsorted(np.where(at_once, start, end), "right")
    event = end // (len(begins) // len(times))
    columns = (empty, names[empty], listed, at_once, event)
    for slab, name, there, once, at in zip(*(each.tolist() for each in columns), strict=True):
        if there - len(gone) < slabs.shape.min_partial:
            continue
        gone.append(slab)
        stat["free_add_partial" if once else "free_remove_partial"] += -1 if once else 1
        slabs.discard(name, times[at])
    return gone


def _chains(objects: Int64) -> tuple[Int64, Bools]:
    """Objects in the order they are pushed, and which of them begin a chain (R3.18).

    A sheaf is gone through from its end; objects of one slab that follow one another are a chain.
    Where a slab comes again after one or two objects of others, these are passed over and
    compacted.
    """
    ordered = objects[:, ::-1].copy()
    slab = ordered >> INDEX_BITS
    width = slab.shape[1]
    begins = np.ones(slab.shape, np.bool_)
    np.not_equal(slab[:, 1:], slab[:, :-1], out=begins[:, 1:])
    again = np.zeros(slab.shape, np.bool_)
    for apart in range(2, min(LOOKAHEAD + 1, width)):
        again[:, :-apart] |= (slab[:, apart:] == slab[:, :-apart]) & begins[:, 1 : 1 - apart]
    rows = np.flatnonzero(again.any(axis=1))
    if len(rows):
        ordered[rows], begins[rows] = _compacted(ordered[rows], slab[rows], again[rows])
    return ordered.reshape(-1), begins.reshape(-1)


def _compacted(ordered: Int64, slab: Int64, again: Bools) -> tuple[Int64, Bools]:
    """Sheaves, last object first: the order of pushes, and the begins of chains.

    Only from where a slab comes again up to where nothing has moved are the objects gone through.

    Args:
        ordered: objects, the last of each sheaf first.
        slab: the slab of each.
        again: where one is the last of some and others come before the next of its slab.
    """
    width = slab.shape[1]
    objects, slabs = ordered.reshape(-1).tolist(), slab.reshape(-1).tolist()
    begins = np.ones(slab.shape, np.bool_)
    np.not_equal(slab[:, 1:], slab[:, :-1], out=begins[:, 1:])
    marks = bytearray(begins.tobytes())
    done = 0
    for start in np.flatnonzero(again).tolist():
        if start < done:
            continue
        stop = start + width - start % width
        done = moved = start
        while done <= moved:
            if done > start:
                marks[done] = 1
            of, end, misses = slabs[done], done + 1, 0
            for at in range(end, stop):
                if slabs[at] != of:
                    misses += 1
                    if misses == LOOKAHEAD:
                        break
                    continue
                if misses:
                    objects[at], objects[end] = objects[end], objects[at]
                    slabs[at], slabs[end] = slabs[end], slabs[at]
                    moved = at
                marks[end] = 0
                end += 1
            done = end
        if done < stop:
            marks[done] = 1
    return (
        np.array(objects, np.int64).reshape(slab.shape),
        np.frombuffer(marks, np.bool_).reshape(slab.shape),
    )
