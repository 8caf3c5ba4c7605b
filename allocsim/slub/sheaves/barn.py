"""The barn of one cache, and what a CPU's main sheaf is replaced by when it is empty or full (7.2).

The rules stand here once, for both ways through a window: planned, where a sheaf is a number and
what it holds follows later (plan), and event by event, where it has its objects (stepwise). What
the two do about a sheaf's memory and its objects, a ``Barn`` of each says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from allocsim.slub.paths import AllocPath

if TYPE_CHECKING:
    from collections import Counter

S = TypeVar("S")  #: a sheaf


class Barn(ABC, Generic[S]):
    """Full and empty sheaves that the CPUs of a cache share (R3.13, R3.16, R3.18).

    Args:
        full: full sheaves, the next to be taken last.
        empty: empty sheaves, likewise.
        max_full: full sheaves it takes.
        stat: the kernel's counters.
    """

    def __init__(self, full: list[S], empty: list[S], max_full: int, stat: Counter[str]) -> None:
        self.full, self.empty = full, empty
        self.max_full = max_full
        self.stat = stat

    @abstractmethod
    def new_sheaf(self) -> S | None:
        """mm/slub.c:alloc_empty_sheaf (7.2); None: there is no memory for one."""

    @abstractmethod
    def refill(self, sheaf: S) -> bool:
        """mm/slub.c:refill_sheaf (7.2); whether the sheaf is full then."""

    @abstractmethod
    def flush(self, sheaf: S) -> None:
        """mm/slub.c:sheaf_flush_unused (7.2)."""

    @abstractmethod
    def flush_main(self, main: S) -> None:
        """mm/slub.c:sheaf_try_flush_main (7.2)."""

    @abstractmethod
    def free_sheaf(self, sheaf: S) -> None:
        """mm/slub.c:free_empty_sheaf (7.2)."""

    def empty_sheaf(self) -> S | None:
        """mm/slub.c:barn_get_empty_sheaf, else alloc_empty_sheaf (7.2)."""
        return self.empty.pop() if self.empty else self.new_sheaf()

    def replace_empty_main(
        self, main: S, spare: S | None, *, spare_holds: bool
    ) -> tuple[S, S | None, AllocPath]:
        """mm/slub.c:__pcs_replace_empty_main (7.2): main, spare, and how they were come by.

        Path.FAILED: no full sheaf is left and none could be made full.

        Args:
            main: the main sheaf, empty.
            spare: the spare sheaf.
            spare_holds: the spare has objects.
        """
        if spare_holds and spare is not None:
            return spare, main, AllocPath.SPARE_SWAP
        if self.full:
            self.stat["barn_get"] += 1
            self.empty.append(main)
            return self.full.pop(), spare, AllocPath.BARN_GET
        self.stat["barn_get_fail"] += 1
        refilled = self.empty_sheaf() if spare is None else spare
        if refilled is None:
            return main, None, AllocPath.FAILED
        if not self.refill(refilled):
            self.flush(refilled)
            self.free_sheaf(refilled)
            return main, None, AllocPath.FAILED
        return refilled, main, AllocPath.REFILL_PARTIAL

    def replace_full_main(
        self, main: S, spare: S | None, *, spare_has_room: bool
    ) -> tuple[S, S | None, AllocPath]:
        """mm/slub.c:__pcs_replace_full_main (7.2): main, spare, and how they were come by.

        Args:
            main: the main sheaf, full.
            spare: the spare sheaf.
            spare_has_room: the spare is not full.
        """
        if spare is None:
            empty = self.empty_sheaf()
            if empty is not None:
                return empty, main, AllocPath.INSTALL_EMPTY
        elif spare_has_room:
            return spare, main, AllocPath.SPARE_SWAP
        elif len(self.full) >= self.max_full:
            self.stat["barn_put_fail"] += 1
            self.flush(spare)
            return spare, main, AllocPath.FLUSH
        else:
            empty = self.empty_sheaf()
            self.stat["barn_put" if empty is not None else "barn_put_fail"] += 1
            if empty is not None:
                self.full.append(main)
                return empty, spare, AllocPath.BARN_PUT
        self.flush_main(main)
        return main, spare, AllocPath.FLUSH_MAIN
