"""One cache through a window: sheaves planned, objects traced, slabs refilled from and flushed to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim import shortage
from allocsim.paths import Path
from allocsim.profile import MAX_PAGE_ORDER
from allocsim.reuse import Reuse
from allocsim.sheaves import Sheaves, plan
from allocsim.slabs import INDEX_BITS, Slabs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from allocsim.lanes import Ints
    from allocsim.profile import CacheShape, SlubRules
    from allocsim.sheaves import Plan

FAILED = -1  #: object of an allocation that failed
FIRST_CHUNK = 64  #: events tried at once behind a shortage


class CacheEvents(NamedTuple):
    """A window's events of one cache, in time order; ``objects`` and ``path`` are filled in.

    Args:
        cpu: CPU of each event.
        op: +1 allocation, -1 free.
        parent: for a free, the event of this window that allocated its object; -1 if none did.
        objects: object of each event; on entry known for frees with parent -1.
        path: Path of each event.
        max_order: largest order to be had from the page allocator at each event; None: any.
    """

    cpu: Ints
    op: npt.NDArray[np.int8]
    parent: npt.NDArray[np.int64]
    objects: npt.NDArray[np.int64]
    path: npt.NDArray[np.uint8]
    max_order: npt.NDArray[np.int8] | None

    def part(self, begin: int, end: int) -> CacheEvents:
        """Views of the events from ``begin`` up to ``end``, counted from 0 again."""
        return CacheEvents(
            self.cpu[begin:end],
            self.op[begin:end],
            np.maximum(self.parent[begin:end] - begin, -1) if begin else self.parent[:end],
            self.objects[begin:end],
            self.path[begin:end],
            None if self.max_order is None else self.max_order[begin:end],
        )


class CacheReplay:
    """State of one cache between windows.

    Args:
        shape: the cache.
        rules: the kernel version's numbers.
        number: the cache's number.
        cpus: CPUs that may appear.
        freelist_order: as Slub has it.
    """

    def __init__(
        self,
        shape: CacheShape,
        rules: SlubRules,
        number: int,
        cpus: int,
        freelist_order: Callable[[int, int, int], Sequence[int]] | None,
    ) -> None:
        self.shape = shape
        self.stat: Counter[str] = Counter()
        self.slabs = Slabs(shape, self.stat, number, freelist_order)
        self.failed = False
        self.flush_batch = rules.flush_batch
        self.sheaves = Sheaves.cold(cpus, shape.capacity, rules.max_full_sheaves)
        #: Object in every cell of every sheaf, up to the sheaf's size.
        self.contents = np.full(self.sheaves.count * shape.capacity, FAILED, np.int64)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events."""
        if not self.shape.capacity:
            self._without_sheaves(events)
            return
        begin, count = 0, len(events.op)
        chunk = count
        while begin < count:
            end = min(count, begin + chunk)
            begin = self._stretch(events, begin, end)
            chunk *= 2
            if begin < end:
                self._alone(events, begin)
                begin += 1
                chunk = FIRST_CHUNK

    def _stretch(self, events: CacheEvents, begin: int, end: int) -> int:
        """Replay from ``begin`` to ``end``, or up to an event that must be replayed alone.

        Such an event is found either by the plan (no sheaf to be had), or by a refill, when the
        slabs have been through all that comes before it: then the rest is planned once more, for
        the events up to there.
        """
        if begin:
            parent = events.parent[begin:end]
            older = begin + np.flatnonzero((parent >= 0) & (parent < begin))
            events.objects[older] = events.objects[events.parent[older]]
        now = events.part(begin, end)
        if self.failed:
            ignored = np.flatnonzero((now.op < 0) & (now.parent < 0) & (now.objects == FAILED))
            now = now.part(0, int(ignored[0])) if len(ignored) else now
        planned, now = self._plan(now)
        if planned is None:
            return begin
        reuse = Reuse(planned, now.op, now.parent)
        contents = self.contents_for(planned.after.count)
        table = np.concatenate(
            (np.empty(reuse.slots, np.int64), contents, now.objects[reuse.carried])
        )
        grew: list[int] = []
        reached = self._batches(planned, reuse, now, table, grew, begin)
        if reached < len(now.op):
            slots = table[: reuse.slots]
            planned, now = self._plan(now.part(0, reached))
            if planned is None:
                return begin
            reuse = Reuse(planned, now.op, now.parent)
            contents = self.contents_for(planned.after.count)
            table = np.concatenate((slots[: reuse.slots], contents, now.objects[reuse.carried]))
        self._settle(planned, reuse, now, table, grew, contents)
        return begin + len(now.op)

    def _plan(self, now: CacheEvents) -> tuple[Plan | None, CacheEvents]:
        """The plan for as many events as can be planned, and those events."""
        refused = None if now.max_order is None else now.max_order < 0
        while len(now.op):
            planned = plan(self.sheaves, now.cpu, now.op, refused)
            if planned.stopped < 0:
                return planned, now
            now = now.part(0, planned.stopped)
        return None, now

    def contents_for(self, sheaves: int) -> npt.NDArray[np.int64]:
        """A copy of the cells' contents with room for so many sheaves."""
        contents = np.full(sheaves * self.shape.capacity, FAILED, np.int64)
        contents[: len(self.contents)] = self.contents
        return contents

    def _batches(
        self,
        planned: Plan,
        reuse: Reuse,
        now: CacheEvents,
        table: npt.NDArray[np.int64],
        grew: list[int],
        begin: int,
    ) -> int:
        """Refill from and flush to the slabs, in time order, until a refill would come back short.

        Fills the refills' slots in ``table`` and notes in ``grew`` the events that took a new slab.
        Returns the event reached.
        """
        slabs, capacity = self.slabs, self.shape.capacity
        batches = [(time, at, True) for at, (time, _, _) in enumerate(planned.refills)]
        batches += [(time, at, False) for at, (time, _, _) in enumerate(planned.flushes)]
        batches.sort()
        for time, at, refill in batches:
            if not refill:
                slabs.free_bulk(table[reuse.flushed[at]].tolist(), begin + time)
                continue
            max_order = MAX_PAGE_ORDER if now.max_order is None else int(now.max_order[time])
            if not slabs.may_grow(max_order) and slabs.falls_short(capacity):
                return time
            got, new = slabs.refill(capacity, begin + time, max_order)
            table[at * capacity : (at + 1) * capacity] = got
            if new:
                grew.append(time)
        return len(now.op)

    def _settle(
        self,
        planned: Plan,
        reuse: Reuse,
        now: CacheEvents,
        table: npt.NDArray[np.int64],
        grew: list[int],
        contents: npt.NDArray[np.int64],
    ) -> None:
        """Write down what became of the events, and carry the sheaves on."""
        table.take(reuse.source, out=now.objects, mode="clip")
        free = now.op < 0
        now.path[:] = free * np.uint8(Path.MAIN_PUSH - Path.MAIN_HIT) + np.uint8(Path.MAIN_HIT)
        now.path[planned.special] = planned.path
        now.path[grew] = Path.REFILL_NEW
        cells, sources = reuse.held_at_end(planned)
        contents[cells] = table[sources]
        self.contents = contents
        self.sheaves = planned.after
        frees = int(np.count_nonzero(free))
        stat, capacity = self.stat, self.shape.capacity
        stat.update(planned.stat)
        stat["alloc_fastpath"] += len(free) - frees
        stat["free_fastpath"] += frees
        stat["sheaf_refill"] += len(planned.refills) * capacity
        stat["sheaf_flush"] += len(planned.flushes) * capacity

    def _alone(self, events: CacheEvents, at: int) -> None:
        """Replay one event that runs into a shortage, or frees what could not be allocated."""
        if events.parent[at] >= 0:
            events.objects[at] = events.objects[events.parent[at]]
        if events.op[at] < 0:
            found = int(events.objects[at])
            if found == FAILED:
                events.path[at] = Path.IGNORED
                return
            events.path[at] = shortage.free(self, int(events.cpu[at]), found, at)
            return
        max_order = MAX_PAGE_ORDER if events.max_order is None else int(events.max_order[at])
        events.objects[at], events.path[at] = shortage.alloc(
            self, int(events.cpu[at]), at, max_order
        )

    def in_sheaves(self) -> int:
        """Objects in the sheaves of all CPUs and of the barn."""
        sheaves, capacity = self.sheaves, self.shape.capacity
        full = len(sheaves.full) + sum(sheaves.spare_full)
        return sum(sheaves.size) + full * capacity if capacity else 0

    def slow_alloc(self, time: int, max_order: int) -> tuple[int, int]:
        """One object by the slow path (R3.15): object, FAILED if there is none, and path."""
        found, new = self.slabs.take_one(time, max_order)
        if found is None:
            self.failed = True
            return FAILED, Path.FAILED
        return found, Path.SLOW_NEW if new else Path.SLOW_PARTIAL

    def _without_sheaves(self, events: CacheEvents) -> None:
        """A cache without sheaves: every event is a batch of its own (R3.11, R3.15, R3.17)."""
        objects, paths = events.objects.tolist(), events.path.tolist()
        orders = None if events.max_order is None else events.max_order.tolist()
        for at, (op, parent) in enumerate(
            zip(events.op.tolist(), events.parent.tolist(), strict=True)
        ):
            if op > 0:
                max_order = MAX_PAGE_ORDER if orders is None else orders[at]
                objects[at], paths[at] = self.slow_alloc(at, max_order)
                continue
            if parent >= 0:
                objects[at] = objects[parent]
            found = objects[at]
            if found == FAILED:
                paths[at] = Path.IGNORED
                continue
            self.slabs.free_chain(found >> INDEX_BITS, [found], at)
            self.stat["free_slowpath"] += 1
            paths[at] = Path.SLOW_FREE
        events.objects[:] = objects
        events.path[:] = paths
