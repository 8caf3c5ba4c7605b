"""Time the simulated placement, both layers, on a synthetic trace: a row a figure.

    python bench/simulation.py [--events N] [--window ROWS] [--oracle N]

Requests are made beforehand, window by window; only the model's time counts. Slab pages go through
the page allocator, of which one zone of 64 GiB holds all memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from synthetic import Synthetic

from allocsim.profile import LINUX_7_2, cache_shapes
from allocsim.recorded_requests import PageEvents
from allocsim.requests import FreeBefore, OlderObjects
from allocsim.simulation import Simulation, SlabPages
from allocsim.zones import Machine, all_free, computed_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.append(str(Path(__file__).resolve().parent.parent))

PAGES = 1 << 24
Rows = list[tuple[str, str]]


def model(trace: Synthetic) -> Simulation:
    """A model with the trace's caches on a machine with nothing allocated."""
    zone = computed_zone(PAGES, trace.cpus)
    machine = Machine((zone,), (all_free(zone),), trace.cpus, LINUX_7_2.pages, 0)
    shapes = cache_shapes(LINUX_7_2, trace.cache_sizes(), trace.cpus)
    nothing = np.empty(0, np.int64)
    of_slab = np.zeros(len(shapes), np.int8)
    return Simulation(
        LINUX_7_2,
        shapes,
        SlabPages(of_slab, of_slab),
        machine,
        OlderObjects(nothing, nothing, nothing),
        FreeBefore(nothing, nothing, nothing),
    )


def no_pages() -> PageEvents:
    """No page requests but those of slabs."""
    nothing = np.empty(0, np.int64)
    return PageEvents(
        *(nothing.astype(dtype) for dtype in ["i8", "i2", "i1", "i8", "i1", "i1", "i1", "u1", "i8"])
    )


def measure(events: int, window: int) -> tuple[Rows, float]:
    """Figures of one run, and its rate in events a second of CPU time."""
    trace = Synthetic(events)
    simulation = model(trace)
    spent = copied = 0.0
    count = slabs = 0
    for requests in trace.windows(window):
        begin = time.process_time()
        result = simulation.window(requests, no_pages())
        mid = time.process_time()
        for column in (*requests, result.objects.path, result.objects.slab, result.objects.index):
            np.copy(column)
        copied += time.process_time() - mid
        spent += mid - begin
        count += len(requests.seq)
        slabs += len(result.slabs["slab"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = count / spent
    rows = [
        ("events", f"{count:,}"),
        ("model", f"{spent:.2f} s CPU, {rate / 1e6:.2f} M events/s"),
        ("copy of the same bytes", f"{copied:.2f} s, the model takes {spent / copied:.0f} x that"),
        ("peak memory, the generator's too", f"{peak:.0f} MiB"),
        ("slabs freed", f"{slabs:,}"),
    ]
    return rows, rate


def oracle_rate(events: int) -> float:
    """Events a second of the oracle of both layers on a trace of the same kind."""
    from tests.oracle.page_lists import PageAllocator  # noqa: PLC0415 - only where asked for
    from tests.oracle.slub import Slub  # noqa: PLC0415

    trace = Synthetic(events)
    simulation = model(trace)
    slub = Slub([cache.shape for cache in simulation.slub.caches])
    pages = PageAllocator(simulation.pages.machine)
    spent, count = 0.0, 0
    for row in _rows(trace):
        begin = time.process_time()
        for request in row:
            asked = len(slub.pages)
            slub.event(*request)
            for _, cpu, _, slab, order, way in slub.pages[asked:]:
                pages.event(cpu, way, slab, order, highest=0)
        spent += time.process_time() - begin
        count += len(row)
    return count / spent


def _rows(trace: Synthetic) -> Iterator[list[tuple[int, ...]]]:
    for requests in trace.windows(1 << 17):
        yield list(zip(*(column.tolist() for column in requests), strict=True))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--window", type=int, default=1 << 20)
    parser.add_argument("--oracle", type=int, default=0, help="events to give the oracle")
    given = parser.parse_args()
    rows, rate = measure(given.events, given.window)
    if given.oracle:
        plain = oracle_rate(given.oracle)
        rows.append(("oracle", f"{plain / 1e3:.0f} k events/s: the model is {rate / plain:.0f} x"))
    for name, value in rows:
        print(f"{name:34} {value}")


if __name__ == "__main__":
    main()
