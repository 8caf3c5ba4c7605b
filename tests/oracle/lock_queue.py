"""A lock given in order of arrival, one visit after the other (R7.4)."""

from __future__ import annotations

from typing import NamedTuple


class Visit(NamedTuple):
    """One visit: when it comes, its CPU, how long it holds the lock."""

    arrival: float
    cpu: int
    hold: float


class Found(NamedTuple):
    """What a visit finds: the lock held by another CPU, how long it waits then, who is before."""

    met: bool
    waited: float
    queue: int


def queue(visits: list[Visit]) -> list[Found]:
    """What each visit finds, in order of arrival."""
    cpus = {visit.cpu for visit in visits}
    done: list[tuple[float, int]] = []  # when each leaves, and its CPU
    found = []
    for visit in visits:
        before = [(leave, cpu) for leave, cpu in done if leave > visit.arrival]
        met = any(cpu != visit.cpu for _, cpu in before)
        begin = max([visit.arrival, *(leave for leave, _ in before)])
        waited = begin - visit.arrival if met else 0.0
        found.append(Found(met, waited, min(len(before), len(cpus) - 1)))
        done.append((begin + visit.hold, visit.cpu))
    return found
