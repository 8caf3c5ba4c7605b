"""Time the replay alone, SLUB above the page allocator, on a synthetic trace: a row a figure.

    python bench/simulation.py [--events N] [--window ROWS] [--oracle N] [--profile]

Requests are made beforehand, window by window; only the model's time counts. Slab pages go through
the page allocator, of which one zone of 64 GiB holds all memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from meter import arguments, measure, oracle_rate, show
from synthetic import Synthetic

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import LINUX_7_2
from allocsim.page_alloc.zones import MachineZones, all_free, computed_zone
from allocsim.recording.requests import PageEvents
from allocsim.simulation import Simulation, SlabPages
from allocsim.slub.requests import FreeBefore, PreTraceObjects

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.oracle.page_lists import PageAllocator
from tests.oracle.slub import Slub

PAGES = 1 << 24


def model(trace: Synthetic) -> Simulation:
    """A model with the trace's caches on a machine with nothing allocated."""
    zone = computed_zone(PAGES, trace.cpus)
    machine = MachineZones((zone,), (all_free(zone),), trace.cpus, LINUX_7_2.pages, frozenset({0}))
    shapes = cache_shapes(LINUX_7_2, trace.cache_sizes(), trace.cpus)
    nothing = np.empty(0, np.int64)
    of_slab = np.zeros(len(shapes), np.int8)
    return Simulation(
        LINUX_7_2,
        shapes,
        SlabPages(of_slab, of_slab),
        machine,
        PreTraceObjects(nothing, nothing, nothing),
        FreeBefore(nothing, nothing, nothing, nothing),
    )


def no_pages() -> PageEvents:
    """No page requests but those of slabs."""
    nothing = np.empty(0, np.int64)
    return PageEvents(
        *(nothing.astype(dtype) for dtype in ["i8", "i2", "i1", "i8", "i1", "i1", "i1", "u1", "i8"])
    )


def oracle(trace: Synthetic) -> Callable[..., None]:
    """The oracle of both layers, called with the columns of an event."""
    simulation = model(trace)
    slub = Slub([cache.shape for cache in simulation.slub.caches])
    pages = PageAllocator(simulation.pages.machine)

    def event(*request: int) -> None:
        asked = len(slub.pages)
        slub.event(*request)
        for _, cpu, _, slab, order, way, _ in slub.pages[asked:]:
            pages.event(cpu, way, slab, order, highest=0)

    return event


def main() -> None:
    """Print what was measured."""
    given = arguments(__doc__, events=50_000_000, oracle=2_000_000).parse_args()
    trace = Synthetic(given.events)
    simulation = model(trace)
    nothing = no_pages()
    measured = measure(
        trace.windows(given.window),
        lambda requests: simulation.window(requests, nothing).objects,
        lambda requests, placed: (*requests, placed.path, placed.slab, placed.index),
        profile=given.profile,
    )
    plain = None
    if given.oracle:
        small = Synthetic(given.oracle)
        plain = oracle_rate(small.windows(1 << 17), oracle(small))
    show(measured, plain)
    print(f"{'zone lock taken':34} {simulation.pages.counters['zone_lock']:,}")


if __name__ == "__main__":
    main()
