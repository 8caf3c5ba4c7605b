"""The windows of time that a spec is made in, and the requests of each.

Where the windows lie is fixed by the spec: the random bits of each are its own.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from pipeline.synth.arrivals import BEFORE, PhaseSpan
from pipeline.synth.births import Worker
from pipeline.synth.calendar import Calendar
from pipeline.synth.lines import pieces, prefilled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.synth.calendar import Moments
    from pipeline.synth.spec.model import Spec, Work

_BIRTHS = 1 << 16  # wanted in a window
_SECOND = 10**9


def windows(spec: Spec) -> Iterator[tuple[bool, float, Moments]]:
    """Requests, window by window: whether they are in the trace, the part of the time that is done.

    What is older than the trace comes first. With ``events`` in the spec there is no end.
    """
    first, workers = 0, []
    for number, work in enumerate(spec.works):
        workers.append(Worker(spec, number, first))
        first += len(work.entries)
    calendar = Calendar(pieces(spec), prefilled(spec))
    pre_trace = [births for worker in workers if (births := worker.before()) is not None]
    if pre_trace:
        yield False, 0.0, calendar.window(pre_trace, -BEFORE, 0)
    total = sum(phase.length for phase in spec.phases)
    for cycle in count() if spec.events else range(1):
        for span in _spans(spec, cycle, cycle * total):
            made = [births for worker in workers if (births := worker.window(span)) is not None]
            yield True, span.end / total, calendar.window(made, span.begin, span.end)


def _spans(spec: Spec, cycle: int, begin: int) -> Iterator[PhaseSpan]:
    """The windows of all phases, one after the other."""
    first = begin
    for number, phase in enumerate(spec.phases):
        end = begin + phase.length
        births = sum(_births(spec, work, number) for work in spec.works) * phase.length / _SECOND
        parts = max(1, round(births / _BIRTHS))
        for part in range(parts):
            yield PhaseSpan(
                begin + phase.length * part // parts,
                begin + phase.length * (part + 1) // parts,
                number,
                begin,
                end,
                (cycle, number, part),
                parts,
                first,
            )
        begin = end


def _births(spec: Spec, work: Work, phase: int) -> float:
    """Objects a second that a work allocates in a phase, about."""
    if phase not in work.phases or work.arrival.kind == "before":
        return 0
    counts = [entry.count for entry in work.entries]
    objects: float = sum(counts)
    if work.arrival.kind == "closed":
        step = max(entry.free.step for entry in work.entries)
        cycle = objects * (work.step + step) + work.arrival.hold + work.arrival.think + 1
        return sum(work.cpus) * objects * _SECOND / cycle
    if work.pick == "one":
        weights = [entry.weight for entry in work.entries]
        objects = sum(c * w for c, w in zip(counts, weights, strict=True)) / sum(weights)
    if work.arrival.kind == "spread":
        length = sum(each.length for each in spec.phases)
        return float(work.arrival.count * spec.phases[0].rate) * objects * _SECOND / length
    return float(work.arrival.rate(phase) * spec.phases[phase].rate) * objects
