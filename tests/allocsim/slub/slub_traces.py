"""Traces that both generations of SLUB are tried with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.cache_shapes import cache_shapes
from tests.oracle.slub_compare import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.kernels.profile import Profile


def there_and_back(profile: Profile, size: int, count: int) -> Trace:
    """So many objects of a size allocated on one CPU, then freed in the same order."""
    shapes = cache_shapes(profile, [("c", size)], 2)
    requests = [(i, 0, 0, +1, i) for i in range(count)]
    requests += [(count + i, 0, 0, -1, i) for i in range(count)]
    return Trace(shapes, 1, requests, profile=profile)


def random_trace(
    profile: Profile,
    seed: int,
    caches: list[int],
    cpus: int,
    remote: float,
    refusals: Sequence[tuple[int, int]] = (),
) -> Trace:
    """A trace of real shapes: each cache drifts up and down, a share of the frees is remote."""
    rng = np.random.default_rng(seed)
    shapes = cache_shapes(profile, [(f"kmalloc-{size}", size) for size in caches], cpus)
    live: list[list[tuple[int, int]]] = [[] for _ in caches]
    requests = []
    drift = rng.random(len(caches))
    for seq in range(8000):
        if seq % 500 == 0:
            drift = rng.random(len(caches))
        cache = int(rng.integers(len(caches)))
        cpu = int(rng.integers(cpus))
        if not live[cache] or rng.random() < drift[cache]:
            live[cache].append((seq, cpu))
            requests.append((seq, cpu, cache, +1, seq))
        else:
            near = max(0, len(live[cache]) - 100)
            at = int(rng.integers(near, len(live[cache])))
            handle, home = live[cache].pop(at)
            requests.append((seq, cpu if rng.random() < remote else home, cache, -1, handle))
    return Trace(shapes, cpus, requests, refusals=list(refusals), profile=profile)
