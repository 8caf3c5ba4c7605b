"""Events that come of a request's own: pages of slabs, sheaves, and where they stand beside it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import I8


class Rank(IntEnum):
    """Where the further events of one request stand beside its own.

    What an allocation asks for comes before its own (T13), what a free leads to behind it (T4, T5),
    each after what it needs: a sheaf's object is freed before its slab, and allocated behind it.
    """

    PAGES_FREED_BEFORE = 0
    SHEAF_FREED_BEFORE = 1
    HOME_PAGES = 2
    SHEAF = 3
    PAGES = 4
    OWN = 5  #: the request's own event
    PAGES_FREED = 6
    SHEAF_FREED = 7
    HOME_PAGES_OF_FREE = 8
    SHEAF_OF_FREE = 9
    BATCHED = 10


class Further(NamedTuple):
    """Events that come of others; arrays of one length (i8).

    Args:
        row: the request they come of.
        rank: Rank.
        template: number of the template.
        place: as in Rows.
        cpu: CPU.
    """

    row: I8
    rank: I8
    template: I8
    place: I8
    cpu: I8

    @classmethod
    def joined(cls, parts: Sequence[Further]) -> Further:
        """All of them, part by part."""
        nothing = np.empty(0, np.int64)
        return cls(*(np.concatenate([nothing, *(part[at] for part in parts)]) for at in range(5)))
