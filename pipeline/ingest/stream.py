"""All records of a window's sub-buffers, with their times, CPUs and types."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError
from pipeline.ingest.ring_buffer import PageLayout, Records, unaligned, walk

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.clock import Clock
    from pipeline.ingest.events import EventTypes
    from pipeline.ingest.formats import Field
    from pipeline.ingest.windows import RawWindow

# Bytes behind the data, so that what is gathered from a record's end is in the array.
SLACK = 64


@dataclass(frozen=True, slots=True)
class _Places:
    """Where in the recording the bytes of a window are from.

    Attributes:
        begin: i8, number of CPUs + 1: the first sub-buffer of each CPU in the window.
    """

    where: str
    size: int
    window: RawWindow
    begin: npt.NDArray[np.int64]

    def name(self, offset: int) -> str:
        """What to call a byte of the window in an error."""
        page, byte = divmod(offset, self.size)
        number = int(np.searchsorted(self.begin, page, side="right")) - 1
        cpu, first, _ = self.window.cpus[number]
        return (
            f"{self.where}: CPU {cpu}, sub-buffer {first + page - int(self.begin[number])}, "
            f"byte {byte}"
        )


@dataclass(frozen=True, slots=True)
class Stream:
    """The records of a window's sub-buffers, CPU after CPU, each in the order of its buffer.

    Attributes:
        data: the sub-buffers, and SLACK bytes.
        layout: the layout of sub-buffers.
        records: where the events lie in ``data``.
        ts: i8, their times.
        cpu: i2, their CPUs.
        slot: u1, their types (EventTypes.slot).
        head: their common fields, structured by the fields' names.
        inside: bool, whether their time is in the window: the others are there as neighbours.
        places: what to call a byte of ``data`` in an error.
    """

    data: npt.NDArray[np.uint8]
    layout: PageLayout
    records: Records
    ts: npt.NDArray[np.int64]
    cpu: npt.NDArray[np.int16]
    slot: npt.NDArray[np.uint8]
    head: npt.NDArray[Any]
    inside: npt.NDArray[np.bool_]
    places: _Places

    @property
    def order(self) -> str:
        """The byte order of the numbers in the data."""
        return self.layout.order

    def page(self, record: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of the sub-buffer that each of some records lies in."""
        return self.records.offset[record] // self.layout.size

    def gather(self, where: Field, offset: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The field ``where`` of the records at ``offset``, as the recording's kind of number."""
        return unaligned(self.data, number(where, self.order), where.offset)[offset]


def number(where: Field, order: str) -> str:
    """The numpy dtype of a field."""
    return f"{order}{'i' if where.signed else 'u'}{where.size}"


class StreamReader:
    """Makes streams of raw windows. The memory of one is used again for the next but two."""

    def __init__(self, types: EventTypes, layout: PageLayout, clock: Clock, where: str) -> None:
        self._types = types
        self._layout = layout
        self._clock = clock
        self._where = where
        # Of the next window, of one that waits, and of one that is looked at. Fresh memory would
        # cost as much again, for the kernel clears it page by page.
        self._memories = deque(np.zeros(SLACK, np.uint8) for _ in range(3))
        self._head = np.dtype(
            {
                "names": list(types.common),
                "formats": [number(where, layout.order) for where in types.common.values()],
                "offsets": [where.offset for where in types.common.values()],
                "itemsize": 8,
            }
        )
        self._need = np.full(256, 8, np.int32)
        for slot, kept in enumerate(types.kept):
            self._need[slot] = max([8, *(where.end for where in kept.columns.values())])
        if types.stack is not None:
            self._need[types.slot[types.stack.number]] = types.stack.fields["caller"].offset

    def stream(self, raw: RawWindow) -> Stream:
        """The records of a window.

        Raises:
            InputError: the data is damaged.
        """
        data, pages = self._assemble(raw)
        places = _Places(self._where, self._layout.size, raw, np.cumsum([0, *pages]))
        records = walk(data[: len(data) - SLACK], self._layout, places.name)
        bound = np.searchsorted(records.offset, places.begin * self._layout.size)
        ts = records.ts.view(np.int64)
        inside = np.zeros(len(ts), np.bool_)
        for (cpu, _, _), begin, end in zip(raw.cpus, bound[:-1], bound[1:], strict=True):
            part = ts[begin:end]
            if self._clock.converts:
                part[:] = self._clock.times(records.ts[begin:end], cpu)
            back = np.flatnonzero(part[1:] < part[:-1])
            if back.size:
                at = places.name(int(records.offset[begin + back[0] + 1]))
                raise InputError(f"{at}: the time goes back here, the data is damaged")
            first = np.searchsorted(part, raw.since)
            last = len(part) if raw.until is None else np.searchsorted(part, raw.until)
            inside[begin + first : begin + last] = True
        # Read as 8 bytes, whatever their order: the structure is laid over them.
        head = unaligned(data, "u8")[records.offset].view(self._head)
        slot = self._types.slot.take(head["common_type"])
        self._check_sizes(records, slot, places)
        cpus = np.repeat(np.array([cpu for cpu, _, _ in raw.cpus], np.int16), np.diff(bound))
        return Stream(data, self._layout, records, ts, cpus, slot, head, inside, places)

    def _assemble(self, raw: RawWindow) -> tuple[npt.NDArray[np.uint8], list[int]]:
        """The window's data in one piece, and the number of sub-buffers of each CPU."""
        sizes = [sum(map(len, pieces)) for _, _, pieces in raw.cpus]
        need = sum(sizes) + SLACK
        self._memories.rotate()
        if len(self._memories[0]) < need:
            self._memories[0] = np.zeros(need + need // 4, np.uint8)
        data = self._memories[0][:need]
        at = 0
        for _, _, pieces in raw.cpus:
            for piece in pieces:
                data[at : at + len(piece)] = piece
                at += len(piece)
        return data, [size // self._layout.size for size in sizes]

    def _check_sizes(self, records: Records, slot: npt.NDArray[np.uint8], places: _Places) -> None:
        short = np.flatnonzero(records.size < self._need.take(slot))
        if not short.size:
            return
        first = int(short[0])
        kept = self._types.kept
        name = kept[slot[first]].format.name if slot[first] < len(kept) else "event"
        raise InputError(
            f"{places.name(int(records.offset[first]))}: a record of {name} has "
            f"{records.size[first]} bytes, its format needs {self._need[slot[first]]}"
        )
