"""Time the SLUB layer on a synthetic trace: events a second, peak memory, against the oracle.

    python bench/slub.py [--kernel 6.12] [--fast] [--caches N] [--cpus N] [--events N] ...

The trace is that of bench/synthetic.py: 8 CPUs, 60 caches, a fifth of the frees remote. The kernel
is 7.2, with sheaves, unless 6.12 is asked for, with cpu slabs. With --fast what goes event by event
is compiled by numba; a window before the first one sees to the compiling.
"""

from __future__ import annotations

import sys
from pathlib import Path

from meter import arguments, measure, oracle_rate, show
from synthetic import Synthetic

from allocsim.kernels.cache_shapes import cache_shapes
from allocsim.kernels.profile import DEFAULT, PROFILES
from allocsim.kernels.release import Generation
from allocsim.slub.counters import Use, used
from allocsim.slub.slub import Slub

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.oracle.cpu_slabs import CpuSlabs
from tests.oracle.slub import Slub as Oracle


def main() -> None:
    """Print what was measured."""
    parser = arguments(__doc__, events=50_000_000, oracle=2_000_000)
    parser.add_argument("--kernel", choices=[each.word for each in PROFILES], default=DEFAULT.word)
    parser.add_argument("--fast", action="store_true", help="let numba compile the model")
    parser.add_argument("--caches", type=int, default=60)
    parser.add_argument("--cpus", type=int, default=8)
    given = parser.parse_args()
    trace = Synthetic(given.events, given.cpus, given.caches)
    profile = next(each for each in PROFILES if each.word == given.kernel)
    with_sheaves = profile.slub.generation is Generation.SHEAVES
    shapes = cache_shapes(profile, trace.cache_sizes(), trace.cpus)
    if given.fast:
        Slub(profile, shapes, trace.cpus, fast=True).window(next(Synthetic(2000).windows(2000)))
    slub = Slub(profile, shapes, trace.cpus, fast=given.fast)
    measured = measure(
        trace.windows(given.window),
        lambda requests: slub.window(requests)[0],
        lambda requests, placed: (*requests, placed.path, placed.slab, placed.index),
        profile=given.profile,
    )
    plain = None
    if given.oracle:
        oracle = Oracle(shapes) if with_sheaves else CpuSlabs(shapes)
        plain = oracle_rate(Synthetic(given.oracle).windows(1 << 18), oracle.event)
    show(measured, plain)
    for name in used(profile.slub.generation, Use.CHIEF):
        print(f"{name:34} {int(slub.counters()[name].sum()):,}")


if __name__ == "__main__":
    main()
