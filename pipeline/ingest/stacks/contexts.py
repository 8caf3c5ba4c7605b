"""Which events of a CPU belong together, when interrupts come between them.

An interrupt's events lie between two events of what it interrupted, and are over when that goes
on. So what belongs together is next to each other among the events of one context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from allocsim.tables import distinct

if TYPE_CHECKING:
    from allocsim.tables import Bools, Int64
    from pipeline.ingest.stream import Stream

# common_flags: include/linux/trace_events.h:enum trace_flag_type, HARDIRQ, SOFTIRQ and NMI (7.2).
_CONTEXT_FLAGS = 0x08 | 0x10 | 0x40


def before(stream: Stream, rows: Int64, member: Bools) -> Int64:
    """The last record before each of ``rows``, of the same task and interrupt context.

    Args:
        stream: the records.
        rows: i8, records.
        member: bool, one a record: the records to look among.

    Returns:
        i8, one a row: a record of the same CPU, not far before; -1: none, or the last one of this
        context is another task's.
    """
    context = stream.head["common_flags"] & _CONTEXT_FLAGS
    found = np.full(len(rows), -1, np.int64)
    for flags in distinct(context[rows]).tolist():
        mine = np.flatnonzero(context[rows] == flags)
        among = np.flatnonzero(member & (context == flags))
        at = np.searchsorted(among, rows[mine]) - 1
        found[mine[at >= 0]] = among[at[at >= 0]]
    return np.where(_near(stream, found, rows), found, -1)


def _near(stream: Stream, first: Int64, second: Int64) -> Bools:
    """Whether two records are of the same CPU and task and close enough (false for -1)."""
    pid = stream.head["common_pid"]
    near: Bools = (first >= 0) & (stream.cpu[first] == stream.cpu[second])
    near &= (pid[first] == pid[second]) & stream.places.near(stream, first, second)
    return near


def directly_before(stream: Stream, rows: Int64) -> Int64:
    """The record next before each of ``rows`` if it is of the same task and context; else -1."""
    first = rows - 1
    flags = stream.head["common_flags"]
    same = _near(stream, first, rows)
    same &= (flags[first] ^ flags[rows]) & _CONTEXT_FLAGS == 0
    return np.where(same, first, -1)
