"""One cache through a window: sheaves planned, objects traced, slabs drawn from and flushed to."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.kernels.profile import MAX_PAGE_ORDER
from allocsim.slub.node_partial import INDEX_BITS
from allocsim.slub.object_chains import Reuse
from allocsim.slub.paths import Path
from allocsim.slub.requests import Op
from allocsim.slub.sheaves import shortage
from allocsim.slub.sheaves.plan import Sheaves, plan
from allocsim.slub.sheaves.stepwise import Steps
from allocsim.slub.slabs import Slabs
from allocsim.slub.slabs_bulk import flush_run, refill_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from allocsim.kernels.profile import CacheShape, SlubRules
    from allocsim.slub.sheaves.plan import Plan
    from allocsim.tables import Index, Ints

FAILED = -1  #: object of an allocation that failed
FIRST_CHUNK = 64  #: events tried at once behind a shortage


class CacheEvents(NamedTuple):
    """A window's events of one cache, in time order; ``objects`` and ``path`` are filled in.

    Args:
        cpu: CPU of each event.
        op: Op.
        parent: for a free, the event of this window that allocated its object; -1 if none did.
        objects: object of each event; on entry known for frees with parent -1.
        path: Path of each event.
        max_order: largest order to be had from the page allocator at each event; None: any.
        no_sheaf: events at which no sheaf can be allocated; None: at none.
        ts, run, left: as in ObjectRequests.
    """

    cpu: Ints
    op: npt.NDArray[np.int8]
    parent: Index
    objects: Index
    path: npt.NDArray[np.uint8]
    max_order: npt.NDArray[np.int8] | None
    no_sheaf: npt.NDArray[np.bool_] | None
    ts: Index | None = None
    run: Index | None = None
    left: npt.NDArray[np.int32] | None = None

    def part(self, begin: int, end: int) -> CacheEvents:
        """Views of the events from ``begin`` up to ``end``, counted from 0 again."""
        return CacheEvents(
            self.cpu[begin:end],
            self.op[begin:end],
            np.maximum(self.parent[begin:end] - begin, -1) if begin else self.parent[:end],
            self.objects[begin:end],
            self.path[begin:end],
            None if self.max_order is None else self.max_order[begin:end],
            None if self.no_sheaf is None else self.no_sheaf[begin:end],
            None if self.ts is None else self.ts[begin:end],
            None if self.run is None else self.run[begin:end],
            None if self.left is None else self.left[begin:end],
        )


@dataclass(slots=True)
class _Traced:
    """A stretch of events, planned, and where the objects are that it deals in.

    ``table``: the object at each end of a chain, in Reuse's order; the refills' are filled in as
    the slabs give them. ``contents``: the cells, to become those behind the stretch.
    """

    events: CacheEvents
    plan: Plan
    reuse: Reuse
    table: Index
    contents: Index


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
        self.number = number
        self.stat: Counter[str] = Counter()
        self.slabs = Slabs(shape, self.stat, number, freelist_order)
        #: Sheaves allocated (+1) and freed (-1) in this window: event, CPU, sheaf, which of both,
        #: and the page requests before it, of this window or of this event.
        self.sheaf_memory: list[tuple[int, int, int, int, int]] = []
        #: Page requests of this window made by callbacks of kfree_rcu: first, end, and the CPU.
        self.landed: list[tuple[int, int, int]] = []
        #: Object of its home that each sheaf is (sheaf_memory).
        self.sheaf_objects: dict[int, int] = {}
        self.failed = False
        self.flush_batch = rules.flush_batch
        self.max_empty = rules.max_empty_sheaves
        self.grace_ns = rules.grace_ns
        self.steps: Steps | None = None
        self.sheaves = Sheaves.cold(cpus, shape.capacity, rules.max_full_sheaves)
        #: Object in every cell of every sheaf, up to the sheaf's size.
        self.contents: Index = np.full(self.sheaves.count * shape.capacity, FAILED, np.int64)

    def take_up(self, slabs: Index, places: Ints, cpus: Ints) -> None:
        """Before any event: free objects of slabs older than the trace, as FreeBefore has them."""
        objects = slabs << INDEX_BITS | places
        listed = cpus < 0
        self.slabs.add_older(slabs[listed].tolist(), objects[listed].tolist())
        for cpu in np.unique(cpus[~listed]).tolist():
            self._fill(cpu, objects[cpus == cpu])

    def take_pages(self) -> Index:
        """Page requests since the last call: rows of event, slab, order, and +1 or -1 (i8)."""
        took = np.array(self.slabs.pages, np.int64).reshape(-1, 4)
        self.slabs.pages.clear()
        return took

    def _fill(self, cpu: int, objects: Index) -> None:
        """Before any event: put objects into a CPU's main sheaf, the next to be taken first.

        An empty spare comes with it.
        """
        sheaves = self.sheaves
        first = sheaves.main[cpu] * self.shape.capacity
        self.contents[first : first + len(objects)] = objects[::-1]
        sheaves.size[cpu] = len(objects)
        sheaves.spare[cpu] = sheaves.new_sheaf()
        self.contents = self.contents_for(sheaves.count)

    def replay(self, events: CacheEvents) -> None:
        """Replay a window's events."""
        self.sheaf_memory.clear()
        self.landed.clear()
        if not self.shape.capacity:
            self._without_sheaves(events)
            return
        if self.steps is None and np.any(np.abs(events.op) > 1):
            self.steps = Steps(self)
        if self.steps is not None:
            self.steps.replay(events)
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
        traced = self._trace(now)
        if traced is None:
            return begin
        grew: list[int] = []
        reached = self._batches(traced, grew, begin)
        if reached < len(traced.events.op):
            again = self._trace(now.part(0, reached))
            if again is None:
                return begin
            again.table[: again.reuse.slots] = traced.table[: again.reuse.slots]
            traced = again
        self._settle(traced, grew, begin)
        return begin + len(traced.events.op)

    def _trace(self, now: CacheEvents) -> _Traced | None:
        """Plan as many events as can be planned and follow their objects; None: not one can."""
        while len(now.op):
            planned = plan(self.sheaves, now.cpu, now.op, now.no_sheaf)
            if planned.stopped < 0:
                break
            now = now.part(0, planned.stopped)
        else:
            return None
        reuse = Reuse(planned, now.op, now.parent)
        contents = self.contents_for(planned.after.count)
        slots = np.empty(reuse.slots, np.int64)
        table = np.concatenate((slots, contents, now.objects[reuse.carried]))
        return _Traced(now, planned, reuse, table, contents)

    def contents_for(self, sheaves: int) -> Index:
        """A copy of the cells' contents with room for so many sheaves."""
        contents = np.full(sheaves * self.shape.capacity, FAILED, np.int64)
        contents[: len(self.contents)] = self.contents
        return contents

    def _batches(self, traced: _Traced, grew: list[int], begin: int) -> int:
        """Refill from and flush to the slabs, in time order, until a refill would come back short.

        Fills the refills' slots in the table and notes in ``grew`` the events that took a new slab.
        Returns the event reached.
        """
        capacity, table, orders = self.shape.capacity, traced.table, traced.events.max_order
        refills = [time for time, _, _ in traced.plan.refills]
        flushes = [time for time, _, _ in traced.plan.flushes]
        if orders is not None:
            return self._refusable(traced, refills, flushes, grew, begin)
        end = len(traced.events.op)
        at_refill = at_flush = 0
        while at_refill < len(refills) or at_flush < len(flushes):
            # No event does both.
            next_refill = refills[at_refill] if at_refill < len(refills) else end
            next_flush = flushes[at_flush] if at_flush < len(flushes) else end
            if next_refill < next_flush:
                first, at_refill = at_refill, bisect(refills, next_flush, at_refill)
                times = refills[first:at_refill]
                got, new = refill_run(self.slabs, [begin + time for time in times], capacity)
                table[first * capacity : at_refill * capacity] = got.reshape(-1)
                grew += [times[at] for at in new]
            else:
                first, at_flush = at_flush, bisect(flushes, next_refill, at_flush)
                times = [begin + time for time in flushes[first:at_flush]]
                flush_run(self.slabs, table.take(traced.reuse.flushed[first:at_flush]), times)
        return end

    def _refusable(
        self,
        traced: _Traced,
        refills: list[int],
        flushes: list[int],
        grew: list[int],
        begin: int,
    ) -> int:
        """As _batches, one by one, where the page allocator may refuse."""
        slabs, capacity, table = self.slabs, self.shape.capacity, traced.table
        orders, flushed = traced.events.max_order, traced.reuse.flushed
        batches = [(time, at, True) for at, time in enumerate(refills)]
        batches += [(time, at, False) for at, time in enumerate(flushes)]
        for time, at, refill in sorted(batches):
            if not refill:
                slabs.free_bulk(table.take(flushed[at]).tolist(), begin + time)
                continue
            max_order = MAX_PAGE_ORDER if orders is None else int(orders[time])
            if not slabs.may_grow(max_order) and slabs.falls_short(capacity):
                return time
            got, new = slabs.refill(capacity, begin + time, max_order)
            table[at * capacity : (at + 1) * capacity] = got
            if new:
                grew.append(time)
        return len(traced.events.op)

    def _settle(self, traced: _Traced, grew: list[int], begin: int) -> None:
        """Write down what became of the events, and carry the sheaves on."""
        now, planned, contents = traced.events, traced.plan, traced.contents
        traced.table.take(traced.reuse.source, out=now.objects, mode="clip")
        free = now.op < 0
        now.path[:] = free * np.uint8(Path.MAIN_PUSH - Path.MAIN_HIT) + np.uint8(Path.MAIN_HIT)
        now.path[planned.special] = planned.path
        now.path[grew] = Path.REFILL_NEW
        cells, sources = traced.reuse.held_at_end(planned)
        contents[cells] = traced.table[sources]
        self.contents = contents
        self.sheaves = planned.after
        self.sheaf_memory += [
            (begin + time, int(now.cpu[time]), sheaf, +1, 0) for time, sheaf in planned.made
        ]
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
        no_sheaf = events.no_sheaf is not None and bool(events.no_sheaf[at])
        events.objects[at], events.path[at] = shortage.alloc(
            self, int(events.cpu[at]), at, max_order, no_sheaf=no_sheaf
        )

    def in_sheaves(self) -> int:
        """Objects in the sheaves of all CPUs and of the barn."""
        if self.steps is not None:
            return self.steps.in_sheaves()
        sheaves, capacity = self.sheaves, self.shape.capacity
        full = len(sheaves.full) + sum(sheaves.spare_full)
        return sum(sheaves.size) + full * capacity if capacity else 0

    def partial_slabs(self) -> tuple[int, int]:
        """Slabs on partial lists, and the free objects on them."""
        return len(self.slabs.partial), self.slabs.partial.objects

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
            if op == Op.FREE_RCU:
                self.stat["free_rcu_sheaf_fail"] += 1
            paths[at] = Path.SLOW_FREE
        events.objects[:] = objects
        events.path[:] = paths
