"""Which CPUs a recording covers, and from when to when each.

A recording may be of some CPUs only (perf record -C, per_cpu/cpuN/trace, trace-cmd split), and its
CPUs need not begin together: where the ring buffer wrote over its oldest events, the CPU with the
most traffic begins last. What a CPU allocated or freed outside its part shows as frees of unknown
objects and as objects that are never freed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ingest.reader import Facts, Reader
    from pipeline.ingest.stream import Stream

#: A CPU that nothing is known of is taken to be idle for this part of the recording, and for as
#: long as it is silent later: what goes beyond both is said.
_IDLE = 0.1


@dataclass(slots=True)
class _Covered:
    events: int
    first_ts: int
    last_ts: int
    longest_gap: int = 0


class Coverage:
    """Learns what each CPU's records cover, over the windows of a recording."""

    def __init__(self) -> None:
        self._cpus: dict[int, _Covered] = {}

    def add(self, stream: Stream) -> None:
        """Take in the records of one window, those of events that are not kept too."""
        inside = np.flatnonzero(stream.inside)
        if not inside.size:
            return
        cpu, ts = stream.cpu[inside], stream.ts[inside]
        begin = np.flatnonzero(np.diff(cpu, prepend=-1))
        # From each record to the one before it on its CPU; none before a CPU's first.
        gap = np.diff(ts, prepend=ts[0])
        gap[begin] = 0
        longest, earliest, latest = (
            reduced.reduceat(values, begin)
            for reduced, values in ((np.maximum, gap), (np.minimum, ts), (np.maximum, ts))
        )
        count = np.diff(begin, append=len(cpu))
        found = (cpu[begin], count, earliest, latest, longest)
        for number, events, first, last, silent in zip(
            *(each.tolist() for each in found), strict=True
        ):
            known = self._cpus.get(number)
            if known is None:
                self._cpus[number] = _Covered(events, first, last, silent)
                continue
            known.longest_gap = max(known.longest_gap, silent, first - known.last_ts)
            known.events += events
            known.first_ts = min(known.first_ts, first)
            known.last_ts = max(known.last_ts, last)

    def describe(self, facts: Facts, *, whole: bool = True) -> dict[str, dict[str, Any]]:
        """What meta.json says of each CPU that has events.

        Args:
            facts: what the recording says of losses.
            whole: nothing was left out on purpose; else CPUs begin when they all had begun.

        Of each: its records, the first's and the last's time, the longest time between two, the
        events lost before its first (None: it is not known how many), and
        ``late``: why it is believed to begin late: "overwritten" (observed: the ring buffer says
        that events before its first were lost), "unexplained" (inferred: nothing is known of
        losses, and it begins later than its own silences explain), or None. ``early`` likewise of
        its end: "full" (the ring buffer took no more events), "unexplained", or None.
        """
        if not self._cpus:
            return {}
        since = min(each.first_ts for each in self._cpus.values())
        until = max(each.last_ts for each in self._cpus.values())
        out = {}
        for cpu, each in sorted(self._cpus.items()):
            idle = max(each.longest_gap, int(_IDLE * (until - since)))
            watched = cpu in facts.watched_cpus
            late = early = None
            overwritten = facts.overwritten.get(cpu, 0) if whole else 0
            if overwritten != 0 and each.first_ts > since:
                late = "overwritten"
            elif whole and not watched and each.first_ts - since > idle:
                late = "unexplained"
            if facts.refused.get(cpu, 0) and until - each.last_ts > each.longest_gap:
                early = "full"
            elif not watched and until - each.last_ts > idle:
                early = "unexplained"
            own = {"overwritten": overwritten, "late": late, "early": early}
            out[str(cpu)] = asdict(each) | own
        return out


def common_start(reader: Reader, beside: Callable[[], memoryview], budget: int) -> int | None:
    """The time from which all CPUs of a recording are covered; None: from its beginning.

    CPUs that begin late because they were idle count for nothing here.

    Args:
        reader: the recording, which is read to its end.
        beside: the kallsyms beside it, for formats that need them.
        budget: bytes decoded at once.

    Raises:
        InputError: the recording is damaged.
    """
    reader.symbols(beside)
    coverage = Coverage()
    for stream in reader.streams(budget):
        coverage.add(stream)
    found = coverage.describe(reader.facts()).values()
    return max((each["first_ts"] for each in found if each["late"]), default=None)
