"""Time the SLUB layer on a synthetic trace: events a second, peak memory, against the oracle.

    python bench/slub.py [--events N] [--window ROWS] [--oracle N] [--profile]

The trace is that of bench/synthetic.py: 8 CPUs, 60 caches, a fifth of the frees remote.
"""

from __future__ import annotations

import sys
from pathlib import Path

from meter import arguments, measure, oracle_rate, show
from synthetic import Synthetic

from allocsim.profile import LINUX_7_2, cache_shapes
from allocsim.slub import Slub

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.oracle.slub import Slub as Oracle


def main() -> None:
    """Print what was measured."""
    given = arguments(__doc__, events=50_000_000, oracle=2_000_000).parse_args()
    trace = Synthetic(given.events)
    shapes = cache_shapes(LINUX_7_2, trace.cache_sizes(), trace.cpus)
    slub = Slub(LINUX_7_2, shapes, trace.cpus)
    measured = measure(
        trace.windows(given.window),
        lambda requests: slub.window(requests)[0],
        lambda requests, placed: (*requests, placed.path, placed.slab, placed.index),
        profile=given.profile,
    )
    plain = None
    if given.oracle:
        plain = oracle_rate(Synthetic(given.oracle).windows(1 << 18), Oracle(shapes).event)
    show(measured, plain)
    for name in ("alloc_slab", "sheaf_refill", "sheaf_flush", "barn_get", "barn_put"):
        print(f"{name:34} {int(slub.counters()[name].sum()):,}")


if __name__ == "__main__":
    main()
