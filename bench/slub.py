"""Time the SLUB layer on a synthetic trace: events a second, peak memory, against the oracle.

python -m bench.slub [--events N] [--window ROWS] [--oracle N] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time

import numpy as np

from allocsim.profile import LINUX_7_2, cache_shapes
from allocsim.slub import Slub
from bench.synthetic import Synthetic
from tests.oracle.slub import Slub as Oracle


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--window", type=int, default=1 << 20)
    parser.add_argument("--oracle", type=int, default=0, help="events to give the oracle")
    parser.add_argument("--profile", action="store_true", help="print the profiler's account")
    given = parser.parse_args()
    trace = Synthetic(given.events)
    shapes = cache_shapes(LINUX_7_2, trace.cache_sizes(), trace.cpus)
    slub = Slub(LINUX_7_2, shapes, trace.cpus)
    profiler = cProfile.Profile()
    spent = made = copied = 0.0
    events = pages = 0
    mark = time.process_time()
    for requests in trace.windows(given.window):
        begin = time.process_time()
        made += begin - mark
        if given.profile:
            profiler.enable()
        placed, wanted = slub.window(requests)
        profiler.disable()
        mid = time.process_time()
        spent += mid - begin
        for column in (*requests, placed.path, placed.slab, placed.index):
            np.copy(column)
        mark = time.process_time()
        copied += mark - mid
        events += len(placed.path)
        pages += len(wanted.seq)
    rate = events / spent
    print(f"{events} events, {given.window} a window")
    print(f"{spent:.2f} s of CPU, {rate / 1e6:.2f} M events/s")
    print(f"generator {made:.2f} s, copy of the same bytes {copied:.2f} s, {spent / copied:.0f} x")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"page requests {pages}")
    for name, column in slub.counters().items():
        print(f"  {name:20} {column.sum()}")
    if given.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    if given.oracle:
        oracle_rate = time_oracle(given.oracle)
        print(f"oracle {oracle_rate / 1e3:.0f} k events/s: {rate / oracle_rate:.0f} x")


def time_oracle(events: int) -> float:
    """Events a second of the oracle on a trace of the same kind."""
    trace = Synthetic(events)
    oracle = Oracle(cache_shapes(LINUX_7_2, trace.cache_sizes(), trace.cpus))
    spent = 0.0
    count = 0
    for requests in trace.windows(1 << 18):
        rows = list(zip(*(column.tolist() for column in requests), strict=True))
        begin = time.process_time()
        for row in rows:
            oracle.event(*row)
        spent += time.process_time() - begin
        count += len(rows)
    return count / spent


if __name__ == "__main__":
    main()
