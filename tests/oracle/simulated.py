"""Simulated placement, one event at a time: requests, SLUB, the page allocator, in plain Python.

Drives the oracles of the two layers, and makes the requests itself. Slow, and easy to follow.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.release import Generation
from allocsim.page_alloc.allocator import ATOMIC, NO_RECLAIM
from allocsim.page_alloc.nodes import NO_NODE
from allocsim.page_alloc.paths import PagePath
from allocsim.slub.requests import Op
from allocsim.slub.sheaves.sheaf_kmalloc import sheaf_kmalloc_caches
from tests.oracle.asked_sheaves import AskedSheaves
from tests.oracle.cpu_slabs import Cache as CpuSlabsCache
from tests.oracle.cpu_slabs import CpuSlabs
from tests.oracle.page_lists import PageAllocator
from tests.oracle.slub import Slub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocsim.kernels.cache_shapes import CacheShape
    from allocsim.kernels.profile import Profile
    from allocsim.page_alloc.zones import MachineZones

KMALLOC, KFREE, CACHE_ALLOC, CACHE_FREE, PAGE_ALLOC, PAGE_FREE = range(6)
DMA, HIGHMEM, DMA32, MOVABLE, RECLAIMABLE = 0x01, 0x02, 0x04, 0x08, 0x10
MILLISECOND = 1_000_000  # ns; between two events that are not told when they were
HIGH, DIRECT_RECLAIM, NOMEMALLOC = 0x20, 0x400, 0x80000
URGENCY = HIGH | DIRECT_RECLAIM | NOMEMALLOC  # R4.4: HIGH alone of these may use the reserve


@dataclass
class Event:
    """One event of a trace, and what the replay of the recording said of it.

    ``cache``: number of the object's cache, None if it has none: because it is ``large``, a kmalloc
    of whole pages, because the cache is ``unsized``, or because it is not known; ``page``: (event
    that allocated the page or None, its first pfn, whether it is a slab's), None if it belongs to
    no page; ``block``: of a free by vfree (R4.31), the order of the block if it is the last of its
    pages, -1 if it is another; ``rcu``: a free of which a probe says that kfree_rcu put the object
    into a sheaf (T19), ``due`` when that came back (I12), -1: nothing tells; ``node``: the
    memory node that an allocation names.
    """

    seq: int
    cpu: int
    code: int
    ptr: int = 0
    metadata: bool = False
    cache: int | None = None
    pfn: int = 0
    order: int = 0
    gfp: int = 0
    page: tuple[int | None, int, bool] | None = None
    ts: int = -1
    block: int = 0
    large: bool = False
    unsized: bool = False
    rcu: bool = False
    due: int = -1
    node: int = NO_NODE

    def __post_init__(self) -> None:
        if self.ts < 0:
            self.ts = self.seq * MILLISECOND


def _free(event: Event) -> Op:
    return Op.FREE_RCU if event.rcu else Op.FREE


@dataclass
class Placed:
    """What became of the events: seq -> (path, slab, index, pfn), in the model's numbers."""

    events: dict[int, tuple[str, int, int, int]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    slabs: dict[int, list[Any]] = field(default_factory=dict)  # cache, order, pfn, born, gone


class Simulated:
    """Both layers.

    Args:
        shapes: the shape of each cache.
        kinds: migratetype of each cache's slab pages.
        highest: highest zone of each cache's slab pages.
        machine: the zones.
        pre_trace: handle -> (slab key, index) of objects live before the trace.
        free_before: (cache, slab key, index, CPU or -1) of free objects of older slabs.
        untraced: (time, handle, cache, CPU) of frees that no event shows, in this order.
        runs: event -> (run, left) of allocations out of prefilled sheaves.
        exhaustible: expect refused slab pages: copy everything before events that may ask.
        turns: events before which the vmstat worker has its turn on every CPU, as often as it has.
        profile: the kernel version.
        older_node: node of slabs older than the trace, by key -2 downwards.
        own_nodes: pages come from the node of the CPU, not from that of the recorded page.
    """

    def __init__(
        self,
        shapes: Sequence[CacheShape],
        kinds: Sequence[int],
        highest: Sequence[int],
        machine: MachineZones,
        pre_trace: dict[int, tuple[int, int]],
        free_before: Iterable[tuple[int, int, int, int]],
        *,
        untraced: Sequence[tuple[int, int, int, int]] = (),
        runs: Mapping[int, tuple[int, int]] | None = None,
        exhaustible: bool = False,
        turns: Sequence[int] = (),
        profile: Profile = LINUX_7_2,
        older_node: Sequence[int] = (),
        own_nodes: bool = False,
    ) -> None:
        self.turns = Counter(turns)
        self.untraced = deque(untraced)
        self.ready: list[tuple[int, int, int, int]] = []  # due, perhaps not yet allocated
        self.runs = runs or {}
        self.limit = 10
        self.slub: Slub | CpuSlabs
        nodes: dict[str, Any] = {"older_node": older_node}
        if machine.memory_nodes.count > 1:
            nodes["nodes"] = machine.memory_nodes
        if profile.slub.generation is Generation.SHEAVES_ASKED:
            self.slub = AskedSheaves(
                shapes,
                max_order=self._max_order,
                existing=pre_trace,
                free_before=free_before,
                kmalloc_caches=sheaf_kmalloc_caches(profile.slub, shapes),
                **nodes,
            )
        elif profile.slub.generation is Generation.CPU_SLABS:
            self.slub = CpuSlabs(
                shapes,
                max_order=self._max_order,
                existing=pre_trace,
                free_before=free_before,
                **nodes,
            )
        else:
            self.slub = Slub(
                shapes,
                max_order=self._max_order,
                existing=pre_trace,
                free_before=free_before,
                kmalloc_caches=sheaf_kmalloc_caches(profile.slub, shapes),
                **nodes,
            )
        self.pages = PageAllocator(machine)
        self.kinds, self.highest = kinds, highest
        self.cpus = machine.cpus
        self.last = max(z % machine.classes for z, zone in enumerate(machine.zones) if zone.managed)
        self.own_nodes = own_nodes
        self.pre_trace = pre_trace
        self.exhaustible = exhaustible
        self.due: dict[int, int] = {}  # by handle, of frees that a probe shows
        self.live: dict[int, Event] = {}  # address -> the allocation of what is there
        self.placed = Placed()

    def _max_order(self, _seq: int) -> int:
        return self.limit

    def run(self, events: list[Event]) -> Placed:
        for event in events:
            for _ in range(self.turns[event.seq]):
                for cpu in range(self.cpus):
                    self.pages.event(cpu, 0)
            if event.code <= CACHE_FREE:
                self._object_event(event)
            elif event.code <= PAGE_FREE:
                self._page_event(event)
        return self.placed

    # -- requests

    def _object_event(self, event: Event) -> None:
        if event.ptr <= 16:
            return
        counts = self.placed.counts
        counts["metadata_events"] += event.metadata
        if event.code in (KMALLOC, CACHE_ALLOC):
            self._allocation(event)
        elif event.ptr in self.live:
            born = self.live.pop(event.ptr)
            if born.metadata or born.large:
                return
            if born.cache is None:
                self._left_out("frees_left_out")
            else:
                self._shown(event, born.cache, _free(event), born.seq)
        elif event.metadata or event.large:
            return
        elif event.unsized:
            self._left_out("frees_of_unsized_cache")
        elif event.cache is None:
            self._left_out("frees_of_unknown_cache")
        elif event.seq not in self.pre_trace:
            self._left_out("frees_of_unseen_allocations")
        else:
            self._shown(event, event.cache, _free(event), event.seq)

    def _allocation(self, event: Event) -> None:
        self.live[event.ptr] = event
        if event.metadata or event.large:
            return
        if event.cache is None:
            self._left_out("allocations_left_out")
        else:
            op = Op.FROM_SHEAF if event.seq in self.runs else Op.ALLOC
            self._shown(event, event.cache, op, event.seq)

    def _left_out(self, why: str) -> None:
        self.placed.counts[why] += 1
        self.placed.counts["recorded_requests"] += 1

    def _shown(self, event: Event, cache: int, op: Op, handle: int) -> None:
        """A request that is an event, behind the untraced frees that are due before it."""
        while self.untraced and self.untraced[0][0] <= event.ts:
            self.ready.append(self.untraced.popleft())
        due = [free for free in self.ready if free[1] < event.seq]
        self.ready = [free for free in self.ready if free[1] >= event.seq]
        self.placed.counts["inferred_frees"] += len(due)
        self.placed.counts["recorded_requests"] += 1
        asked = [(cpu, of, Op.FREE_RCU, object_) for _, object_, of, cpu in due]
        if op == Op.FREE_RCU:
            self.due[handle] = event.due
        self._requests(event, [*asked, (event.cpu, cache, op, handle)])

    def _page_event(self, event: Event) -> None:
        born, first, slab = event.page or (None, 0, False)
        if event.code == PAGE_ALLOC and event.pfn < 0:
            self.placed.counts["failed_page_allocations_left_out"] += 1
            return
        if slab:
            return
        if event.block < 0:  # freed with the last page of its block
            self.placed.counts["page_frees_joined"] += 1
            return
        cpu = event.cpu % self.cpus
        if event.code == PAGE_ALLOC:
            kind = 1 if event.gfp & MOVABLE else 2 if event.gfp & RECLAIMABLE else 0
            found = self.pages.event(
                cpu,
                +1,
                ("page", event.seq),
                event.order,
                kind,
                highest=self._highest(event.gfp) + self._first_zone(cpu, event.pfn),
                flags=ATOMIC if event.gfp & URGENCY == HIGH else 0,
            )
        elif born is None:
            self.placed.counts["unknown_page_frees"] += 1
            found = self.pages.event(cpu, -1, "older", event.order)
        elif event.block:
            found = self.pages.event(cpu, -1, ("page", born), event.block)
        else:
            found = self.pages.event(cpu, -1, ("page", born), event.order, offset=event.pfn - first)
        self.placed.counts["refused_pages"] += found.path == PagePath.NO_BLOCK
        self.placed.events[event.seq] = (found.path.name.lower(), -1, -1, found.pfn)

    def _first_zone(self, cpu: int, pfn: int) -> int:
        """The first zone of the node that the page lies on; or the CPU."""
        machine = self.pages.machine
        if machine.memory_nodes.count == 1:
            return 0
        if self.own_nodes:
            return machine.memory_nodes.of_cpu[cpu] * machine.classes
        below = [
            z for z, zone in enumerate(machine.zones) if zone.managed and zone.start_pfn <= pfn
        ]
        return max(below, default=0) // machine.classes * machine.classes

    def _highest(self, gfp: int) -> int:
        """include/linux/gfp.h:gfp_zone; a zone the machine lacks falls to Normal, then the last."""
        machine = self.pages.machine
        names = [zone.name for zone in machine.zones[: machine.classes]]
        wanted = "Normal"
        if gfp & DMA:
            wanted = "DMA"
        elif gfp & DMA32:
            wanted = "DMA32"
        elif gfp & HIGHMEM and gfp & MOVABLE:
            wanted = "Movable"
        if wanted not in names:
            wanted = "Normal"
        return names.index(wanted) if wanted in names else self.last

    # -- objects and their slabs' pages

    def _requests(self, event: Event, asked: list[tuple[int, int, Op, int]]) -> None:
        """Requests (CPU, cache, op, handle) of one event, its own last; limited alike."""
        limit = 10
        may_ask = self.exhaustible and any(self._may_ask(*request[:3]) for request in asked)
        while True:
            if may_ask:
                before = self._remember()
            self.limit = limit
            refused = None
            for cpu, cache, op, handle in asked:
                found = self._slub_event(event, cpu % self.cpus, cache, op, handle)
                if isinstance(found, int):
                    refused = found
                    break
            if refused is None:
                break
            assert may_ask
            limit = refused - 1
            self._recall(before)
        self.placed.counts["refused_slab_events"] += limit < 10
        path, slab, index = found
        self.placed.events[event.seq] = (path, slab, index, -1)

    def _remember(self) -> bytes:
        """All that an event may change."""
        file = BytesIO()
        _Pickler(file, self._shared()).dump(
            (self.slub.caches, self.slub.live, self.slub.pages, self.pages)
        )
        return file.getvalue()

    def _recall(self, state: bytes) -> None:
        found = _Unpickler(BytesIO(state), self._shared()).load()
        self.slub.caches, self.slub.live, self.slub.pages, self.pages = found

    def _shared(self) -> tuple[object, ...]:
        """What stays the same object when a state is recalled."""
        below = [self.slub.below] if isinstance(self.slub, AskedSheaves) else []
        return self.slub, *below, self.pages.machine

    def _may_ask(self, cpu: int, number: int, op: Op) -> bool:
        """Whether a request may need a page. Also a free may: for a sheaf, an object itself."""
        cache = self.slub.caches[number]
        if self.pages.machine.memory_nodes.count > 1:
            return True
        if isinstance(cache, CpuSlabsCache):
            c = cache.cpus.get(cpu % self.cpus)
            return op > 0 and (c is None or not c.freelist)
        pcs = cache.pcs.get(cpu % self.cpus)
        if pcs is None or cache.after_grace or op not in (Op.ALLOC, Op.FREE):
            return True
        return len(pcs.main.objects) == (0 if op > 0 else cache.shape.capacity)

    def _slub_event(
        self, event: Event, cpu: int, cache: int, op: Op, handle: int
    ) -> tuple[str, int, int] | int:
        """One request and the pages it asks for: what it gives, or the order that was refused."""
        asked = len(self.slub.pages)
        run, left = self.runs.get(event.seq, (0, 0)) if op == Op.FROM_SHEAF else (0, 0)
        due = self.due.get(handle, -1)
        node = event.node if event.node < self.pages.machine.memory_nodes.count else NO_NODE
        found = self.slub.event(
            event.seq,
            cpu,
            cache,
            op,
            handle,
            event.ts,
            run,
            left,
            due,
            node if op == Op.ALLOC else NO_NODE,
        )
        refused = self._serve(self.slub.pages[asked:])
        return found if refused is None else refused

    # -- pages of slabs

    def _serve(self, wanted: Iterable[tuple[int, ...]]) -> int | None:
        """Slab pages asked for and given back by one event; the order of the first refused."""
        lives = []
        for seq, cpu, cache, slab, order, way, node in wanted:
            if way > 0:
                found = self.pages.event(
                    cpu,
                    +1,
                    ("slab", slab),
                    order,
                    self.kinds[cache],
                    highest=self.highest[cache] + node * self.pages.machine.classes,
                    # R3.7, allocate_slab: the order preferred to the fallback has no reclaim.
                    flags=NO_RECLAIM if order > self.slub.caches[cache].shape.min_order else 0,
                )
                if found.path == PagePath.NO_BLOCK:
                    return order
                lives.append((slab, [cache, order, found.pfn, seq, -1]))
            else:
                found = self.pages.event(cpu, -1, ("slab", slab), order)
                lives.append((slab, [cache, order, found.pfn, -1, seq]))
        for slab, life in lives:
            if slab in self.placed.slabs:
                self.placed.slabs[slab][4] = life[4]
            else:
                self.placed.slabs[slab] = life
        return None


class _Pickler(pickle.Pickler):
    """Remembers in a third of the time of a deep copy."""

    def __init__(self, file: BytesIO, shared: tuple[object, ...]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._places = {id(each): place for place, each in enumerate(shared)}

    def persistent_id(self, obj: object) -> int | None:
        return self._places.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, shared: tuple[object, ...]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, pid: int) -> object:
        return self._shared[pid]
