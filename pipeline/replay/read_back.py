"""Reading a recorded run back: who its objects' caches and its events' pages are.

A replay learns some of that only windows later, so requests are made from what it has stored, and
from the columns of the trace set that are not (addresses, gfp flags).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.initial_state.assumed_zones import assumed_states
from allocsim.initial_state.cpu_nodes import cpu_nodes, parse_cpulists
from allocsim.initial_state.pcp_limits import LimitsAtStart
from allocsim.initial_state.pcp_lists import COLUMNS as LIST_COLUMNS
from allocsim.initial_state.pcp_lists import LIST_PAGES, ListsAtStart
from allocsim.initial_state.slabs import FirstSeen
from allocsim.initial_state.vmstat_worker import VmstatTurns
from allocsim.initial_state.zone_fallbacks import ZoneFallbacks
from allocsim.kernels.kmalloc_partitions import MERGED, NO_SITES, KmallocSites, is_normal
from allocsim.kernels.release import GFP_BITS
from allocsim.kernels.slub_rules import GRACE_NS
from allocsim.page_alloc.nodes import Nodes, one_node
from allocsim.recording import requests as recorded_requests
from allocsim.recording.cache_names import kmalloc_slots
from allocsim.recording.rcu_sheaves import Callbacks, RcuFrees, SheavesDue, sheaves_due
from allocsim.recording.requests import (
    UNKNOWN_CACHE,
    UNSIZED_CACHE,
    WHOLE_PAGES,
    RecordedObjects,
    RecordedPages,
    RecordedRequests,
)
from allocsim.recording.sheaf_runs import CACHE
from allocsim.trace.events import Ev, Probe
from allocsim.trace.results import How
from pipeline.processes.prefetch import prefetch
from pipeline.replay.settings import recorded_copies, span_ns
from pipeline.replay.synthetic_free_lists import free_places
from pipeline.replay.untraced_frees import MIDDLE, find_untraced
from pipeline.replay.world import (
    Recorded,
    has_thp,
    pre_trace_handles,
    recorded_facts,
    recorded_lists,
    recorded_nodes,
    recorded_zones,
    zones_at_start,
)
from pipeline.trace_set.machine import kernel_caches

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    import duckdb

    from allocsim.initial_state.sysfs_slab import CacheFacts
    from allocsim.page_alloc.zones import Zone
    from allocsim.recording.requests import RequestWindow
    from allocsim.tables import Array, Bools, Int32, UInt64
    from pipeline.trace_set.reader import TraceSet, Window

_ORIGINS = """
SELECT origin, event IN ('kfree', 'kmem_cache_free') AS frees, bytes_alloc,
    coalesce(call_site, 0::UBIGINT) AS call_site, event = 'kmalloc' AS kmalloc,
    -- Without a rule that found it or might have: whole pages.
    if(cache_how IS NULL, $pages, coalesce(cache, $unknown))::INTEGER AS cache,
    cache IS NULL AND cache_how IS NOT NULL AND NOT frees
    AND bytes_alloc IS NOT NULL AND call_site IS NOT NULL AS unnamed
FROM internal.object_origins WHERE run = $run ORDER BY origin
"""
_OBJECTS_OF = """
SELECT seq, origin, coalesce(object, -1) AS object FROM internal.object_facts
WHERE run = $run AND seq BETWEEN $first AND $last
"""
# Requests that need no memory for DMA are served of what would be ZONE_DMA: there is none, for what
# it keeps from them is nearly all it has (mm/page_alloc.c:setup_per_zone_lowmem_reserve).
_FROM_DMA = """
SELECT 1 FROM pages
WHERE run = ? AND pfn < ? AND alloc_seq IS NOT NULL AND gfp_flags & ? = 0 LIMIT 1
"""
_DMA = (1 << 12, GFP_BITS["__GFP_DMA"])  # MAX_DMA_PFN (arch/x86/include/asm/dma.h, 7.2)
# Pages that were not allocated in the trace.
_PRE_TRACE_PAGES = """
CREATE OR REPLACE TEMP TABLE older_pages AS
SELECT page FROM pages WHERE run = ? AND alloc_seq IS NULL
"""
# Objects on such pages: first events of lives only, by their handle.
_PRE_TRACE = """
SELECT seq, origin
FROM internal.object_facts
WHERE run = $run AND seq BETWEEN $first AND $last AND object = seq
    AND (page IS NULL OR page IN (SELECT page FROM older_pages))
ORDER BY seq
"""
_PAGES_OF = """
SELECT events.seq, coalesce(pages.alloc_seq, -1) AS alloc_seq, pages.pfn,
    pages.page_kind = 'slab' AS slab,
    -- R4.31: vmalloc's blocks, freed page by page
    CASE
        WHEN events.event = 'mm_page_alloc' THEN 0
        WHEN pages.page_kind NOT IN ('vmalloc', 'kernel_stack') THEN 0
        WHEN alloc_seq IS NULL OR pages."order" = 0 OR frees <> 1 << pages."order" THEN 0
        WHEN events.seq = pages.free_seq THEN pages."order"
        ELSE -1
    END::TINYINT AS block
FROM page_events AS events
INNER JOIN pages ON pages.run = $run AND pages.page = events.page
WHERE events.run = $run AND events.event IN ('mm_page_alloc', 'mm_page_free')
    AND events.seq BETWEEN $first AND $last
ORDER BY events.seq
"""
# By CPU, zone (the first whose end is above the page) and whether they are slabs'.
_NODES_OF_PAGES = """
SELECT alloc_cpu, len(list_filter($2::BIGINT[], lambda e: e <= pfn)) AS zone,
    page_kind = 'slab' AS slab, count(*) AS pages
FROM pages WHERE run = $1 AND alloc_seq IS NOT NULL AND alloc_cpu >= 0
GROUP BY ALL
"""
_PAGES_COLUMNS = ("seq", "alloc_seq", "pfn", "slab", "block")


class RecordedRun:
    """One recorded run of a results database, and the trace set it was made of.

    Args:
        connection: the database; while requests are made it is nobody else's.
        run: number of the run.
        trace: the trace set.
        window_rows: events held at once.
        advance: told the part of the first look that is done, 0 to 1.
        by_site: number requests of the normal kmalloc caches by their call site, for simulations
            with copies of these (R3.52).
    """

    def __init__(  # noqa: PLR0913 - of what, and how it is read
        self,
        connection: duckdb.DuckDBPyConnection,
        run: int,
        trace: TraceSet,
        window_rows: int,
        advance: Callable[[float], None] = lambda _: None,
        *,
        by_site: bool = False,
    ) -> None:
        self._connection = connection
        self._run = run
        self._trace = trace
        self._window_rows = window_rows
        facts = recorded_facts(trace)
        caches = self._caches(facts)
        origin, cache, self._frees, unnamed, asked_at = self._origins(len(caches))
        caches += unnamed
        self._named = caches
        sized = np.array([size for _, size in caches])
        modelled = np.where(sized > 0, np.arange(len(sized)), UNSIZED_CACHE).astype(np.int32)
        # By origin, from the first on; and whether it is a free.
        self._cache = cache
        self._cache[cache >= 0] = modelled[cache[cache >= 0]]
        #: The cache by the number of a request.
        self._plain = np.arange(len(caches), dtype=np.int32)
        sites = self._sites(asked_at) if by_site else NO_SITES
        self._first_origin = int(origin[0]) if len(origin) else 0
        highest = connection.execute(
            "SELECT coalesce(max(pfn), 0) FROM page_events WHERE run = ?", [run]
        ).fetchall()[0][0]
        dma = not connection.execute(_FROM_DMA, [run, *_DMA]).fetchall()
        zones, states, how, memory = recorded_zones(trace, highest, dma=dma)
        thp = has_thp(trace)
        lists = ListsAtStart(zones, trace.meta["cpus"], thp=thp)
        # What no snapshot tells of the zones, the events must.
        assumed = how is How.ASSUMED and "mm_page_alloc" in trace.meta["recorded_events"]
        limits = LimitsAtStart(zones, trace.meta["cpus"], thp=thp) if assumed else None
        fallbacks = ZoneFallbacks(zones) if assumed else None
        slices, turns, seen = self._first_look(lists, limits, fallbacks, advance)
        self.untraced = find_untraced(
            connection,
            run,
            origin,
            self._cache,
            trace.meta["last_ts"],
            GRACE_NS,
            self._probed,
        )
        listed = recorded_lists(trace, zones, lists)
        found = zones_at_start(trace, zones, listed, lists.taken)
        if fallbacks is not None and limits is not None:
            states = assumed_states(zones, fallbacks.free())
            if "mm_page_alloc_zone_locked" in trace.meta["recorded_events"]:
                zones = limits.zones((listed * LIST_PAGES).sum(axis=2))
        elif found is not None and how is not How.ASSUMED:
            (zones, states), how = found, How.INFERRED
        nodes, nodes_how = self._nodes(zones, memory)
        self.recorded = Recorded(
            run=run,
            release=trace.meta["kernel_release"],
            cpus=trace.meta["cpus"],
            caches=caches,
            seen=seen.table,
            slices=slices,
            turns=turns,
            facts=facts,
            zones=zones,
            states=states,
            zones_how=how,
            nodes=nodes,
            nodes_how=nodes_how,
            memory_nodes=recorded_nodes(trace),
            span=span_ns(trace),
            direct_map=trace.meta["direct_map"]["base"],
            lists=listed,
            thp=thp,
            partitions=recorded_copies(trace),
            sites=sites,
        )

    def _sites(self, asked_at: UInt64) -> KmallocSites:
        """Number allocations of kmalloc's normal caches by cache and call site, behind the caches.

        Args:
            asked_at: call site of each origin that is a kmalloc; of others MERGED.
        """
        normal = np.array([is_normal(name) for name, _ in self._named])
        own = np.flatnonzero((self._cache >= 0) & ~self._frees)
        own = own[normal[self._cache[own]]]
        pairs, which = np.unique(
            np.stack((self._cache[own].astype(np.uint64), asked_at[own])),
            axis=1,
            return_inverse=True,
        )
        self._cache[own] = which.reshape(-1) + len(self._plain)
        cache = pairs[0].astype(np.int32)
        self._plain = np.concatenate((self._plain, cache))
        return KmallocSites(cache, pairs[1], [self._place(site) for site in pairs[1].tolist()])

    def _place(self, site: int) -> str:
        """What a call site is called in the name of a cache."""
        return f"{self._trace.symbols.name(site) or hex(site)}-{site & 0xFFFF:04x}"

    def _nodes(self, zones: Sequence[Zone], memory: tuple[bool, ...]) -> tuple[Nodes, How]:
        """The memory nodes, with the CPUs on them, and how these are known (I9)."""
        cpus = self._trace.meta["cpus"]
        if len(memory) == 1:
            return one_node(cpus), How.OBSERVED
        told = parse_cpulists(self._trace.snapshot_text("nodes") or "", cpus, len(memory))
        if told is not None:
            return Nodes(told[0], memory, told[1]), How.OBSERVED
        ends = np.array([zone.end_pfn for zone in zones if zone.managed])
        of_end = np.array([zone.node for zone in zones if zone.managed])
        found = self._connection.execute(_NODES_OF_PAGES, [self._run, ends.tolist()]).fetchnumpy()
        cpu, zone, slab, count = (np.ma.getdata(column) for column in found.values())
        pages = np.zeros((2, cpus, len(memory)), np.int64)
        inside = (zone < len(ends)) & (cpu < cpus)
        for slabs, at, z, each in zip(
            slab[inside], cpu[inside], zone[inside], count[inside], strict=True
        ):
            pages[int(slabs), at, of_end[z]] += each
        of_cpu, untold = cpu_nodes(pages[1], pages.sum(axis=0))
        return Nodes(of_cpu, memory), How.INFERRED if untold < cpus else How.ASSUMED

    def requests(
        self, moment: float = MIDDLE
    ) -> tuple[RecordedRequests, Generator[RequestWindow, None, None]]:
        """What makes the requests, and these, window by window; a thread makes them ahead.

        Args:
            moment: where in its interval each untraced free is put, 0 to 1.
        """
        names = [name for name, _ in self.recorded.caches]
        maker = RecordedRequests(
            self.recorded.zones,
            pre_trace_handles(self.recorded),
            self.sheaves_due(),
            names.index(CACHE) if CACHE in names else UNKNOWN_CACHE,
        )
        maker.counts.update(self.untraced.counts())
        return maker, prefetch(self._windows(maker, moment))

    def sheaves_due(self) -> SheavesDue | None:
        """When sheaves of kfree_rcu came back; None where that was not recorded."""
        columns = ("ts", "cpu", "event", "cache", "count", "probe")
        if "rcu_free_sheaf" not in self._trace.meta["recorded_events"]:
            return None
        frees, callbacks = [], []
        for first, window in self._events(columns):
            if any(name not in window for name in columns):
                return None
            ts, cpu, cache = window["ts"], window["cpu"], window["cache"]
            at = np.flatnonzero(window["probe"] == Probe.KFREE_RCU_SHEAF)
            frees.append(RcuFrees(first + at, ts[at], cpu[at], cache[at]))
            at = np.flatnonzero(window["event"] == Ev.RCU_FREE_SHEAF)
            callbacks.append(Callbacks(ts[at], cpu[at], cache[at], window["count"][at]))
        return sheaves_due(
            RcuFrees(*map(np.concatenate, zip(*frees, strict=True))),
            Callbacks(*map(np.concatenate, zip(*callbacks, strict=True))),
            self._rcu_before_probes(),
        )

    def _rcu_before_probes(self) -> dict[tuple[int, int], int]:
        """Frees inferred before the first kfree_rcu of a probe, as sheaves_due has them."""
        codes = {name: code for code, name in enumerate(self._trace.names.get("cache", ()))}
        names = [name for name, _ in self.recorded.caches]
        found = {} if self._probed is None else self.untraced.older_than(self._probed)
        return {
            (cpu, codes[names[cache]]): count
            for (cpu, cache), count in found.items()
            if names[cache] in codes
        }

    def _windows(self, maker: RecordedRequests, moment: float) -> Iterator[RequestWindow]:
        self.untraced.begin(moment)
        for first, window in self._events(recorded_requests.COLUMNS):
            rows = len(window["ts"])
            untraced = self.untraced.window(first, first + rows, int(window["ts"][-1]))
            yield maker.window(
                window, first, self._objects_of(first, rows), self._pages_of(first, rows), untraced
            )

    def _events(self, columns: tuple[str, ...]) -> Iterator[tuple[int, Window]]:
        first = 0
        for window in prefetch(self._trace.windows(self._window_rows, set(columns))):
            yield first, window
            first += len(window["ts"])

    def _caches(self, facts: Mapping[str, CacheFacts]) -> list[tuple[str, int]]:
        """Name and slot size of every cache, by number; -1: nothing tells it.

        As its allocations tell it, else sysfs, slabinfo, or its name as one of kmalloc's classes.
        """
        slots = kernel_caches(self._trace)
        found = self._connection.execute(
            "SELECT name, object_size FROM caches WHERE run = ? ORDER BY cache", [self._run]
        ).fetchall()

        by_class = kmalloc_slots(self._trace.meta["page_size"])

        def otherwise(name: str) -> int:
            by_sysfs = facts[name].slab_size if name in facts else None
            return by_sysfs or slots.get(name) or by_class.get(name) or -1

        return [(name, size or otherwise(name)) for name, size in found]

    def _origins(self, first: int) -> tuple[Int32, Int32, Bools, list[tuple[str, int]], UInt64]:
        """Rising numbers of the origins, the cache of each, and whether it is a free.

        Allocations that no rule names have caches of their own, from number ``first`` on, which
        are returned too: one for each size and call site, and named so. Last the call sites of
        kmallocs, MERGED for all others.
        """
        asked = {"run": self._run, "pages": WHOLE_PAGES, "unknown": UNKNOWN_CACHE}
        found = self._connection.execute(_ORIGINS, asked).fetchnumpy()
        origin, frees, size, site, kmalloc, cache, unnamed = map(np.ma.getdata, found.values())
        groups, group = np.unique(
            np.stack([size[unnamed].astype(np.uint64), site[unnamed]]), axis=1, return_inverse=True
        )
        cache[unnamed] = first + group.reshape(-1)
        named = [(f"size-{size}@{self._place(site)}", size) for size, site in groups.T.tolist()]
        return origin, cache, frees, named, np.where(kmalloc, site, np.uint64(MERGED))

    def _first_look(
        self,
        lists: ListsAtStart,
        limits: LimitsAtStart | None,
        fallbacks: ZoneFallbacks | None,
        advance: Callable[[float], None],
    ) -> tuple[list[tuple[int, int]], list[int], FirstSeen]:
        """The first event of every time slice, Recorded.turns, and what is older than the trace.

        The other arguments are shown all events.
        """
        [(first_ts, slice_ns)] = self._connection.execute(
            "SELECT first_ts, slice_ns FROM runs WHERE run = ?", [self._run]
        ).fetchall()
        placed = (
            self._trace.meta["direct_map"]["base"] is not None
            and "mm_page_alloc" in self._trace.meta["recorded_events"]
        )
        self._probed: int | None = None  # the first kfree_rcu that a probe showed
        slices: list[tuple[int, int]] = []
        turns: list[int] = []
        workers = VmstatTurns()
        in_ns = self._trace.meta["ts_unit"] == "ns"
        seen = FirstSeen()
        self._connection.execute(_PRE_TRACE_PAGES, [self._run])
        free = free_places(self._trace, [name for name, _ in self._named])
        if free is not None:
            seen.add(free)
        for first, window in self._events(("ts", "ptr", "gfp_flags", "probe", *LIST_COLUMNS)):
            if self._probed is None and "probe" in window:
                rows = np.flatnonzero(window["probe"] == Probe.KFREE_RCU_SHEAF)
                self._probed = int(window["ts"][rows[0]]) if len(rows) else None
            near = workers.before(window["ts"]) if in_ns else np.empty(0, np.int64)
            turns += (first + near).tolist()
            if all(name in window for name in LIST_COLUMNS):
                lists.add(window)
                if limits is not None:
                    limits.add(window, near)
                if fallbacks is not None:
                    fallbacks.add(window)
            number = (window["ts"] - first_ts) // slice_ns
            latest = slices[-1][0] if slices else -1
            rows = np.flatnonzero(np.diff(number, prepend=latest))
            slices += zip(number[rows].tolist(), (first + rows).tolist(), strict=True)
            self._note_pre_trace(first, window, seen, placed=placed)
            advance((first + len(number)) / self._trace.rows)
        return slices, turns, seen

    def _note_pre_trace(self, first: int, window: Window, seen: FirstSeen, *, placed: bool) -> None:
        if "ptr" not in window:
            return
        found = self._ask(_PRE_TRACE, first, len(window["ts"]))
        origin = found["origin"] - self._first_origin
        cache, live = self._cache[origin], self._frees[origin]
        known = (cache >= 0) & (live | placed)
        at = found["seq"][known] - first
        seen.add(
            {
                "ptr": window["ptr"][at],
                "seq": at + first,
                # Its slab is older than any copy (R3.52).
                "cache": self._plain.take(cache[known]),
                "cpu": window["cpu"][at],
                "live": live[known],
            }
        )

    def _objects_of(self, first: int, rows: int) -> RecordedObjects:
        """Caches as far as they are modelled, and objects."""
        found = self._ask(_OBJECTS_OF, first, rows)
        cache = np.full(rows, -1, np.int32)
        life = np.full(rows, -1, np.int64)
        at = found["seq"] - first
        cache[at] = self._cache[found["origin"] - self._first_origin]
        life[at] = found["object"]
        return RecordedObjects(cache, life)

    def _pages_of(self, first: int, rows: int) -> RecordedPages:
        found = self._ask(_PAGES_OF, first, rows)
        return RecordedPages(*(found[name] for name in _PAGES_COLUMNS))

    def _ask(self, sql: str, first: int, rows: int) -> dict[str, Array]:
        answer = self._connection.execute(
            sql, {"run": self._run, "first": first, "last": first + rows - 1}
        )
        return {name: np.ma.getdata(column) for name, column in answer.fetchnumpy().items()}
