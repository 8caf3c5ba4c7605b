"""The whole simulated path of a trace set beside the oracle: every event, slab and counter."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from allocsim.initial_state.node_settings import sets_nodes
from allocsim.kernels.cache_shapes import profile_of
from allocsim.kernels.kmalloc_partitions import EACH_SITE, boot_seed
from allocsim.kernels.settings import PARTITION_SEED, PARTITIONS
from allocsim.page_alloc.paths import PAGE_COUNTERS, PagePath
from allocsim.recording.rcu_sheaves import UNKNOWN
from allocsim.slub.paths import AllocPath
from allocsim.trace.events import Ev, Probe
from pipeline.replay.pricing import find_policies
from pipeline.replay.read_back import RecordedRun
from pipeline.replay.recorded import replay_trace
from pipeline.replay.simulated import simulate
from pipeline.replay.untraced_frees import MIDDLE
from pipeline.replay.world import make_world
from tests.oracle.simulate_both import REQUEST_COUNTS, World, by_oracle
from tests.oracle.simulated import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from allocsim.recording.requests import RequestWindow
    from allocsim.refcount.policies import Policy
    from allocsim.simulated_window import SimulatedWindow
    from allocsim.tables import Columns
    from pipeline.replay.world import World as RecordedWorld
    from pipeline.trace_set.reader import TraceSet
    from tests.oracle.simulate_both import Outcome

WHOLE = 1 << 30
Rows = list[tuple[Any, ...]]


def ask(path: Path, sql: str) -> Rows:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def events_of(path: Path, run: int, source: RecordedRun, trace: TraceSet) -> list[Event]:
    """The events of a trace, with what the recorded run says of each, read row by row."""
    [window] = trace.windows(trace.rows)
    caches = dict(ask(path, f"SELECT seq, cache FROM object_events WHERE run = {run}"))
    how = dict(ask(path, f"SELECT seq, cache_how FROM object_events WHERE run = {run}"))
    names = [name for name, _ in source.recorded.caches]
    found = ask(
        path,
        'SELECT seq, event, page, alloc_seq, pages.pfn, pages.page_kind, pages."order" FROM'
        " page_events JOIN pages USING (run, page)"
        f" WHERE run = {run} AND event IN ('mm_page_alloc', 'mm_page_free') ORDER BY seq",
    )
    pages = {seq: (born, first, kind == "slab") for seq, _, _, born, first, kind, _ in found}
    vmalloced: dict[int, list[int]] = {}  # R4.31: frees of each page that vfree freed in pieces
    blocks: dict[int, int] = {}
    for seq, event, page, born, _, kind, order in found:
        if event == "mm_page_free" and kind in ("vmalloc", "kernel_stack") and order > 0:
            frees = vmalloced.setdefault(page, [])
            frees.append(seq)
            if born is not None and len(frees) == 1 << order:
                blocks.update(dict.fromkeys(frees, -1))
                blocks[seq] = order
    named = {
        (size, site): names.index(f"size-{size}@{symbol}-{site & 0xFFFF:04x}")
        for size, site in ask(
            path,
            f"SELECT DISTINCT bytes_alloc, call_site FROM object_events WHERE run = {run}"
            " AND event IN ('kmalloc', 'kmem_cache_alloc')"
            " AND cache IS NULL AND cache_how IS NOT NULL",
        )
        for symbol in [trace.symbols.name(site) or hex(site)]
    }
    nothing = np.zeros(trace.rows, np.int64)
    told = source.sheaves_due()
    due = {} if told is None else dict(zip(told.seq.tolist(), told.due.tolist(), strict=True))
    columns = [
        window.get(name, nothing).tolist()
        for name in ("cpu", "event", "ptr", "metadata", "pfn", "order", "gfp_flags", "ts")
    ]
    asked = window.get("node", np.full(trace.rows, -1)).tolist()
    sites, probes = window.get("call_site", nothing).tolist(), window.get("probe", nothing)
    sizes = window.get("bytes_alloc", nothing).tolist()
    events = []
    for seq, row in enumerate(zip(*columns, strict=True)):
        cpu, code, ptr, metadata, pfn, order, gfp, ts = row
        cache = caches.get(seq)
        if cache is None and how.get(seq) is not None and code in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC):
            cache = named[sizes[seq], sites[seq]]
        unsized = cache is not None and source.recorded.caches[cache][1] <= 0
        if unsized:
            cache = None
        large = seq in how and how[seq] is None
        page, block = pages.get(seq), blocks.get(seq, 0)
        event = Event(seq, cpu, code, ptr, metadata, cache, pfn, order, gfp, page, ts, block)
        rcu = bool(probes[seq] == Probe.KFREE_RCU_SHEAF)
        told = {"unsized": unsized, "rcu": rcu, "node": asked[seq]}
        events.append(replace(event, large=large, due=due.get(seq, UNKNOWN), **told))
    return events


def pre_trace_of(path: Path, run: int, *, placed: bool) -> dict[int, bool]:
    """Events that begin a life on a page the trace did not allocate: seq -> frees it.

    Where pages cannot be told from objects (``placed`` is False), only frees are known to do so.
    """
    return dict(
        ask(
            path,
            "SELECT seq, event IN ('kfree', 'kmem_cache_free') FROM object_events AS events"
            " LEFT JOIN pages ON pages.run = events.run AND pages.page = events.page"
            f" WHERE events.run = {run} AND object = seq AND alloc_seq IS NULL"
            f" AND (event IN ('kfree', 'kmem_cache_free') OR {placed})",
        )
    )


GOLDEN_RATIO_64 = 0x61C8864680B583EB


def kmalloc_copy(call_site: int, copies: int, seed: int) -> int:
    """include/linux/slab.h:kmalloc_type: hash_64 of a token, here the call site, and the seed."""
    bits = {1 << bits: bits for bits in range(64)}[copies]
    return (call_site ^ seed) * GOLDEN_RATIO_64 % (1 << 64) >> (64 - bits)


def kmalloc_copies(
    trace: TraceSet, world: RecordedWorld, events: Sequence[Event], settings: Mapping[str, int]
) -> dict[int, int]:
    """The copy of its cache that each kmalloc of the normal type gets (R3.52): seq -> cache."""
    copies, seed = settings[PARTITIONS], boot_seed(settings.get(PARTITION_SEED, 0))
    word = "part" if profile_of(settings).version >= (7, 2) else "rnd"
    [window] = trace.windows(trace.rows, {"call_site"})
    names = [name for name, _ in world.recorded.caches]
    numbers = {name: number for number, name in enumerate(names)}
    found = {}
    for event, site in zip(events, window["call_site"].tolist(), strict=True):
        if event.code not in (Ev.KMALLOC, Ev.KMEM_CACHE_ALLOC) or event.cache is None:
            continue
        size = names[event.cache].removeprefix("kmalloc-")
        if not size.removesuffix("k").isdecimal():
            continue
        if event.code == Ev.KMEM_CACHE_ALLOC:  # of a cache that was merged with it
            if copies != 1:
                found[event.seq] = numbers[f"merged-{size}"]
            continue
        if copies == EACH_SITE:
            function = trace.symbols.name(site) or hex(site)
            found[event.seq] = numbers[f"kmalloc-{size}@{function}-{site & 0xFFFF:04x}"]
        elif number := kmalloc_copy(site, copies, seed):
            found[event.seq] = numbers[f"kmalloc-{word}-{number:02}-{size}"]
    return found


@dataclass
class ByModel:
    """What the pipeline's own simulation gave, in the oracle's words."""

    events: dict[int, tuple[str, int, int, int]] = field(default_factory=dict)
    slabs: dict[int, list[int]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    seconds: float = 0.0

    def write(self, requests: RequestWindow, result: SimulatedWindow) -> None:
        objects, shown = result.objects, requests.shown
        for seq, path, slab, index in zip(
            requests.objects.seq[shown].tolist(),
            objects.path[shown].tolist(),
            objects.slab[shown].tolist(),
            objects.index[shown].tolist(),
            strict=True,
        ):
            self.events[seq] = (_OBJECT_PATHS[path], slab, index, -1)
        for seq, path, pfn in zip(
            requests.pages.seq.tolist(),
            result.pages.path.tolist(),
            result.pages.pfn.tolist(),
            strict=True,
        ):
            self.events[seq] = (_PAGE_PATHS[path], -1, -1, pfn)

    def write_slabs(self, slabs: Columns) -> None:
        names = ("slab", "cache", "order", "pfn", "alloc_seq", "free_seq")
        for slab, *life in zip(*(slabs[name].tolist() for name in names), strict=True):
            assert slab not in self.slabs
            self.slabs[slab] = life

    def differences(self, wanted: Outcome) -> list[str]:
        """Names of what differs from the oracle's outcome."""
        counters: list[dict[str, int]] = [{} for _ in wanted.counters]
        for row in self.rows["cache_counters"]:
            counters[row["cache"]][row["name"]] = row["value"]
        zones: Counter[str] = Counter()
        for row in self.rows["zone_counters"]:
            zones[row["name"]] += row["value"]
        counts = {row["name"]: row["value"] for row in self.rows["quality_counts"]}
        pairs = {
            "events": (self.events, wanted.events),
            "slabs": (self.slabs, wanted.slabs),
            "cache counters": (counters, wanted.counters),
            "zone counters": (
                {name: zones[name] for name in PAGE_COUNTERS},
                {name: wanted.zones[name] for name in PAGE_COUNTERS},
            ),
            "counts": (
                {name: counts.get(name, 0) for name in REQUEST_COUNTS},
                {name: wanted.counts[name] for name in REQUEST_COUNTS},
            ),
        }
        return [name for name, (got, want) in pairs.items() if got != want]


_OBJECT_PATHS = {int(path): path.name.lower() for path in AllocPath}
_PAGE_PATHS = {int(path): path.name.lower() for path in PagePath}


class WholePath:
    """A trace set replayed as recorded, to be simulated by the model and by the oracle.

    ``settings``: what both are told; the number of CPUs is not to be among them.
    """

    def __init__(
        self,
        trace: TraceSet,
        folder: Path,
        policies: Sequence[Policy] | None = None,
        settings: Mapping[str, int] | None = None,
    ) -> None:
        self.settings = settings or {}
        self.trace = trace
        folder.mkdir(exist_ok=True)
        self.db = folder / "recorded.duckdb"
        self.run = replay_trace(trace, self.db, policies or find_policies([]))

    def _source(self, rows: int, connection: duckdb.DuckDBPyConnection) -> RecordedRun:
        return RecordedRun(
            *(connection, self.run, self.trace, min(rows, self.trace.rows)),
            by_site=PARTITIONS in self.settings,
        )

    def oracle(self) -> tuple[Outcome, float]:
        """What the oracle gives, and the seconds of CPU it took."""
        with duckdb.connect(self.db, read_only=True) as connection:
            source = self._source(WHOLE, connection)
            source.untraced.begin(MIDDLE)
            untraced = connection.execute(
                "SELECT due, object, cache, cpu FROM untraced_due"
            ).fetchall()
            runs = connection.execute(
                'SELECT seq, first, "left" FROM internal.prefilled_objects WHERE run = ?',
                [self.run],
            ).fetchall()
        world = make_world(source.recorded, self.settings)
        events = events_of(self.db, self.run, source, self.trace)
        placed = (
            self.trace.meta["direct_map"]["base"] is not None
            and "mm_page_alloc" in self.trace.meta["recorded_events"]
        )
        pre_trace = {
            seq: live
            for seq, live in pre_trace_of(self.db, self.run, placed=placed).items()
            if events[seq].cache is not None
        }
        copies = {}
        if PARTITIONS in self.settings:
            copies = kmalloc_copies(self.trace, world, events, self.settings)
            untraced = [
                (due, object_, copies.get(object_, cache), cpu)
                for due, object_, _, cpu in untraced
                for cache in [events[object_].cache]
            ]
        kinds, highest = world.simulation.slab_pages
        plain = World(
            world.shapes,
            kinds.tolist(),
            highest.tolist(),
            world.machine,
            pre_trace,
            untraced,
            {seq: (run, left) for seq, run, left in runs},
            source.recorded.turns,
            profile_of(self.settings),
            source.recorded.direct_map or 0,
            sets_nodes(self.settings),
            copies,
        )
        begin = time.process_time()
        outcome = by_oracle(plain, events, exhaustible=False)
        return outcome, time.process_time() - begin

    def model(self, window_rows: int, *, fast: bool = False) -> ByModel:
        """What the pipeline's simulation gives in windows of so many events."""
        found = ByModel()
        with duckdb.connect(self.db, read_only=True) as connection:
            source = self._source(window_rows, connection)
            maker, windows = source.requests()
            begin = time.process_time()
            outcome = simulate(
                source.recorded,
                self.settings,
                windows,
                write=found.write,
                write_slabs=found.write_slabs,
                fast=fast,
            )
            found.seconds = time.process_time() - begin
        found.rows = outcome.rows
        found.rows["quality_counts"] += [
            {"name": name, "value": value} for name, value in maker.counts.items()
        ]
        return found
