"""What a simulation leaves when it ends: rows of the small tables of its run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim.kernels.cache_shapes import AskedShape, CpuSlabShape, SheafShape
from allocsim.page_alloc.paths import PAGE_COUNTERS
from allocsim.slub.paths import AllocPath

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocsim.page_alloc.replay import PageSample
    from allocsim.recording.requests import RequestWindow
    from allocsim.simulated_window import SimulatedWindow
    from allocsim.tables import Columns, Int64, Ints
    from pipeline.replay.world import Recorded, World

Rows = list[dict[str, Any]]


@dataclass
class Tally:
    """Counts over the windows of a simulation."""

    live: Int64
    on_pre_trace: Int64
    slab_allocs: Int64
    slab_frees: Int64
    pages_allocated: Int64
    pages_freed: Int64
    older_freed: Int64
    events: int = 0
    on_pre_trace_slabs: int = 0
    failed: int = 0
    ignored: int = 0

    def add(self, requests: RequestWindow, result: SimulatedWindow) -> None:
        """Count a window in."""
        path, slab = result.objects.path, result.objects.slab
        cache, op = requests.objects.cache, np.sign(requests.objects.op)
        self.events += int(np.count_nonzero(op))
        self.on_pre_trace_slabs += int(np.count_nonzero(slab < -1))
        self.failed += int(np.count_nonzero(path == AllocPath.FAILED))
        self.ignored += int(np.count_nonzero((path == AllocPath.IGNORED) & (op != 0)))
        for total, rows in ((self.live, slab >= 0), (self.on_pre_trace, slab < -1)):
            np.add(total, _sums(cache[rows], op[rows], total), out=total)
        self.add_slabs(result.slabs)

    def add_slabs(self, slabs: Columns) -> None:
        """Count lives of slabs in."""
        pages = np.int64(1) << slabs["order"].astype(np.int64)
        for seq, count, total in (
            ("alloc_seq", self.slab_allocs, self.pages_allocated),
            ("free_seq", self.slab_frees, self.pages_freed),
        ):
            seen = slabs[seq] >= 0
            cache = slabs["cache"][seen]
            np.add(count, np.bincount(cache, minlength=len(count)), out=count)
            np.add(total, _sums(cache, pages[seen], total), out=total)
        freed = slabs["cache"][(slabs["slab"] < -1) & (slabs["free_seq"] >= 0)]
        self.older_freed += np.bincount(freed, minlength=len(self.older_freed))


def _sums(cache: Ints, values: Ints, like: Int64) -> Int64:
    """Sum of values by cache, as long as ``like``."""
    return np.bincount(cache, values, minlength=len(like)).astype(np.int64)


def result_rows(
    world: World,
    slabs: Columns,
    tally: Tally,
    samples: Sequence[tuple[int | None, PageSample]],
    counts: Mapping[str, int],
) -> dict[str, Rows]:
    """Rows of each table, by its name, without the column ``run``.

    Args:
        world: the simulation that has ended.
        slabs: slabs that are live at the end.
        tally: counts over its windows.
        samples: free blocks, with the number of the slice; None: at the end.
        counts: what the table quality_counts is told.
    """
    return {
        "caches": _cache_rows(world.recorded),
        "placed_caches": _placed_cache_rows(world, slabs, tally),
        "cache_counters": _counter_rows(world),
        "zones": _zone_rows(world),
        "zone_counters": _zone_counter_rows(world),
        "free_blocks": [row for sample in samples for row in _free_rows(*sample)],
        "quality_counts": [{"name": n, "value": v} for n, v in counts.items()],
    }


def _cache_rows(recorded: Recorded) -> Rows:
    return [
        {"cache": number, "name": name, "object_size": size if size > 0 else None}
        for number, (name, size) in enumerate(recorded.caches)
    ]


def _placed_cache_rows(world: World, slabs: Columns, tally: Tally) -> Rows:
    count = len(world.shapes)
    older = world.pre_trace_slabs() - tally.older_freed
    held = np.bincount(slabs["cache"], minlength=count).tolist()
    pages = np.bincount(
        slabs["cache"], 1 << slabs["order"].astype(np.int64), minlength=count
    ).tolist()
    slub = world.simulation.slub
    sheaves: Counter[int] = Counter()
    for sheafed in slub.with_sheaves.values():
        sheaves.update(map(sheafed.kmalloc_cache_of, sheafed.sheaf_objects))
    rows: Rows = []
    for number, (cache, shape, how) in enumerate(
        zip(slub.caches, world.shapes, world.shapes_how, strict=True)
    ):
        if not any(cache.stat.values()):
            continue
        listed = cache.slabs_held()
        below = shape.cpu_slabs if isinstance(shape, AskedShape) else shape
        with_sheaves = slub.with_sheaves.get(number)
        rows.append(
            {
                "cache": number,
                "order": shape.order,
                "objects": shape.objects,
                "min_order": shape.min_order,
                "min_partial": shape.min_partial,
                "capacity": shape.capacity if isinstance(shape, SheafShape) else None,
                "cpu_partial_slabs": below.cpu_partial_slabs
                if isinstance(below, CpuSlabShape)
                else None,
                "shape_how": int(how),
                "slab_allocs": int(tally.slab_allocs[number]),
                "slab_frees": int(tally.slab_frees[number]),
                "pages_allocated": int(tally.pages_allocated[number]),
                "pages_freed": int(tally.pages_freed[number]),
                "live_objects": int(tally.live[number]),
                "sheaf_objects": sheaves[number],
                "on_older_slabs": int(tally.on_pre_trace[number]),
                "older_free": int(world.pre_trace_free[number]),
                "slabs": held[number],
                "slab_pages": int(pages[number]),
                "partial_slabs": listed.partial,
                "partial_free": listed.partial_free,
                "node_partial": listed.node_partial,
                "node_partial_free": listed.node_partial_free,
                "cpu_slabs": listed.cpu_slabs,
                "older_slabs": int(older[number]),
                "in_sheaves": with_sheaves.in_sheaves() if with_sheaves else None,
            }
        )
    return rows


def _counter_rows(world: World) -> Rows:
    return [
        {"cache": number, "name": name, "value": value}
        for name, values in world.simulation.slub.counters().items()
        for number, value in enumerate(values.tolist())
        if value
    ]


def _zone_rows(world: World) -> Rows:
    return [
        {
            "zone": number,
            "name": zone.name,
            "start_pfn": zone.start_pfn,
            "managed": zone.managed,
            "wmark_min": zone.wmark_min,
            "wmark_low": zone.wmark_low,
            "wmark_high": zone.wmark_high,
            "pcp_batch": zone.pcp[0].batch if zone.pcp else None,
            "pcp_high_min": zone.pcp[0].high_min if zone.pcp else None,
            "pcp_high_max": zone.pcp[0].high_max if zone.pcp else None,
        }
        for number, zone in enumerate(world.machine.zones)
    ]


def _zone_counter_rows(world: World) -> Rows:
    """What was counted of each zone, and the pages on the CPUs' lists at the end."""
    allocator = world.simulation.pages.allocator
    return [
        {"zone": number, "name": name, "value": int(value)}
        for number, buddy in enumerate(allocator.buddies)
        if world.machine.zones[number].managed
        for name, value in (
            *zip(PAGE_COUNTERS, buddy.counters, strict=True),
            ("pcp_pages", sum(pcp.count for pcp in allocator.pcps[number])),
        )
    ]


def _free_rows(slice_: int | None, sample: PageSample) -> Rows:
    zones, orders, kinds = np.nonzero(sample.free_blocks)
    blocks = sample.free_blocks[zones, orders, kinds]
    return [
        {"slice": slice_, "zone": zone, "order": order, "migratetype": kind, "blocks": number}
        for zone, order, kind, number in zip(
            zones.tolist(), orders.tolist(), kinds.tolist(), blocks.tolist(), strict=True
        )
    ]
