"""Events that lack a field which a replay needs: left out, with those they belong to, and said.

A kernel of another age, or a damaged format text, may have no pfn or no gfp flags. Frees whose
allocations cannot be replayed would all be of unknown objects, so a family goes as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocsim.trace.events import EVENT_NAMES, FAMILIES, NEEDED
from pipeline.ingest.events import OTHER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pipeline.ingest.events import EventTypes


class Lacking:
    """Which events of a recording lack what; from here on these are events of other kinds.

    Args:
        types: the event types of the recording.
    """

    def __init__(self, types: EventTypes) -> None:
        self._missing: dict[str, list[str]] = {}
        self._of: dict[str, list[str]] = {}
        if not types.names:  # tracefs's text: an event's fields are known when its lines are
            return
        for family, codes in FAMILIES.items():
            members = [
                kept
                for slot, kept in enumerate(types.kept)
                if kept.event.code in codes and slot not in types.probes.slots
            ]
            missing = {
                kept.format.name: [
                    name for name in NEEDED[kept.event.code] if name not in kept.columns
                ]
                for kept in members
            }
            missing = {name: columns for name, columns in missing.items() if columns}
            if not missing:
                continue
            self._missing |= missing
            self._of[family] = [kept.format.name for kept in members]
            for kept in members:
                types.slot[kept.format.number] = OTHER

    def said(self, dropped: Mapping[str, int], recorded: Collection[str]) -> list[str]:
        """One sentence that names every lacking field, and what can still be replayed.

        Args:
            dropped: how many events of each name were left out.
            recorded: names of the events that were kept.
        """
        gone = {
            family: names
            for family, names in self._of.items()
            if any(dropped.get(name) for name in names)
        }
        if not gone:
            return []
        missing = {
            name: self._missing[name]
            for names in gone.values()
            for name in names
            if name in self._missing
        }
        left = [
            family
            for family, codes in FAMILIES.items()
            if any(EVENT_NAMES[code] in recorded for code in codes)
        ]
        out = f"events of {' and of '.join(gone)} are left out"
        return [f"{named(missing)}: {out}; {' and '.join(left) or 'nothing'} can be replayed"]


def named(missing: Mapping[str, Iterable[str]]) -> str:
    """Events, and the fields each lacks."""
    return ", ".join(
        f"{name} has no {' and no '.join(columns)}" for name, columns in missing.items()
    )
