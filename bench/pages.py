"""Time the page allocator's model on synthetic requests: events a second, memory, the oracle.

    python bench/pages.py [--events N] [--lives short|mixed|long] [--oracle N] [--profile]

8 CPUs, 8 GiB. Three quarters of the blocks are single pages, the rest orders 1 to 3; a fifth of
the frees come from another CPU. Lifetimes are exponential, of three lengths; `short` ones mostly
hit the per-CPU lists, `long` ones overflow them. Made chunk by chunk: memory is bounded.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from allocsim.page_paths import PagePath
from allocsim.page_replay import PageReplay
from allocsim.zones import Machine, all_free, computed_zone

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.oracle.page_lists import PageAllocator as Oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

CPUS, PAGES = 8, 8 << 18
LIVES = {"short": (20, 200, 2000), "mixed": (20, 2000, 100_000), "long": (2000, 100_000, 400_000)}
ORDERS = np.array([0] * 12 + [1, 2, 3, 3], np.int8)
TYPES = np.array([0, 1, 1, 1, 2], np.int8)

Requests = dict[str, np.ndarray]


def requests(events: int, lives: str, window: int) -> Iterator[Requests]:
    """Windows of requests; half of all events are allocations, the rest their frees."""
    rng = np.random.default_rng(1)
    names = ("time", "op", "cpu", "page", "order", "migratetype")
    waiting = {name: np.empty(0) for name in names}
    per_window = window // 2
    for first in range(0, events // 2, per_window):
        page = np.arange(first, first + per_window)
        born = page * 2.0
        cpu = rng.integers(0, CPUS, per_window)
        order, kind = rng.choice(ORDERS, per_window), rng.choice(TYPES, per_window)
        dies = born + rng.exponential(rng.choice(np.array(LIVES[lives]), per_window))
        other = np.where(rng.random(per_window) < 0.2, rng.integers(0, CPUS, per_window), cpu)
        one = np.ones(per_window, np.int8)
        made = {
            "time": (born, dies),
            "op": (one, -one),
            "cpu": (cpu, other),
            "page": (page, page),
            "order": (order, order),
            "migratetype": (kind, kind),
        }
        every = {name: np.concatenate((waiting[name], *made[name])) for name in names}
        in_time = np.argsort(every["time"], kind="stable")
        now = int(np.searchsorted(every["time"][in_time], (first + per_window) * 2.0))
        waiting = {name: column[in_time[now:]] for name, column in every.items()}
        yield {
            name: column[in_time[:now]].astype(np.int64 if name == "page" else np.int16)
            for name, column in every.items()
            if name != "time"
        }


def machine() -> Machine:
    """One zone of all memory, empty."""
    zone = computed_zone(PAGES, CPUS)
    return Machine((zone,), (all_free(zone),), CPUS)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--window", type=int, default=1 << 20)
    parser.add_argument("--lives", choices=LIVES, default="short")
    parser.add_argument("--oracle", type=int, default=0, help="events to give the oracle")
    parser.add_argument("--profile", action="store_true", help="print the profiler's account")
    given = parser.parse_args()
    model = PageReplay(machine())
    profiler = cProfile.Profile()
    paths: Counter[int] = Counter()
    events, spent = 0, 0.0
    for window in requests(given.events, given.lives, given.window):
        begin = time.process_time()
        if given.profile:
            profiler.enable()
        results, _ = model.window(window)
        profiler.disable()
        spent += time.process_time() - begin
        events += len(results.path)
        paths.update(dict(enumerate(np.bincount(results.path).tolist())))
    rate = events / spent
    print(f"{events} events, {given.lives} lives: {spent:.2f} s, {rate / 1e6:.2f} M events/s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print({PagePath(path).name: count for path, count in paths.items() if count})
    print({name: count for name, count in model.counters.items() if count})
    if given.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    if given.oracle:
        oracle_rate = time_oracle(given.oracle, given.lives)
        print(f"oracle {oracle_rate / 1e3:.0f} k events/s: {rate / oracle_rate:.0f} x")


def time_oracle(events: int, lives: str) -> float:
    """Events a second of the oracle on requests of the same kind."""
    oracle = Oracle(machine())
    count, spent = 0, 0.0
    for window in requests(events, lives, 1 << 17):
        rows = list(
            zip(
                *(window[n].tolist() for n in ("cpu", "op", "page", "order", "migratetype")),
                strict=True,
            )
        )
        begin = time.process_time()
        for row in rows:
            oracle.event(*row)
        spent += time.process_time() - begin
        count += len(rows)
    return count / spent


if __name__ == "__main__":
    main()
