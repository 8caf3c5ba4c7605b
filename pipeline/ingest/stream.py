"""The records of one window of a recording, of whatever format it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.raw.unaligned import unaligned

if TYPE_CHECKING:
    from allocsim.tables import Array, Bools, Int16, Int32, Int64, UInt8, UInt64
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field

# Bytes behind the data, so that what is gathered from a record's end is in the array.
SLACK = 64


class Places(Protocol):
    """Where the records of a window lie in the recording."""

    def name(self, offset: int) -> str:
        """What to call a byte of the window in an error."""

    def near(self, stream: Stream, first: Int64, second: Int64) -> Bools:
        """Which pairs of records of one CPU are so close that a window with one has the other."""


@dataclass(frozen=True, slots=True)
class Chains:
    """Stacks that are part of their events' records.

    Attributes:
        record: i8, the records that have one.
        count: i8, how many frames each of these has.
        frames: u8, the frames, one stack after the other, innermost first.
    """

    record: Int64
    count: Int64
    frames: UInt64

    def moved(self, order: Int64) -> Chains:
        """The same stacks where record ``order[i]`` is now record ``i``."""
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return Chains(place[self.record], self.count, self.frames)

    def only(self, among: Bools) -> Chains:
        """Those of the records ``among``, which are numbered anew."""
        some = among[self.record]
        place = np.cumsum(among) - 1
        frames = self.frames[np.repeat(some, self.count)]
        return Chains(place[self.record[some]], self.count[some], frames)


@dataclass(frozen=True, slots=True)
class Stream:
    """The records of a window, CPU after CPU, each CPU's in the order in which it made them.

    A record is laid out as the kernel's format text of its event says: its common fields first.

    Attributes:
        data: what the records lie in, and SLACK bytes.
        order: byte order of its numbers.
        offset: i8, where each record begins in ``data``.
        size: i4, bytes of each record.
        ts: i8, their times.
        cpu: i2, their CPUs.
        slot: u1, their types (EventTypes.slot).
        head: their common fields, structured by the fields' names.
        inside: bool, whether they belong to the window: the others are there as neighbours.
        places: where they lie in the recording.
        in_time: i8, the records in order of time; None: by ``ts``, the lower CPU first.
        chains: the stacks in the records; None: stacks are records of their own.
        shift: i8, bytes by which the element that a record stands for lies behind the first of its
            array (pipeline.ingest.raw.probes); None: no record stands for one.
    """

    data: UInt8
    order: str
    offset: Int64
    size: Int32
    ts: Int64
    cpu: Int16
    slot: UInt8
    head: Array
    inside: Bools
    places: Places
    in_time: Int64 | None = None
    chains: Chains | None = None
    shift: Int64 | None = None

    def gather(self, where: Field, offset: Int64) -> Array:
        """The field ``where`` of the records at ``offset``, as the recording's kind of number."""
        return unaligned(self.data, number(where, self.order), where.offset)[offset]


def number(where: Field, order: str) -> str:
    """The numpy dtype of a field."""
    return f"{order}{'i' if where.signed else 'u'}{where.size}"


class Heads:
    """Reads what all records begin with, and checks that each is as long as its event's format.

    Args:
        types: the event types of the recording.
        order: byte order of its numbers.
    """

    def __init__(self, types: EventTypes, order: str) -> None:
        self._types = types
        self._head = np.dtype(
            {
                "names": list(types.common),
                "formats": [number(where, order) for where in types.common.values()],
                "offsets": [where.offset for where in types.common.values()],
                "itemsize": 8,
            }
        )
        self._need = np.full(256, 8, np.int32)
        for slot, kept in enumerate(types.kept):
            self._need[slot] = max([8, *(where.end for where in kept.columns.values())])
        for slot, probe in types.probes.slots.items():
            self._need[slot] = probe.size
        if types.stack is not None:
            self._need[types.slot[types.stack.number]] = types.stack.fields["caller"].offset

    def read(self, data: UInt8, offset: Int64, size: Int32, places: Places) -> tuple[Array, UInt8]:
        """Common fields (Stream.head) and types (Stream.slot) of the records at ``offset``.

        Raises:
            InputError: a record is too short for its event.
        """
        # Read as 8 bytes, whatever their order: the structure is laid over them.
        head = unaligned(data, "u8")[offset].view(self._head)
        slot = self._types.slot.take(head["common_type"])
        short = np.flatnonzero(size < self._need.take(slot))
        if short.size:
            first = int(short[0])
            kept = self._types.kept
            name = kept[slot[first]].format.name if slot[first] < len(kept) else "event"
            raise InputError(
                f"{places.name(int(offset[first]))}: a record of {name} has "
                f"{size[first]} bytes, its format needs {self._need[slot[first]]}"
            )
        return head, slot
