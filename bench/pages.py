"""Time the page allocator's model on synthetic requests: events a second, memory, the oracle.

    python bench/pages.py [--events N] [--lives short|mixed|long] [--oracle N] [--profile]

8 CPUs, 8 GiB. Three quarters of the blocks are single pages, the rest orders 1 to 3; a fifth of
the frees come from another CPU. Lifetimes are exponential, of three lengths; `short` ones mostly
hit the per-CPU lists, `long` ones overflow them. Made chunk by chunk: memory is bounded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from meter import arguments, measure, oracle_rate, show

from allocsim.page_alloc.replay import PageReplay
from allocsim.page_alloc.zones import MachineZones, all_free, computed_zone

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


def machine() -> MachineZones:
    """One zone of all memory, empty."""
    zone = computed_zone(PAGES, CPUS)
    return MachineZones((zone,), (all_free(zone),), CPUS)


def main() -> None:
    """Print what was measured."""
    parser = arguments(__doc__, events=50_000_000, oracle=2_000_000)
    parser.add_argument("--lives", choices=LIVES, default="mixed")
    given = parser.parse_args()
    model = PageReplay(machine())
    measured = measure(
        requests(given.events, given.lives, given.window),
        lambda window: model.window(window)[0],
        lambda window, placed: (*window.values(), placed.path, placed.pfn, placed.pressure),
        profile=given.profile,
    )
    plain = None
    if given.oracle:
        plain = oracle_rate(
            (
                [window[name] for name in ("cpu", "op", "page", "order", "migratetype")]
                for window in requests(given.oracle, given.lives, 1 << 17)
            ),
            Oracle(machine()).event,
        )
    print(f"{'lives':34} {given.lives}")
    show(measured, plain)
    for name in ("pcp_refill", "pcp_drain", "zone_lock"):
        print(f"{name:34} {model.counters[name]:,}")


if __name__ == "__main__":
    main()
