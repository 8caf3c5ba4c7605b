"""Which events are counted: by their own moment, CPU, task, and the cache of their object.

A selection changes no event's meaning: whose an object or a page is, what a free ends and which
cache an object is of follow from all events, also those that are not counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UsageError
from pipeline.trace_set.parts import CPUS, PIDS
from pipeline.untrusted import MOST, number, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Bools, Columns

_NS = 10**9
_TIME = re.compile(r"\+?[0-9]{1,12}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it was given.

    Attributes:
        text: the words.
        value: in seconds, or in the clock's own unit where that is not ns.
        relative: it counts from the recording's first event.
    """

    text: str
    value: Decimal
    relative: bool

    @classmethod
    def parse(cls, text: str, option: str) -> Moment:
        """A moment of an option.

        Raises:
            UsageError: it is none.
        """
        if _TIME.fullmatch(text) is None:
            raise UsageError(
                f"{option} {shown(text)}: not a time; give seconds on the recording's clock as "
                "trace-cmd and perf print them (8.527155), or from its first event on (+1.5)"
            )
        return cls(text, Decimal(text.removeprefix("+")), text.startswith("+"))

    def ticks(self, first: int, unit: str) -> int:
        """The moment on the recording's clock, given that of its first event."""
        ticks = int(self.value * (_NS if unit == "ns" else 1))
        return min(ticks + (first if self.relative else 0), MOST)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are counted.

    Attributes:
        since: none earlier; None: from the first on.
        until: none later; None: to the last.
        cpus: only those of these CPUs; empty: of all.
        pids: only those of these tasks (common_pid), likewise.
        caches: only those of objects of these caches, likewise.
    """

    since: Moment | None = None
    until: Moment | None = None
    cpus: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()
    caches: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.since or self.until or self.cpus or self.pids or self.caches)

    def words(self) -> str:
        """What is counted, in words; empty: everything."""
        parts = []
        if self.since:
            parts.append(f"from {self.since.text}")
        if self.until:
            parts.append(f"to {self.until.text}")
        for values, one, several in (
            (self.cpus, "on CPU", "on CPUs"),
            (self.pids, "by task", "by tasks"),
            (self.caches, "in cache", "in caches"),
        ):
            if values:
                parts.append(
                    f"{one if len(values) == 1 else several} {', '.join(map(str, values))}"
                )
        return ", ".join(parts)

    def masks(self, events: Columns, first: int, unit: str) -> tuple[Bools, Bools]:
        """Which events are counted, caches apart; and which are not after the end.

        Args:
            events: columns ts, cpu and pid.
            first: time of the recording's first event.
            unit: of its clock.
        """
        rows = len(events["ts"])
        until = np.ones(rows, bool)
        if self.until is not None:
            until = events["ts"] <= self.until.ticks(first, unit)
        counted = until.copy()
        if self.since is not None:
            counted &= events["ts"] >= self.since.ticks(first, unit)
        for name, wanted in (("cpu", self.cpus), ("pid", self.pids)):
            if wanted:
                counted &= np.isin(events[name], wanted)
        return counted, until


def selection(
    since: str | None,
    until: str | None,
    cpus: Sequence[str],
    pids: Sequence[str],
    caches: Sequence[str],
) -> Selection:
    """The selection that options ask for.

    Args:
        since: ``--from``.
        until: ``--to``.
        cpus: ``--cpu``: numbers, ranges, lists of these.
        pids: ``--pid``, likewise.
        caches: ``--cache``: names, or lists of these.

    Raises:
        UsageError: one of them is none.
    """
    return Selection(
        None if since is None else Moment.parse(since, "--from"),
        None if until is None else Moment.parse(until, "--to"),
        _numbers(cpus, "--cpu", CPUS - 1),
        _numbers(pids, "--pid", PIDS),
        tuple(name for text in caches for name in text.split(",") if name),
    )


def _numbers(texts: Sequence[str], option: str, most: int) -> tuple[int, ...]:
    found: set[int] = set()
    for part in (part for text in texts for part in text.split(",")):
        low, dash, high = part.partition("-")
        first, last = number(low, most=most), number(high if dash else low, most=most)
        if first is None or last is None or last < first:
            raise UsageError(f"{option} {shown(part)}: not a number up to {most}, or a range a-b")
        found |= set(range(first, last + 1))
    return tuple(sorted(found))
