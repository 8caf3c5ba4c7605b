"""The sheaves of one cache, as they stand between windows (7.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

NO_SHEAF = -1


@dataclass(slots=True, eq=False)
class Sheaf:
    """A sheaf: its number, and its objects, the next to be taken last."""

    number: int
    objects: list[int]


@dataclass(slots=True)
class Sheaves:
    """The sheaves between two windows, by number; contents are kept beside (cache).

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

    @classmethod
    def cold(cls, cpus: int, capacity: int, max_full: int) -> Sheaves:
        """A new cache: an empty main sheaf for every CPU (R3.12), no spare, an empty barn."""
        return cls(
            capacity=capacity,
            max_full=max_full,
            main=list(range(cpus)),
            spare=[NO_SHEAF] * cpus,
            size=[0] * cpus,
            spare_full=[False] * cpus,
            full=[],
            empty=[],
            count=cpus,
            unused=[],
        )

    def copy(self) -> Sheaves:
        """An independent copy."""
        return replace(
            self,
            main=list(self.main),
            spare=list(self.spare),
            size=list(self.size),
            spare_full=list(self.spare_full),
            full=list(self.full),
            empty=list(self.empty),
            unused=list(self.unused),
        )

    def __deepcopy__(self, _: dict[int, Any]) -> Sheaves:
        """As deepcopy gives it, but quicker."""
        return self.copy()

    def new_sheaf(self) -> int:
        """The number of a sheaf just allocated."""
        if self.unused:
            return self.unused.pop()
        self.count += 1
        return self.count - 1
