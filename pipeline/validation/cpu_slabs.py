"""The simulated placement of a kernel with cpu slabs (6.12) against SLUB_STATS."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from allocsim.kernels.release import Generation
from allocsim.slub.counters import Use, used
from pipeline.validation.bounds import CountCheck
from pipeline.validation.slub_replay import totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.validation.slub_replay import Counts

#: Counters compared for every cache, and those compared for caches together only.
BY_CACHE = used(Generation.CPU_SLABS, Use.CACHE)
IN_TOTAL = used(Generation.CPU_SLABS, Use.TOTAL)
COUNTERS = (*BY_CACHE, *IN_TOTAL)
PREFIX = "simulated_cpu_slabs_"  #: of the quantities' names
TRACED = "caches whose events are all traced"

# A cache's events are all traced if the kernel counted as many allocations and frees of it, but for
# a few by what the script that took the snapshots ran behind the recording's end.
_TRACED_PCT, _TRACED_SLACK = 0.3, 8


def compare(of: Sequence[Counts], note: str) -> Iterator[CountCheck]:
    """Counters of all caches, of those whose events are all traced, and of each.

    Args:
        of: the kernel's; the model's; the model's with its untraced frees at other moments.
        note: of the figures of all caches.
    """
    kernel, model = of[0], of[1]
    caches = sorted({cache for cache, _ in kernel})
    traced = [cache for cache in caches if _is_traced(cache, kernel, model)]
    known = f"{len(traced)} caches of {len(caches)}."
    for name in COUNTERS:
        yield CountCheck.of(PREFIX + name, "total", [totals(counts)[name] for counts in of], note)
        figures = [sum(counts.get((cache, name), 0) for cache in traced) for counts in of]
        yield CountCheck.of(PREFIX + name, TRACED, figures, known)
    for name in BY_CACHE:
        errors = []
        for cache in caches:
            figures = [counts.get((cache, name), 0) for counts in of]
            if any(figures):
                yield CountCheck.of(PREFIX + name, cache, figures, "")
            if cache in traced and figures[0]:
                errors.append(100 * abs(figures[1] - figures[0]) / figures[0])
        exact = f"{len(errors)} caches, {sum(not error for error in errors)} of them without error."
        if errors:
            yield CountCheck(f"{PREFIX}{name}_median_error", TRACED, 0, median(errors), exact)


def _is_traced(cache: str, kernel: Counts, model: Counts) -> bool:
    """Whether the kernel counted as many allocations, and as many frees, as the trace has."""

    def operations(counts: Counts, of: str) -> int:
        return sum(counts.get((cache, f"{of}_{path}"), 0) for path in ("fastpath", "slowpath"))

    pairs = [(operations(kernel, of), operations(model, of)) for of in ("alloc", "free")]
    return all(
        abs(counted - found) <= max(_TRACED_SLACK, _TRACED_PCT / 100 * counted)
        for counted, found in pairs
    )
