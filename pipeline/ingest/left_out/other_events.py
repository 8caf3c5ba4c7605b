"""Events that no column is made of: counted by name, and named where nothing else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.events import OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.stream import Stream

_NAMED = 5  # most that a line names


def count_others(types: EventTypes, stream: Stream, counts: dict[str, int]) -> None:
    """Add the window's events that are not kept to ``counts``, by name."""
    other = np.flatnonzero(stream.inside & (stream.slot == OTHER))
    if other.size:
        found = np.bincount(stream.head["common_type"][other])
        for number in np.flatnonzero(found).tolist():
            name = types.name_of(number)
            counts[name] = counts.get(name, 0) + int(found[number])


def listed_events(counts: Mapping[str, int]) -> str:
    """The events there are instead of those looked for: the commonest by name."""
    found = sorted(((-count, name) for name, count in counts.items() if count))
    if not found:
        return "none at all"
    parts = [f"{-count} {name}" for count, name in found[:_NAMED]]
    if len(found) > _NAMED:
        parts.append(f"{len(found) - _NAMED} other kinds")
    return ", ".join(parts)
