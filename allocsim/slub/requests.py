"""What goes into the SLUB layer and what comes out of it: columns, a window at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from allocsim.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocsim.tables import Int8, Int16, Int32, Int64, Ints, UInt8


class Op(IntEnum):
    """What is asked of SLUB: positive, an object; negative, to take one back; 0, neither."""

    ALLOC = 1
    FREE = -1
    FROM_SHEAF = 2  #: an allocation out of a prefilled sheaf (R3.16)
    FREE_RCU = -2  #: kfree_rcu (R3.20)
    ASK_SHEAF = 0  #: a prefilled sheaf, or more objects for one, or to take one back (R3.16)


#: ``left`` of an allocation out of a prefilled sheaf that an ASK_SHEAF asks for and returns.
UNTIL_RETURNED = (1 << 31) - 1


class ObjectRequests(NamedTuple):
    """Object requests of a window, in time order; arrays of one length.

    Args:
        seq: number of the event, rising (i8).
        cpu: CPU (integer).
        cache: cache number (integer).
        op: Op (i1).
        object: handle of the object's life (i8): of an allocation a new one, above all before it;
            of a free the one its allocation had, or one that ``PreTraceObjects`` declares. No life
            is ended twice. An ASK_SHEAF has none.
        ts: time of the event in ns (i8); needed from the first FREE_RCU on.
        run: of a FROM_SHEAF or ASK_SHEAF, which prefilled sheaf: a number for each (i8).
        left: of a FROM_SHEAF, how many are still to come out of that sheaf, this one among them
            (i4): the sheaf is asked for before the first and returned behind the last, but where it
            is UNTIL_RETURNED. Of an ASK_SHEAF, how many objects the sheaf is to have; 0: it comes
            back.
        due: of a FREE_RCU, when the sheaf that it may fill comes back, ns (i8); -1: a grace period
            after it is full. None: -1 for all.
        node: memory node an ALLOC asks for by name, NO_NODE where it asks for none (R3.25) (i2);
            None: none does.
    """

    seq: Int64
    cpu: Ints
    cache: Ints
    op: Int8
    object: Int64
    ts: Int64 | None = None
    run: Int64 | None = None
    left: Int32 | None = None
    due: Int64 | None = None
    node: Int16 | None = None

    def part(self, rows: slice) -> ObjectRequests:
        """Views of some rows."""
        return rows_of(self, rows)


@dataclass(frozen=True, slots=True)
class PreTraceObjects:
    """Objects that were live before the trace (I2); arrays of one length, no place twice.

    Args:
        object: their handles, as the frees have them (i8).
        slab: key of the slab each lies on: from -2 downwards without gaps, one slab one key in
            the whole trace (i8).
        index: place in the slab (integer).
    """

    object: Int64
    slab: Int64
    index: Ints


@dataclass(frozen=True, slots=True)
class FreeBefore:
    """Free objects of slabs older than the trace: partial lists and main sheaves when it begins.

    In list order, and in free-list order within a slab; of those in a sheaf, the next to be taken
    first. A CPU with objects in its main sheaf has an empty spare. Every other object of these
    slabs, and every object of a slab of ``PreTraceObjects`` that is not named here, was live.

    Args:
        cache: cache number (integer).
        slab: the slab's key, as in PreTraceObjects (i8).
        index: place in the slab (integer).
        cpu: CPU whose main sheaf it lies in; -1: it is on its slab's free list (integer).
    """

    cache: Ints
    slab: Int64
    index: Ints
    cpu: Ints


class Refusals(NamedTuple):
    """From event ``seq`` on, the page allocator serves no order above ``max_order``; -1: none.

    Rows in order of ``seq``; before the first every order is served.

    Args:
        seq: number of the event (i8).
        max_order: largest order served (i1).
    """

    seq: Int64
    max_order: Int8


@dataclass(frozen=True, slots=True)
class Placement:
    """What SLUB did with the requests of a window, row for row.

    Args:
        path: AllocPath (u1).
        slab: slab of the object (i8): cache << 32 | number, numbered from 0 in the order the cache
            made them; a key of PreTraceObjects; -1 where the model could not allocate the object.
        index: place in the slab (i4); -1 as above.
    """

    path: UInt8
    slab: Int64
    index: Int32

    @classmethod
    def joined(cls, parts: Sequence[Placement]) -> Placement:
        """What follows one another, as one."""
        names = ("path", "slab", "index")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class PageRequests(NamedTuple):
    """Slab pages asked for and given back, in time order; arrays of one length.

    Args:
        seq: event that did it (i8).
        cpu: CPU that did it: the event's, but for what a callback of kfree_rcu does (R3.20) (i2).
        cache: cache number (i4).
        slab: the slab, as in Placement (i8).
        order: order of the block (i1).
        way: +1 allocated, -1 freed (i1).
        node: the node it is asked for on, or lies on (i2).
    """

    seq: Int64
    cpu: Int16
    cache: Int32
    slab: Int64
    order: Int8
    way: Int8
    node: Int16


class SheafObjects(NamedTuple):
    """Sheaves made and freed, each a small kmalloc (T7), in time order; arrays of one length.

    Args:
        row: row of the window at which it was (i8).
        cpu: CPU that did it: the row's, but for what a callback of kfree_rcu does (R3.20) (i2).
        way: +1 made, -1 freed (i1).
        cache: cache it is an object of (i4).
        slab: the slab it lies on, as in Placement (i8).
        place: in the slab (i4).
    """

    row: Int64
    cpu: Int16
    way: Int8
    cache: Int32
    slab: Int64
    place: Int32
