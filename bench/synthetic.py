"""A synthetic trace of object requests, in windows, as long as asked for.

8 CPUs and 60 caches by default. Caches are chosen by Zipf's law. Lifetimes are log-uniform, from
the next event to the longest of the cache, which differs between caches by a factor of a thousand,
and a few are for ever. In three of ten stretches of the trace all objects die in a crowd, as at
processes' exit: all at once and on one CPU, which overflows the barns and empties slabs. Of the
other frees a fifth comes from another CPU than the allocation. So the SLUB of 7.2 refills and
flushes 0.2 objects an event and makes 5 slabs in 1,000, as on recordings of churn (0.2, 0.2, 6).
Made chunk by chunk with a fixed seed: memory is bounded by the live objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocsim.slub.requests import ObjectRequests

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

GROUP = 1 << 19  #: events in which either all objects join a crowd or none
CROWD = 1 << 20  #: events from one crowd's end to the next
NEVER = 1 << 60
SHORT = 1 << 8  #: longest lifetime in the cache of the shortest ones, in events
KMALLOC_SIZES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class Synthetic:
    """What the trace is made of.

    Args:
        events: allocations and frees together, roughly.
        cpus: CPUs; the events are spread evenly.
        caches: caches, the kmalloc classes among them.
        remote: share of the frees done by another CPU than the allocation.
        longest: longest lifetime but for ever of any cache, in events.
        forever: share of the objects that are never freed.
        crowds: share of the stretches whose objects die together with others.
        seed: of the random generator.
    """

    events: int
    cpus: int = 8
    caches: int = 60
    remote: float = 0.2
    longest: int = 1 << 18
    forever: float = 0.00001
    crowds: float = 0.3
    seed: int = 1

    def cache_sizes(self) -> list[tuple[str, int]]:
        """Name and size in bytes of every cache, most used first."""
        rng = np.random.default_rng(self.seed)
        named = np.exp(rng.uniform(np.log(64), np.log(8192), self.caches)).astype(int) // 8 * 8
        caches = [(f"kmalloc-{size}", size) for size in KMALLOC_SIZES]
        caches += [(f"named-{at}", int(size)) for at, size in enumerate(named)]
        caches = caches[: self.caches]
        rng.shuffle(caches)
        return caches

    def windows(self, rows: int) -> Iterator[ObjectRequests]:
        """Windows of about ``rows`` requests."""
        rng = np.random.default_rng(self.seed + 1)
        weights = 1 / np.arange(1, self.caches + 1)
        share = np.cumsum(weights) / weights.sum()
        longest = np.exp(rng.uniform(np.log(SHORT), np.log(self.longest), self.caches))
        # Deaths still to come: when, which object, of which cache, on which CPU.
        pending: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64) for _ in range(4)]
        seq = handle = 0
        begin = 0
        while begin < self.events:
            end = min(begin + rows, self.events)
            born = np.arange(begin, end, 2)
            count = len(born)
            cache = np.searchsorted(share, rng.random(count))
            cpu = rng.integers(0, self.cpus, count)
            handles = np.arange(handle, handle + count)
            dead = born + self._lifetimes(rng, longest[cache])
            away = rng.random(count) < self.remote
            reaper = np.where(away, rng.integers(0, self.cpus, count), cpu)
            group = born // GROUP
            crowd = rng.random(int(group[-1] - group[0]) + 1)[group - group[0]] < self.crowds
            dead[crowd] = (dead[crowd] // CROWD + 1) * CROWD
            reaper[crowd] = dead[crowd] // CROWD % self.cpus
            dead[rng.random(count) < self.forever] = NEVER
            pending = [
                np.concatenate(pair)
                for pair in zip(pending, (dead, handles, cache, reaper), strict=True)
            ]
            now = pending[0] < end
            ended = [column[now] for column in pending]
            pending = [column[~now] for column in pending]
            # At one time a death comes behind a birth: an object may die at once.
            order = np.argsort(np.concatenate((born * 2, ended[0] * 2 + 1)), kind="stable")
            yield ObjectRequests(
                np.arange(seq, seq + len(order)),
                np.concatenate((cpu, ended[3])).astype(np.int16)[order],
                np.concatenate((cache, ended[2])).astype(np.int32)[order],
                np.repeat(np.array([1, -1], np.int8), (count, len(ended[0])))[order],
                np.concatenate((handles, ended[1]))[order],
            )
            seq, handle, begin = seq + len(order), handle + count, end

    @staticmethod
    def _lifetimes(
        rng: np.random.Generator, longest: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        return np.exp(rng.random(len(longest)) * np.log(longest)).astype(np.int64)
