"""The sheaves of a cache whose windows are planned, as they stand between two of them (7.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

NO_SHEAF = -1


@dataclass(slots=True)
class Sheaves:
    """The sheaves between two windows, by number; contents are kept beside (planned).

    Args:
        capacity: objects in a sheaf, at least 1.
        max_full: full sheaves the barn takes.
        main: main sheaf of every CPU.
        spare: spare sheaf of every CPU, NO_SHEAF where there is none.
        size: objects in every CPU's main sheaf.
        spare_full: whether every CPU's spare is full; a spare that is not full is empty.
        full: full sheaves of the barn, the next to be taken last.
        empty: empty sheaves of the barn, the next to be taken last.
        count: numbers given so far.
        unused: numbers of sheaves that were freed.
    """

    capacity: int
    max_full: int
    main: list[int]
    spare: list[int]
    size: list[int]
    spare_full: list[bool]
    full: list[int]
    empty: list[int]
    count: int
    unused: list[int]

    def copy(self) -> Sheaves:
        """An independent copy."""
        names = ("main", "spare", "size", "spare_full", "full", "empty", "unused")
        lists: dict[str, Any] = {name: list(getattr(self, name)) for name in names}
        return replace(self, **lists)

    def new_sheaf(self) -> int:
        """The number of a sheaf just allocated."""
        if self.unused:
            return self.unused.pop()
        self.count += 1
        return self.count - 1
