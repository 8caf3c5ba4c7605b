"""Events that no column is made of: counted by name, and named where nothing else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.events import OF_NO_FORMAT, OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.stream import Stream

_NAMED = 5  # most that a line names


def count_others(stream: Stream, counts: dict[int, int]) -> None:
    """Add the window's events that are not kept to ``counts``, by common_type."""
    other = np.flatnonzero(stream.inside & (stream.slot == OTHER))
    if other.size:
        found = np.bincount(stream.head["common_type"][other])
        for number in np.flatnonzero(found).tolist():
            counts[number] = counts.get(number, 0) + int(found[number])


def by_name(types: EventTypes, counts: Mapping[int, int]) -> dict[str, int]:
    """What count_others counted, by the names of the event types."""
    named: dict[str, int] = {}
    for number, count in counts.items():
        name = types.name_of(number)
        named[name] = named.get(name, 0) + count
    return named


def of_no_format(types: EventTypes, counts: Mapping[int, int], where: str) -> list[str]:
    """Sentences on the events whose type the recording has no format of, if it has such events.

    A recorder writes formats when it begins, and trace-cmd those of the events that it was asked
    for alone (trace-cmd 3.4 lib/trace-cmd/trace-output.c:read_event_files): a module that is loaded
    later has events that none is of, and so have events that somebody else enables in the same
    buffer. Their fields are nowhere in the file, so they cannot be read.

    Raises:
        InputError: such a type is between those that are kept, where a kernel has no other, and all
            that it can be have formats: these are damaged. Says ``where``.
    """
    said = []
    without = [number for number in counts if number not in types.names]
    unlisted = {number: types.unlisted[number] for number in without if number in types.unlisted}
    if unlisted:
        named = listed_events({name: counts[number] for number, name in unlisted.items()})
        said.append(
            f"{named}: left out, for the recording has no formats of these events, which somebody "
            "else enabled in the same buffer; it cannot be said what they did (their names are "
            "inferred from the kernel's symbols)"
        )
    numbers = sorted(number for number in counts if types.name_of(number) == OF_NO_FORMAT)
    systems = {number: types.among(number) for number in numbers}
    inside = [number for number, system in systems.items() if system is not None]
    for system in sorted({systems[number] or "" for number in inside}):
        inside = [number for number in numbers if systems[number] == system]
        if len(inside) > len(types.missing(system)):
            raise InputError(
                f"{where}: {counts[inside[0]]} of its events have number {inside[0]}, among those "
                f"of {system}, and no format has it: the formats are damaged"
            )
    if not numbers:
        return said
    count = sum(counts[number] for number in numbers)
    shown = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    why = "of a module loaded after it began"
    if inside:
        why = "of kmem that somebody else enabled in the same buffer, or " + why
    of = f"of number {shown}{more}, as {why}"
    return [*said, f"{events_are(count)} left out: the recording has no format {of}"]


def events_are(count: int) -> str:
    """``1 event is``, ``2 events are``."""
    return "1 event is" if count == 1 else f"{count} events are"


def listed_events(counts: Mapping[str, int]) -> str:
    """The events there are instead of those looked for: the commonest by name."""
    found = sorted(((-count, name) for name, count in counts.items() if count))
    if not found:
        return "none at all"
    parts = [f"{-count} {name}" for count, name in found[:_NAMED]]
    if len(found) > _NAMED:
        parts.append(f"{len(found) - _NAMED} other kinds")
    return ", ".join(parts)
