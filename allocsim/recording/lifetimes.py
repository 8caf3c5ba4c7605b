"""Which free ends which allocation: by address and time (I2, T6).

Objects are sorted by (address, time). A free ends the allocation right before it at the same
address. An allocation right after another at the same address shows that a free went untraced
(T6: bulk frees, the sheaf path of kfree_rcu, lost events): the older life is closed there and
counted. A free without an allocation before it is of an object older than the recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocsim.tables import I8, U8, Bools, Columns, empty, find, merge_sorted, stable_order

# Addresses below are no objects: NULL, and ZERO_SIZE_PTR for kmalloc(0) (T4).
ZERO_SIZE_PTR = 16
_ALIGN = np.uint64(3)  # every object is 8-byte aligned: 3 bits less to sort


@dataclass(slots=True)
class Pairing:
    """The object events of a window in (address, time) order, n of them.

    Args:
        order: where each stood in the arrays given (i8).
        allocates: it is an allocation, else a free.
        first: no other event of this window at its address comes before it.
        ends_previous: a free that ends the allocation at the row before.
        ended_by_next: an allocation that the free at the row after ends.
        carried: row, in the table of carried lives, of the life it ends or finds live; -1: none.
        reallocates: an allocation of an address believed live.
        unknown: a free of an object whose allocation was not seen.
    """

    order: I8
    allocates: Bools
    first: Bools
    ends_previous: Bools
    ended_by_next: Bools
    carried: I8
    reallocates: Bools
    unknown: Bools


class Lifetimes:
    """Live objects, carried from window to window, sorted by address.

    Args:
        carry: names and dtypes of what is kept of an allocation besides its address ``ptr``.
    """

    def __init__(self, carry: dict[str, str]) -> None:
        self.live: Columns = empty({"ptr": "u8", **carry})

    def pair(self, ptr: U8, allocates: Bools) -> Pairing:
        """Pair the events of one window with each other and with the carried lives.

        Args:
            ptr: addresses, in time order; none of them NULL or ZERO_SIZE_PTR.
            allocates: which of them are allocations.
        """
        order = stable_order(ptr >> _ALIGN)
        address = ptr[order]
        allocates = allocates[order]
        same = np.zeros(len(order), bool)
        same[1:] = address[1:] == address[:-1]
        after_alloc = same.copy()
        after_alloc[1:] &= allocates[:-1]
        carried = np.full(len(order), -1, np.int64)
        first = ~same
        at = np.flatnonzero(first)
        carried[at] = find(self.live["ptr"], address[at])
        ends_previous = after_alloc & ~allocates
        ended_by_next = np.zeros(len(order), bool)
        ended_by_next[:-1] = ends_previous[1:]
        return Pairing(
            order,
            allocates,
            first,
            ends_previous,
            ended_by_next,
            carried,
            allocates & (after_alloc | (carried >= 0)),
            ~allocates & ~ends_previous & (carried < 0),
        )

    def survivors(self, pairing: Pairing) -> I8:
        """Rows of the pairing whose allocations are live at the window's end (i8)."""
        last = np.append(pairing.first[1:], True)[: len(pairing.order)]
        return np.flatnonzero(last & pairing.allocates)

    def keep(self, pairing: Pairing, survivors: Columns) -> None:
        """Carry the objects that are live at the window's end.

        Args:
            pairing: what :meth:`pair` returned for the window.
            survivors: ``ptr`` and the columns to carry, row for row with :meth:`survivors`.
        """
        gone = pairing.carried[pairing.carried >= 0]
        rest = {name: np.delete(values, gone) for name, values in self.live.items()}
        self.live = merge_sorted(rest, survivors, "ptr")
