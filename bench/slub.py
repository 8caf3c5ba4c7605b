"""Time the SLUB layer on a synthetic trace: events a second, peak memory, against the oracle.

    python bench/slub.py [--kernel 6.12] [--fast] [--caches N] [--cpus N] [--events N] ...
    python bench/slub.py --against caches|cpus|nodes|windows [--rounds N] [--events N] ...

The trace is that of bench/synthetic.py: 8 CPUs, 60 caches, a fifth of the frees remote. The kernel
is 7.2, with sheaves, unless 6.12 is asked for, with cpu slabs. With --fast what goes event by event
is compiled by numba; a window before the first one sees to the compiling.

With --against, what one of these numbers costs: traces of as many events with more and more caches,
CPUs, memory nodes (as many CPUs on each) or windows, each in a process of its own, one after the
other and round again, for the machine is shared; the round with the least CPU time counts. Speed is
that of the first row, divided. An exponent of 1 is linear, one of 0 says that the number costs
nothing: of time and of memory by the number, between two rows.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from math import log
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from meter import Measured, arguments, measure, oracle_rate, show
from synthetic import Synthetic

from allocsim.kernels.cache_shapes import CacheShape, cache_shapes
from allocsim.kernels.profile import DEFAULT, PROFILES, Profile
from allocsim.kernels.release import Generation
from allocsim.page_alloc.nodes import Nodes
from allocsim.slub.counters import Use, used
from allocsim.slub.slub import Slub

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.oracle.cpu_slabs import CpuSlabs
from tests.oracle.slub import Slub as Oracle

AGAINST = {
    "caches": (60, 250, 1000),
    "cpus": (2, 8, 64, 256),
    "nodes": (1, 2, 4),
    "windows": (8, 32, 128, 512),
}


class Done(NamedTuple):
    """A trace replayed: the model behind it, its caches, and what was measured."""

    slub: Slub
    shapes: list[CacheShape]
    measured: Measured


def profile_of(given: Namespace) -> Profile:
    """The kernel that was asked for."""
    return next(each for each in PROFILES if each.word == given.kernel)


def replayed(given: Namespace) -> Done:
    """Replay a trace as it was asked for."""
    trace, profile = Synthetic(given.events, given.cpus, given.caches), profile_of(given)
    shapes = cache_shapes(profile, trace.cache_sizes(), trace.cpus)
    of_cpu = tuple(cpu * given.nodes // trace.cpus for cpu in range(trace.cpus))
    nodes = Nodes(of_cpu, (True,) * given.nodes)
    if given.fast:
        slub = Slub(profile, shapes, trace.cpus, fast=True, nodes=nodes)
        slub.window(next(Synthetic(2000).windows(2000)))
    slub = Slub(profile, shapes, trace.cpus, fast=given.fast, nodes=nodes)
    measured = measure(
        trace.windows(given.window),
        lambda requests: slub.window(requests)[0],
        lambda requests, placed: (*requests, placed.path, placed.slab, placed.index),
        profile=given.profile,
    )
    return Done(slub, list(shapes), measured)


def cost(given: Namespace) -> tuple[float, float]:
    """Of a process of its own: CPU time an event [ns], and peak memory [MiB]."""
    measured = replayed(given).measured
    return 1e9 / measured.rate, measured.peak_mib or 0.0


def against(given: Namespace) -> None:
    """Print a line a number."""
    numbers, name = AGAINST[given.against], given.against
    found: dict[int, tuple[float, float]] = {}
    for _ in range(given.rounds):
        for number in numbers:
            window = -(-given.events // number) if name == "windows" else given.window
            asked = Namespace(**vars(given) | {"window": window, name: number})
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                spent = process.submit(cost, asked).result()
            found[number] = min(found.get(number, spent), spent)
    print(f"{given.events:,} events; the least of {given.rounds} rounds")
    print(f"{name:>8} ns an event   speed  peak MiB   time ^    MiB ^")
    for at, number in enumerate(numbers):
        speed = found[numbers[0]][0] / found[number][0]
        line = f"{number:8} {found[number][0]:11.0f} {speed:7.2f} {found[number][1]:9.0f}"
        if at:
            times = log(number / numbers[at - 1])
            pairs = zip(found[number], found[numbers[at - 1]], strict=True)
            line += "".join(f" {log(after / before) / times:8.2f}" for after, before in pairs)
        print(line)


def main() -> None:
    """Print what was measured."""
    parser = arguments(__doc__, events=50_000_000, oracle=2_000_000)
    parser.add_argument("--kernel", choices=[each.word for each in PROFILES], default=DEFAULT.word)
    parser.add_argument("--fast", action="store_true", help="let numba compile the model")
    parser.add_argument("--caches", type=int, default=60)
    parser.add_argument("--cpus", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--against", choices=AGAINST, help="what costs how much")
    parser.add_argument("--rounds", type=int, default=3, help="of --against")
    given = parser.parse_args()
    if given.against:
        against(given)
        return
    slub, shapes, measured = replayed(given)
    generation, plain = profile_of(given).slub.generation, None
    if given.oracle:
        oracle = Oracle(shapes) if generation is Generation.SHEAVES else CpuSlabs(shapes)
        plain = oracle_rate(Synthetic(given.oracle).windows(1 << 18), oracle.event)
    show(measured, plain)
    for name in used(generation, Use.CHIEF):
        print(f"{name:34} {int(slub.counters()[name].sum()):,}")


if __name__ == "__main__":
    main()
